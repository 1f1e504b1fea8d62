"""Aggregates and intervals. The unit of inference is the category: images inside one are not independent.

Intervals are chosen by the number of categories G: Student's t below 30, BCa bootstrap over categories from 30 up,
because simulation on the study's printed lists shows the bootstrap covering too little at small G.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from .seeds import rng_for

SMALL_G = 30
NO_SPREAD = 1e-12
"""Below this range values are taken for equal: their spread is rounding."""
BOOTSTRAP: Any = {"method": "BCa", "n_resamples": 99_999, "batch": 10_000}
"""With so many resamples the bounds of an interval of a share move by about 0.0002 from seed to seed."""


def category_means(scores: Mapping[str, Iterable[float]], *, absent: Literal["skip", "zero"] = "skip") -> dict[str, float]:
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
        method: "t", "BCa", or "Welch" for a difference.
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


def mean_interval(
    means: ArrayLike,
    *,
    level: float = 0.95,
    seed: int = 0,
    method: Literal["auto", "t", "BCa"] = "auto",
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Interval:
    """Confidence interval of the macro mean, resampling or studentising over categories.

    Args:
        means: (G,) category means.
        level: nominal coverage.
        seed: of the bootstrap's resampling.
        method: "t" (mean ± t(G-1) s/√G), "BCa" (Efron 1987), or "auto": t below 30 categories, else BCa.
        bounds: range of the quantity; the interval is cut to it.
    """
    values = np.asarray(means, dtype=np.float64)
    point, n = macro_mean(values), values.size
    chosen = ("t" if n < SMALL_G else "BCa") if method == "auto" else method
    if n < 2 or np.ptp(values) < NO_SPREAD:
        return Interval(point, math.nan, math.nan, chosen, n, level)
    if chosen == "t":
        low, high = stats.t.interval(level, n - 1, loc=point, scale=stats.sem(values))
    else:
        found = stats.bootstrap(
            (values,),
            np.mean,
            confidence_level=level,
            **BOOTSTRAP,
            rng=rng_for(seed, "bootstrap"),
        )
        low, high = found.confidence_interval
    return Interval(point, max(float(low), bounds[0]), min(float(high), bounds[1]), chosen, n, level)


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
