"""Histograms of the distances of pairs of photographs by category, and the jackknife over categories.

Distances are counted in fine bins. Memory therefore does not grow with the number of pairs, and the jackknife, which gives
the intervals of thresholds, need not compute any distance again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy
from numpy.typing import NDArray

from ..metrics.ranking import Integers, in_steps, similarity_blocks
from ..metrics.validity import Floats
from ..metrics.verification import OperatingCurve, curve_of_counts
from ..stats.intervals import ALPHA, FEWEST, Interval, ticks

BINS = 8000  # number of bins for distances from 0 to 2: the resolution is 0.00025, and a threshold with three decimals is an edge


@dataclass(frozen=True)
class PairCounts:
    """Histograms of the distances of pairs of images, for G categories."""

    same: NDArray[np.int64]  # (G, BINS) number of ordered pairs within each category
    different: NDArray[np.int64]  # (G, BINS) number of ordered pairs from each category to the others
    towards: NDArray[np.int64]  # (G, BINS) number of ordered pairs from the others to each category

    def curve(self, without: int | None = None) -> OperatingCurve:
        """Compute the operating curve of all pairs, or of those without an image of the category `without`."""
        same, different = self._totals
        if without is not None:
            same, different = same - self.same[without], different - self.different[without] - self.towards[without]
        return curve_of_counts(np.arange(1, BINS + 1) * 2 / BINS, same, different)

    @cached_property
    def _totals(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self.same.sum(axis=0), self.different.sum(axis=0)


def pair_counts(vectors: Floats, categories: Integers, images: Integers, k: int = 0) -> PairCounts:
    """Count the distances of all pairs of (n, dim) unit vectors or, if k is not 0, of every image and its k results.

    `categories` are (n,) codes from 0 to G - 1. `images` are (n,) codes of the content; pairs of equal content are excluded. Among
    ties, results of another category come first.
    """
    groups = int(categories.max()) + 1 if len(categories) else 0
    counts = np.zeros((2 * groups, BINS + 1), dtype=np.int64)  # the last bin holds the pairs of equal content
    towards = np.zeros((groups, BINS + 1), dtype=np.int64)
    for rows, cosine in similarity_blocks(vectors, vectors):
        same = categories[rows, None] == categories
        kind, own = 2 * categories[rows, None] + same, images[rows, None] == images
        if k:
            nearest = np.argpartition(np.where(own, np.inf, same - 2 * in_steps(cosine)), min(k, len(vectors)) - 1, axis=1)[:, :k]
            cosine, kind, own = (np.take_along_axis(part, nearest, axis=1) for part in (cosine, kind, own))
        at = np.minimum((np.sqrt(np.maximum(0.0, 2.0 - 2.0 * cosine)) * (BINS / 2)).astype(np.int64), BINS - 1)
        at[own] = BINS
        np.add.at(counts.ravel(), (at + kind * (BINS + 1)).ravel(), 1)
        if k:
            np.add.at(towards, (categories[nearest], at), kind % 2 == 0)
    different = counts[::2, :-1]
    return PairCounts(same=counts[1::2, :-1], different=different, towards=towards[:, :-1] if k else different)


def jackknife(counts: PairCounts, statistics: Mapping[str, Callable[[OperatingCurve], float]]) -> dict[str, Interval]:
    """Compute statistics of the operating curve with jackknife intervals over categories: name -> `jackknife_interval`.

    The names of thresholds begin with "tau": a distance is at most 2, a rate at most 1.
    """
    groups = len(counts.same)
    whole, reduced = counts.curve(), [counts.curve(without=c) for c in range(groups)] if groups >= FEWEST else []
    weights = (counts.same + counts.different).sum(axis=1)
    return {
        name: jackknife_interval(
            statistic(whole), list(map(statistic, reduced)), weights, most=2.0 if name.startswith("tau") else 1.0
        )
        for name, statistic in statistics.items()
    }


def jackknife_interval(point: float, left_out: Sequence[float], weights: NDArray[np.integer], most: float = 1.0) -> Interval:
    """95% jackknife interval over G categories (Efron 1982), clipped at 0 and at `most`.

    The interval is θ ± t(G* - 1) s with s² = (G - 1) / G · Σ (θ₍c₎ - mean of θ₍c₎)², where θ₍c₎ is the statistic without
    category c. G* = (Σ w)² / Σ w², at least 2, is the effective number of categories: G if they weigh the same, fewer if some
    weigh much more (Carter et al. 2017). In simulations it covers 93.5% to 98.5% with categories of one size and 89.5% to
    99.0% with very different sizes. `point` is θ, `left_out` are the θ₍c₎, and the weights w are numbers of pairs. There are no
    bounds for fewer than `FEWEST` θ₍c₎, if all are equal, or if one is NaN.
    """
    values, groups = np.asarray(left_out, dtype=np.float64), len(weights)
    constant = bool(values.size) and not np.ptp(ticks(values))
    if values.size < FEWEST or constant or np.isnan(values).any():
        return Interval(point, math.nan, math.nan, "jackknife", groups, constant=constant)
    effective = float(weights.sum()) ** 2 / float((weights.astype(np.float64) ** 2).sum())
    error = math.sqrt((groups - 1) / groups * float(((values - values.mean()) ** 2).sum()))
    arm = float(scipy.stats.t.ppf(1 - ALPHA / 2, max(1.0, effective - 1))) * error
    return Interval(point, max(0.0, point - arm), min(most, point + arm), "jackknife", groups)
