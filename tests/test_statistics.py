"""Aggregates and intervals: the unit is the category."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from clipnb.stats.intervals import (
    Interval,
    aggregates,
    category_means,
    macro_mean,
    mean_interval,
    paired_differences,
    unpaired_difference,
)

NAN = math.nan
SCORES = {"a": [1.0, 0.5], "b": [NAN, 0.25], "c": [], "d": [NAN, NAN]}


def skewed(n: int) -> np.ndarray:
    return np.random.default_rng(n).beta(6, 1.5, n)


def test_category_means_skip_images_without_a_score_and_the_studys_rule_counts_an_empty_category_as_0() -> None:
    assert category_means(SCORES) == {"a": 0.75, "b": 0.25}
    assert category_means(SCORES, absent="zero") == {"a": 0.75, "b": 0.25, "c": 0.0, "d": 0.0}
    assert macro_mean(list(category_means({"many": [1.0] * 99, "few": [0.0]}).values())) == 0.5


def test_the_mean_of_nothing_is_an_error() -> None:
    for nothing in (lambda: macro_mean([]), lambda: mean_interval([]), lambda: aggregates({"a": [NAN]})):
        with pytest.raises(ValueError, match="no categories"):
            nothing()


def test_the_t_interval_is_the_formula() -> None:
    # mean 0.6, s = sqrt(0.06 / 3), t(3) at 97.5 % = 3.182446
    found = mean_interval([0.4, 0.5, 0.7, 0.8])
    arm = 3.182446305284263 * math.sqrt(0.1 / 3) / math.sqrt(4)
    assert (found.method, found.n, found.level) == ("t", 4, 0.95)
    assert_allclose([found.point, found.low, found.high], [0.6, 0.6 - arm, 0.6 + arm], rtol=1e-12)
    assert mean_interval([0.4, 0.5, 0.7, 0.8], level=0.99).low < found.low


@pytest.mark.parametrize(("n", "method"), [(2, "t"), (29, "t"), (30, "BCa"), (51, "BCa")])
def test_bca_is_chosen_from_30_categories_unless_a_method_is_asked_for(n: int, method: str) -> None:
    assert mean_interval(skewed(n)).method == method
    assert [mean_interval(skewed(12), method=m).method for m in ("t", "BCa")] == ["t", "BCa"]


def test_bca_leans_to_the_long_tail_and_t_does_not() -> None:
    values = skewed(40)
    bca, t = mean_interval(values), mean_interval(values, method="t")
    assert stats.skew(values) < -0.3
    assert bca.point - bca.low > bca.high - bca.point
    assert t.point - t.low == pytest.approx(t.high - t.point)
    assert bca.high - bca.low == pytest.approx(t.high - t.low, rel=0.15)


def test_bca_agrees_with_efrons_formula_on_resamples_of_our_own() -> None:
    values = skewed(40)
    means = values[np.random.default_rng(1).integers(0, 40, (40_000, 40))].mean(axis=1)
    z0 = stats.norm.ppf(np.mean(means < values.mean()))
    left_out = (values.sum() - values) / 39
    lean = left_out.mean() - left_out
    a = (lean**3).sum() / (6 * (lean**2).sum() ** 1.5)
    z = z0 + stats.norm.ppf([0.025, 0.975])
    expected = np.quantile(means, stats.norm.cdf(z0 + z / (1 - a * z)))
    found = mean_interval(values)
    assert_allclose([found.low, found.high], expected, atol=0.003)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = skewed(40)
    assert mean_interval(values, seed=3) == mean_interval(values, seed=3)
    assert mean_interval(values, seed=3) != mean_interval(values, seed=4)


def test_one_category_has_a_point_and_no_interval() -> None:
    found = mean_interval([0.7])
    assert (found.point, found.n) == (0.7, 1)
    assert np.isnan([found.low, found.high]).all()
    assert 0.7 not in found
    assert not found.bounded
    assert found.why_unbounded == "one category"


NO_SPREAD = [[1.0] * 2, [1.0] * 40, *([0.3 if i % 2 else 0.1 + 0.2 for i in range(n)] for n in (5, 60))]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("values", NO_SPREAD, ids=len)
def test_categories_that_are_equal_but_for_rounding_give_no_interval_and_say_why(values: list[float]) -> None:
    found = mean_interval(values)
    assert found.point == pytest.approx(values[0])
    assert np.isnan([found.low, found.high]).all()
    assert not found.bounded
    assert found.why_unbounded == "no spread between categories"


def test_the_interval_is_cut_to_the_range_of_the_quantity() -> None:
    values = [1.0, 1.0, 0.6]
    assert mean_interval(values).high > 1
    assert mean_interval(values, bounds=(0, 1)).high == 1
    assert mean_interval([0.0, 0.0, 0.4], bounds=(0, 1)).low == 0
    assert mean_interval(values, bounds=(0, 1)).low == mean_interval(values).low


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=29).filter(lambda values: len(set(values)) > 1))
def test_the_point_lies_in_its_interval(thousandths: list[int]) -> None:
    found = mean_interval([t / 1000 for t in thousandths], bounds=(0, 1))
    assert 0 <= found.low <= found.point + 1e-12
    assert found.point - 1e-12 <= found.high <= 1


def test_contains_is_closed() -> None:
    interval = Interval(0.5, 0.4, 0.6, "t", 5)
    assert [value in interval for value in (0.39, 0.4, 0.6, 0.61)] == [False, True, True, False]


def test_paired_differences_are_manipulated_minus_clean_over_common_categories() -> None:
    clean = {"a": 0.9, "b": 0.8, "c": 0.7, "clean only": 0.0}
    manipulated = {"manipulated only": 1.0, "c": 0.6, "a": 0.5, "b": 0.6}
    assert_allclose(paired_differences(clean, manipulated), [-0.4, -0.2, -0.1])
    assert paired_differences({"a": 1.0}, {"b": 1.0}) == []


def test_pairing_takes_the_spread_between_categories_out() -> None:
    clean = {str(i): i / 10 for i in range(10)}
    manipulated = {c: v - 0.1 - 0.001 * (i % 2) for i, (c, v) in enumerate(clean.items())}
    found = mean_interval(paired_differences(clean, manipulated))
    assert found.high - found.low < 0.002
    assert 0 not in found


def test_the_unpaired_difference_is_welchs() -> None:
    # variances 1 and 4 of n = 3 and 5: se² = 1/3 + 4/5, degrees of freedom by Welch-Satterthwaite
    a, b = [4.0, 5.0, 6.0], [1.0, 1.0, 3.0, 5.0, 5.0]
    found = unpaired_difference(a, b)
    parts = (1 / 3, 4 / 5)
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 4)
    arm = stats.t.ppf(0.975, freedom) * math.sqrt(sum(parts))
    assert (found.method, found.n) == ("Welch", 8)
    assert_allclose([found.point, found.low, found.high], [2, 2 - arm, 2 + arm])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("a", "b"), [([0.1], [0.2, 0.3]), ([0.2, 0.3], [0.1]), ([0.5, 0.5], [0.2, 0.2])])
def test_the_unpaired_difference_has_no_bounds_without_spread(a: list[float], b: list[float]) -> None:
    found = unpaired_difference(a, b)
    assert found.point == pytest.approx(np.mean(a) - np.mean(b))
    assert not found.bounded


def test_the_bootstrap_t_is_the_formula_on_resamples_of_our_own() -> None:
    values = skewed(12)
    drawn = values[np.random.default_rng(1).integers(0, 12, (60_000, 12))]
    studentised = (drawn.mean(axis=1) - values.mean()) / (drawn.std(axis=1, ddof=1) / math.sqrt(12))
    upper, lower = np.quantile(studentised, [0.975, 0.025])
    error = values.std(ddof=1) / math.sqrt(12)
    found = mean_interval(values, method="bootstrap-t")
    assert found.method == "bootstrap-t"
    assert_allclose([found.low, found.high], [values.mean() - upper * error, values.mean() - lower * error], rtol=0.02)


@pytest.mark.filterwarnings("error")
def test_the_bootstrap_t_passes_over_resamples_of_one_category() -> None:
    found = mean_interval([0.2, 0.4], method="bootstrap-t", resamples=500)
    assert found.bounded


def test_the_percentile_interval_is_scipys() -> None:
    values = skewed(12)
    found = mean_interval(values, method="percentile", resamples=20_000)
    expected = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=5).confidence_interval
    assert_allclose([found.low, found.high], [expected.low, expected.high], atol=0.005)


def test_aggregates_by_hand() -> None:
    found = aggregates({"a": [1.0, 0.0], "b": [NAN, 0.4], "c": [0.8], "d": [0.1], "e": [NAN]})
    assert_allclose([found.macro, found.micro, found.median, found.iqm], [1.8 / 4, 2.3 / 5, 0.45, (0.5 + 0.4) / 2])
