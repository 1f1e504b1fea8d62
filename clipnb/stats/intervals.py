"""Aggregates and intervals. The unit of inference is the category: images inside one are not independent.

Intervals are chosen by the number of categories G: Student's t below 30, BCa bootstrap over categories from 30 up,
because simulation on the study's printed lists shows the bootstrap covering too little at small G.
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
"""Of the bootstrap."""

SMALL_G = 30
NO_SPREAD = 1e-12
"""Below this range values are taken for equal: their spread is rounding."""


Absent = Literal["skip", "zero"]
"""What a category without any score counts: nothing, or 0 (the study's rule)."""


def category_means(scores: Mapping[str, Iterable[float]], *, absent: Absent = "skip") -> dict[str, float]:
    """Mean score of each category over its images that have one.

    Args:
        scores: category -> image scores; NaN is an image without a score.
        absent: a category without any score is left out ("skip"), or counts 0 ("zero": the study's rule).
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
    """Mean of category means: every category counts the same, however many images it has.

    Raises:
        ValueError: there are no categories.
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
        low, high: bounds; NaN where the data cannot give any: a single category, or no spread between categories.
        method: "t", "BCa", "bootstrap-t", "percentile", "jackknife", "Welch" for a difference, or "given".
        n: categories behind it, of both sides for a difference.
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
        return not math.isnan(self.low)

    @property
    def why_unbounded(self) -> str:
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
    """Confidence interval of the macro mean, resampling or studentising over categories.

    Args:
        means: (G,) category means.
        level: nominal coverage.
        seed: of the bootstrap's resampling.
        method: "t" (mean ± t(G-1) s/√G), "BCa" (Efron 1987), "bootstrap-t" (Efron 1981: quantiles of the studentised
            mean), "percentile", or "auto": t below 30 categories, else BCa.
        bounds: range of the quantity; the interval is cut to it.
        resamples: of the bootstrap; with the usual number the bounds of a share move by about 0.0002 from seed to seed.
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
    """mean - q s/√G with q the quantiles of (mean* - mean) / (s*/√G); resamples of one repeated category have none."""
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
    """Four ways to make one number of a data set; they differ where categories differ in size or in score.

    Attributes:
        macro: mean of category means, the study's and the headline.
        micro: mean over images.
        median: of category means.
        iqm: interquartile mean of category means, the middle half (Agarwal et al. 2021).
    """

    macro: float
    micro: float
    median: float
    iqm: float


def aggregates(scores: Mapping[str, Iterable[float]]) -> Aggregates:
    """Summaries of category -> image scores, NaN being an image without a score.

    Raises:
        ValueError: no image has a score.
    """
    lists = {c: list(values) for c, values in scores.items()}
    means = list(category_means(lists).values())
    images = [v for values in lists.values() for v in values if not math.isnan(v)]
    return Aggregates(macro_mean(means), float(np.mean(images)), float(np.median(means)), float(stats.trim_mean(means, 0.25)))


def paired_differences(clean: Mapping[str, float], manipulated: Mapping[str, float]) -> list[float]:
    """Manipulated minus clean, for each category that is in both: d_c, in the order of `clean`."""
    return [manipulated[c] - clean[c] for c in clean if c in manipulated]


def unpaired_difference(a: ArrayLike, b: ArrayLike, *, level: float = 0.95) -> Interval:
    """Difference of two independent means, mean(a) - mean(b), with Welch's interval.

    Args:
        a, b: (G1,) and (G2,) values of independent categories; no bounds for fewer than two, or without any spread.
        level: nominal coverage.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    point, n = float(x.mean() - y.mean()), x.size + y.size
    if min(x.size, y.size) < 2 or max(np.ptp(x), np.ptp(y)) < NO_SPREAD:
        return Interval(point, math.nan, math.nan, "Welch", n, level)
    found = stats.ttest_ind(x, y, equal_var=False)
    low, high = found.confidence_interval(level)
    return Interval(point, float(low), float(high), "Welch", n, level)


def direction(difference: Interval) -> str:
    """What an interval of a difference allows one to say.

    An interval that includes zero says that a change cannot be told, not that there is none: that needs a test of
    equivalence.
    """
    if not difference.bounded:
        return "no change" if abs(difference.point) < NO_SPREAD else "cannot tell"
    if difference.low <= 0 <= difference.high:
        return "cannot tell"
    return "a loss" if difference.high < 0 else "a gain"
