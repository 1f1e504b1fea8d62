"""Effect sizes, and the correlation of images within a category."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike

from .intervals import TICK, ticks


def rank_biserial(differences: ArrayLike) -> float:
    """Matched-pairs rank-biserial correlation (T+ - T-) / (T+ + T-) of the signed-rank sums (Kerby 2014). Zeros are left out.

    It is in [-1, 1] for (G,) changes: -1 if every category loses, 0 if none changes, NaN if there are none or one is NaN.

    >>> round(rank_biserial([-3, 1, -2]), 3)  # (1 - 5) / 6
    -0.667
    """
    d = ticks(differences)
    if not d.size or np.isnan(d).any():
        return float("nan")
    d = d[d != 0]
    if not d.size:
        return 0.0
    ranks = scipy.stats.rankdata(np.abs(d))
    return float((ranks * np.sign(d)).sum() / ranks.sum())


def cliffs_delta(a: ArrayLike, b: ArrayLike) -> float:
    """Cliff's delta, P(a > b) - P(a < b), in [-1, 1], of independent sets of (G1,) and (G2,) values (Cliff 1993).

    NaN if a set is empty or has NaN.

    >>> cliffs_delta([1, 2], [0, 2])  # (2 pairs above - 1 pair below) / 4
    0.25
    """
    x, y = ticks(a), ticks(b)
    if not (x.size and y.size) or np.isnan(x).any() or np.isnan(y).any():
        return float("nan")
    return float(2 * scipy.stats.mannwhitneyu(x, y, method="asymptotic").statistic / (x.size * y.size) - 1)


@dataclass(frozen=True)
class Nesting:
    """Similarity of the scores within a category.

    The design effect is 1 + (m - 1) ICC with m = Σn² / Σn images per category (Kish 1965), at least 1: the variance of a mean over
    images divided by the variance that independent images would give. Both are NaN for fewer than two categories, if no category
    has two images, or if all scores are equal.
    """

    icc: float  #: intra-class correlation, ICC(1) by one-way analysis of variance (Shrout & Fleiss 1979)
    design_effect: float  #: design effect


def nesting(scores: Sequence[ArrayLike]) -> Nesting:
    """Intra-class correlation and design effect of the image scores of each category; NaN is an image without a score.

    >>> nesting([[1, 1], [0, 0]])
    Nesting(icc=1.0, design_effect=2.0)
    """
    groups = [v[~np.isnan(v)] for v in (np.asarray(s, dtype=np.float64) for s in scores)]
    groups = [v for v in groups if v.size]
    n = np.array([v.size for v in groups], dtype=np.float64)
    total, g = n.sum(), len(groups)
    if g < 2 or total == g:
        return Nesting(float("nan"), float("nan"))
    means = np.array([v.mean() for v in groups])
    between = (n * (means - (n * means).sum() / total) ** 2).sum() / (g - 1)
    within = sum(((v - v.mean()) ** 2).sum() for v in groups) / (total - g)
    n0 = (total - (n**2).sum() / total) / (g - 1)
    spread = between + (n0 - 1) * within
    if spread < TICK**2:
        return Nesting(float("nan"), float("nan"))
    icc = float((between - within) / spread)
    effect = max(1.0, 1 + ((n**2).sum() / total - 1) * icc)
    return Nesting(icc, float(effect))
