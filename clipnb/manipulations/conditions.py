"""Conditions: a manipulation at a severity or strength, for one of several draws, and its text form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from .._core.random import rng_for
from ..datasets.images import RGB, digest, rgb_array
from ..errors import UserError
from .base import MANIPULATIONS, SEVERITIES, Manipulation, Shape, View


@dataclass(frozen=True)
class Condition:
    """A manipulation at one severity (0: the fixed setting) or strength, for one of several draws.

    Its text form identifies it: `blurred`, `blurred/3`, `blurred=2.5`, `cropped/3#1`. A manipulation that writes also has a
    word for each image (`on`).
    """

    manip: str
    severity: int = 0
    draw: int = 0
    strength: float = 0.0
    word: str = field(default="", repr=False)

    def __str__(self) -> str:
        setting = f"/{self.severity}" if self.severity else f"={self.strength!r}" if self.strength else ""
        return self.manip + setting + f"#{self.draw}" * (self.draw > 0)

    @property
    def manipulation(self) -> Manipulation:
        """The registered manipulation."""
        return MANIPULATIONS[self.manip]

    @property
    def value(self) -> float:
        """The value of the manipulation's parameter; 0 for its fixed setting."""
        return self.manipulation.value(self.severity, self.strength)

    @property
    def slug(self) -> str:
        """Manipulation and severity or strength, as part of a file name: `blurred-s3`, `blurred-at2.5`."""
        return self.manip + f"-s{self.severity}" * (self.severity > 0) + f"-at{self.strength!r}" * (self.strength > 0)

    @property
    def label(self) -> str:
        """Name in figures and sentences."""
        if self.strength:
            return f"{self.manipulation.label}, {self.manipulation.parameter.in_words(self.strength)}"
        return self.manipulation.label + f", severity {self.severity}" * (self.severity > 0)

    def key(self, seed: int) -> str:
        """Identifies the embedding of an image under this condition in the embedding store."""
        kind = self.manipulation
        setting = f"/s{self.severity}" * (self.severity > 0) + f"/={self.strength!r}" * (self.strength > 0)
        drawn = f"/{seed}" * kind.draws + f"/draw{self.draw}" * (kind.draws and self.draw > 0)
        return f"{kind.name}@{kind.version}{setting}{drawn}" + f"/{self.word!r}" * kind.writes

    def on(self, words: Sequence[str], own: str, seed: int, image_digest: str) -> Condition:
        """This condition with the word that it writes on one image, if it writes.

        It is drawn from `words`, the names of the categories, without the image's `own` (a `UserError` if there is no other), by
        the seed, the image's content and the number of the draw, so that all strengths write the same.
        """
        if not self.manipulation.writes:
            return self
        if not (others := [word for word in words if word != own]):
            raise UserError(f"{self.manip} writes the name of another category: the data set needs at least two")
        drawn = rng_for(seed, image_digest, "word", self.draw).integers(len(others))
        return replace(self, word=others[int(drawn)])

    def at_input(self, before: Shape, after: Shape, view: View, difference: float) -> float:
        """Effective strength at the encoder's input, in `manipulation.unit`; `difference` (mean colour difference) by default."""
        at_input = self.manipulation.at_input
        return at_input(self.value, before, after, view) if at_input else difference

    def __call__(self, image: RGB, seed: int, image_digest: str) -> RGB:
        """Manipulate one image, (h, w, 3) uint8.

        Random choices depend on the seed, the image's content and the draw's number alone: all strengths of a draw share them.
        """
        kind = self.manipulation
        rng = rng_for(seed, image_digest, kind.name, *([self.draw] if self.draw else []))
        return kind.apply(image, rng, self.value, *([self.word] if kind.writes else []))


def condition(text: str) -> Condition:
    """Parse the text form of a condition, such as `cropped/3#1` or `blurred=2.5`; a `UserError` if there is no such condition.

    >>> condition("gray/3")
    Condition(manip='grey', severity=3, draw=0, strength=0.0)
    """
    rest, _, draw = text.partition("#")
    name, _, strength = rest.partition("=")
    name, _, severity = name.partition("/")
    try:
        manip, number, draws, value = MANIPULATIONS.canonical(name), int(severity or 0), int(draw or 0), float(strength or 0)
    except ValueError:
        spellings = "a manipulation alone, with its severity (blurred/3), or with a strength (blurred=2.5)"
        raise UserError(f"{text!r} is not a condition: write {spellings}") from None
    if number and not ((levels := MANIPULATIONS[manip].parameter.levels) and number in SEVERITIES):
        raise UserError(f"{manip} has no severity {number}" + ("; choose from 1 to 5" if levels else ""))
    if value:
        number, value = MANIPULATIONS[manip].settle(number, value)
    return Condition(manip, number, draws, value)


def apply(image: RGB, manipulation: str, severity: int = 0, seed: int = 0, *, strength: float = 0.0, word: str = "") -> RGB:
    """Manipulate one image, (h, w, 3) uint8, to (h', w', 3) uint8.

    Random choices depend on the seed and the pixels; a run uses the digest of the file instead, so that its choices differ.

    Args:
        manipulation: name or alias in `MANIPULATIONS`, a composition such as `grey+blurred`, or a condition such as `blurred/3`.
        severity: 1 to 5; 0 is the fixed setting, or severity 3 if there is none.
        strength: value of the manipulation's parameter, instead of a severity; `clipnb info` names parameter and unit.
        word: the word that `typographic` writes; a run writes the name of another category.

    Raises:
        UserError: the manipulation is unknown or has no such severity or strength, or the image is not an RGB array of uint8.

    >>> import numpy as np, clipnb
    >>> red = np.full((2, 3, 3), (200, 0, 0), np.uint8)
    >>> clipnb.manipulations.apply(red, "grey")[0, 0].tolist()  # 0.299 * 200
    [60, 60, 60]
    >>> clipnb.manipulations.apply(np.zeros((224, 448, 3), np.uint8), "cropped").shape
    (224, 224, 3)
    """
    image = rgb_array(image)
    setting = f"/{severity}" * bool(severity) + f"={strength!r}" * bool(strength)
    return replace(condition(manipulation + setting), word=word)(image, seed, digest(image.tobytes()))
