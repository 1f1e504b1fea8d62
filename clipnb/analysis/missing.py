"""Account for every requested result, and bound the influence of lost results on valid@k.

For each query, asked = usable + dead + unreadable + not returned. The reported valid@k is the available case,
valid / usable. A lost result could have been valid or not. If all lost results were invalid, it would be
valid / asked (worst case); if all were valid, (valid + lost) / asked (best case). The true value lies between these bounds
(Manski 1990). The study's rule drops lost results, skips a query without any result, and counts a category without any
result as 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..result import Result
from ..stats.intervals import Absent, Interval, category_means, macro_mean, mean_interval

FATES = ("valid", "not valid", "dead", "unreadable", "not returned")
"""Possible fates of a requested result."""


def available_case(valid: ArrayLike, usable: ArrayLike) -> NDArray[np.float64]:
    """Compute valid / usable for each query: (q,) in [0, 1], NaN without usable results."""
    v, u = np.asarray(valid, dtype=np.float64), np.asarray(usable, dtype=np.float64)
    return np.asarray(np.divide(v, u, out=np.full(v.shape, np.nan), where=u > 0))


def bounds(valid: ArrayLike, usable: ArrayLike, asked: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the worst and the best case of each query: valid / asked and (valid + asked - usable) / asked.

    Args:
        valid, usable, asked: (q,) counts with valid ≤ usable ≤ asked and asked ≥ 1.

    Returns:
        (q,) and (q,) in [0, 1]; both equal the available case if no result is lost.
    """
    v, u, a = (np.asarray(x, dtype=np.float64) for x in (valid, usable, asked))
    return v / a, (v + a - u) / a


@dataclass(frozen=True)
class Account:
    """Account of the results of a run.

    Attributes:
        label: label of the run's condition.
        queries: number of queries.
        fates: fate -> number of results of all queries; the numbers sum to the number of requested results.
        empty: number of queries without any usable result.
        available: macro mean of the available case with its interval over categories.
        categories: category -> mean of the available case, for categories with a usable result.
        worst, best: macro means of the worst and the best case.
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
        """Number of requested results that could not be scored."""
        return self.asked - self.fates["valid"] - self.fates["not valid"]


def _by_category(result: Result, values: NDArray[np.float64], absent: Absent = "skip") -> dict[str, float]:
    return category_means(result.by_category(pd.Series(values, result.rows.index)), absent=absent)


def available_by_category(result: Result, *, absent: Absent = "skip") -> dict[str, float]:
    """Map category -> mean of the available case; a category without any is skipped or counts 0 (the study's rule)."""
    return _by_category(result, available_case(result.rows["n_valid"], result.rows["n_results"]), absent)


def account(result: Result) -> Account:
    """Account for the results of a run.

    Raises:
        ValueError: no query has a usable result.
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
