"""Tests over the G categories of a data set, besides the primary one in `sign_flips`.

d_c is the mean change of a category, manipulated minus clean, paired by image. `benchmarks/` simulates the error rates
of the tests on data like the study's. The tests check that statsmodels gives the same p-values; it is not a dependency.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike

from .._core.random import rng_for
from .intervals import ALPHA, Interval, t_interval, ticks, unpaired_difference, welch
from .sign_flips import sign_flip


def wilcoxon(differences: ArrayLike) -> float:
    """Two-sided Wilcoxon signed-rank test of (G,) d_c with Pratt's rule for zeros, a check on `sign_flip`.

    It is exact up to 13 categories. p is in (0, 1]; 1 if all changes are zero, NaN if there are none or one is NaN.

    >>> wilcoxon([-1, -2, -3])
    0.25
    """
    d = ticks(differences)
    if not d.size or np.isnan(d).any():
        return math.nan
    if not d.any():
        return 1.0
    ranks = scipy.stats.rankdata(np.abs(d))
    if d.size <= 13 and (len(np.unique(ranks)) < d.size or not d.all()):
        return sign_flip(ranks * np.sign(d))  # equals scipy's exact test with ties, which takes seconds
    return float(scipy.stats.wilcoxon(d, zero_method="pratt").pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjustment for several tests (Holm 1979): the running maximum of (m - rank + 1) p, at most 1.

    `multipletests` of statsmodels takes 2,000 times as long, because each call runs the garbage collector.

    The m p-values may have any order and keep it. NaN means that there was no test: it stays NaN and does not count in m.

    >>> holm([0.125, 0.5, 0.25])
    [0.375, 0.5, 0.5]
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")[: int((~np.isnan(p)).sum())]  # NaN sorts last
    adjusted = p.copy()
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return [float(v) for v in adjusted]


@dataclass(frozen=True)
class Equivalence:
    """Result of a test of equivalence. If p is below alpha, the test shows a change smaller than the margin."""

    p: float  #: p-value of the hypothesis that the change is at least as large as the margin; NaN without an interval
    interval: Interval  #: interval of level 1 - 2 alpha; it lies within ±margin if and only if p < alpha


def tost(differences: ArrayLike, margin: float) -> Equivalence:
    """Two one-sided t tests (Schuirmann 1987) that show that the mean change lies within ±margin.

    `ttost_paired` of statsmodels is ten times as fast, but gives no interval.

    `differences` are (G,) d_c; p is NaN for fewer than `FEWEST` categories and for equal values. `margin` is the largest change
    that counts as no change, in the unit of the differences; a `ValueError` says that it is not above 0.

    >>> round(tost([0.0, 0.1, -0.1, 0.0, 0.1, -0.1], margin=0.1).p, 4)  # t = 2.739 with 5 degrees of freedom
    0.0204
    """
    d = np.asarray(differences, dtype=np.float64)
    return _equivalence(margin, t_interval(d, 1 - 2 * ALPHA), lambda at, side: scipy.stats.ttest_1samp(d, at, alternative=side))


def tost_unpaired(a: ArrayLike, b: ArrayLike, margin: float) -> Equivalence:
    """Two one-sided Welch tests that show that mean(a) - mean(b) lies within ±margin.

    `a` and `b` are (G1,) and (G2,) values of independent categories; `margin` and the error are those of `tost`.

    >>> round(tost_unpaired([0, 1] * 3, [0, 1] * 3, margin=0.5).p, 4)  # t = 1.581 with 10 degrees of freedom
    0.0725
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    interval = unpaired_difference(x, y, level=1 - 2 * ALPHA)
    return _equivalence(margin, interval, lambda at, side: welch(x - at, y, alternative=side))


def _equivalence(margin: float, interval: Interval, test: Callable[[float, str], Any]) -> Equivalence:
    """Two one-sided tests; `test` takes a value and the side of it on which the change may lie."""
    if not margin > 0:
        raise ValueError(f"the margin of an equivalence test must be above 0, not {margin!r}")
    if not interval.bounded:
        return Equivalence(math.nan, interval)
    return Equivalence(float(max(test(-margin, "greater").pvalue, test(margin, "less").pvalue)), interval)


@dataclass(frozen=True)
class Interaction:
    """Difference between two data sets in the mean change by a manipulation.

    The permutation test on Welch's t is a check on `p` (Chung & Romano 2013). With few categories of very unequal spread, it tests
    equal distributions rather than equal means.
    """

    difference: Interval  #: mean change of the first set minus mean change of the second, with Welch's interval
    p: float  #: p-value of Welch's t test
    p_permutation: float  #: p-value of the permutation test


def interaction(a: ArrayLike, b: ArrayLike, *, seed: int = 0, permutations: int = 9_999) -> Interaction:
    """Test that two sets of independent categories have the same mean change.

    `a` and `b` are the (G1,) and (G2,) d_c of the data sets. The p-values are NaN if a set has fewer than `FEWEST` categories, or
    if the values within each set are equal.

    >>> test = interaction([-3, -4, -5, -3, -4, -5], [-1, -2, -3, -1, -2, -3])
    >>> test.difference.point, round(test.p, 4)  # t = -2 / sqrt(4 / 15) with 10 degrees of freedom
    (-2.0, 0.0031)
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    difference = unpaired_difference(x, y)
    if not difference.bounded:
        return Interaction(difference, math.nan, math.nan)
    method = scipy.stats.PermutationMethod(n_resamples=permutations, batch=1_000, rng=rng_for(seed, "interaction"))
    return Interaction(difference, float(welch(x, y).pvalue), float(welch(x, y, method=method).pvalue))
