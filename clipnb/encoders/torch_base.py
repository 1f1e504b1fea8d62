"""Base of the PyTorch encoders: 8-bit input, normalisation on the device, and a choice of precision, engine and device.

Lower precision is PyTorch's autocast: weights stay fp32, and PyTorch chooses the operations that run in bf16 or fp16. For
OpenAI's models these are the operations that the package `clip` itself runs in fp16.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..datasets.images import RGB, centre_of_strip
from ..errors import UserError
from . import DEFAULT, INSTEAD, Compute
from .batch_size import FastestSize
from .engines import build


def trusted() -> bool:
    """Whether the user lets checkpoints run the programs that they hold: $CLIPNB_TRUST_CHECKPOINT is 1."""
    return os.environ.get("CLIPNB_TRUST_CHECKPOINT") == "1"


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

        If the short side is scaled, only the middle of a long strip is used (`clipnb.datasets.images.centre_of_strip`).
        """
        if self.resize == "shortest":
            image = centre_of_strip(image)
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
        weights: Path | None,
        weights_sha256: str,
        compute: Compute = DEFAULT,
    ) -> None:
        """Put the network on the device.

        Args:
            forward: normalised images (n, 3, size, size) -> features (n, dim); it calls `model`.
            model: the network on the CPU.
            weights, weights_sha256: file of the weights, and its digest. Without a file, the encoder is loaded in every run.
            compute: precision, engine and device.

        Raises:
            UserError: the device is not there.
        """
        import torch

        self.name, self.dim, self.input_size = name, dim, preprocessing.size
        self.sees_whole = preprocessing.resize == "squash"
        self.weights, self.weights_sha256, (self.precision, self.engine, _) = weights, weights_sha256, compute
        lowered = "" if self.precision == "fp32" or self.engine == "openvino" else " by autocast"
        self.identity = f"{name}|{weights_sha256}|{preprocessing}|{self.precision}{lowered}"
        self.identity += "" if self.engine == "torch" else f"|{self.engine}"
        self._preprocessing, self._forward, self.device = preprocessing, forward, device_of(compute)
        sizes = (4, 8, 16) if self.engine == "torch" else (8,)
        if self.device != "cpu":
            sizes = (256,)
        self._size, self.batch_size = FastestSize(sizes), max(sizes)
        self._lower = {"bf16": torch.bfloat16, "fp16": torch.float16}[self.precision] if lowered else None
        self.model = model.float().eval().to(self.device)
        for weight in self.model.parameters():
            weight.requires_grad_(False)
        moments = torch.tensor([preprocessing.mean, preprocessing.std], dtype=torch.float32, device=self.device)
        self._mean, self._std = moments.view(2, 1, 3, 1, 1)
        if self.engine != "torch":
            self._forward = build(self.engine, forward, self.batch_size, preprocessing.size, self.precision)

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

    def _encode(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        import torch

        with self.computing():
            missing = 0 if self.engine == "torch" else self.batch_size - len(batch)
            pixels = torch.from_numpy(np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)]))
            if self.device == "cuda":
                pixels = pixels.pin_memory()  # lets the copy run asynchronously
            pixels = pixels.to(self.device, non_blocking=True)
            if pixels.shape[-1] == 3:  # else the transform of a package has normalised it, channels first
                pixels = (pixels.permute(0, 3, 1, 2).float() / self._preprocessing.scale - self._mean) / self._std
            return unit_rows(self._forward(pixels.contiguous())[: len(batch)])

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Compute without gradients, in the precision of this encoder."""
        import torch

        with torch.inference_mode(), torch.autocast(self.device, self._lower, enabled=self._lower is not None):
            yield


class TextTorchEncoder(TorchEncoder):
    """A network that embeds images and texts in one space, with the methods `encode_image` and `encode_text`."""

    def __init__(self, name: str, model: Any, tokenizer: Callable[[list[str]], Any], *args: Any, **options: Any) -> None:
        """Put the network on the device. The further arguments are those of `TorchEncoder` after `model`."""
        super().__init__(name, model.encode_image, model, *args, **options)
        self._tokenizer = tokenizer

    def encode_text(self, texts: list[str]) -> NDArray[np.float32]:
        """Embed n texts as (n, dim) float32 unit vectors, in the same space as the photographs."""
        with self.computing():
            return unit_rows(self.model.encode_text(self._tokenizer(texts).to(self.device)))


def unit_rows(features: Any) -> NDArray[np.float32]:
    """Convert torch features (n, dim) to a float32 numpy array with rows of unit length."""
    import torch

    result: NDArray[np.float32] = torch.nn.functional.normalize(features.float(), dim=-1).cpu().numpy()
    return result


def device_of(compute: Compute) -> str:
    """The device on which a network is computed: "cpu", "cuda" or "mps".

    Raises:
        UserError: the device is not there, or the engine does not use it.
    """
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if compute.engine == "openvino":
        there = {"cpu": True}
    if compute.device == "auto":
        return next(device for device, usable in there.items() if usable)
    if not there.get(compute.device):
        raise UserError(f"the device {compute.device!r} is not usable here by the engine {compute.engine!r}: use -p device auto")
    return compute.device


def state_sha256(model: Any) -> str:
    """SHA-256 of the names and values of a network's weights."""
    import torch

    sha = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        sha.update(f"{name}|{weight.dtype}|{tuple(weight.shape)}|".encode())
        sha.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return sha.hexdigest()


def output_dim(forward: Callable[[Any], Any], model: Any, size: int) -> int:
    """Number of features that a network on the CPU computes of images of `size` pixels."""
    import torch

    model.float().eval()
    with torch.inference_mode():
        return int(forward(torch.zeros(1, 3, size, size)).shape[1])


def agreed_tag(looks: Mapping[str, object], spelling: str) -> str:
    """Any of the tags, if weights of all of them are preprocessed and computed in the same way.

    Args:
        looks: tag -> what it says about preprocessing and activation.
        spelling: what to type, for the error message.

    Raises:
        UserError: they are not.
    """
    if len({str(look) for look in looks.values()}) > 1:
        why = f"a checkpoint does not say how its images are prepared: pass {spelling}, with the tag that its weights follow"
        raise UserError(f"{why}: {', '.join(looks)}")
    return next(iter(looks))


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
