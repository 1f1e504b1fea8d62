"""Guards that speak up: a manipulation that does nothing, and two conditions that are one.

What counts is what the network sees: two photographs are the same for it if and only if its inputs are, pixel for pixel.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from .manipulations import CLEAN
from .seeds import rng_for

if TYPE_CHECKING:
    from .results import Result
    from .spec import RunSpec

NOTICED = 0.25
"""Share of untouched photographs, or of equal inputs, from which a reader is told."""

ALIKE = 0.95
"""Share of equal scores from which two lists of scores are suspected to be one."""


class Agreement(NamedTuple):
    """How far two lists of scores of the same images agree.

    Attributes:
        equal: share of images with exactly the same score in both.
        by_chance: that share if each category's images were matched at random.
        p: of an agreement at least as large by such a matching, (b + 1) / (B + 1).
    """

    equal: float
    by_chance: float
    p: float

    @property
    def suspicious(self) -> bool:
        return self.equal >= ALIKE and self.p < 0.01


def score_agreement(
    a: Mapping[str, Sequence[float]], b: Mapping[str, Sequence[float]], *, resamples: int = 999, seed: int = 0
) -> Agreement:
    """Whether two conditions' scores agree beyond chance: all that can be asked where the photographs are not at hand.

    Args:
        a, b: category -> image scores, the same images in the same order.
        resamples: random matchings within categories.
        seed: of those.

    Raises:
        ValueError: they are not of the same images.
    """
    if {c: len(v) for c, v in a.items()} != {c: len(v) for c, v in b.items()} or not sum(map(len, a.values())):
        raise ValueError("the two do not score the same images")
    left, right = (np.concatenate([np.asarray(scores[c], dtype=float) for c in a]) for scores in (a, b))
    group = np.repeat(np.arange(len(a)), [len(v) for v in a.values()])
    rng = rng_for(seed, "score agreement")
    equal = float(np.mean(left == right))
    if equal < ALIKE:
        resamples = 19  # enough to say what chance gives; nothing is suspected
    chance = np.empty(resamples)
    for i in range(resamples):
        order = np.lexsort((rng.random(len(group)), group))  # shuffles inside each category
        chance[i] = np.mean(left == right[order])
    return Agreement(equal, float(chance.mean()), float((np.sum(chance >= equal) + 1) / (resamples + 1)))


def equal_inputs(a: pd.DataFrame, b: pd.DataFrame) -> float:
    """Share of the first draws of two runs' queries whose network inputs are the same; NaN where they share no query."""
    both = [rows[rows["draw"] == 0].set_index(["category", "image"])["input"] for rows in (a, b)]
    left, right = both[0].align(both[1], join="inner")
    return float((left == right).mean()) if len(left) else float("nan")


def duplicate_conditions(results: Sequence[Result]) -> list[str]:
    """What to say of pairs of runs, alike but for the manipulation, that asked the same or were answered the same."""
    said = []
    for a, b in combinations([r for r in results if r.spec.manip != CLEAN], 2):
        if a.spec.group_id != b.spec.group_id or a.spec.condition_id == b.spec.condition_id:
            continue
        if {"input", "draw"} <= set(a.rows) & set(b.rows) and (share := equal_inputs(a.rows, b.rows)) >= NOTICED:
            said.append(f"`{a.spec.group_id}`: {duplicate_warning(a.label, b.label, share)}")
        elif (a.spec.draws, len(a.rows)) == (b.spec.draws, len(b.rows)) and a.scores.keys() == b.scores.keys():
            agreement = score_agreement(a.scores, b.scores)
            if agreement.suspicious:
                said.append(f"`{a.spec.group_id}`: {agreement_warning(a.label, b.label, agreement)}")
    return said


def agreement_warning(a: str, b: str, agreement: Agreement) -> str:
    """How a reader is told that two lists of scores may be one."""
    return (
        f"{a} and {b} score exactly the same on {agreement.equal:.0%} of the photographs, where chance gives "
        f"{agreement.by_chance:.0%}: one condition may have been run twice"
    )


def duplicate_warning(a: str, b: str, share: float) -> str:
    """How a reader is told."""
    return f"{a} and {b} are the same for the encoder on {share:.0%} of the photographs: these two conditions are not two"


def saved_duplicates(spec: RunSpec, rows: pd.DataFrame, root: Path) -> list[str]:
    """What to say of saved runs that asked largely the same of the encoder as this one."""
    if spec.manip == CLEAN:
        return []
    said = []
    for other, folder in _siblings(spec, root):
        try:
            theirs = pd.read_parquet(folder / "rows.parquet", columns=["category", "image", "draw", "input"])
        except (OSError, ValueError, KeyError):
            continue  # a damaged or older result is reported where it is loaded
        if (share := equal_inputs(rows, theirs)) >= NOTICED:
            said.append(duplicate_warning(spec.condition.label, other.condition.label, share))
    return sorted(said)


def _siblings(spec: RunSpec, root: Path) -> Iterator[tuple[RunSpec, Path]]:
    """Saved runs that differ from this one in the manipulation only, the clean one left out."""
    for about in root.glob(f"{spec.dataset_name}-*/run.json"):
        try:
            other = type(spec)(**json.loads(about.read_text(encoding="utf-8"))["spec"])
        except Exception:  # (reported where results are loaded)
            continue
        if other.manip != CLEAN and other.group_id == spec.group_id and other.condition_id != spec.condition_id:
            yield other, about.parent
