"""Calibrate distance thresholds for an encoder on pairs of photographs whose categories are held out of the scoring.

The distances of each category are counted in fine bins. Memory therefore does not grow with the number of pairs, and the
jackknife over categories, which gives the intervals, need not compute any distance again.
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
"""Number of bins for distances from 0 to 2; the resolution of a threshold is 0.00025."""

ENOUGH = 10
"""Number of categories from which half of them calibrate and the others check; below it, all categories calibrate."""

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
"""Statistics of an operating curve: areas and rates in [0, 1], thresholds (`tau_*`) in [0, 2]."""


@dataclass(frozen=True)
class PairCounts:
    """Histograms of the distances of all pairs of images, for G categories.

    Attributes:
        same: (G, BINS) number of ordered pairs within each category.
        different: (G, BINS) number of ordered pairs from each category to the others.
    """

    same: NDArray[np.int64]
    different: NDArray[np.int64]

    def curve(self, without: int | None = None) -> OperatingCurve:
        """Compute the operating curve of all categories, or of all categories but `without`."""
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
        images: (n,) codes of the content; pairs of equal content are excluded.
    """
    groups = int(categories.max()) + 1 if len(categories) else 0
    counts = np.zeros(2 * groups * (BINS + 1), dtype=np.int64)
    for rows, cosine in similarity_blocks(vectors, vectors):
        distance = np.sqrt(np.maximum(0.0, 2.0 - 2.0 * cosine))
        at = np.minimum((distance * (BINS / 2)).astype(np.int64), BINS - 1)
        at[images[rows, None] == images] = BINS
        at += (2 * categories[rows, None] + (categories[rows, None] == categories)) * (BINS + 1)
        counts += np.bincount(at.ravel(), minlength=len(counts))
    table = counts.reshape(groups, 2, BINS + 1)[:, :, :BINS]
    return PairCounts(same=table[:, 1], different=table[:, 0])


def jackknife(
    counts: PairCounts, statistics: Mapping[str, Callable[[OperatingCurve], float]], *, level: float = 0.95
) -> dict[str, Interval]:
    """Compute statistics of the operating curve with jackknife intervals over G categories (Efron 1982).

    The interval is θ ± t(G - 1) s with s² = (G - 1) / G · Σ (θ₍c₎ - mean of θ₍c₎)², where θ₍c₎ is the statistic without
    category c. It has no bounds for fewer than three categories, or where a θ₍c₎ is undefined.
    """
    groups = len(counts.same)
    whole, reduced = counts.curve(), [counts.curve(without=c) for c in range(groups)] if groups > 2 else []
    found = {}
    for name, statistic in statistics.items():
        point, left_out = statistic(whole), np.array([statistic(curve) for curve in reduced])
        if not reduced or np.isnan(left_out).any():
            found[name] = Interval(point, math.nan, math.nan, "jackknife", groups, level)
            continue
        error = math.sqrt((groups - 1) / groups * float(((left_out - left_out.mean()) ** 2).sum()))
        arm = float(stats.t.ppf((1 + level) / 2, groups - 1)) * error
        found[name] = Interval(point, max(0.0, point - arm), point + arm, "jackknife", groups, level)
    return found


@dataclass(frozen=True)
class Calibration:
    """Calibrated thresholds.

    Attributes:
        values: name in `STATISTICS` -> estimate with its interval over categories.
        curve: operating curve of the calibration categories.
        calibrated_on, scored_on: names of the categories; they are equal if there are too few categories to divide.
        check: operating curve of the scoring categories; None if they are the calibration categories.
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
        """(recall, FPR, precision) of a threshold, each in [0, 1]; (0, 0, NaN) if no pair is as close as that.

        They are those of the calibration categories or, with `checked`, of the scoring categories.
        """
        curve = self.check if checked and self.check is not None else self.curve
        below = np.flatnonzero(curve.tau <= tau + 1e-12)
        if not below.size:
            return 0.0, 0.0, math.nan
        return float(curve.recall[below[-1]]), float(curve.fpr[below[-1]]), float(curve.precision[below[-1]])


def calibrate(vectors: Floats, categories: Sequence[str], images: Sequence[str], *, seed: int = 0) -> Calibration:
    """Calibrate thresholds on a random half of the categories and check them on the others.

    With fewer than `ENOUGH` categories, all of them calibrate and nothing is checked.

    Args:
        vectors: (n, dim) unit vectors of clean photographs.
        categories, images: n category names and n digests of the files.
        seed: seed of the division into halves.

    Raises:
        UserError: there are fewer than two categories, or no category has two images.

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
        raise UserError("a threshold needs at least two categories, and two photographs in one of them")
    rest = set(names) - set(chosen)
    return Calibration(
        values=jackknife(counts, STATISTICS),
        curve=counts.curve(),
        calibrated_on=tuple(sorted(chosen)),
        scored_on=tuple(sorted(rest or chosen)),
        check=counted(rest).curve() if rest else None,
    )
