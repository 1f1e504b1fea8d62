"""The study's four conditions at its fixed settings, and the same three manipulations at five severities.

Severities do not depend on the size of the photograph. The blur is given in pixels at a short side of 224 pixels (CLIP's
input), the crop as a share of the area, and the grey as a share of the saturation.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from ..datasets.images import RGB, opencv
from .base import REFERENCE, Manipulation, Parameter, Shape

CLEAN = "original"  # the condition without a manipulation
STUDY = ("original", "blurred", "cropped", "grey")  # conditions of the study, in its order
BLUR_SIGMA = 3.0  # standard deviation of the study's blur, in pixels of the source image

BLUR_SIGMAS = (1.0, 2.0, 3.0, 4.0, 6.0)
"""Standard deviations in pixels at a short side of 224 pixels, as in ImageNet-C's Gaussian blur."""

CROP_KEPT = (0.85, 0.7, 0.55, 0.4, 0.25)  # shares of the photograph's area that a crop keeps
CROP_ASPECT = 4 / 3  # largest factor between the aspect ratios of a crop and of the photograph
ROUNDING = 1e-4  # added before truncation, so that float32 sums just below a whole number do not lose a grey level


def _sigma(value: float, shape: Shape) -> float:
    """Standard deviation of the blur, in pixels of the photograph."""
    return value * min(shape[:2]) / REFERENCE if value else BLUR_SIGMA


def _blurred(image: RGB, rng: np.random.Generator, value: float) -> RGB:
    """Gaussian blur of each channel in float32. With a value, it is rounded once.

    The study called scipy's gaussian_filter on 8-bit channels. It cuts the kernel at 4 sigma, mirrors at the border and
    truncates to 8 bits after each axis. OpenCV is several times as fast and stays within one grey level of it.
    """
    cv2 = opencv()
    sigma = _sigma(value, image.shape)
    offsets = np.arange(-int(4 * sigma + 0.5), int(4 * sigma + 0.5) + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    kernel, identity = np.asarray(weights / weights.sum(), dtype=np.float32), np.ones(1, np.float32)
    if value:
        blurred = cv2.sepFilter2D(image, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_REFLECT)
        np.clip(np.rint(blurred, out=blurred), 0, 255, out=blurred)  # in place: large pictures fit the budget of memory
        return np.asarray(blurred, dtype=np.uint8)
    for along_x, along_y in ((identity, kernel), (kernel, identity)):
        blurred = cv2.sepFilter2D(image, cv2.CV_32F, along_x, along_y, delta=ROUNDING, borderType=cv2.BORDER_REFLECT)
        image = blurred.astype(np.uint8)
        del blurred
    return image


def _cropped(image: RGB, rng: np.random.Generator, value: float) -> RGB:
    """Draw the study's square, or, with a value, a window with that share of the area and a random aspect ratio.

    The aspect ratio is log-uniform over the range that `CROP_ASPECT` allows and that fits. For the same random numbers, a
    window with a larger share is never smaller on either side.
    """
    height, width = image.shape[:2]
    if value:
        stretch = min(CROP_ASPECT, 1 / value) ** rng.uniform(-1, 1)
        new_w = max(1, round(width * math.sqrt(value * stretch)))
        new_h = max(1, round(height * math.sqrt(value / stretch)))
        left, top = int(rng.uniform() * (width - new_w + 1)), int(rng.uniform() * (height - new_h + 1))
    else:
        new_w = new_h = min(height, width)
        top = int(rng.integers(0, height - new_h, endpoint=True))
        left = int(rng.integers(0, width - new_w, endpoint=True))
    return image[top : top + new_h, left : left + new_w]


def _grey(image: RGB, rng: np.random.Generator, value: float) -> RGB:
    grey = np.asarray(Image.fromarray(image).convert("L").convert("RGB"))
    if value in (0.0, 1.0):
        return grey
    changed = grey.astype(np.float32)
    changed -= image
    changed *= value
    changed += image
    return np.asarray(np.rint(changed, out=changed), dtype=np.uint8)


BLUR = Parameter(f"sigma in pixels at a short side of {REFERENCE}", BLUR_SIGMAS, (0.1, 50.0), "a blur of sigma {:.1f} px")
CROP = Parameter("share of the area kept, at a random place and aspect ratio", CROP_KEPT, (0.01, 1.0), "{:.0%} of the area kept")
GREY = Parameter("share of the saturation removed", (0.2, 0.4, 0.6, 0.8, 1.0), (0.01, 1.0), "{:.0%} of the colour removed")

ENTRIES: tuple[Manipulation, ...] = (
    Manipulation("original", "the photograph as it is", lambda image, *_: image, fixed=True, aliases=("none", "clean")),
    Manipulation(
        "blurred",
        "Gaussian blur of each colour channel, sigma 3 source pixels",
        _blurred,
        version=2,
        parameter=BLUR,
        fixed=True,
        unit="blur sigma in input pixels",
        at_input=lambda value, before, after, view: _sigma(value, before) * view.scale(*before[:2]),
        aliases=("blur",),
    ),
    Manipulation(
        "cropped",
        "random square of side min(width, height)",
        _cropped,
        draws=True,
        parameter=CROP,
        fixed=True,
        unit="share of the seen area kept",
        at_input=lambda value, before, after, view: view.area(*after[:2]) / view.area(*before[:2]),
        aliases=("crop",),
    ),
    Manipulation("grey", "luma only (ITU-R 601)", _grey, parameter=GREY, fixed=True, aliases=("gray", "greyscale", "grayscale")),
)
