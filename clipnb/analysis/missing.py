"""Account for every requested result, and bound the influence of lost results on valid@k.

For each query, asked = usable + dead + unreadable + not returned. The reported valid@k is the available case,
valid / usable. A lost result could have been valid or not: valid@k would be valid / asked if all lost
results were invalid (worst case), and (valid + lost) / asked if all were valid (best case). The true value lies between these
bounds (Manski 1990). The study's rule drops lost results, skips a query without any result, and counts a category without any
result as 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..result import Result
from ..stats.intervals import Interval, category_means, macro_mean, mean_interval

FATES = ("valid", "not valid", "dead", "unreadable", "not returned")  # possible fates of a requested result


def bounds(valid: ArrayLike, usable: ArrayLike, asked: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the worst and the best case of each query: valid / asked and (valid + asked - usable) / asked, (q,) in [0, 1].

    The (q,) counts have valid ≤ usable ≤ asked and asked ≥ 1. Both cases equal the available case if no result is lost.
    """
    v, u, a = (np.asarray(x, dtype=np.float64) for x in (valid, usable, asked))
    return v / a, (v + a - u) / a


@dataclass(frozen=True)
class Account:
    """What happened to the results of a run."""

    label: str  # of the run's condition
    queries: int  # number of queries
    fates: dict[str, int]  # fate -> number of results of all queries; the numbers sum to the number of requested results
    available: Interval  # macro mean of the available case with its interval over categories
    categories: dict[str, float]  # category -> mean of the available case, for categories with a usable result
    worst: float  # macro mean of the worst case
    best: float  # macro mean of the best case
    study: float  # macro mean by the study's rule

    @property
    def asked(self) -> int:
        return sum(self.fates.values())

    @property
    def lost(self) -> int:
        """Number of requested results that could not be scored."""
        return self.asked - self.fates["valid"] - self.fates["not valid"]


def account(result: Result) -> Account:
    """Account for the results of a run; a `ValueError` if no query has a usable result."""
    rows = result.rows
    names = ("n_asked", "n_returned", "n_dead", "n_unreadable", "n_results", "n_valid")
    asked, returned, dead, unreadable, usable, valid = (int(rows[name].sum()) for name in names)
    fates = dict(zip(FATES, (valid, usable - valid, dead, unreadable, asked - returned), strict=True))
    available, study = category_means(result.scores), category_means(result.scores, absent="zero")
    cases = bounds(rows["n_valid"], rows["n_results"], rows["n_asked"])
    worst, best = (category_means(result.by_category(pd.Series(case, rows.index))) for case in cases)
    interval = mean_interval(list(available.values()), bounds=(0.0, 1.0))
    others = (macro_mean(list(means.values())) for means in (worst, best, study))
    return Account(result.label, len(rows), fates, interval, available, *others)
