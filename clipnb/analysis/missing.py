"""What became of every result that was asked for, and how far the headline depends on those that were lost.

Per query: asked = usable + dead + unreadable + not returned. The headline is the available case, valid / usable. What was
lost could have been anything: all of it invalid gives the worst case, valid / asked, all of it valid the best,
(valid + lost) / asked; the truth lies between (Manski 1990). The study's own rule drops what was lost, passes over a query
without any result, and counts a category without any as 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..result import Result
from ..stats.intervals import Absent, Interval, category_means, macro_mean, mean_interval

if TYPE_CHECKING:
    pass

FATES = ("valid", "not valid", "dead", "unreadable", "not returned")
"""What can become of a result."""


def available_case(valid: ArrayLike, usable: ArrayLike) -> NDArray[np.float64]:
    """valid / usable of each query, in [0, 1]; NaN where nothing is usable."""
    v, u = np.asarray(valid, dtype=np.float64), np.asarray(usable, dtype=np.float64)
    return np.asarray(np.divide(v, u, out=np.full(v.shape, np.nan), where=u > 0))


def bounds(valid: ArrayLike, usable: ArrayLike, asked: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Worst and best case of each query: what was lost all invalid, and all valid.

    Args:
        valid, usable, asked: (q,) counts, valid ≤ usable ≤ asked, asked at least 1.

    Returns:
        (q,) and (q,) in [0, 1]; both equal the available case where nothing was lost.
    """
    v, u, a = (np.asarray(x, dtype=np.float64) for x in (valid, usable, asked))
    return v / a, (v + a - u) / a


@dataclass(frozen=True)
class Account:
    """The books of one run (one arm).

    Attributes:
        label: of its condition.
        queries: how many.
        fates: fate -> results, over all queries; they sum to what was asked for.
        empty: queries without any usable result.
        available: macro mean of the available case, with its interval over categories.
        categories: category -> mean of the available case; one without any usable result is left out.
        worst, best: macro means of the bounds.
        study: macro mean by the study's rule.
    """

    label: str
    queries: int
    fates: dict[str, int]
    empty: int
    available: Interval
    categories: dict[str, float]
    worst: float
    best: float
    study: float

    @property
    def asked(self) -> int:
        return sum(self.fates.values())

    @property
    def lost(self) -> int:
        """Results asked for that could not be scored."""
        return self.asked - self.fates["valid"] - self.fates["not valid"]


def _by_category(result: Result, values: NDArray[np.float64], absent: Absent = "skip") -> dict[str, float]:
    return category_means(result.by_category(pd.Series(values, result.rows.index)), absent=absent)


def available_by_category(result: Result, *, absent: Absent = "skip") -> dict[str, float]:
    """Category -> mean of the available case; a category without any is left out, or counts 0 (the study's rule)."""
    return _by_category(result, available_case(result.rows["n_valid"], result.rows["n_results"]), absent)


def account(result: Result) -> Account:
    """The books of a run.

    Raises:
        ValueError: not one of its queries has a usable result.
    """
    rows = result.rows
    totals = {name: int(rows[name].sum()) for name in ("n_asked", "n_returned", "n_dead", "n_unreadable", "n_results", "n_valid")}
    worst, best = bounds(rows["n_valid"], rows["n_results"], rows["n_asked"])
    available = available_by_category(result)
    return Account(
        label=result.label,
        queries=len(rows),
        fates={
            "valid": totals["n_valid"],
            "not valid": totals["n_results"] - totals["n_valid"],
            "dead": totals["n_dead"],
            "unreadable": totals["n_unreadable"],
            "not returned": totals["n_asked"] - totals["n_returned"],
        },
        empty=int((rows["n_results"] == 0).sum()),
        available=mean_interval(list(available.values()), seed=result.spec.seed, bounds=(0.0, 1.0)),
        categories=available,
        worst=macro_mean(list(_by_category(result, worst).values())),
        best=macro_mean(list(_by_category(result, best).values())),
        study=macro_mean(list(available_by_category(result, absent="zero").values())),
    )
