"""Means and intervals: the unit is the category."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from clipnb.analysis.pair_counts import jackknife_interval
from clipnb.analysis.scores import Scores
from clipnb.report.tables import conditions_frame
from clipnb.stats.intervals import Interval, category_means, macro_mean, mean_interval, t_interval, unpaired_difference
from clipnb.stats.sign_flips import change_interval
from clipnb_book.measured.findings import paired_differences

NAN = math.nan
SCORES = {"a": [1.0, 0.5], "b": [NAN, 0.25], "c": [], "d": [NAN, NAN]}


def skewed(n: int) -> np.ndarray:
    return np.random.default_rng(n).beta(6, 1.5, n)


def test_category_means_skip_images_without_a_score_and_the_studys_rule_counts_an_empty_category_as_0() -> None:
    assert category_means(SCORES) == {"a": 0.75, "b": 0.25}
    assert category_means(SCORES, absent="zero") == {"a": 0.75, "b": 0.25, "c": 0.0, "d": 0.0}
    assert macro_mean(list(category_means({"many": [1.0] * 99, "few": [0.0]}).values())) == 0.5


def test_the_mean_of_nothing_is_an_error() -> None:
    for nothing in (lambda: macro_mean([]), lambda: mean_interval([])):
        with pytest.raises(ValueError, match="no categories"):
            nothing()


LIST = [0.4, 0.5, 0.7, 0.8, 0.6, 0.6]


def test_the_t_interval_is_the_formula() -> None:
    # mean 0.6, s² = 0.1 / 5
    found = t_interval(LIST)
    arm = stats.t.ppf(0.975, 5) * math.sqrt(0.1 / 5) / math.sqrt(6)
    assert (found.method, found.n, found.level) == ("t", 6, 0.95)
    assert_allclose([found.point, found.low, found.high], [0.6, 0.6 - arm, 0.6 + arm], rtol=1e-12)
    assert t_interval(LIST, 0.99).low < found.low
    assert mean_interval(LIST) == found
    assert mean_interval([0.0, 0.0, 0.0, 0.1, 0.0, 0.0], bounds=(0, 2)).low == 0


@pytest.mark.parametrize(("ones", "n"), [(0, 5), (3, 10), (50, 51), (399, 400)])
def test_the_interval_of_a_share_of_zeros_and_ones_is_that_of_clopper_and_pearson(ones: int, n: int) -> None:
    found = mean_interval([1.0] * ones + [0.0] * (n - ones), bounds=(0, 1))
    expected = stats.binomtest(ones, n).proportion_ci()
    assert_allclose([found.low, found.high], [expected.low, expected.high], atol=1e-6)


def test_the_interval_of_a_share_allows_for_categories_that_were_not_seen() -> None:
    ceiling = mean_interval([1.0] * 6, bounds=(0, 1))
    assert (ceiling.point, ceiling.high, ceiling.constant) == (1, 1, True)
    assert ceiling.low == pytest.approx(0.025 ** (1 / 6))
    values = skewed(12)
    found = mean_interval(values, bounds=(0, 1))
    t = t_interval(values)
    assert found.low < t.low < found.point < found.high < 1


def test_the_interval_of_a_share_is_that_of_random_weights_without_their_noise() -> None:
    values, rng = skewed(40), np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(41), 100_000)
    found = mean_interval(values, bounds=(0, 1))
    low, high = np.quantile(weights[:, :40] @ values, 0.025), np.quantile(weights[:, :40] @ values + weights[:, 40], 0.975)
    assert_allclose([found.low, found.high], [low, high], atol=0.01 * (high - low))


def jackknifed(values: Sequence[float]) -> Interval:
    """The jackknife of a mean over categories of one size."""
    left_out = [np.mean(np.delete(values, c)) for c in range(len(values))] if len(values) > 1 else []
    return jackknife_interval(float(np.mean(values)), left_out, np.ones(len(values), dtype=int))


UNBOUNDED = {
    "one category": [[0.7]],
    "5 categories are too few": [[0.1, 0.7, 0.2, 0.4, 0.5]],
    # equal but for rounding
    "no spread between categories": [[1.0] * 6, [1.0] * 40, *([0.3 if i % 2 else 0.1 + 0.2 for i in range(n)] for n in (7, 60))],
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("interval", [mean_interval, t_interval, change_interval, jackknifed])
def test_too_few_or_equal_categories_have_a_point_and_no_interval(interval: Callable[..., Interval]) -> None:
    for why, lists in UNBOUNDED.items():
        for values in lists:
            found = interval(values)
            assert (found.point, found.n) == (pytest.approx(np.mean(values)), len(values))
            assert np.isnan([found.low, found.high]).all()
            assert 0.7 not in found
            assert (found.bounded, found.why_unbounded) == (False, why)


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=29))
def test_the_point_lies_in_its_interval(thousandths: list[int]) -> None:
    found = mean_interval([t / 1000 for t in thousandths], bounds=(0, 1))
    assert 0 <= found.low <= found.point <= found.high <= 1


def test_contains_is_closed() -> None:
    interval = Interval(0.5, 0.4, 0.6, "t", 5)
    assert [value in interval for value in (0.39, 0.4, 0.6, 0.61)] == [False, True, True, False]


def test_paired_differences_are_manipulated_minus_clean_over_common_categories() -> None:
    clean = {"a": 0.9, "b": 0.8, "c": 0.7, "clean only": 0.0}
    manipulated = {"manipulated only": 1.0, "c": 0.6, "a": 0.5, "b": 0.6}
    assert_allclose(paired_differences(clean, manipulated), [-0.4, -0.2, -0.1])
    assert paired_differences({"a": 1.0}, {"b": 1.0}) == []


def test_the_unpaired_difference_is_welchs() -> None:
    # variances 0.8 and 32/9 of n = 6 and 10: se² = 0.8/6 + 3.2/9, degrees of freedom by Welch-Satterthwaite
    a, b = [4.0, 5.0, 6.0] * 2, [1.0, 1.0, 3.0, 5.0, 5.0] * 2
    found = unpaired_difference(a, b)
    parts = (0.8 / 6, 32 / 9 / 10)
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 5 + parts[1] ** 2 / 9)
    arm = stats.t.ppf(0.975, freedom) * math.sqrt(sum(parts))
    assert (found.method, found.n) == ("Welch", 6)
    assert_allclose([found.point, found.low, found.high], [2, 2 - arm, 2 + arm])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("a", "b"), [([0.1], [0.2, 0.3] * 5), ([0.2, 0.3] * 5, [0.1, 0.2] * 2), ([0.5] * 6, [0.2] * 6)])
def test_the_unpaired_difference_has_no_bounds_without_spread(a: list[float], b: list[float]) -> None:
    found = unpaired_difference(a, b)
    assert found.point == pytest.approx(np.mean(a) - np.mean(b))
    assert not found.bounded


def test_averages_by_hand() -> None:
    scores = Scores("set", "grey", {"a": [1.0, 0.0], "b": [NAN, 0.4], "c": [0.8], "d": [0.1], "e": [NAN]})
    (row,) = conditions_frame([scores]).to_dict("records")
    assert_allclose([row["mean"], row["micro"], row["median"], row["iqm"]], [1.8 / 4, 2.3 / 5, 0.45, (0.5 + 0.4) / 2])
