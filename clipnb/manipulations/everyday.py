"""Edits that photographs undergo on phones, in messengers and on web pages, each at five severities."""

from __future__ import annotations

import colorsys
import io
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from ..datasets.images import RGB, opencv
from .base import Manipulation, Parameter

LETTERS = 0.09  # font size of a caption as a share of the short side

CAPTION = "when you find the photograph you were looking for and it was on the other telephone all the time, once again"
WHITE, BLACK, PAPER, INK = (255, 255, 255), (0, 0, 0), (242, 242, 245), (60, 60, 67)


def _jpeg(image: RGB, rng: np.random.Generator, value: float) -> RGB:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=round(value))
    return np.array(Image.open(file))


def _rescaled(image: RGB, rng: np.random.Generator, value: float) -> RGB:
    factor = round(value) / min(image.shape[:2])
    if factor >= 1:
        return image
    return np.asarray(ImageOps.scale(Image.fromarray(image), factor, Image.Resampling.BILINEAR))


def _rotated(image: RGB, rng: np.random.Generator, value: float) -> RGB:
    cv2 = opencv()
    sign = 1 if rng.integers(2) else -1
    if value == 90:
        return np.ascontiguousarray(np.rot90(image, sign))
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), sign * value, 1.0)
    return np.asarray(cv2.warpAffine(image, turn, (width, height), flags=cv2.INTER_LINEAR, borderValue=BLACK))


def _flipped(image: RGB, rng: np.random.Generator, value: float) -> RGB:
    return np.ascontiguousarray(image[:, ::-1])


def _captioned(image: RGB, rng: np.random.Generator, value: float) -> RGB:
    """Draw lines of white text with a black outline, from the lower edge upwards, each as wide as the photograph."""
    height, width = image.shape[:2]
    size = LETTERS * min(height, width)
    if size < 1:
        return image
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size)
    letters = max(1, min(int(width / (0.52 * size)), len(CAPTION)))
    for number in range(round(value)):
        line = CAPTION[number * 7 :][:letters].strip()
        at = (width / 2, height - (0.4 + 1.25 * number) * size)
        draw.text(at, line, fill=WHITE, font=font, anchor="mb", stroke_width=max(1, round(size / 14)), stroke_fill=BLACK)
    return np.asarray(picture)


def _bordered(image: RGB, rng: np.random.Generator, value: float) -> RGB:
    wide = round(value * min(image.shape[:2]))
    return np.pad(image, ((wide, wide), (wide, wide), (0, 0)), constant_values=255)


def _tinted(image: RGB, rng: np.random.Generator, value: float) -> RGB:
    colour = 255 * np.array(colorsys.hsv_to_rgb(rng.uniform(), 1.0, 1.0))
    levels = np.rint((1 - value) * np.arange(256)[:, None] + value * colour).astype(np.uint8)
    return np.stack([levels[image[..., channel], channel] for channel in range(3)], axis=-1)


def _screenshot(image: RGB, rng: np.random.Generator, value: float) -> RGB:
    """Place the photograph in the middle of a page, with bars above and below it that stand for text."""
    height, width = image.shape[:2]
    grown = 1 / math.sqrt(1 - value)
    page = Image.new("1", (math.ceil(width * grown), math.ceil(height * grown)))
    draw = ImageDraw.Draw(page)
    above, left = (page.height - height) // 2, (page.width - width) // 2
    draw.rectangle((0, 0, page.width, above / 3), fill=1)
    for top in (0.5 * above, 1.3 * above + height, 1.6 * above + height):
        draw.rectangle((left, top, left + 0.7 * width, top + 0.12 * above), fill=1)
    made = np.where(np.asarray(page)[..., None], np.array(INK, np.uint8), np.array(PAPER, np.uint8))
    made[above : above + height, left : left + width] = image
    return made


QUALITY = Parameter("JPEG quality", (60.0, 40.0, 25.0, 15.0, 7.0), (1, 95), "JPEG quality {:d}")
SIDE = Parameter("largest short side in pixels", (192.0, 128.0, 96.0, 64.0, 32.0), (4, 10_000), "a short side of {:d} px")
ANGLE = Parameter("angle in degrees", (5.0, 10.0, 20.0, 45.0, 90.0), (0.1, 180.0), "a rotation by {:.0f} degrees")
LINES = Parameter("lines", (1.0, 2.0, 3.0, 4.0, 6.0), (1, 20), "{:d} lines of text")
WIDTH = Parameter(
    "width as a share of the short side", (0.05, 0.1, 0.15, 0.2, 0.3), (0.01, 2.0), "a border of {:.0%} of the short side"
)
CAST = Parameter("share of the colour mixed in", (0.1, 0.2, 0.3, 0.4, 0.6), (0.01, 1.0), "a colour cast of {:.0%}")
PAGE = Parameter(
    "border as a share of the screenshot's area", (0.2, 0.35, 0.5, 0.65, 0.8), (0.01, 0.99), "a border of {:.0%} of the area"
)

ENTRIES: tuple[Manipulation, ...] = (
    Manipulation("jpeg", "saved as JPEG", _jpeg, "JPEG", parameter=QUALITY, aliases=("jpeg_quality",)),
    Manipulation(
        "rescaled",
        "reduced to a thumbnail",
        _rescaled,
        parameter=SIDE,
        unit="pixels of the short side",
        at_input=lambda value, before, after, view: float(min(after[:2])),
        aliases=("rescale", "thumbnail"),
    ),
    Manipulation(
        "rotated",
        "rotated to a random side",
        _rotated,
        draws=True,
        parameter=ANGLE,
        unit="degrees",
        at_input=lambda value, *_: value,
        aliases=("rotate",),
    ),
    Manipulation("flipped", "mirrored left to right", _flipped, fixed=True, aliases=("flip", "mirrored")),
    Manipulation("captioned", "text over the lower part", _captioned, parameter=LINES, aliases=("caption", "overlay_text", "text")),
    Manipulation("bordered", "a white border around the photograph", _bordered, parameter=WIDTH, aliases=("border",)),
    Manipulation(
        "tinted", "a colour cast of random hue", _tinted, draws=True, parameter=CAST, aliases=("colour_cast", "color_cast", "tint")
    ),
    Manipulation("screenshot", "on a page with bars around the photograph", _screenshot, parameter=PAGE),
)
