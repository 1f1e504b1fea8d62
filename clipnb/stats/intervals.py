"""Aggregates and intervals. The unit of inference is the category, because the images of a category are not independent.

The interval depends on the number of categories G: Student's t below 30, and the BCa bootstrap over categories from 30
up. In simulations on the study's printed lists, the bootstrap covers too little at small G.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from .._core.random import rng_for

ALPHA = 0.05
"""Level of every test."""

RESAMPLES = 99_999
"""Resamples of the bootstrap."""

SMALL_G = 30
"""Number of categories from which "auto" is the BCa bootstrap."""

NO_SPREAD = 1e-12
"""Values within this range count as equal, because rounding explains their spread."""

Absent = Literal["skip", "zero"]
"""Treatment of a category without any score: leave it out, or count it as 0 (the study's rule)."""


def category_means(scores: Mapping[str, Iterable[float]], *, absent: Absent = "skip") -> dict[str, float]:
    """Mean score of each category, over its images with a score.

    Args:
        scores: category -> image scores; NaN is an image without a score.
        absent: leave out a category without any score ("skip"), or count it as 0 ("zero", the study's rule).

    >>> category_means({"cat": [1.0, 0.5, math.nan], "dog": [math.nan]}, absent="zero")
    {'cat': 0.75, 'dog': 0.0}
    """
    means: dict[str, float] = {}
    for category, values in scores.items():
        present = [v for v in values if not math.isnan(v)]
        if present:
            means[category] = float(np.mean(present))
        elif absent == "zero":
            means[category] = 0.0
    return means


def macro_mean(means: ArrayLike) -> float:
    """Mean of category means. Every category has the same weight, whatever its number of images.

    Raises:
        ValueError: there are no categories.

    >>> macro_mean([0.75, 0.25])
    0.5
    """
    values = np.asarray(means, dtype=np.float64)
    if not values.size:
        raise ValueError("the mean over no categories is not defined")
    return float(values.mean())


@dataclass(frozen=True)
class Interval:
    """A point estimate with a confidence interval.

    Attributes:
        point: the estimate.
        low, high: bounds; NaN for a single category, or if all categories have the same value.
        method: "t", "BCa", "bootstrap-t", "percentile", "jackknife", "Welch" for a difference, or "given".
        n: number of categories; for a difference, of both sides together.
        level: nominal coverage.
    """

    point: float
    low: float
    high: float
    method: str
    n: int
    level: float = 0.95

    @property
    def bounded(self) -> bool:
        """Whether the interval has bounds."""
        return not math.isnan(self.low)

    @property
    def why_unbounded(self) -> str:
        """Why the interval has no bounds, in words."""
        return "one category" if self.n < 2 else "no spread between categories"

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


Method = Literal["auto", "t", "BCa", "bootstrap-t", "percentile"]


def mean_interval(
    means: ArrayLike,
    *,
    level: float = 0.95,
    seed: int = 0,
    method: Method = "auto",
    bounds: tuple[float, float] = (-math.inf, math.inf),
    resamples: int = RESAMPLES,
) -> Interval:
    """Confidence interval of the macro mean, by Student's t or a bootstrap over categories.

    Args:
        means: (G,) category means.
        level: nominal coverage.
        seed: seed of the bootstrap.
        method: "t" (mean ± t(G-1) s/√G), "BCa" (Efron 1987), "bootstrap-t" (Efron 1981: quantiles of the studentised
            mean), "percentile", or "auto": t below 30 categories, else BCa.
        bounds: range of the quantity; the interval is clipped to it.
        resamples: resamples of the bootstrap. With the default, the bounds of a share vary by about 0.0002 between seeds.

    Raises:
        ValueError: there are no categories.

    >>> found = mean_interval([0.2, 0.4, 0.6])  # 0.4 ± 4.303 * 0.2 / sqrt(3)
    >>> found.method, round(found.low, 3), round(found.high, 3)
    ('t', -0.097, 0.897)
    """
    values = np.asarray(means, dtype=np.float64)
    point, n = macro_mean(values), values.size
    chosen = ("t" if n < SMALL_G else "BCa") if method == "auto" else method
    if n < 2 or np.ptp(values) < NO_SPREAD:
        return Interval(point, math.nan, math.nan, chosen, n, level)
    if chosen == "t":
        low, high = stats.t.interval(level, n - 1, loc=point, scale=stats.sem(values))
    elif chosen == "bootstrap-t":
        low, high = _bootstrap_t(values, level, resamples, rng_for(seed, "bootstrap"))
    else:
        found = stats.bootstrap(
            (values,),
            np.mean,
            confidence_level=level,
            method=chosen,
            n_resamples=resamples,
            batch=10_000,
            rng=rng_for(seed, "bootstrap"),
        )
        low, high = found.confidence_interval
    return Interval(point, max(float(low), bounds[0]), min(float(high), bounds[1]), chosen, n, level)


def _bootstrap_t(values: NDArray[np.float64], level: float, resamples: int, rng: np.random.Generator) -> tuple[float, float]:
    """mean - q s/√G, where q are quantiles of (mean* - mean) / (s*/√G). Resamples without spread are left out."""
    n, point = values.size, values.mean()
    studentised = []
    for start in range(0, resamples, 10_000):
        drawn = values[rng.integers(0, n, (min(10_000, resamples - start), n))]
        error = drawn.std(axis=1, ddof=1) / math.sqrt(n)
        spread = error > NO_SPREAD
        studentised.append((drawn.mean(axis=1)[spread] - point) / error[spread])
    upper, lower = np.quantile(np.concatenate(studentised), [(1 + level) / 2, (1 - level) / 2])
    error = values.std(ddof=1) / math.sqrt(n)
    return float(point - upper * error), float(point - lower * error)


@dataclass(frozen=True)
class Aggregates:
    """Four averages over a data set. They differ if categories differ in size or in score.

    Attributes:
        macro: mean of category means, the headline number here and in the study.
        micro: mean over images.
        median: median of category means.
        iqm: interquartile mean of category means, over the middle half (Agarwal et al. 2021).
    """

    macro: float
    micro: float
    median: float
    iqm: float


def aggregates(scores: Mapping[str, Iterable[float]]) -> Aggregates:
    """Four averages of image scores.

    Args:
        scores: category -> image scores; NaN is an image without a score.

    Raises:
        ValueError: no image has a score.

    >>> aggregates({"cat": [1, 1, 1], "dog": [0]})
    Aggregates(macro=0.5, micro=0.75, median=0.5, iqm=0.5)
    """
    lists = {c: list(values) for c, values in scores.items()}
    means = list(category_means(lists).values())
    images = [v for values in lists.values() for v in values if not math.isnan(v)]
    return Aggregates(macro_mean(means), float(np.mean(images)), float(np.median(means)), float(stats.trim_mean(means, 0.25)))


def paired_differences(clean: Mapping[str, float], manipulated: Mapping[str, float]) -> list[float]:
    """d_c, manipulated minus clean, of each category that both contain, in the order of `clean`.

    >>> paired_differences({"cat": 0.75, "dog": 1.0}, {"cat": 0.5})
    [-0.25]
    """
    return [manipulated[c] - clean[c] for c in clean if c in manipulated]


def unpaired_difference(a: ArrayLike, b: ArrayLike, *, level: float = 0.95) -> Interval:
    """Difference of two independent means, mean(a) - mean(b), with Welch's interval.

    Args:
        a, b: (G1,) and (G2,) values of independent categories. The interval has no bounds if a set has fewer than two
            values, or if the values within each set are equal.
        level: nominal coverage.

    >>> found = unpaired_difference([1, 2, 3], [2, 3, 4])  # -1 ± 2.776 * sqrt(2 / 3)
    >>> found.point, round(found.low, 3), round(found.high, 3)
    (-1.0, -3.267, 1.267)
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    point, n = float(x.mean() - y.mean()), x.size + y.size
    if min(x.size, y.size) < 2 or max(np.ptp(x), np.ptp(y)) < NO_SPREAD:
        return Interval(point, math.nan, math.nan, "Welch", n, level)
    found = stats.ttest_ind(x, y, equal_var=False)
    low, high = found.confidence_interval(level)
    return Interval(point, float(low), float(high), "Welch", n, level)


def direction(difference: Interval) -> str:
    """The conclusion from the interval of a difference: "a loss", "a gain", "no change" or "cannot tell".

    If the interval includes zero, the data leave the sign open. They do not show that there is no change; a test of
    equivalence can show that.

    >>> direction(Interval(-0.2, -0.3, -0.1, "t", 10)), direction(Interval(-0.2, -0.5, 0.1, "t", 10))
    ('a loss', 'cannot tell')
    """
    if not difference.bounded:
        return "no change" if abs(difference.point) < NO_SPREAD else "cannot tell"
    if difference.low <= 0 <= difference.high:
        return "cannot tell"
    return "a loss" if difference.high < 0 else "a gain"
