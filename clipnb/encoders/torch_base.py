"""Base of the PyTorch encoders: 8-bit input, normalisation on the device, and a choice of precision, engine and device.

Lower precision is PyTorch's autocast: weights stay fp32, and PyTorch chooses the operations that run in bf16 or fp16. For
OpenAI's models these are the operations that the package `clip` itself runs in fp16.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets.images import RGB
from ..errors import UserError
from .base import DEFAULT, Compute
from .engines import FastestSize, compiled, in_openvino
from .preprocessing import Preprocessing


def trusted() -> bool:
    """Whether the user lets checkpoints run the programs that they hold: $CLIPNB_TRUST_CHECKPOINT is 1."""
    return os.environ.get("CLIPNB_TRUST_CHECKPOINT") == "1"


class TorchEncoder:
    """A network with its preprocessing; see `clipnb.encoders.Encoder` for the attributes."""

    def __init__(
        self,
        name: str,
        forward: Callable[[Any], Any],
        model: Any,
        preprocessing: Preprocessing,
        compute: Compute = DEFAULT,
        dim: int = 0,
        weights: Path | None = None,
        weights_sha256: str = "",
    ) -> None:
        """Put the network on the device; a `UserError` if the device is not there.

        Args:
            forward: normalised images (n, 3, size, size) -> features (n, dim); it calls `model`, the network on the CPU.
            dim: number of features; 0 to count them in a forward pass.
            weights: file of the weights; without one, the encoder is loaded in every run.
            weights_sha256: digest of the weights; "" to compute it from `model`.
        """
        import torch

        model.float().eval()
        self.name, self.input_size, self.sees_whole = name, preprocessing.size, preprocessing.resize == "squash"
        self.dim = dim or output_dim(forward, preprocessing.size)
        self.weights, self.weights_sha256 = weights, weights_sha256 or state_sha256(model)
        self.precision, self.engine, _ = compute
        lowered = "" if self.precision == "fp32" or self.engine == "openvino" else " by autocast"
        self.identity = f"{name}|{self.weights_sha256}|{preprocessing}|{self.precision}{lowered}"
        self.identity += "" if self.engine == "torch" else f"|{self.engine}"
        self.preparation, self._forward, self.device = preprocessing, forward, device_of(compute)
        if self.device == "cpu":
            _keep_freed_memory()
        sizes = (64, 128, 256) if self.device != "cpu" else (4, 8, 16) if self.engine == "torch" else (8,)
        self._size, self.batch_size = FastestSize(sizes), max(sizes)
        self._lower = {"bf16": torch.bfloat16, "fp16": torch.float16}[self.precision] if lowered else None
        self.model = model.to(self.device)
        for weight in self.model.parameters():  # a ScriptModule refuses requires_grad_
            weight.requires_grad_(False)
        moments = torch.tensor([preprocessing.mean, preprocessing.std], dtype=torch.float32, device=self.device)
        self._mean, self._std = moments.view(2, 1, 3, 1, 1)
        if self.engine == "compile":
            self._forward = compiled(forward)
        elif self.engine == "openvino":
            self._forward = in_openvino(forward, self.batch_size, preprocessing.size, self.precision)

    def prepare(self, image: RGB) -> NDArray[np.uint8]:
        """Convert a photograph to the network's input, (size, size, 3) uint8."""
        return self.preparation(image)

    def start(self, inputs: Sequence[NDArray[Any]]) -> Callable[[], NDArray[np.float32]]:
        """Begin to embed n prepared inputs, and return a function that waits for their (n, dim) float32 unit vectors.

        On CUDA, once the batch size is found, the caller can do other work meanwhile. Other devices compute at once.
        """
        import torch

        if self.device == "cuda" and (size := self._size.best):
            with suppress(torch.OutOfMemoryError):
                parts = [self._begin(_pinned(inputs[at : at + size])) for at in range(0, len(inputs), size)]
                return lambda: np.concatenate([part() for part in parts])
        vectors = self.encode(np.stack(inputs))
        return lambda: vectors

    def fix_batch_size(self, size: int) -> None:
        """Compute in batches of `size` images from now on, instead of the fastest size, so that every process rounds alike."""
        if self.engine == "torch":
            self._size = FastestSize((size,))

    def encode(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed (n, size, size, 3) uint8 as (n, dim) float32 unit vectors, in batches of the fastest size.

        Batches have half the size once one did not fit into memory; `torch.OutOfMemoryError` if not even one image fits.
        """
        import torch

        vectors: list[NDArray[np.float32]] = []
        while (start := sum(map(len, vectors))) < len(batch):
            part = batch[start : start + self._size.next(len(batch) - start)]
            began = time.perf_counter()
            try:
                vectors.append(self._begin(torch.from_numpy(part))())
            except torch.OutOfMemoryError:
                if len(part) == 1 or self.engine != "torch":
                    raise
                self._size.limit(len(part) // 2)
            else:
                self._size.note(len(part), time.perf_counter() - began)
        return np.concatenate(vectors)

    def _begin(self, batch: Any) -> Callable[[], NDArray[np.float32]]:
        """Begin the forward pass of one batch, a tensor, and return the function that waits for its vectors."""
        import torch

        with self.computing():
            missing = 0 if self.engine == "torch" else self.batch_size - len(batch)
            pixels = torch.cat([batch, batch[-1:].expand(missing, *batch.shape[1:])]) if missing else batch
            pixels = pixels.to(self.device, non_blocking=True)
            if pixels.shape[-1] == 3:  # else the transform of a package has normalised it, channels first
                pixels = (pixels.permute(0, 3, 1, 2).float() / self.preparation.scale - self._mean) / self._std
            vectors = torch.nn.functional.normalize(self._forward(pixels.contiguous())[: len(batch)].float(), dim=-1)
            if self.device != "cuda":
                result: NDArray[np.float32] = vectors.cpu().numpy()
                return lambda: result
            copied = torch.empty(vectors.shape, pin_memory=True)
            copied.copy_(vectors, non_blocking=True)
            event = torch.cuda.Event()
            event.record()

        def wait() -> NDArray[np.float32]:
            event.synchronize()
            return np.array(copied.numpy())

        return wait

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
        import torch

        with self.computing():
            vectors = torch.nn.functional.normalize(self.model.encode_text(self._tokenizer(texts).to(self.device)).float(), dim=-1)
            return np.asarray(vectors.cpu().numpy())


def _keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next batch. Linux clears new pages: a third of the time on one core."""
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        for threshold in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of glibc
            mallopt(threshold, 2**30)


def features(output: Any) -> Any:
    """The features (n, dim) in the output of a network, or of a model of transformers."""
    if hasattr(output, "last_hidden_state"):
        output = output.last_hidden_state[:, 0] if getattr(output, "pooler_output", None) is None else output.pooler_output
    return output.flatten(1)


def _pinned(inputs: Sequence[NDArray[Any]]) -> Any:
    """Stack arrays to a tensor in page-locked memory, which PyTorch copies to a GPU asynchronously, and then uses again."""
    import torch

    dtype = torch.from_numpy(np.empty(0, inputs[0].dtype)).dtype
    batch = torch.empty((len(inputs), *inputs[0].shape), dtype=dtype, pin_memory=True)
    np.stack(inputs, out=batch.numpy())
    return batch


def device_of(compute: Compute) -> str:
    """The device on which a network is computed; a `UserError` if it is not there, or the engine does not use it."""
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


def output_dim(forward: Callable[[Any], Any], size: int) -> int:
    """Number of features that a network on the CPU computes of images of `size` pixels."""
    import torch

    with torch.inference_mode():
        return int(forward(torch.zeros(1, 3, size, size)).shape[1])


def agreed_tag(looks: Mapping[str, object], spelling: str) -> str:
    """Any tag, if `looks` (tag -> its preprocessing and activation) are all the same; else a `UserError` with a `spelling`."""
    if len({str(look) for look in looks.values()}) > 1:
        why = f"a checkpoint does not say how its images are prepared: pass {spelling}, with the tag that its weights follow"
        raise UserError(f"{why}: {', '.join(looks)}")
    return next(iter(looks))


def reason(error: BaseException) -> str:
    """Why the weights could not be read, in one line."""
    if "Weights only load failed" in str(error):
        return "it holds more than weights, and clipnb does not run code that is pickled in a file"
    if "with TorchScript archives" in str(error):
        return "it is a program, not weights: save its state_dict()"
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
