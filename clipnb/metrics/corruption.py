"""Robustness over manipulations and severities: mPC, rPC, CE, mCE, relative CE; and accuracy as a function of the threshold."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from .validity import Floats, valid_at_k

Grid = Mapping[str, Mapping[int, float]]
"""Manipulation -> severity -> performance, higher is better, in [0, 1]."""


def mean_performance(performance: Grid) -> float:
    """mPC: mean over manipulations of the mean over severities (Michaelis et al. 2019), in [0, 1].

    Raises:
        ValueError: there is nothing to average.
    """
    if not performance or not all(performance.values()):
        raise ValueError("mPC needs at least one manipulation, and a severity of each")
    return float(np.mean([np.mean(list(row.values())) for row in performance.values()]))


def relative_performance(performance: Grid, clean: float) -> float:
    """rPC = mPC / clean performance (Michaelis et al. 2019); NaN where clean performance is 0."""
    return mean_performance(performance) / clean if clean else float("nan")


def corruption_error(performance: Mapping[int, float], baseline: Mapping[int, float]) -> float:
    """CE = Σ_s E_s / Σ_s E_s of the baseline encoder, E = 1 - performance (Hendrycks & Dietterich 2019).

    Args:
        performance: severity -> performance of one manipulation.
        baseline: the same of the named weak baseline.

    Returns:
        At least 0, 1 where it equals the baseline; NaN for a baseline without error.

    Raises:
        UserError: the baseline lacks a severity.
    """
    return _ratio(_errors(performance, performance), _errors(baseline, performance))


def mean_corruption_error(performance: Grid, baseline: Grid) -> float:
    """mCE: mean of CE over manipulations (Hendrycks & Dietterich 2019).

    Raises:
        UserError: the baseline lacks a manipulation or a severity.
        ValueError: there is no manipulation.
    """
    if not performance:
        raise ValueError("mCE needs at least one manipulation")
    return float(np.mean([corruption_error(row, _row(baseline, name)) for name, row in performance.items()]))


def relative_corruption_error(
    performance: Mapping[int, float], clean: float, baseline: Mapping[int, float], baseline_clean: float
) -> float:
    """Relative CE = Σ_s (E_s - E_clean) / Σ_s (E_s - E_clean) of the baseline (Hendrycks & Dietterich 2019).

    Returns:
        How much faster than the baseline it degrades; NaN where the baseline does not degrade.

    Raises:
        UserError: the baseline lacks a severity.
    """
    ours = _errors(performance, performance) - (1 - clean)
    theirs = _errors(baseline, performance) - (1 - baseline_clean)
    return _ratio(ours, theirs)


def _row(baseline: Grid, name: str) -> Mapping[int, float]:
    if name not in baseline:
        raise UserError(f"the baseline encoder has no run of {name!r}: run it first, or leave {name!r} out")
    return baseline[name]


def _errors(row: Mapping[int, float], severities: Mapping[int, float]) -> NDArray[np.float64]:
    missing = [str(s) for s in severities if s not in row]
    if missing:
        raise UserError(f"the baseline encoder has no run at severity {', '.join(missing)}: run it first, or leave that out")
    return 1.0 - np.array([row[s] for s in severities], dtype=np.float64)


def _ratio(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    return float(ours.sum() / theirs.sum()) if theirs.sum() else float("nan")


def profile(distances: Floats, taus: Floats) -> NDArray[np.float64]:
    """valid@k,tau at each of several thresholds: a performance profile (Agarwal et al. 2021).

    Args:
        distances: (q, k) of results to the clean query, NaN where unusable.
        taus: (t,) thresholds.

    Returns:
        (q, t) in [0, 1], NaN for a query without usable results.
    """
    return np.stack([valid_at_k(distances, float(tau)) for tau in taus], axis=1)


def area_under_profile(distances: Floats, low: float = 0.0, high: float = 2.0) -> NDArray[np.float64]:
    """AUC_tau: mean of valid@k,tau over thresholds from `low` to `high`, computed exactly from the distances.

    A result at distance d is valid for tau in (d, high], so that it adds (high - max(d, low)) / (high - low).

    Args:
        distances: (q, k), NaN where unusable.
        low, high: range of thresholds, low < high.

    Returns:
        (q,) in [0, 1], NaN for a query without usable results.
    """
    if not low < high:
        raise ValueError(f"the range of thresholds must rise, not go from {low!r} to {high!r}")
    share = (high - np.clip(distances, low, high)) / (high - low)
    usable = (~np.isnan(distances)).sum(axis=1)
    return np.asarray(np.divide(np.nansum(share, axis=1), usable, out=np.full(len(distances), np.nan), where=usable > 0))
