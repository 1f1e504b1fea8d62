"""Tests over the G categories of a data set.

d_c is the mean change of a category, manipulated minus clean, paired by image. `benchmarks/` simulates the error rates
of the tests on data like the study's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from .._core.random import rng_for
from .intervals import NO_SPREAD, Interval, mean_interval, unpaired_difference

FLIPS = 99_999
"""Random sign flips of a permutation test. If fewer flips are possible, the test takes all of them."""


def _flipped_sums(values: NDArray[np.float64], flips: int, rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    """Yield sums of the values under random signs, in blocks."""
    for start in range(0, flips, 10_000):
        signs = rng.integers(0, 2, (min(10_000, flips - start), values.size), dtype=np.int8) * 2 - 1
        yield signs.astype(np.float64) @ values


def sign_flip(differences: ArrayLike, *, flips: int = FLIPS, seed: int = 0) -> float:
    """Two-sided sign-flip permutation test of the hypothesis that the mean change is zero; the primary test.

    p = (b + 1) / (B + 1), where b of B random flips have a mean at least as far from zero (Phipson & Smyth 2010). If all
    2^G flips can be taken, the test is exact and p = b / 2^G. The null hypothesis is that the changes are distributed
    symmetrically around zero. A skewed distribution with mean zero violates it slightly.

    Args:
        differences: (G,) d_c.
        flips: B, the number of random flips.
        seed: seed of the random flips.

    Returns:
        p in (0, 1], at least 2^(1-G); NaN for no differences.

    >>> sign_flip([-1, -2, -3])  # 2 of the 8 flips
    0.25
    """
    d = np.asarray(differences, dtype=np.float64)
    if not d.size:
        return float("nan")
    largest = np.abs(d).max()
    if largest < NO_SPREAD:
        return 1.0
    scaled = d / largest  # makes the tolerance below relative
    enough = abs(scaled.sum()) - 1e-9
    if 2**d.size <= flips + 1:
        return float(np.mean(np.abs(np.array(list(product((1, -1), repeat=d.size))) @ scaled) >= enough))
    beyond = sum(int((np.abs(sums) >= enough).sum()) for sums in _flipped_sums(scaled, flips, rng_for(seed, "sign flip")))
    return (beyond + 1) / (flips + 1)


def wilcoxon(differences: ArrayLike) -> float:
    """Two-sided Wilcoxon signed-rank test with Pratt's rule for zeros, a check of `sign_flip`. Exact up to 13 categories.

    Args:
        differences: (G,) d_c.

    Returns:
        p in (0, 1]; 1 if all changes are zero, NaN for no differences.

    >>> wilcoxon([-1, -2, -3])
    0.25
    """
    d = np.asarray(differences, dtype=np.float64)
    if not d.size:
        return float("nan")
    if np.abs(d).max() < NO_SPREAD:
        return 1.0
    d = np.where(np.abs(d) < NO_SPREAD, 0.0, d)
    ranks = stats.rankdata(np.abs(d))
    if d.size <= 13 and (len(np.unique(ranks)) < d.size or not d.all()):
        return sign_flip(ranks * np.sign(d))  # equals scipy's exact test with ties, which takes seconds
    return float(stats.wilcoxon(d, zero_method="pratt").pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjustment for several tests (Holm 1979): the running maximum of (m - rank + 1) p, at most 1.

    Args:
        p_values: m p-values in any order. NaN means that there was no test: it stays NaN and does not count in m.

    Returns:
        m adjusted p-values, in the same order.

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
    """Result of a test of equivalence.

    Attributes:
        margin: the largest change that counts as no change.
        p: p-value of the hypothesis that the change is at least as large as the margin. If it is below alpha, the test
            shows a change smaller than the margin.
        interval: interval of level 1 - 2 alpha; it lies within ±margin if and only if p < alpha.
    """

    margin: float
    p: float
    interval: Interval


def tost(differences: ArrayLike, margin: float, *, alpha: float = 0.05) -> Equivalence:
    """Two one-sided t tests (Schuirmann 1987) that show that the mean change lies within ±margin.

    Args:
        differences: (G,) d_c; p is NaN for fewer than two categories and for equal values.
        margin: margin in the unit of the differences, above 0.
        alpha: level of the test.

    Raises:
        ValueError: the margin is not positive.

    >>> round(tost([0.0, 0.1, -0.1], margin=1.0).p, 4)  # t = 17.32 with 2 degrees of freedom
    0.0017
    """
    if not margin > 0:
        raise ValueError(f"the margin of an equivalence test must be above 0, not {margin!r}")
    d = np.asarray(differences, dtype=np.float64)
    interval = mean_interval(d, level=1 - 2 * alpha, method="t")
    if not interval.bounded:
        return Equivalence(margin, float("nan"), interval)
    sides = (
        stats.ttest_1samp(d, -margin, alternative="greater").pvalue,
        stats.ttest_1samp(d, margin, alternative="less").pvalue,
    )
    return Equivalence(margin, float(max(sides)), interval)


def tost_unpaired(a: ArrayLike, b: ArrayLike, margin: float, *, alpha: float = 0.05) -> Equivalence:
    """Two one-sided Welch tests that show that mean(a) - mean(b) lies within ±margin.

    Args:
        a, b: (G1,) and (G2,) values of independent categories.
        margin: margin in the unit of the values, above 0.
        alpha: level of the test.

    Raises:
        ValueError: the margin is not positive.

    >>> round(tost_unpaired([0, 1], [0, 1], margin=2.0).p, 4)  # t = 2.828 with 2 degrees of freedom
    0.0528
    """
    if not margin > 0:
        raise ValueError(f"the margin of an equivalence test must be above 0, not {margin!r}")
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    interval = unpaired_difference(x, y, level=1 - 2 * alpha)
    if not interval.bounded:
        return Equivalence(margin, float("nan"), interval)
    sides = (
        stats.ttest_ind(x + margin, y, equal_var=False, alternative="greater").pvalue,
        stats.ttest_ind(x - margin, y, equal_var=False, alternative="less").pvalue,
    )
    return Equivalence(margin, float(max(sides)), interval)


@dataclass(frozen=True)
class Interaction:
    """Difference between two data sets in the mean change by a manipulation.

    Attributes:
        difference: mean change of the first set minus that of the second, with Welch's interval.
        p: p-value of Welch's t test.
        p_permutation: p-value of a permutation test on Welch's t, a check of `p` (Chung & Romano 2013). With few
            categories of very unequal spread, it tests equal distributions rather than equal means.
    """

    difference: Interval
    p: float
    p_permutation: float


def interaction(a: ArrayLike, b: ArrayLike, *, seed: int = 0, permutations: int = 9_999) -> Interaction:
    """Test that two sets of independent categories have the same mean change.

    Args:
        a, b: (G1,) and (G2,) d_c of each data set.
        seed: seed of the permutations.
        permutations: number of permutations.

    Returns:
        The test; its p-values are NaN if a set has one category, or if the values within each set are equal.

    >>> test = interaction([-3, -4, -5], [-1, -2, -3])
    >>> test.difference.point, round(test.p, 4)  # t = -2 / sqrt(2 / 3) with 4 degrees of freedom
    (-2.0, 0.0705)
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    difference = unpaired_difference(x, y)
    if not difference.bounded:
        return Interaction(difference, float("nan"), float("nan"))
    method = stats.PermutationMethod(n_resamples=permutations, batch=1_000, rng=rng_for(seed, "interaction"))
    shuffled = stats.ttest_ind(x, y, equal_var=False, method=method)
    return Interaction(difference, float(stats.ttest_ind(x, y, equal_var=False).pvalue), float(shuffled.pvalue))
