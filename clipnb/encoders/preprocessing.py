"""Conversion of a photograph to a network's input, by clipnb or by a package's own transform.

Such a transform is a torchvision Compose or an image processor of transformers. It is split in two where possible: the package
scales and crops, which gives an 8-bit image; the network's device normalises. Any other gives float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .._core.typed import misfit
from ..datasets.images import RGB, centre_of_strip
from ..errors import UserError

MOST = 4096  # largest side of a network's input in pixels


@dataclass(frozen=True)
class Preprocessing:
    """Conversion of a photograph to the network's input."""

    size: int  # side of the square input in pixels
    mean: Sequence[float]  # of each channel, after division by `scale`
    std: Sequence[float]  # as the mean
    scale: float = 255.0  # divisor of the 8-bit values
    resize: str = "shortest"  # scales the short side to `size` and takes the centre; "squash" ignores the aspect ratio
    interpolation: str = "bicubic"  # or "bilinear"

    def usable(self) -> bool:
        """Whether the fields have values that prepare an image, of at most `MOST` pixels a side."""
        if self.resize not in ("shortest", "squash") or self.interpolation not in ("bicubic", "bilinear"):
            return False
        moments = [list(value) if isinstance(value, tuple) else value for value in (self.mean, self.std, [self.scale])]
        if misfit([self.size], list[int]) or misfit(moments, list[list[float]]):
            return False
        return len(self.mean) == len(self.std) == 3 and self.size <= MOST and min(self.size, self.scale, *self.std) > 0

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


@dataclass(frozen=True)
class Transform(Preprocessing):
    """A package's transform.

    Its `steps` turn a PIL image into (size, size, 3) uint8 before normalisation, or (3, size, size) float32 after it.
    """

    steps: Callable[[Image.Image], Any] = field(default=np.asarray, repr=False)
    text: str = ""  # description of the steps, as part of an encoder's identity

    def __call__(self, image: RGB) -> NDArray[Any]:
        """Convert (h, w, 3) uint8 to the network's input. If it is a centre crop, only the middle of a long strip is used."""
        return np.asarray(self.steps(Image.fromarray(centre_of_strip(image) if self.resize == "shortest" else image)))


def from_package(transform: Any) -> Transform:
    """Wrap a transform: PIL image -> network's input. A `UserError` if the input is not a square of three channels."""
    if hasattr(transform, "image_processor"):  # of a processor for images and texts
        transform = transform.image_processor
    if hasattr(transform, "rescale_factor"):
        return _of_processor(transform)
    steps = list(getattr(transform, "transforms", ()))
    names = [type(step).__name__ for step in steps]
    at = next((i for i, name in enumerate(names) if name.endswith("ToTensor")), None)
    if at is not None and names[at + 1 :] == ["Normalize"]:
        mean, std = (np.asarray(moment).tolist() for moment in (steps[-1].mean, steps[-1].std))

        def scaled(image: Image.Image) -> Any:  # a subclass of Compose may take other arguments than its steps
            for step in steps[:at]:
                image = step(image)
            return image

        return _made(scaled, mean, std, 255.0, str(transform))
    return _made(lambda image: np.asarray(transform(image), np.float32), (0.0,) * 3, (1.0,) * 3, 1.0, str(transform))


def _of_processor(processor: Any) -> Transform:
    """Wrap an image processor of transformers."""
    mean, std = (processor.image_mean, processor.image_std) if processor.do_normalize else ((0.0,) * 3, (1.0,) * 3)
    scale = 1 / processor.rescale_factor if processor.do_rescale else 1.0
    sides = [side for sizes in (processor.size, getattr(processor, "crop_size", None)) for side in dict(sizes or {}).values()]
    if any(misfit(side, int) or not 0 < side <= MOST for side in sides if side is not None):
        raise UserError(f"the image processor makes an input of {max(sides, key=str)!r:.40} pixels, and clipnb at most {MOST}")

    def scaled(image: Image.Image) -> Any:
        pixels = processor(images=image, do_rescale=False, do_normalize=False, return_tensors="np")["pixel_values"][0]
        return np.moveaxis(np.asarray(pixels), 0, -1).astype(np.uint8)

    return _made(scaled, mean, std, scale, str(processor))


def _made(steps: Callable[[Image.Image], Any], mean: Any, std: Any, scale: float, text: str) -> Transform:
    shape = np.asarray(steps(Image.new("RGB", (64, 48)))).shape
    sides = shape[:2] if shape[-1] == 3 else shape[1:]
    if len(shape) != 3 or 3 not in (shape[0], shape[-1]) or sides[0] != sides[1]:
        raise UserError(f"the transform makes an input of shape {shape}, but clipnb needs a square of three channels")
    crops = "crop" in text.lower().replace('do_center_crop": false', "")
    return Transform(sides[0], mean, std, scale, "shortest" if crops else "squash", "package", steps, " ".join(text.split()))
