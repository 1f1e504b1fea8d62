"""Manipulations: name, parameter, seeded draws, compositions, and effective strength at the encoder's input."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .._core.registry import Registry
from ..datasets.images import RGB
from ..errors import UserError

SEVERITIES = range(1, 6)
REFERENCE = 224  #: short side in pixels at which severities are defined (CLIP's input): all encoders see the same image
DIFFERENCE = "mean colour difference"  #: default unit of the strength: mean absolute change of the input, where white is 1


@dataclass(frozen=True)
class View:
    """The part of a photograph that an encoder sees."""

    size: int  #: side in pixels of the network's square input
    whole: bool = False  #: whether the input is the whole photograph, squashed to a square, or the centre square of the short side

    def area(self, height: int, width: int) -> float:
        """Number of pixels of the photograph in the part that the network sees."""
        return float(height * width if self.whole else min(height, width) ** 2)

    def scale(self, height: int, width: int) -> float:
        """Length in pixels of the network's input of one pixel of the photograph."""
        return self.size / math.sqrt(self.area(height, width))


Shape = tuple[int, ...]
AtInput = Callable[[float, Shape, Shape, View], float]  #: value, shape before, shape after, view -> effective strength


@dataclass(frozen=True)
class Parameter:
    """What severities and strengths of a manipulation set."""

    name: str = ""  #: description with its unit; "" without severities
    levels: tuple[float, ...] = ()  #: value at severities 1 to 5, from weak to strong; () without severities
    limits: tuple[float, ...] = ()  #: lowest and highest value that a strength may set; () if there are only severities
    wording: str = "{:.1f}"  #: a value in words, with its format, such as "{:.0%} of the area kept"; {:d} if it is a whole number

    @property
    def whole(self) -> bool:
        """Whether a strength is a whole number."""
        return "{:d}" in self.wording

    @property
    def rises(self) -> int:
        """1 if a larger value is a stronger manipulation, -1 if a smaller one is."""
        return 1 if self.levels[0] < self.levels[-1] else -1

    def text(self, value: float) -> str:
        """A value as text, such as `31%`, with a decimal below 10 or 10%, such as `3.5`; a whole number has none."""
        number = re.findall(r"{:.+}", self.wording)[0].replace("{:d}", "{:.0f}")
        if value < (0.1 if "%" in number else 10):
            number = number.replace(".0", ".1")
        return str(number.format(value)).replace(".0%", "%").removesuffix(".0" if value == round(value) else "")

    def around(self, text: str) -> str:
        """The words of a value with a text in its place."""
        return re.sub(r"{:.+}", text, self.wording)

    def in_words(self, value: float) -> str:
        """A value in words, such as `31% of the area kept`."""
        return self.around(self.text(value))


@dataclass(frozen=True)
class Manipulation:
    """A manipulation with a fixed setting, five severities, or both."""

    name: str  #: the name to type; the study's manipulations keep the study's spelling
    summary: str  #: description in one line
    #: (image (h, w, 3) uint8, generator, value) -> image (h', w', 3) uint8. The value sets the parameter; 0 is the fixed setting.
    #: A manipulation that writes a word takes the word as a fourth argument.
    apply: Callable[..., RGB]
    label: str = ""  #: name in figures and sentences; the name by default
    draws: bool = False  #: whether `apply` uses the generator, or the word is drawn; otherwise the seed does not matter
    writes: bool = False  #: whether it writes a word on the image; in a run, the name of another category
    version: int = 1  #: increase it when `apply` or `at_input` returns other values, so that older embeddings are not used
    parameter: Parameter = Parameter()  #: what severities and strengths set; none by default
    fixed: bool = False  #: whether there is a setting without severity
    unit: str = DIFFERENCE  #: unit of `at_input`
    at_input: AtInput | None = None  #: effective strength from the value and sizes; None if pixels must be compared
    aliases: tuple[str, ...] = ()  #: other spellings of the name

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", self.label or self.name)

    def settle(self, severity: int, strength: float = 0.0) -> tuple[int, float]:
        """The severity and the strength to use, one of them or both 0; a `UserError` for both, or for an impossible strength.

        A strength that is the value of a severity becomes that severity. Without either and a fixed setting, the severity is 3.
        """
        if severity and strength:
            raise UserError(f"{self.name} takes a severity or a strength, not both: {severity} and {strength:g}")
        sets, levels = self.parameter, self.parameter.levels
        if strength:
            if not sets.limits:
                raise UserError(f"{self.name} has no strength" + ("; give a severity from 1 to 5" if levels else ""))
            low, high = sets.limits
            if not low <= strength <= high or (sets.whole and strength != round(strength)):
                kind = f"{'a whole number' if sets.whole else 'a number'} from {low:g} to {high:g}"
                raise UserError(f"the strength of {self.name} ({sets.name}) is {kind}, not {strength:g}")
            return (levels.index(strength) + 1, 0.0) if strength in levels else (0, float(strength))
        return (severity or (0 if self.fixed else 3), 0.0) if levels else (0, 0.0)

    def value(self, severity: int, strength: float = 0.0) -> float:
        """The value of the parameter at a severity or strength that `settle` completes; 0 for the fixed setting."""
        severity, strength = self.settle(severity, strength)
        return self.parameter.levels[severity - 1] if severity else strength


class Manipulations(Registry[Manipulation]):
    """Registry of manipulations. `grey+blurred` stands for grey, then blurred."""

    def canonical(self, name: str) -> str:
        if parts := re.fullmatch(r"(.+)([/=])([\d.]+)", name):
            known, setting = self.canonical(parts[1]), "severity" if parts[2] == "/" else "strength"
            raise UserError(f"{name!r} is {known} at a {setting}: type {known} alone, and -p {setting} {parts[3]}")
        if "+" not in name:
            return super().canonical(name)
        return "+".join(self[part.strip()].name for part in name.split("+"))

    def __getitem__(self, name: str) -> Manipulation:
        if "+" not in name:
            return super().__getitem__(name)
        return composed([self[part.strip()] for part in name.split("+")])


def composed(parts: list[Manipulation]) -> Manipulation:
    """Apply manipulations one after another, each at the same severity if it has severities."""

    def apply(image: RGB, rng: np.random.Generator, value: float, *word: str) -> RGB:
        for part in parts:
            image = part.apply(image, rng, part.value(int(value)), *(word if part.writes else ()))
        return image

    graded = any(part.parameter.levels for part in parts)
    return Manipulation(
        "+".join(part.name for part in parts),
        ", then ".join(part.summary for part in parts),
        apply,
        " + ".join(part.label for part in parts),
        draws=any(part.draws for part in parts),
        writes=any(part.writes for part in parts),
        version=int("".join(f"{part.version:02d}" for part in parts)),
        parameter=Parameter("each at severity", tuple(map(float, SEVERITIES)), (), "severity {:.1f}") if graded else Parameter(),
        fixed=all(part.fixed for part in parts),
    )


MANIPULATIONS = Manipulations("manipulation")
