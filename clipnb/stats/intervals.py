"""Means and intervals. The unit of inference is the category, because the images of a category are not independent.

Each kind of quantity has one interval, chosen by the simulation in `benchmarks/intervals.py`: `mean_interval` for a mean,
`sign_flips.change_interval` for a paired change, and `unpaired_difference` for a difference of two data sets.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

ALPHA = 0.05
"""Level of every test."""

FEWEST = 6
"""Fewest categories for an interval that assumes a distribution: below it, none has its nominal coverage in simulations."""

TICK = 1e-9
"""Values that round to the same multiple of this number count as equal, because float noise explains their difference."""

Absent = Literal["skip", "zero"]
"""Treatment of a category without any score: leave it out, or count it as 0 (the study's rule)."""


def ticks(values: ArrayLike) -> NDArray[np.float64]:
    """Values as whole numbers of `TICK`: their ranks, ties and sums do not depend on float noise. NaN stays NaN.

    >>> 0.3 - 0.2 == 0.2 - 0.1, bool(ticks(0.3 - 0.2) == ticks(0.2 - 0.1))
    (False, True)
    """
    return np.rint(np.asarray(values, dtype=np.float64) / TICK) + 0.0  # no negative zero


def category_means(scores: Mapping[str, Iterable[float]], *, absent: Absent = "skip") -> dict[str, float]:
    """Mean score of each category, over its images with a score.

    NaN is an image without a score. A category without any score is left out ("skip"), or counts 0 ("zero", the study's rule).

    >>> category_means({"cat": [1.0, 0.5, math.nan], "dog": [math.nan]}, absent="zero")
    {'cat': 0.75, 'dog': 0.0}
    """
    present = {category: [v for v in values if not math.isnan(v)] for category, values in scores.items()}
    kept = {category: values for category, values in present.items() if values or absent == "zero"}
    return {category: float(np.mean(values)) if values else 0.0 for category, values in kept.items()}


def macro_mean(means: ArrayLike) -> float:
    """Mean of category means, each of the same weight, whatever its number of images; a `ValueError` without categories.

    >>> macro_mean([0.75, 0.25])
    0.5
    """
    values = np.asarray(means, dtype=np.float64)
    if not values.size:
        raise ValueError("the mean over no categories is not defined")
    return float(values.mean())


@dataclass(frozen=True)
class Interval:
    """A point estimate with a confidence interval."""

    point: float  #: the estimate
    low: float  #: lower bound; NaN if there is no interval
    high: float  #: upper bound; NaN if there is no interval
    method: str  #: "Gaffke", "t", "sign flip", "Welch", "jackknife", "jackknife of results", "percentile" or "given"
    n: int  #: number of categories; for a difference, of the smaller data set
    level: float = 0.95  #: nominal coverage
    constant: bool = False  #: whether all categories have the same value

    @property
    def bounded(self) -> bool:
        """Whether the interval has bounds."""
        return not math.isnan(self.low)

    @property
    def why_unbounded(self) -> str:
        """Why the interval has no bounds, in words."""
        if self.n < 2:
            return "one category" if self.n else "no category"
        if self.method.startswith("jackknife") and self.n >= FEWEST and not self.constant:
            return "leaving out one of the categories leaves no value"
        return "no spread between categories" if self.constant else f"{self.n} categories are too few"

    def columns(self, name: str) -> dict[str, float]:
        """The estimate and its bounds as columns of a table: `name`, `name_low`, `name_high`."""
        return {name: self.point, f"{name}_low": self.low, f"{name}_high": self.high}

    def cells(self, name: str) -> dict[str, float | str]:
        """The estimate as cells of a row that is about it: `name`, `low`, `high`, `interval` (the method, "" without bounds)."""
        return {name: self.point, "low": self.low, "high": self.high, "interval": self.method if self.bounded else ""}

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def mean_interval(means: ArrayLike, *, level: float = 0.95, bounds: tuple[float, float] = (-math.inf, math.inf)) -> Interval:
    """Confidence interval of the macro mean: Gaffke's for a share, else Student's t.

    Gaffke's interval (Gaffke 2005; Learned-Miller & Thomas 2020) weights the n means and one more value, the bound 0 for the
    lower end and 1 for the upper end, by Dirichlet(1, ..., 1) weights; its ends are quantiles of the weighted mean. It
    assumes no distribution. The quantiles are computed, not simulated. For means that are all 0 or 1 it is the interval of
    Clopper and Pearson.

    `bounds` is the range of the quantity, (0, 1) for a share; the interval ends there. It has no bounds for one category, and, if
    it is Student's t, for fewer than `FEWEST` or equal means. Without categories there is a `ValueError`.

    >>> found = mean_interval([1.0, 1.0, 1.0, 1.0], bounds=(0, 1))  # low = 0.025 ** (1 / 4)
    >>> found.method, round(found.low, 2), found.high
    ('Gaffke', 0.4, 1.0)
    """
    values = np.asarray(means, dtype=np.float64)
    if bounds != (0, 1):
        found = t_interval(values, level)
        return replace(found, low=float(np.maximum(found.low, bounds[0])), high=float(np.minimum(found.high, bounds[1])))
    point, n = macro_mean(values), values.size
    if n < 2 or math.isnan(point):
        return Interval(point, math.nan, math.nan, "Gaffke", n, level, n == 1)
    low, high = _weighted_quantile(np.append(values, 0), (1 - level) / 2), _weighted_quantile(np.append(values, 1), (1 + level) / 2)
    return Interval(point, min(low, point), max(high, point), "Gaffke", n, level, not np.ptp(ticks(values)))


def _weighted_quantile(values: NDArray[np.float64], q: float) -> float:
    """The q-quantile of the mean of values with random weights from Dirichlet(1, ..., 1), exact to 1e-7."""
    if not np.ptp(values):
        return float(values[0])
    return float(scipy.optimize.brentq(lambda at: _chance_below(values - at) - q, values.min(), values.max(), xtol=1e-9))


def _chance_below(a: NDArray[np.float64]) -> float:
    """The chance that Σ a_i E_i is at most zero for standard exponential E_i, by the inversion formula of Gil-Pelaez (1951).

    The integral is a trapezoidal rule on a logarithmic scale: the integrand is linear before it and vanishes after it.
    """
    a = a[a != 0] / np.abs(a).max()
    large, step = np.count_nonzero(np.abs(a) > 1e-3), min(0.25, 1 / math.sqrt(a.size))
    at = np.exp(np.arange(-14, math.log(1e3) + 28 / large, step))
    scaled = np.outer(at, a)
    height = np.exp(-np.log1p(scaled**2).sum(axis=1) / 2) * np.sin(np.arctan(scaled).sum(axis=1))
    return float(0.5 - (np.trapezoid(height, dx=step) + a.sum() * at[0]) / math.pi)


def t_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Student's t interval of a mean, mean ± t(G-1) s/√G, without bounds for fewer than `FEWEST` or equal values.

    In simulations it covers 69.8% to 97.2% for the mean of a share: least near a ceiling. Without values there is a `ValueError`.

    >>> found = t_interval([0.2, 0.4, 0.6, 0.2, 0.4, 0.6])  # 0.4 ± 2.571 * 0.179 / sqrt(6)
    >>> round(found.low, 3), round(found.high, 3)
    (0.212, 0.588)
    """
    x = np.asarray(values, dtype=np.float64)
    point, n, constant = macro_mean(x), x.size, not np.ptp(ticks(x))
    if n < FEWEST or constant or math.isnan(point):
        return Interval(point, math.nan, math.nan, "t", n, level, constant)
    arm = scipy.special.stdtrit(n - 1, (1 + level) / 2) * x.std(ddof=1) / math.sqrt(n)  # the quantile: scipy.stats loads slowly
    low, high = point - arm, point + arm
    return Interval(point, float(low), float(high), "t", n, level)


def unpaired_difference(a: ArrayLike, b: ArrayLike, *, level: float = 0.95) -> Interval:
    """Difference of two independent means, mean(a) - mean(b), with Welch's interval.

    In simulations it covers 85.0% to 98.5% with as many categories in both sets and 58.5% to 98.0% against 100 categories: least
    if a few categories of the smaller set can collapse.

    It has no bounds if one of the (G1,) and (G2,) lists has fewer than `FEWEST` values, or if the values within each are equal.

    >>> found = unpaired_difference([1, 2, 3, 1, 2, 3], [2, 3, 4, 2, 3, 4])  # -1 ± 2.228 * sqrt(4 / 15)
    >>> found.point, round(found.low, 3), round(found.high, 3)
    (-1.0, -2.151, 0.151)
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    point, n, constant = macro_mean(x) - macro_mean(y), min(x.size, y.size), not max(np.ptp(ticks(x)), np.ptp(ticks(y)))
    if n < FEWEST or constant or math.isnan(point):
        return Interval(point, math.nan, math.nan, "Welch", n, level, constant)
    low, high = welch(x, y).confidence_interval(level)
    return Interval(point, float(low), float(high), "Welch", n, level)


def welch(x: NDArray[np.float64], y: NDArray[np.float64], **options: Any) -> Any:
    """SciPy's result of Welch's t test of two sets, with the `options` of `ttest_ind`. One of the sets may have no spread."""
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # SciPy warns of such a set, though t is exact
        return scipy.stats.ttest_ind(x, y, equal_var=False, **options)


def direction(difference: Interval, p: float | None = None) -> str:
    """The verdict on a difference: "a loss", "a gain", "no change" or "cannot tell".

    The p-value decides, after Holm's adjustment if it belongs to a family. "No change" means that no category changed. If
    p is above `ALPHA`, the data leave the sign open; they do not show that there is no change.

    Without the p-value of the planned test, the interval decides, as the unadjusted test would.

    >>> direction(Interval(-0.2, -0.3, -0.1, "t", 10)), direction(Interval(-0.2, -0.3, -0.1, "t", 10), p=0.08)
    ('a loss', 'cannot tell')
    """
    if difference.constant and not ticks(difference.point):
        return "no change"
    decided = difference.bounded and 0 not in difference if p is None else p <= ALPHA
    return ("a loss" if difference.point < 0 else "a gain") if decided else "cannot tell"
