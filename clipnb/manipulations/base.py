"""Manipulations and conditions: name, severity or strength, seeded draw, and effective strength at the encoder's input."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .._core.random import rng_for
from .._core.registry import Registry
from ..datasets.images import RGB, digest
from ..errors import UserError

SEVERITIES = range(1, 6)

REFERENCE = 224
"""Short side in pixels at which severities are defined (CLIP's input), so that all encoders see the same manipulated image."""

DIFFERENCE = "mean colour difference"
"""Default unit of the effective strength: mean absolute change of the network's input, where white is 1."""


@dataclass(frozen=True)
class View:
    """The part of a photograph that an encoder sees.

    Attributes:
        size: side in pixels of the network's square input.
        whole: whether the input is the whole photograph, squashed to a square, or the centre square of the short side.
    """

    size: int
    whole: bool = False

    def area(self, height: int, width: int) -> float:
        """Number of pixels of the photograph in the part that the network sees."""
        return float(height * width if self.whole else min(height, width) ** 2)

    def scale(self, height: int, width: int) -> float:
        """Length in pixels of the network's input of one pixel of the photograph."""
        return self.size / math.sqrt(self.area(height, width))


Shape = tuple[int, ...]
AtInput = Callable[[float, Shape, Shape, View], float]
"""(value of the parameter, shape before, shape after, view) -> effective strength at the encoder's input."""


@dataclass(frozen=True)
class Manipulation:
    """A manipulation with a fixed setting, five severities, or both.

    Attributes:
        name: the name to type; the study's manipulations keep the study's spelling.
        label: name in figures and sentences.
        summary: description in one line.
        apply: (image (h, w, 3) uint8, generator, value) -> image (h', w', 3) uint8; the value is that of
            the parameter, and 0 is the fixed setting.
        draws: whether `apply` uses the generator; otherwise the seed does not matter.
        version: increase it when `apply` or `at_input` returns other values, so that older stored embeddings are not used.
        parameter: the parameter that severities 1 to 5 set, with its unit; "" without severities.
        levels: value of the parameter at severities 1 to 5.
        limits: lowest and highest value that a strength may set; () if there are only severities.
        whole: whether a strength is a whole number.
        number, wording: format of a value, and words around it, such as "{:.0%}" and "{} of the area kept".
        fixed: whether there is a setting without severity.
        unit: unit of `at_input`.
        at_input: computes the effective strength at the encoder's input from the value and sizes; None if pixels must be
            compared.
        falls: whether a smaller effective strength is a stronger manipulation.
    """

    name: str
    label: str
    summary: str
    apply: Callable[[RGB, np.random.Generator, float], RGB]
    draws: bool = False
    version: int = 1
    parameter: str = ""
    levels: tuple[float, ...] = ()
    limits: tuple[float, ...] = ()
    whole: bool = False
    number: str = "{:.1f}"
    wording: str = "{}"
    fixed: bool = False
    unit: str = DIFFERENCE
    at_input: AtInput | None = None
    falls: bool = False

    def settle(self, severity: int, strength: float = 0.0) -> tuple[int, float]:
        """The severity and the strength to use; at least one of them is 0.

        A strength that is the value of a severity becomes that severity. Without severities, both are 0. If both are 0 and
        there is no fixed setting, the severity is 3, the middle.

        Raises:
            UserError: the manipulation has no such strength, or both are given.
        """
        if severity and strength:
            raise UserError(f"{self.name} takes a severity or a strength, not both: {severity} and {strength:g}")
        if strength:
            if not self.limits:
                raise UserError(f"{self.name} has no strength" + ("; give a severity from 1 to 5" if self.levels else ""))
            low, high = self.limits
            if not low <= strength <= high or (self.whole and strength != round(strength)):
                kind = f"{'a whole number' if self.whole else 'a number'} from {low:g} to {high:g}"
                raise UserError(f"the strength of {self.name} ({self.parameter}) is {kind}, not {strength:g}")
            return (self.levels.index(strength) + 1, 0.0) if strength in self.levels else (0, float(strength))
        if not self.levels:
            return 0, 0.0
        return severity or (0 if self.fixed else 3), 0.0

    def value(self, severity: int, strength: float = 0.0) -> float:
        """The value of the parameter at a severity or strength; 0 for the fixed setting."""
        return self.levels[severity - 1] if severity else strength

    def in_words(self, value: float) -> str:
        """A value of the parameter in words, such as `31% of the area kept`."""
        return self.wording.format(self.number.format(value))

    def level(self, severity: int) -> str:
        """The setting at a severity (0: the fixed setting), in words."""
        return f"{self.parameter} {self.levels[severity - 1]:g}" if severity and self.levels else self.summary

    def key(self, seed: int, severity: int = 0, draw: int = 0, strength: float = 0.0) -> str:
        """Identifies the embedding of an image under this manipulation in the embedding store."""
        key = f"{self.name}@{self.version}" + f"/s{severity}" * (severity > 0) + f"/={strength!r}" * (strength > 0)
        return key + f"/{seed}" + f"/draw{draw}" * (draw > 0) if self.draws else key

    def __call__(self, image: RGB, seed: int, image_digest: str, severity: int = 0, draw: int = 0, strength: float = 0.0) -> RGB:
        """Manipulate one image.

        Random choices depend only on the seed, the image's content and the draw's number. All strengths of a draw share
        them, so that a severity curve compares like with like.

        Args:
            image: (h, w, 3) uint8.
            severity: 1 to 5, or 0 for the fixed setting or a strength.
            draw: number of the draw, for several draws per image.
            strength: value of the parameter.
        """
        rng = rng_for(seed, image_digest, self.name, *([draw] if draw else []))
        return self.apply(image, rng, self.value(*self.settle(severity, strength)))


class Manipulations(Registry[Manipulation]):
    """Registry of manipulations. `grey+blurred` stands for grey, then blurred."""

    def __init__(self) -> None:
        super().__init__("manipulation")

    def canonical(self, name: str) -> str:
        if "+" not in name:
            return super().canonical(name)
        return "+".join(self[part.strip()].name for part in name.split("+"))

    def __getitem__(self, name: str) -> Manipulation:
        if "+" not in name:
            return super().__getitem__(name)
        return composed([self[part.strip()] for part in name.split("+")])


def composed(parts: list[Manipulation]) -> Manipulation:
    """Apply manipulations one after another, each at the same severity if it has severities."""

    def apply(image: RGB, rng: np.random.Generator, value: float) -> RGB:
        for part in parts:
            image = part.apply(image, rng, part.value(*part.settle(int(value) if part.levels else 0)))
        return image

    graded = [part for part in parts if part.levels]
    return Manipulation(
        "+".join(part.name for part in parts),
        " + ".join(part.label for part in parts),
        ", then ".join(part.summary for part in parts),
        apply,
        draws=any(part.draws for part in parts),
        version=int("".join(f"{part.version:02d}" for part in parts)),
        parameter="each at severity" if graded else "",
        levels=tuple(map(float, SEVERITIES)) if graded else (),
        fixed=all(part.fixed or not part.levels for part in parts),
    )


MANIPULATIONS = Manipulations()


@dataclass(frozen=True)
class Condition:
    """A manipulation at one severity (0: the fixed setting) or strength, for one of several draws.

    Its text form identifies it: `blurred`, `blurred/3`, `blurred=2.5`, `cropped/3#1`.
    """

    manip: str
    severity: int = 0
    draw: int = 0
    strength: float = 0.0

    def __str__(self) -> str:
        setting = f"/{self.severity}" if self.severity else f"={self.strength!r}" if self.strength else ""
        return self.manip + setting + f"#{self.draw}" * (self.draw > 0)

    @property
    def manipulation(self) -> Manipulation:
        """The registered manipulation."""
        return MANIPULATIONS[self.manip]

    @property
    def value(self) -> float:
        """The value of the manipulation's parameter; 0 at its fixed setting."""
        return self.manipulation.value(self.severity, self.strength)

    @property
    def label(self) -> str:
        """Name in figures and sentences."""
        if self.strength:
            return f"{self.manipulation.label}, {self.manipulation.in_words(self.strength)}"
        return self.manipulation.label + f", severity {self.severity}" * (self.severity > 0)

    def key(self, seed: int) -> str:
        """Identifies the embedding of an image under this condition in the embedding store."""
        return self.manipulation.key(seed, self.severity, self.draw, self.strength)

    def at_input(self, before: Shape, after: Shape, view: View, difference: float) -> float:
        """Effective strength at the encoder's input, in `manipulation.unit`.

        Args:
            before, after: shapes of the photograph and of the manipulated photograph.
            view: the part of a photograph that the encoder sees.
            difference: mean colour difference between the two at the encoder's input.
        """
        kind = self.manipulation
        if kind.at_input is None:
            return difference
        return kind.at_input(kind.value(*kind.settle(self.severity, self.strength)), before, after, view)

    def __call__(self, image: RGB, seed: int, image_digest: str) -> RGB:
        """Manipulate one image; see `Manipulation.__call__`."""
        return self.manipulation(image, seed, image_digest, self.severity, self.draw, self.strength)


def condition(text: str) -> Condition:
    """Parse the text form of a condition, such as `cropped/3#1` or `blurred=2.5`.

    Raises:
        UserError: the text is malformed, the manipulation is unknown, or it has no such severity or strength.

    >>> condition("gray/3")
    Condition(manip='grey', severity=3, draw=0, strength=0.0)
    """
    rest, _, draw = text.partition("#")
    name, _, strength = rest.partition("=")
    name, _, severity = name.partition("/")
    try:
        manip, number, value = MANIPULATIONS.canonical(name), int(severity or 0), float(strength or 0)
        draws = int(draw or 0)
    except ValueError:
        spellings = "a manipulation alone, with its severity (blurred/3), or with a strength (blurred=2.5)"
        raise UserError(f"{text!r} is not a condition: write {spellings}") from None
    if number and not (MANIPULATIONS[manip].levels and number in SEVERITIES):
        raise UserError(f"{manip} has no severity {number}" + ("; choose from 1 to 5" if MANIPULATIONS[manip].levels else ""))
    if value:
        number, value = MANIPULATIONS[manip].settle(number, value)
    return Condition(manip, number, draws, value)


def apply(image: RGB, manipulation: str, severity: int = 0, seed: int = 0, *, strength: float = 0.0) -> RGB:
    """Manipulate one image.

    Random choices depend only on the seed and the pixels. A run uses the digest of the image file instead of the pixels,
    so that its random choices differ.

    Args:
        image: (h, w, 3) uint8.
        manipulation: name or alias in `MANIPULATIONS`, a composition such as `grey+blurred`, or a condition such as
            `blurred/3`.
        severity: 1 to 5; 0 is the fixed setting, or severity 3 if there is none.
        strength: value of the manipulation's parameter, instead of a severity; `clipnb info` names parameter and unit.

    Returns:
        (h', w', 3) uint8.

    Raises:
        UserError: the manipulation is unknown or has no such severity or strength, or the image is not an RGB array of uint8.

    >>> import clipnb
    >>> red = np.full((2, 3, 3), (200, 0, 0), np.uint8)
    >>> clipnb.manipulations.apply(red, "grey")[0, 0].tolist()  # 0.299 * 200
    [60, 60, 60]
    >>> clipnb.manipulations.apply(np.zeros((224, 448, 3), np.uint8), "cropped").shape
    (224, 224, 3)
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise UserError(f"an image is an array (height, width, 3) of uint8, not {image.shape} of {image.dtype}")
    setting = f"/{severity}" * bool(severity) + f"={strength!r}" * bool(strength)
    return condition(manipulation + setting)(image, seed, digest(image.tobytes()))
