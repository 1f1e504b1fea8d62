"""Robustness over manipulations and severities: mPC, rPC, CE and mCE."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError

Performance = Mapping[str, Mapping[int, float]]
"""Manipulation -> severity -> performance in [0, 1]; higher is better."""


def mean_performance(performance: Performance) -> float:
    """mPC: mean over manipulations of the mean over severities (Michaelis et al. 2019), in [0, 1].

    Raises:
        ValueError: there is no manipulation, or a manipulation has no severity.

    >>> mean_performance({"blurred": {1: 0.75, 3: 0.25}, "grey": {1: 1.0}})
    0.75
    """
    if not performance or not all(performance.values()):
        raise ValueError("mPC needs at least one manipulation, and at least one severity of each")
    return float(np.mean([np.mean(list(row.values())) for row in performance.values()]))


def relative_performance(performance: Performance, clean: float) -> float:
    """rPC = mPC / clean performance (Michaelis et al. 2019); NaN if the clean performance is 0.

    >>> relative_performance({"grey": {1: 0.5, 2: 0.25}}, clean=0.75)
    0.5
    """
    return mean_performance(performance) / clean if clean else float("nan")


def corruption_error(performance: Mapping[int, float], baseline: Mapping[int, float]) -> float:
    """CE = Σ_s E_s / Σ_s E_s(baseline), where E = 1 - performance (Hendrycks & Dietterich 2019).

    `performance` and `baseline` map severity -> performance of an encoder, and of the weak baseline, under one manipulation. CE is
    0 or more; 1 if the errors equal those of the baseline; NaN if the baseline makes no errors.

    Raises:
        UserError: the baseline lacks a severity.

    >>> corruption_error({1: 0.75, 2: 0.5}, baseline={1: 0.25, 2: 0.25})
    0.5
    """
    ours, theirs = _errors(performance, performance).sum(), _errors(baseline, performance).sum()
    return float(ours / theirs) if theirs else float("nan")


def mean_corruption_error(performance: Performance, baseline: Performance) -> float:
    """mCE: mean of CE over manipulations (Hendrycks & Dietterich 2019), 0 or more.

    Raises:
        UserError: the baseline lacks a manipulation or a severity.
        ValueError: there is no manipulation.

    >>> mean_corruption_error({"grey": {1: 0.75}, "blurred": {1: 0.5}}, {"grey": {1: 0.5}, "blurred": {1: 0.5}})
    0.75
    """
    if not performance:
        raise ValueError("mCE needs at least one manipulation")
    return float(np.mean([corruption_error(row, _row(baseline, name)) for name, row in performance.items()]))


def _row(baseline: Performance, name: str) -> Mapping[int, float]:
    if name not in baseline:
        raise UserError(f"the baseline encoder has no run of {name!r}: run it, or leave {name!r} out")
    return baseline[name]


def _errors(row: Mapping[int, float], severities: Mapping[int, float]) -> NDArray[np.float64]:
    missing = [str(s) for s in severities if s not in row]
    if missing:
        raise UserError(f"the baseline encoder has no run at severity {', '.join(missing)}: run it, or leave that severity out")
    return 1.0 - np.array([row[s] for s in severities], dtype=np.float64)
