"""Robustness over severities and thresholds, by hand and by law."""

from __future__ import annotations

import numpy as np
import pytest

from clipnb.errors import UserError
from clipnb.metrics.corruption import (
    corruption_error,
    mean_corruption_error,
    mean_performance,
    relative_performance,
)

OURS = {"blur": {1: 0.9, 2: 0.7}, "grey": {1: 0.8}}
WEAK = {"blur": {1: 0.6, 2: 0.2}, "grey": {1: 0.6}, "other": {1: 0.0}}


def test_mean_and_relative_performance_weigh_manipulations_equally() -> None:
    assert mean_performance(OURS) == pytest.approx(0.8)
    assert mean_performance({"a": {1: 1.0, 2: 1.0}, "b": {1: 0.0}}) == 0.5  # of manipulations, not of all severities
    assert relative_performance(OURS, 0.95) == pytest.approx(0.8 / 0.95)
    assert np.isnan(relative_performance(OURS, 0.0))


def test_corruption_errors_sum_over_severities_before_they_divide() -> None:
    assert corruption_error(OURS["blur"], WEAK["blur"]) == pytest.approx((0.1 + 0.3) / (0.4 + 0.8))
    assert mean_corruption_error(OURS, WEAK) == pytest.approx((0.4 / 1.2 + 0.2 / 0.4) / 2)
    assert mean_corruption_error(WEAK, WEAK) == 1


def test_a_missing_baseline_is_a_line_and_nothing_to_average_an_error() -> None:
    for baseline in ({}, {"blur": {1: 0.5}, "grey": {1: 0.5}}):
        with pytest.raises(UserError, match="baseline encoder has no run"):
            mean_corruption_error(OURS, baseline)
    for nothing in (lambda: mean_performance({}), lambda: mean_corruption_error({}, WEAK)):
        with pytest.raises(ValueError, match="at least one"):
            nothing()
