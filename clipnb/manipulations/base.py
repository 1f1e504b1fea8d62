"""What a manipulation is: a name, a severity, a seeded draw, and how strong it is where the encoder looks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .._core.random import rng_for
from .._core.registry import Registry
from ..datasets.images import RGB
from ..errors import UserError

SEVERITIES = range(1, 6)

REFERENCE = 224
"""Short side in pixels at which severities are defined, CLIP's: every encoder is shown the same manipulated photograph."""

DIFFERENCE = "mean colour difference"
"""The strength of a manipulation that has no better one: mean absolute change of the network's input, white being 1."""


@dataclass(frozen=True)
class View:
    """What an encoder sees of a photograph.

    Attributes:
        size: side in pixels of the square that the network gets.
        whole: all of the photograph, squashed to a square; else the centre square of its short side.
    """

    size: int
    whole: bool = False

    def area(self, height: int, width: int) -> float:
        """Pixels of a photograph that reach the network."""
        return float(height * width if self.whole else min(height, width) ** 2)

    def scale(self, height: int, width: int) -> float:
        """Pixels of the network's input for one pixel of a photograph."""
        return self.size / math.sqrt(self.area(height, width))


Shape = tuple[int, ...]
Strength = Callable[[int, Shape, Shape, View], float]
"""(severity, shape before, shape after, view) -> effective strength at the encoder's input."""


@dataclass(frozen=True)
class Manipulation:
    """One thing that is done to a photograph, at a fixed setting or at five severities.

    Attributes:
        name: what selects it; the study's spelling for the study's.
        label: how a figure or a sentence names it.
        summary: one line on what it does.
        apply: (image (h, w, 3) uint8, generator, severity) -> image (h', w', 3) uint8; severity 0 is the fixed setting.
        draws: whether the generator is used; if not, the seed does not matter.
        version: raised when what `apply` or `strength` gives changes, so that what is kept is not mistaken for new.
        parameter: what severities 1 to 5 set, with its unit; "" where there are none.
        levels: its value at severities 1 to 5.
        fixed: whether there is a setting without severity.
        unit: what `strength` is measured in.
        strength: how strong it is at the encoder's input, from sizes alone; None where pixels must be compared.
        falls: whether a smaller strength is a stronger manipulation.
    """

    name: str
    label: str
    summary: str
    apply: Callable[[RGB, np.random.Generator, int], RGB]
    draws: bool = False
    version: int = 1
    parameter: str = ""
    levels: tuple[float, ...] = ()
    fixed: bool = False
    unit: str = DIFFERENCE
    strength: Strength | None = None
    falls: bool = False

    def settle(self, severity: int) -> int:
        """The severity meant: 0 where there are none; 3, the middle one, where 0 is asked for and there is no fixed setting."""
        if not self.levels:
            return 0
        return severity if severity or self.fixed else 3

    def level(self, severity: int) -> str:
        """What a severity, or the fixed setting, sets, in words."""
        return f"{self.parameter} {self.levels[severity - 1]:g}" if severity and self.levels else self.summary

    def key(self, seed: int, severity: int = 0, draw: int = 0) -> str:
        """What distinguishes this condition's embedding of an image from another's."""
        parts = [f"{self.name}@{self.version}"]
        if severity:
            parts.append(f"s{severity}")
        if self.draws:
            parts += [str(seed)] + [f"draw{draw}"] * (draw > 0)
        return "/".join(parts)

    def __call__(self, image: RGB, seed: int, image_digest: str, severity: int = 0, draw: int = 0) -> RGB:
        """Manipulate one image.

        What is drawn depends on the seed, the image's content and the number of the draw alone. All severities of a draw
        share it, so that a severity curve compares like with like.
        """
        rng = rng_for(seed, image_digest, self.name, *([draw] if draw else []))
        return self.apply(image, rng, self.settle(severity))


class Manipulations(Registry[Manipulation]):
    """Manipulations by name; `grey+blurred` is the first, then the second."""

    def __init__(self) -> None:
        super().__init__("manipulation")

    def canonical(self, name: str) -> str:
        if "+" not in name:
            return super().canonical(name)
        return "+".join(self[part.strip()].name for part in name.split("+"))

    def __getitem__(self, name: str) -> Manipulation:
        if "+" not in name:
            return super().__getitem__(name)
        return composed([super(Manipulations, self).__getitem__(part.strip()) for part in name.split("+")])


def composed(parts: list[Manipulation]) -> Manipulation:
    """Manipulations one after the other, each at the severity asked for where it has severities."""

    def apply(image: RGB, rng: np.random.Generator, severity: int) -> RGB:
        for part in parts:
            image = part.apply(image, rng, part.settle(severity))
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
    """A manipulation at a severity (0: its fixed setting), for one of several draws.

    Its text is its identity: `blurred`, `blurred/3`, `cropped/3#1`.
    """

    manip: str
    severity: int = 0
    draw: int = 0

    def __str__(self) -> str:
        return self.manip + f"/{self.severity}" * (self.severity > 0) + f"#{self.draw}" * (self.draw > 0)

    @property
    def manipulation(self) -> Manipulation:
        return MANIPULATIONS[self.manip]

    @property
    def label(self) -> str:
        """How a figure or a sentence names it."""
        return self.manipulation.label + f", severity {self.severity}" * (self.severity > 0)

    def key(self, seed: int) -> str:
        """What distinguishes this condition's embedding of an image from another's."""
        return self.manipulation.key(seed, self.severity, self.draw)

    def strength(self, before: Shape, after: Shape, view: View, difference: float) -> float:
        """How strong it is at the encoder's input, in `manipulation.unit`.

        Args:
            before, after: shapes of the photograph and of what was made of it.
            view: what the encoder sees.
            difference: mean colour difference of the two at the encoder's input.
        """
        measured = self.manipulation.strength
        return difference if measured is None else measured(self.manipulation.settle(self.severity), before, after, view)

    def __call__(self, image: RGB, seed: int, image_digest: str) -> RGB:
        """Manipulate one image; see `Manipulation`."""
        return self.manipulation(image, seed, image_digest, self.severity, self.draw)


def condition(text: str) -> Condition:
    """The condition that a text such as `cropped/3#1` names.

    Raises:
        UserError: it names none.
    """
    rest, _, draw = text.partition("#")
    name, _, severity = rest.partition("/")
    try:
        found = Condition(MANIPULATIONS.canonical(name), int(severity or 0), int(draw or 0))
    except ValueError:
        raise UserError(f"{text!r} is no condition: write a manipulation and, after a slash, its severity (blurred/3)") from None
    if found.severity and (found.severity not in SEVERITIES or not found.manipulation.levels):
        raise UserError(f"{found.manip} has no severity {found.severity}")
    return found
