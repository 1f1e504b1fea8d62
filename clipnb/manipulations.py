"""What is done to a query photograph before it is embedded: the four conditions of the study.

A manipulation takes an RGB array and a random generator and gives an RGB array. It never sees the encoder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from .images import RGB
from .registry import Registry
from .seeds import rng_for


@dataclass(frozen=True)
class Manipulation:
    """One condition.

    Attributes:
        name: the study's spelling of it.
        label: how a figure or a sentence names it.
        summary: one line on what it does.
        apply: (image (h, w, 3) uint8, generator) -> image (h', w', 3) uint8.
        draws: whether the generator is used; if not, the seed does not matter.
        version: raised when what `apply` does changes, so that kept embeddings are not mistaken for new ones.
    """

    name: str
    label: str
    summary: str
    apply: Callable[[RGB, np.random.Generator], RGB]
    draws: bool = False
    version: int = 1

    def key(self, seed: int) -> str:
        """What distinguishes this condition's embedding of an image from another's."""
        kept = f"{self.name}@{self.version}"
        return f"{kept}/{seed}" if self.draws else kept

    def __call__(self, image: RGB, seed: int, image_digest: str) -> RGB:
        """Manipulate one image; the draw depends on the seed and the image's content alone."""
        return self.apply(image, rng_for(seed, image_digest, self.name))


MANIPULATIONS: Registry[Manipulation] = Registry("manipulation")

BLUR_SIGMA = 3.0
"""The study's blur, in pixels of the source image."""

ROUNDING = 1e-4
"""Added before truncating, so that float32 sums that fall just short of a whole number do not lose a grey level."""


def _original(image: RGB, rng: np.random.Generator) -> RGB:
    return image


def _blurred(image: RGB, rng: np.random.Generator) -> RGB:
    # the study called scipy's gaussian_filter on 8-bit channels, which cuts the kernel at 4 sigma, mirrors at the border and
    # truncates to 8 bits after each axis; the same by OpenCV is several times as fast and within one grey level of it
    import cv2

    offsets = np.arange(-round(4 * BLUR_SIGMA), round(4 * BLUR_SIGMA) + 1)
    weights = np.exp(-0.5 * (offsets / BLUR_SIGMA) ** 2)
    kernel, still = (weights / weights.sum()).astype(np.float32), np.ones(1, np.float32)
    out = image
    for along_x, along_y in ((still, kernel), (kernel, still)):
        blurred = cv2.sepFilter2D(out, cv2.CV_32F, along_x, along_y, delta=ROUNDING, borderType=cv2.BORDER_REFLECT)
        out = blurred.astype(np.uint8)
    return out


def _cropped(image: RGB, rng: np.random.Generator) -> RGB:
    height, width = image.shape[:2]
    side = min(height, width)
    top = int(rng.integers(0, height - side, endpoint=True))
    left = int(rng.integers(0, width - side, endpoint=True))
    return image[top : top + side, left : left + side]


def _grey(image: RGB, rng: np.random.Generator) -> RGB:
    luma = np.asarray(Image.fromarray(image).convert("L"))
    return np.repeat(luma[:, :, None], 3, axis=2)


for _m, _aliases in (
    (Manipulation("original", "original", "the photograph as it is", _original), ("none", "clean")),
    (
        Manipulation("blurred", "blurred", "Gaussian blur of each colour channel, sigma 3 source pixels", _blurred, version=2),
        ("blur",),
    ),
    (Manipulation("cropped", "cropped", "random square of side min(width, height)", _cropped, draws=True), ("crop",)),
    (Manipulation("grey", "grey", "luma only (ITU-R 601)", _grey), ("gray", "greyscale", "grayscale")),
):
    MANIPULATIONS.register(_m.name, *_aliases)(_m)

CLEAN = "original"
