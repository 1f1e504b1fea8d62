"""Tests on categories. d_c is a category's mean change, manipulated minus clean, paired by image; a data set is (G,) of them.

Each test says what it takes for granted; how often it errs on data like the study's is simulated in `benchmarks/`.
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
"""Random sign flips of a permutation test; with fewer than that many possible, all of them are taken."""


def _flipped_sums(values: NDArray[np.float64], flips: int, rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    """Sums of the values under random signs, some at a time."""
    for start in range(0, flips, 10_000):
        signs = rng.integers(0, 2, (min(10_000, flips - start), values.size), dtype=np.int8) * 2 - 1
        yield signs.astype(np.float64) @ values


def sign_flip(differences: ArrayLike, *, flips: int = FLIPS, seed: int = 0) -> float:
    """Two-sided sign-flip permutation test of a mean change of zero; the primary test.

    p = (b + 1) / (B + 1), with b of B random flips whose mean is at least as far from zero (Phipson & Smyth 2010);
    exact, b / 2^G, where all flips can be taken. Under the null the signs of the changes are exchangeable: a skewed
    distribution with mean zero is not quite that.

    Args:
        differences: (G,) d_c.
        flips: B.
        seed: of the flips.

    Returns:
        p in (0, 1]; NaN for no differences. With G categories it cannot fall below 2^(1-G).
    """
    d = np.asarray(differences, dtype=np.float64)
    if not d.size:
        return float("nan")
    largest = np.abs(d).max()
    if largest < NO_SPREAD:
        return 1.0
    scaled = d / largest  # the tolerance below is then relative
    enough = abs(scaled.sum()) - 1e-9
    if 2**d.size <= flips + 1:
        return float(np.mean(np.abs(np.array(list(product((1, -1), repeat=d.size))) @ scaled) >= enough))
    beyond = sum(int((np.abs(sums) >= enough).sum()) for sums in _flipped_sums(scaled, flips, rng_for(seed, "sign flip")))
    return (beyond + 1) / (flips + 1)


def wilcoxon(differences: ArrayLike) -> float:
    """Two-sided Wilcoxon signed-rank test, zeros by Pratt's rule: the check beside `sign_flip`. Exact up to 13 categories.

    Returns:
        p; 1 where all changes are zero, NaN for no differences.
    """
    d = np.asarray(differences, dtype=np.float64)
    if not d.size:
        return float("nan")
    if np.abs(d).max() < NO_SPREAD:
        return 1.0
    d = np.where(np.abs(d) < NO_SPREAD, 0.0, d)
    ranks = stats.rankdata(np.abs(d))
    if d.size <= 13 and (len(np.unique(ranks)) < d.size or not d.all()):
        return sign_flip(ranks * np.sign(d))  # scipy's exact test with ties is the same, and takes seconds
    return float(stats.wilcoxon(d, zero_method="pratt").pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjustment for testing several hypotheses (Holm 1979): max over the smaller ones of (m - rank + 1) p.

    Args:
        p_values: m of them, in any order; NaN is no test, stays, and does not count in m.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")[: int((~np.isnan(p)).sum())]  # NaN sorts last
    adjusted = p.copy()
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return [float(v) for v in adjusted]


@dataclass(frozen=True)
class Equivalence:
    """A test for "no difference".

    Attributes:
        margin: the largest change that counts as none.
        p: of the hypothesis that the change is at least the margin; below alpha, the change is smaller than it.
        interval: level 1 - 2 alpha, which lies within ±margin if and only if p < alpha.
    """

    margin: float
    p: float
    interval: Interval


def tost(differences: ArrayLike, margin: float, *, alpha: float = 0.05) -> Equivalence:
    """Two one-sided t tests (Schuirmann 1987) that the mean change lies within ±margin.

    Args:
        differences: (G,) d_c, of two categories or more with any spread, else p is NaN.
        margin: in the unit of the differences, above 0.
        alpha: level of the test.

    Raises:
        ValueError: the margin is not positive.
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
    """Two one-sided Welch tests that mean(a) - mean(b), of independent categories, lies within ±margin.

    Raises:
        ValueError: the margin is not positive.
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
    """Whether a manipulation costs one kind of photographs more than another.

    Attributes:
        difference: mean change of the first minus that of the second, Welch's interval.
        p: Welch's t test.
        p_permutation: permutation of categories between the sets, on Welch's t (Chung & Romano 2013): the check. For few
            categories of very unequal spread it tests that the two sets are alike in all, not in their means alone.
    """

    difference: Interval
    p: float
    p_permutation: float


def interaction(a: ArrayLike, b: ArrayLike, *, seed: int = 0, permutations: int = 9_999) -> Interaction:
    """Test that two sets of independent categories have the same mean change.

    Args:
        a, b: (G1,), (G2,) d_c of each data set.
        seed: of the permutations.
        permutations: how many.

    Returns:
        p is NaN where a set has one category, or neither has any spread.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    difference = unpaired_difference(x, y)
    if not difference.bounded:
        return Interaction(difference, float("nan"), float("nan"))
    method = stats.PermutationMethod(n_resamples=permutations, batch=1_000, rng=rng_for(seed, "interaction"))
    shuffled = stats.ttest_ind(x, y, equal_var=False, method=method)
    return Interaction(difference, float(stats.ttest_ind(x, y, equal_var=False).pvalue), float(shuffled.pvalue))
