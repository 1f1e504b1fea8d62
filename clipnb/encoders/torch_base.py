"""Base of the PyTorch encoders: 8-bit input, normalisation on the device, and a choice of precision and engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..datasets.images import RGB, middle
from ..errors import UserError
from . import INSTEAD
from .batch_size import FastestSize
from .engines import build


@dataclass(frozen=True)
class Preprocessing:
    """Conversion of a photograph to the network's input.

    Attributes:
        size: side of the square input in pixels.
        mean, std: mean and standard deviation of each channel, after division by `scale`.
        scale: divisor of the 8-bit values.
        resize: "shortest" scales the short side to `size` and takes the centre; "squash" ignores the aspect ratio.
        interpolation: "bicubic" or "bilinear".
    """

    size: int
    mean: Sequence[float]
    std: Sequence[float]
    scale: float = 255.0
    resize: str = "shortest"
    interpolation: str = "bicubic"

    def __call__(self, image: RGB) -> NDArray[np.uint8]:
        """Convert (h, w, 3) uint8 to (size, size, 3) uint8, with the same pixels as the transforms of the CLIP packages.

        Of a long strip, only the middle is used (`clipnb.datasets.images.middle`).
        """
        image = middle(image)
        height, width = image.shape[:2]
        size, short = self.size, min(height, width)
        new_w, new_h = size, size
        if self.resize == "shortest":
            new_w, new_h = (size, int(size * height / width)) if width == short else (int(size * width / height), size)
        scaled = np.asarray(Image.fromarray(image).resize((new_w, new_h), Image.Resampling[self.interpolation.upper()]))
        left, top = round((new_w - size) / 2.0), round((new_h - size) / 2.0)
        return scaled[top : top + size, left : left + size]


class TorchEncoder:
    """A network with its preprocessing; see `clipnb.encoders.Encoder` for the attributes."""

    def __init__(
        self,
        name: str,
        forward: Callable[[Any], Any],
        model: Any,
        preprocessing: Preprocessing,
        dim: int,
        weights: Path,
        weights_sha256: str,
        precision: str = "fp32",
        engine: str = "torch",
    ) -> None:
        """Put the network on the device.

        Args:
            forward: normalised images (n, 3, size, size) -> features (n, dim); it calls `model`.
            model: the network, in fp32 on the CPU.
            weights, weights_sha256: file of the weights, and its digest.
            precision: fp32, bf16 or fp16.
            engine: torch, compile or openvino.
        """
        import torch

        self.name, self.dim, self.input_size = name, dim, preprocessing.size
        self.sees_whole = preprocessing.resize == "squash"
        self.weights, self.weights_sha256, self.precision = weights, weights_sha256, precision
        self.identity = f"{name}|{weights_sha256}|{preprocessing}|{precision}" + ("" if engine == "torch" else f"|{engine}")
        self.engine, self._preprocessing, self._forward = engine, preprocessing, forward
        self.device = "cuda" if torch.cuda.is_available() and engine != "openvino" else "cpu"
        sizes = (256,) if self.device == "cuda" else (4, 8, 16) if engine == "torch" else (8,)
        self._size, self.batch_size = FastestSize(sizes), max(sizes)
        lowered = "fp32" if engine == "openvino" else precision  # OpenVINO lowers the precision itself
        self._dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[lowered]
        self.model = lower_precision(model, self._dtype).eval().requires_grad_(False).to(self.device)
        moments = torch.tensor([preprocessing.mean, preprocessing.std], dtype=torch.float32, device=self.device)
        self._mean, self._std = moments.view(2, 1, 3, 1, 1)
        if engine != "torch":
            self._forward = build(engine, forward, self.batch_size, preprocessing.size, precision)

    def prepare(self, image: RGB) -> NDArray[np.uint8]:
        """Convert a photograph to the network's input, (size, size, 3) uint8."""
        return self._preprocessing(image)

    def encode(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed (n, size, size, 3) uint8 as (n, dim) float32 unit vectors.

        The images go through the network in batches of the fastest size. If a batch does not fit into the device's memory,
        batches have half the size from then on.

        Raises:
            torch.OutOfMemoryError: not even one image fits.
        """
        import torch

        vectors: list[NDArray[np.float32]] = []
        while (start := sum(map(len, vectors))) < len(batch):
            part = batch[start : start + self._size.next(len(batch) - start)]
            began = time.perf_counter()
            try:
                vectors.append(self._encode(part))
            except torch.OutOfMemoryError:
                if len(part) == 1 or self.engine != "torch":
                    raise
                self._size.limit(len(part) // 2)
            else:
                self._size.note(len(part), time.perf_counter() - began)
        return np.concatenate(vectors)

    def _encode(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            missing = 0 if self.engine == "torch" else self.batch_size - len(batch)
            pixels = torch.from_numpy(np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)]))
            if self.device == "cuda":
                pixels = pixels.pin_memory()  # lets the copy run asynchronously
            pixels = pixels.to(self.device, non_blocking=True).permute(0, 3, 1, 2)
            pixels = ((pixels.float() / self._preprocessing.scale - self._mean) / self._std).contiguous()
            return unit_rows(self._forward(pixels.to(self._dtype))[: len(batch)])


class TextTorchEncoder(TorchEncoder):
    """A network that embeds images and texts in one space, with the methods `encode_image` and `encode_text`."""

    def __init__(self, name: str, model: Any, tokenizer: Callable[[list[str]], Any], *args: Any, **options: Any) -> None:
        """Put the network on the device. The further arguments are those of `TorchEncoder` after `model`."""
        super().__init__(name, model.encode_image, model, *args, **options)
        self._tokenizer = tokenizer

    def encode_text(self, texts: list[str]) -> NDArray[np.float32]:
        """Embed n texts as (n, dim) float32 unit vectors, in the same space as the photographs."""
        import torch

        with torch.inference_mode():
            return unit_rows(self.model.encode_text(self._tokenizer(texts).to(self.device)))


def unit_rows(features: Any) -> NDArray[np.float32]:
    """Convert torch features (n, dim) to a float32 numpy array with rows of unit length."""
    import torch

    result: NDArray[np.float32] = torch.nn.functional.normalize(features.float(), dim=-1).cpu().numpy()
    return result


def lower_precision(model: Any, dtype: Any) -> Any:
    """Convert weights of convolutions, linear layers, attention and projections to `dtype`; normalisation stays fp32."""
    import torch
    from torch import nn

    if dtype == torch.float32:
        return model.float()
    for module in model.modules():
        whole = isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear | nn.MultiheadAttention)
        for name, parameter in module.named_parameters(recurse=False):
            if whole or name in ("proj", "text_projection"):
                parameter.data = parameter.data.to(dtype)
    return model


@contextmanager
def matching_torchvision(what: str) -> Iterator[None]:
    """Turn the import error of a torchvision that was built for another torch into a `UserError` about `what`.

    Raises:
        UserError: an import of torchvision in the block failed.
    """
    try:
        yield
    except (RuntimeError, ImportError) as error:
        if "torchvision" not in str(error) or isinstance(error, ModuleNotFoundError):
            raise
        raise UserError(
            f"{what} needs a torchvision built for this torch, but torchvision {version('torchvision')} does not match "
            f"torch {version('torch')}: reinstall both from one source in one command (pip install --force-reinstall "
            f"torch torchvision), or {INSTEAD}"
        ) from error


def reason(error: Exception) -> str:
    """Why the weights could not be read, in one line."""
    if "Weights only load failed" in str(error):
        return "it holds more than weights, and clipnb does not run code that is pickled in a file"
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
