"""The typographic edit: a word written on the photograph (Goh et al. 2021), which models that can read mistake for its content.

In a run the word is the name of another category, drawn for each photograph. Elsewhere it is "iPod", as in the source.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..datasets.images import RGB
from ..errors import UserError
from .base import Manipulation, Parameter

WORD = "iPod"  # the word that is written if none is given
LETTERS = (0.05, 0.1, 0.15, 0.2, 0.3)  # heights of the line of text as shares of the short side
WIDEST = 0.95  # largest width of the line as a share of the short side; a longer one is squeezed, so that a centre crop keeps it
PLACE = 0.75  # where the middle of the line is in the centre square: the share of the square that is above it


def _typographic(image: RGB, rng: np.random.Generator, value: float, word: str = "") -> RGB:
    """Write a line of white letters with a black outline on the lower part of the centre square."""
    height, width = image.shape[:2]
    short = min(height, width)
    if (tall := round(value * short)) < 1:
        return image
    line = _line(word or WORD, tall)
    line = line.resize((max(1, min(round(line.width * tall / line.height), int(WIDEST * short))), tall), Image.Resampling.BILINEAR)
    picture = Image.fromarray(image)
    top = (height - short) / 2 + PLACE * short - tall / 2
    picture.paste(line, ((width - line.width) // 2, max(0, min(int(top), height - tall))), line)
    return np.asarray(picture)


def _line(word: str, tall: int) -> Image.Image:
    """A line of text about `tall` pixels high, from the top of its highest letters to the bottom of its lowest ones, as RGBA."""
    size = max(8, tall)
    font = ImageFont.load_default(size)
    if _lacking(font, word):
        from matplotlib import get_data_path

        font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)
    if lacking := _lacking(font, word):
        said = f"typographic cannot write {word!r}: its fonts lack {lacking!r}"
        raise UserError(f"{said}; rename the category in Latin, Greek or Cyrillic letters")
    stroke = max(1, round(size / 14))
    left, top, right, bottom = font.getbbox(word + "lp", stroke_width=stroke)
    right = math.ceil(font.getlength(word)) + stroke
    made = Image.new("RGBA", (int(right - left), int(bottom - top)))
    ImageDraw.Draw(made).text((-left, -top), word, fill="white", font=font, stroke_width=stroke, stroke_fill="black")
    return made


def _lacking(font: ImageFont.FreeTypeFont | ImageFont.ImageFont, word: str) -> str:
    """The first letter that a font lacks; "" if none."""
    unknown = bytes(font.getmask("\U0010ffff"))
    return next((letter for letter in word if not letter.isspace() and bytes(font.getmask(letter)) == unknown), "")


HEIGHT = Parameter("height of the text as a share of the short side", LETTERS, (0.01, 1.0), "text of {:.0%} of the short side")

ENTRIES: tuple[Manipulation, ...] = (
    Manipulation(
        "typographic",
        "the name of another category written on the photograph",
        _typographic,
        draws=True,
        writes=True,
        parameter=HEIGHT,
        unit="share of the input's height",
        at_input=lambda value, before, after, view: value * (min(before[:2]) / before[0] if view.whole else 1.0),
        aliases=("typographic_attack", "written"),
    ),
)
