"""Same kind or not, by distance alone: ROC, EER, thresholds at a false positive rate or a precision, pooled average precision.

Everything is pooled over pairs. A pair is accepted when its distance is BELOW tau, as in valid@k,tau; pairs at one
distance are accepted together, so that every point of a curve is a threshold that can be set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .validity import Floats

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class OperatingCurve:
    """What each threshold accepts.

    Attributes:
        tau: (m,) rising thresholds; the first accepts something, the last everything.
        recall: (m,) share of same-kind pairs that are accepted, the true positive rate; NaN without such pairs.
        fpr: (m,) share of different-kind pairs that are accepted; NaN without such pairs.
        precision: (m,) share of accepted pairs that are of one kind. It depends on how common those are.
    """

    tau: Vector
    recall: Vector
    fpr: Vector
    precision: Vector


def curve_of_counts(tau: Floats, same: NDArray[Any], different: NDArray[Any]) -> OperatingCurve:
    """The curve from counts between thresholds.

    Args:
        tau: (m,) rising thresholds.
        same, different: (m,) pairs of either kind whose distance lies below tau, but not below the threshold before.
    """
    hits, misses = np.cumsum(same, dtype=np.float64), np.cumsum(different, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        found = OperatingCurve(np.asarray(tau, dtype=np.float64), hits / hits[-1], misses / misses[-1], hits / (hits + misses))
    some = hits + misses > 0
    return OperatingCurve(found.tau[some], found.recall[some], found.fpr[some], found.precision[some])


def operating_curve(same: Floats, different: Floats) -> OperatingCurve:
    """The exact curve from distances.

    Args:
        same: (p,) distances of same-kind pairs.
        different: (n,) distances of different-kind pairs.

    Raises:
        ValueError: one kind has no pairs.
    """
    if not (np.size(same) and np.size(different)):
        raise ValueError("a threshold needs pairs of the same and of different categories")
    values = np.unique(np.concatenate([same, different]).astype(np.float64))
    same_counts, different_counts = (
        np.bincount(np.searchsorted(values, np.asarray(part, dtype=np.float64)), minlength=len(values))
        for part in (same, different)
    )
    return curve_of_counts(np.nextafter(values, np.inf), same_counts, different_counts)


def roc_auc(curve: OperatingCurve) -> float:
    """Area under the ROC: the chance that a same-kind pair is nearer than a different-kind one, ties counting half."""
    fpr, recall = np.concatenate([[0.0], curve.fpr]), np.concatenate([[0.0], curve.recall])
    return float(np.trapezoid(recall, fpr))


def equal_error(curve: OperatingCurve) -> tuple[float, float]:
    """Equal error rate, where FPR = 1 - recall on the ROC drawn as a line, and the first threshold at or beyond it.

    Returns:
        (rate, tau).
    """
    fpr, miss = np.concatenate([[0.0], curve.fpr]), np.concatenate([[1.0], 1.0 - curve.recall])
    gap = fpr - miss  # rises from -1 to 1
    at = int(np.argmax(gap >= 0))
    share = -gap[at - 1] / (gap[at] - gap[at - 1])
    return float(fpr[at - 1] + share * (fpr[at] - fpr[at - 1])), float(curve.tau[at - 1])


def tau_at_fpr(curve: OperatingCurve, rate: float) -> float:
    """The largest threshold that accepts at most this share of different-kind pairs; NaN if even the smallest accepts more."""
    allowed = curve.tau[curve.fpr <= rate]
    return float(allowed[-1]) if allowed.size else float("nan")


def recall_at_precision(curve: OperatingCurve, precision: float = 0.9) -> tuple[float, float]:
    """R@P90 and tau@P90: the largest recall of a threshold with at least this precision (ISC 2021, Douze et al.).

    Returns:
        (recall, tau), NaN both where no threshold is as precise.
    """
    precise = np.flatnonzero(curve.precision >= precision)
    if not precise.size:
        return float("nan"), float("nan")
    return float(curve.recall[precise[-1]]), float(curve.tau[precise[-1]])


def average_precision(curve: OperatingCurve) -> float:
    """uAP: average precision of all pairs ranked together by distance (ISC 2021, Douze et al.), in [0, 1].

    The sum of precisions, each times the recall that its threshold adds.
    """
    return float(np.sum(np.diff(curve.recall, prepend=0.0) * curve.precision))
