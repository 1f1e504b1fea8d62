"""A threshold for a wanted precision among the results of a search.

The false positive rate over pairs does not control what a search returns: the k nearest results are the pairs most likely to
lie below a threshold. Here the pairs are queries and their k results, so precision is the precision of accepted results.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ..metrics.ranking import Integers
from ..metrics.validity import Floats
from ..metrics.verification import OperatingCurve, recall_at_precision
from ..stats.intervals import Interval
from .pair_counts import BINS, jackknife, pair_counts

WANTED = 0.9  # precision that the threshold reaches
METHOD = "jackknife of results"  # it covers less often than the jackknife of all pairs


@dataclass(frozen=True)
class ResultThreshold:
    """The largest threshold with the wanted precision among accepted results, with a jackknife interval over categories.

    In simulations the interval covers 67.1% to 96.7%: least with many categories, where a few results of another kind decide. It
    has no bounds if without one category no threshold reaches the precision, which is often so.

    It is checked on categories that did not set it: the results of each category are accepted by the threshold of the others.
    """

    k: int  # number of results of a query
    wanted: float  # the wanted precision
    tau: Interval  # the threshold, NaN if none reaches the precision
    precision: float  # precision of the check; NaN if no result is accepted
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
        tau=replace(jackknife(counts, {"tau": tau_of})["tau"], method=METHOD),
        precision=float(held_out[:, 0].sum() / held_out.sum()) if held_out.any() else math.nan,
        accepted=float(held_out.sum() / max(1, int(counts.same.sum() + counts.different.sum()))),
        curve=counts.curve(),
    )
