"""Conversion of a photograph to a network's input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .._core.typed import misfit
from ..datasets.images import RGB, centre_of_strip

MOST = 4096  # largest side of a network's input in pixels


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
