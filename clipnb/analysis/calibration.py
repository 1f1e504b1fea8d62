"""Which threshold for these photographs and this encoder: calibrated on pairs of categories that are kept out of scoring.

Distances are counted in fine bins, category by category, so that memory does not grow with the number of pairs and
leaving a category out costs nothing: intervals are a jackknife over categories.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from .._core.random import drawn
from ..errors import UserError
from ..metrics.ranking import Integers, codes, similarity_blocks
from ..metrics.validity import Floats
from ..metrics.verification import (
    OperatingCurve,
    average_precision,
    curve_of_counts,
    equal_error,
    recall_at_precision,
    roc_auc,
    tau_at_fpr,
)
from ..stats.intervals import Interval

BINS = 8192
"""Of distances from 0 to 2: a threshold is known to 0.00025."""

ENOUGH = 10
"""Categories from which half are kept out of scoring for the calibration; with fewer, all serve for both."""

STATISTICS: dict[str, Callable[[OperatingCurve], float]] = {
    "roc_auc": roc_auc,
    "uap": average_precision,
    "eer": lambda curve: equal_error(curve)[0],
    "tau_eer": lambda curve: equal_error(curve)[1],
    "tau_fpr_1": lambda curve: tau_at_fpr(curve, 0.01),
    "tau_fpr_5": lambda curve: tau_at_fpr(curve, 0.05),
    "tau_p90": lambda curve: recall_at_precision(curve, 0.9)[1],
    "recall_p90": lambda curve: recall_at_precision(curve, 0.9)[0],
}
"""What is calibrated: areas and rates in [0, 1], thresholds in [0, 2]."""


@dataclass(frozen=True)
class PairCounts:
    """Distances of all pairs of images, counted.

    Attributes:
        same: (G, BINS) ordered pairs within each category.
        different: (G, BINS) ordered pairs from each category to the others.
    """

    same: NDArray[np.int64]
    different: NDArray[np.int64]

    def curve(self, without: int | None = None) -> OperatingCurve:
        """The operating curve of all categories, or of all but one."""
        same, different = self._totals
        if without is not None:
            same, different = same - self.same[without], different - 2 * self.different[without]
        return curve_of_counts(np.arange(1, BINS + 1) * 2 / BINS, same, different)

    @cached_property
    def _totals(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self.same.sum(axis=0), self.different.sum(axis=0)


def pair_counts(vectors: Floats, categories: Integers, images: Integers) -> PairCounts:
    """Count the distances of all pairs.

    Args:
        vectors: (n, dim) unit vectors.
        categories: (n,) codes from 0 to G - 1.
        images: (n,) content codes; pairs of one image with itself or a copy are left out.
    """
    groups = int(categories.max()) + 1 if len(categories) else 0
    counts = np.zeros(2 * groups * (BINS + 1), dtype=np.int64)
    for part, cosine in similarity_blocks(vectors, vectors):
        distance = np.sqrt(np.maximum(0.0, 2.0 - 2.0 * cosine))
        at = np.minimum((distance * (BINS / 2)).astype(np.int64), BINS - 1)
        at[images[part, None] == images] = BINS
        at += (2 * categories[part, None] + (categories[part, None] == categories)) * (BINS + 1)
        counts += np.bincount(at.ravel(), minlength=len(counts))
    table = counts.reshape(groups, 2, BINS + 1)[:, :, :BINS]
    return PairCounts(same=table[:, 1], different=table[:, 0])


def jackknife(
    counts: PairCounts, statistics: Mapping[str, Callable[[OperatingCurve], float]], *, level: float = 0.95
) -> dict[str, Interval]:
    """Statistics of the curve with intervals over categories: estimate ± t(G-1) s, s by leaving each category out.

    No bounds for fewer than three categories, or where leaving one out leaves nothing to compute.
    """
    groups = len(counts.same)
    whole, parts = counts.curve(), [counts.curve(without=c) for c in range(groups)] if groups > 2 else []
    found = {}
    for name, statistic in statistics.items():
        point, left_out = statistic(whole), np.array([statistic(curve) for curve in parts])
        if not parts or np.isnan(left_out).any():
            found[name] = Interval(point, math.nan, math.nan, "jackknife", groups, level)
            continue
        error = math.sqrt((groups - 1) / groups * float(((left_out - left_out.mean()) ** 2).sum()))
        arm = float(stats.t.ppf((1 + level) / 2, groups - 1)) * error
        found[name] = Interval(point, max(0.0, point - arm), point + arm, "jackknife", groups, level)
    return found


@dataclass(frozen=True)
class Calibration:
    """What the pairs say about thresholds.

    Attributes:
        values: name in `STATISTICS` -> estimate with its interval over categories.
        curve: the operating curve of the calibration categories.
        calibrated_on, scored_on: categories; the same ones where there are too few to divide.
        check: the curve of the scoring categories; None where they are the same.
    """

    values: dict[str, Interval]
    curve: OperatingCurve
    calibrated_on: tuple[str, ...]
    scored_on: tuple[str, ...]
    check: OperatingCurve | None

    @property
    def held_out(self) -> bool:
        return self.check is not None

    def at(self, tau: float, *, checked: bool = False) -> tuple[float, float, float]:
        """(recall, FPR, precision) of a threshold, on the calibration or the scoring categories; 0, 0, NaN below all pairs."""
        curve = self.check if checked and self.check is not None else self.curve
        below = np.flatnonzero(curve.tau <= tau + 1e-12)
        if not below.size:
            return 0.0, 0.0, math.nan
        return float(curve.recall[below[-1]]), float(curve.fpr[below[-1]]), float(curve.precision[below[-1]])


def calibrate(vectors: Floats, categories: Sequence[str], images: Sequence[str], *, seed: int = 0) -> Calibration:
    """Calibrate on half of the categories, drawn by the seed, and check on the others; on all where there are few.

    Args:
        vectors: (n, dim) unit vectors of clean photographs.
        categories, images: n category names and content digests.
        seed: decides which categories are kept out.

    Raises:
        UserError: fewer than two categories, or none with two images.

    >>> angles = np.array([0.0, 0.1, 1.5, 1.6])  # two categories of two photographs each
    >>> vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    >>> calibrate(vectors, ["cats", "cats", "dogs", "dogs"], ["a", "b", "c", "d"]).values["roc_auc"].point
    1.0
    """
    names = sorted(set(categories))
    divided = len(names) >= ENOUGH
    chosen = drawn(names, len(names) // 2, seed, "calibration") if divided else set(names)
    labels = np.asarray(categories)
    content = codes(images)[0]

    def counted(wanted: set[str]) -> PairCounts:
        rows = np.flatnonzero([label in wanted for label in labels])
        return pair_counts(vectors[rows], codes(labels[rows])[0], content[rows])

    counts = counted(set(chosen))
    if not (counts.same.sum() and counts.different.sum()):
        raise UserError("a threshold needs two categories or more, and two photographs in one of them")
    rest = set(names) - set(chosen)
    return Calibration(
        values=jackknife(counts, STATISTICS),
        curve=counts.curve(),
        calibrated_on=tuple(sorted(chosen)),
        scored_on=tuple(sorted(rest or chosen)),
        check=counted(rest).curve() if rest else None,
    )
