"""Robustness over manipulations and severities: mPC, rPC, CE and mCE."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import UserError

Performance = Mapping[str, Mapping[int, float]]
"""Manipulation -> severity -> performance in [0, 1]; higher is better."""


def mean_performance(performance: Performance) -> float:
    """mPC: mean over manipulations of the mean over severities (Michaelis et al. 2019), in [0, 1]; a `ValueError` if one is empty.

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
    0 or more; 1 if the errors equal those of the baseline; NaN if the baseline makes no errors. A `UserError` says that the
    baseline lacks a severity.

    >>> corruption_error({1: 0.75, 2: 0.5}, baseline={1: 0.25, 2: 0.25})
    0.5
    """
    if missing := [str(severity) for severity in performance if severity not in baseline]:
        raise UserError(f"the baseline encoder has no run at severity {', '.join(missing)}: run it, or leave that severity out")
    ours, theirs = (np.sum([1.0 - row[severity] for severity in performance]) for row in (performance, baseline))
    return float(ours / theirs) if theirs else float("nan")


def mean_corruption_error(performance: Performance, baseline: Performance) -> float:
    """mCE: mean of CE over manipulations (Hendrycks & Dietterich 2019), 0 or more; a `UserError` if the baseline lacks one.

    >>> mean_corruption_error({"grey": {1: 0.75}, "blurred": {1: 0.5}}, {"grey": {1: 0.5}, "blurred": {1: 0.5}})
    0.75
    """
    if not performance:
        raise ValueError("mCE needs at least one manipulation")
    if missing := [name for name in performance if name not in baseline]:
        raise UserError(f"the baseline encoder has no run of {missing[0]!r}: run it, or leave {missing[0]!r} out")
    return float(np.mean([corruption_error(row, baseline[name]) for name, row in performance.items()]))
