"""A threshold for a wanted precision among the results of a search.

The false positive rate over pairs does not control what a search returns: the k nearest results are the pairs most likely to
lie below a threshold. Here the pairs are queries and their k results, so precision is the precision of accepted results.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..metrics.ranking import Integers
from ..metrics.validity import Floats
from ..metrics.verification import OperatingCurve, recall_at_precision
from ..stats.intervals import Interval
from .pair_counts import BINS, jackknife, jackknife_interval, pair_counts

WANTED = 0.9  # precision that the threshold reaches


@dataclass(frozen=True)
class ResultThreshold:
    """The largest threshold with the wanted precision among accepted results, with jackknife intervals over categories.

    It is checked on categories that did not set it: the results of each category are accepted by the threshold of the others.
    """

    k: int  # number of results of a query
    wanted: float  # the wanted precision
    tau: Interval  # the threshold, NaN if none reaches the precision
    precision: Interval  # precision of the check, over categories with an accepted result
    accepted: float  # share of all results that are accepted in the check
    curve: OperatingCurve  # of the results


def result_threshold(vectors: Floats, categories: Integers, images: Integers, k: int, *, wanted: float = WANTED) -> ResultThreshold:
    """Find the threshold for a wanted precision in (0, 1]; the other arguments are those of `pair_counts`."""
    counts = pair_counts(vectors, categories, images, k)

    def tau_of(curve: OperatingCurve) -> float:
        return recall_at_precision(curve, wanted)[1]

    held_out = np.zeros((len(counts.same), 2), dtype=np.int64)
    for c in range(len(held_out)):
        tau = tau_of(counts.curve(without=c))
        below = 0 if math.isnan(tau) else round(tau * BINS / 2)
        held_out[c] = counts.same[c, :below].sum(), counts.different[c, :below].sum()
    return ResultThreshold(
        k=k,
        wanted=wanted,
        tau=jackknife(counts, {"tau": tau_of})["tau"],
        precision=_precision(held_out[held_out.any(axis=1)]),
        accepted=float(held_out.sum() / max(1, int(counts.same.sum() + counts.different.sum()))),
        curve=counts.curve(),
    )


def _precision(accepted: NDArray[np.int64]) -> Interval:
    """Share of same-kind results among (G, 2) accepted results of the same and of another kind, with its jackknife interval."""
    same, both = accepted[:, 0], accepted.sum(axis=1)
    if not both.sum():
        return Interval(math.nan, math.nan, math.nan, "jackknife", 0)
    left_out = (same.sum() - same) / (both.sum() - both) if len(both) > 1 else []
    found = jackknife_interval(float(same.sum() / both.sum()), left_out, both)
    return replace(found, high=min(1.0, found.high)) if found.bounded else found
