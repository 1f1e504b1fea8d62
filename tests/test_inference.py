"""Tests and effect sizes, against scipy and statsmodels, by hand, and by law."""

from __future__ import annotations

import math
from itertools import product
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_ind, ttost_paired

from clipnb.report.format import minus, p_value, points
from clipnb.stats.effect_sizes import cliffs_delta, nesting, rank_biserial
from clipnb.stats.hypothesis import holm, interaction, tost, tost_unpaired, wilcoxon
from clipnb.stats.intervals import direction, t_interval
from clipnb.stats.sign_flips import change_interval, detectable_change, sign_flip
from clipnb_book.claims.tests import spread_changes

NAN = math.nan
thousandths = st.lists(st.integers(-1000, 1000), min_size=1, max_size=10)


def changes(n: int, shift: float = 0.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([n, seed]).normal(shift, 0.1, n)


def test_sign_flip_by_hand() -> None:
    # of the 8 sign patterns of 1, 2, 3 only two reach the sum 6 in size
    assert sign_flip([0.1, 0.2, 0.3]) == 2 / 8
    # -1 + 2 + 3 = 4 is reached by +++, -++, and their opposites
    assert sign_flip([-0.1, 0.2, 0.3]) == 4 / 8
    assert sign_flip([0.0, 0.0]) == wilcoxon([0.0, 0.0]) == 1
    assert sign_flip([-1 / 3, 1 / 3, 2 / 3]) == 6 / 8
    sixths = [-1, -1, -2, -4, 2, 0]  # 24 of 64 flips reach the sum of -6
    assert sign_flip(sixths) == sign_flip(np.array(sixths) / 6) == 24 / 64


@given(st.lists(st.integers(-12, 12), min_size=2, max_size=9), st.sampled_from([3, 6, 7, 12, 30, 96]))
def test_fractions_have_the_p_of_whole_numbers(numbers: list[int], denominator: int) -> None:
    shares = [number / denominator for number in numbers]
    assert sign_flip(shares) == sign_flip(numbers)
    of_shares, whole = change_interval(shares), change_interval(numbers)
    assert of_shares.bounded == whole.bounded
    if whole.bounded:
        assert_allclose([of_shares.low * denominator, of_shares.high * denominator], [whole.low, whole.high], atol=1e-6)
        assert (0 in of_shares) == (0 in whole) == (sign_flip(shares) > 0.05)


@pytest.mark.parametrize("n", [4, 9, 13])
def test_sign_flip_is_scipys_exact_permutation_test(n: int) -> None:
    d = changes(n, 0.05)
    expected = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True).pvalue
    assert sign_flip(d) == pytest.approx(expected, abs=1e-12)


def test_random_flips_come_near_the_exact_value_and_count_the_data_itself() -> None:
    d = changes(12, 0.05)
    assert sign_flip(d, flips=4_000) == pytest.approx(sign_flip(d), abs=0.02)
    assert sign_flip(np.full(40, 0.3) + changes(40) / 100, flips=999) == 1 / 1000
    assert sign_flip(changes(40, 0.02), seed=1) == sign_flip(changes(40, 0.02), seed=1)


@pytest.mark.parametrize(
    "d",
    [
        [0.0, 0.1, -0.2, 0.3, 0.3, 0.5, 1e-17],
        [0.1, -0.1, 0.1, 0.2, 0.2, 0.2],
        [0.1, -0.2, 0.3, 0.4, 0.5],
        [*np.arange(1, 20) / 10, -0.1, 0.0],
    ],
    ids=["zeros and ties", "ties", "neither", "many"],
)
def test_wilcoxon_is_scipys_with_pratts_zeros(d: list[float]) -> None:
    expected = stats.wilcoxon(np.where(np.abs(d) < 1e-12, 0, d), zero_method="pratt").pvalue
    assert wilcoxon(d) == pytest.approx(expected, abs=1e-12)


def test_holm_by_hand() -> None:
    # 0.01 x 4, 0.02 x 3, 0.03 x 2, 0.5 x 1, each at least the one before
    assert_allclose(holm([0.03, 0.01, 0.5, 0.02]), [0.06, 0.04, 0.5, 0.06])
    assert_allclose(holm([0.9, 0.8]), [1, 1])
    assert_allclose(holm([0.01, NAN, 0.04]), [0.02, NAN, 0.04])  # a contrast without p is no test
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_statsmodels(p: list[float]) -> None:
    with patch("gc.collect"):  # which multipletests calls each time
        assert_allclose(holm(p), multipletests(p, method="holm")[1], atol=1e-12)


def test_tost_is_statsmodels() -> None:
    d = changes(14, 0.01)
    expected = ttost_paired(d, np.zeros(14), -0.1, 0.1)[0]
    assert tost(d, 0.1).p == pytest.approx(expected, abs=1e-12)
    a, b = changes(14, 0.01), changes(9)
    assert tost_unpaired(a, b, 0.1).p == pytest.approx(ttost_ind(a, b, -0.1, 0.1, usevar="unequal")[0], abs=1e-12)


@given(thousandths.filter(lambda v: len(v) > 5 and len(set(v)) > 1), st.sampled_from([0.05, 0.3]))
def test_equivalence_is_the_90_percent_interval_within_the_margin(values: list[int], margin: float) -> None:
    found = tost(np.array(values) / 1000, margin)
    inside = -margin < found.interval.low and found.interval.high < margin
    assert (found.p < 0.05) == inside
    assert found.interval.level == pytest.approx(0.9)


def test_equivalence_needs_a_margin_and_spread() -> None:
    for margin in (0.0, -0.1, NAN):
        with pytest.raises(ValueError, match="margin"):
            tost([0.1, 0.2], margin)
    assert math.isnan(tost([0.1], 0.2).p)
    assert math.isnan(tost_unpaired([0.1], [0.1, 0.2], 0.2).p)


def test_the_interaction_is_welchs_test_of_the_changes() -> None:
    a, b = changes(10, -0.2), changes(28, -0.1)
    found = interaction(a, b, permutations=2_000)
    expected = stats.ttest_ind(a, b, equal_var=False)
    assert found.p == expected.pvalue
    assert (found.difference.low, found.difference.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert found.p_permutation == pytest.approx(found.p, abs=0.02)
    assert (found.p < 0.05) == (0 not in found.difference)
    untested = interaction([0.1, 0.2, 0.0, 0.1, 0.1], [0.1, 0.2] * 50)  # five categories are too few
    assert untested.difference.point == pytest.approx(-0.05)
    assert np.isnan([untested.p, untested.p_permutation]).all()


def test_rank_biserial_by_hand() -> None:
    # |d| ranks 1, 2, 3, 4 with signs + - + +: (8 - 2) / 10; a zero counts for neither
    assert rank_biserial([0.1, -0.2, 0.3, 0.4]) == pytest.approx(0.6)
    assert rank_biserial([0.1, -0.2, 0.3, 0.4, 0.0]) == pytest.approx(0.6)
    assert rank_biserial([-0.1, -0.2]) == -1
    assert rank_biserial([0.0, 0.0]) == 0
    assert math.isnan(rank_biserial([]))


@given(thousandths, thousandths)
def test_cliffs_delta_counts_pairs(a: list[int], b: list[int]) -> None:
    pairs = [(x > y) - (x < y) for x, y in product(a, b)]
    assert cliffs_delta(a, b) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert math.isnan(cliffs_delta([], b))


def test_icc_of_shrout_and_fleiss() -> None:
    # Shrout & Fleiss 1979, table 2: six targets, four judges, ICC(1,1) = 0.17
    ratings = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    found = nesting(ratings)
    assert found.icc == pytest.approx(0.1657418, abs=1e-6)
    assert found.design_effect == pytest.approx(1 + 3 * found.icc)


def test_icc_of_groups_of_different_size_recovers_what_made_them() -> None:
    rng = np.random.default_rng(2)
    groups = [rng.normal(0, 0.5) + rng.normal(0, 1, rng.integers(20, 80)) for _ in range(600)]
    assert nesting(groups).icc == pytest.approx(0.2, abs=0.02)


def test_nesting_without_two_images_somewhere_or_any_spread_is_absent() -> None:
    for groups in ([[1.0], [2.0]], [[1.0, 2.0]], [[1.0, 1.0], [1.0, 1.0]], []):
        assert math.isnan(nesting(groups).icc)
    assert nesting([[1.0, NAN], [2.0, 3.0]]) == nesting([[1.0], [2.0, 3.0]])
    assert nesting([[0.0, 1.0], [0.0, 1.0]]).design_effect == 1


@given(st.lists(st.integers(-10, 10), min_size=1, max_size=9), st.sampled_from([0.95, 0.9]))
def test_the_interval_of_a_change_excludes_zero_if_and_only_if_the_test_rejects_it(tenths: list[int], level: float) -> None:
    d = np.array(tenths) / 10
    found, p = change_interval(d, level=level), sign_flip(d)
    if found.bounded:
        assert (0 in found) == (p > 1 - level)
        assert min(d) - 1e-9 <= found.low <= found.point + 1e-12
        assert found.point - 1e-12 <= found.high <= max(d) + 1e-9
    elif not found.constant:
        assert 2.0 ** (1 - len(d)) > 1 - level - 1e-9


def test_the_interval_of_a_change_is_the_test_inverted() -> None:
    for d in (changes(9, 0.05), changes(30, 0.05)):
        found = change_interval(d)
        for end, inward in ((found.low, 1), (found.high, -1)):
            assert sign_flip(d - (end + inward * 0.002)) > 0.05 >= sign_flip(d - (end - inward * 0.002))


def test_the_detectable_change_is_that_of_the_sign_flip_test() -> None:
    # with six categories the test rejects only if all changes have one sign: power is the normal cdf of the change to the sixth
    assert detectable_change(1.0, 6) == pytest.approx(stats.norm.ppf(0.8 ** (1 / 6)), rel=0.03)
    # with many it has the power of a t test: 0.5493 of a standard deviation for 28 categories
    assert detectable_change(1.0, 28) == pytest.approx(0.5493, rel=0.03)
    assert detectable_change(0.0, 12) == 0
    assert np.isnan([detectable_change(0.1, few) for few in (0, 2, 5)]).all()


def test_float_noise_decides_no_tie() -> None:
    a, b = [0.3 - 0.2], [0.2 - 0.1]
    assert a != b
    assert cliffs_delta(a, b) == 0
    d = [0.3 - 0.2, -(0.2 - 0.1), 0.9 - 0.7, 0.8 - 0.6, 0.5 - 0.2, 0.6]
    exact = [0.1, -0.1, 0.2, 0.2, 0.3, 0.6]
    for statistic in (sign_flip, wilcoxon, rank_biserial):
        assert statistic(d) == statistic(exact)
    before, after = np.array([0.1, 0, 0.7, 0.5, 0.7, 0.2]), np.array([0.3, 0.5, 0.4, 0.4, 0, 0])
    assert wilcoxon(after - before) == wilcoxon([0.2, 0.5, -0.3, -0.1, -0.7, -0.2]) == 0.625


small = st.lists(st.sampled_from([0.0, 0.1, 0.3 - 0.2, -0.1, 1.0, NAN]), max_size=6)


@pytest.mark.filterwarnings("error")
@given(small, small)
@example([0.0] * 5 + [0.1], [0.1] * 6)  # one of two sets has no spread
def test_short_and_odd_lists_are_handled(a: list[float], b: list[float]) -> None:
    odd = not a or any(map(math.isnan, a))
    for test in (sign_flip, wilcoxon):
        assert math.isnan(test(a)) == odd
        assert odd or 0 < test(a) <= 1
    assert math.isnan(rank_biserial(a)) == odd
    assert odd or not b or any(map(math.isnan, b)) or -1 <= cliffs_delta(a, b) <= 1
    if a:
        for found in (change_interval(a), t_interval(a)):
            assert not found.bounded or (len(a) == 6 and found.low <= found.high)
            assert direction(found, sign_flip(a)) in ("a loss", "a gain", "no change", "cannot tell")
        assert direction(change_interval(a), sign_flip(a)) == "cannot tell" or len(a) == 6 or not any(a)
    if a and b:
        for p in (interaction(a, b, permutations=9).p, tost_unpaired(a, b, margin=0.1).p):
            assert math.isnan(p) or len(a) == len(b) == 6


def test_lists_of_equal_spread_are_rarely_said_to_differ() -> None:
    rng = np.random.default_rng(0)
    shapes = (lambda: rng.beta(6, 0.2, 30), lambda: rng.exponential(size=30))
    rejected = [sign_flip(spread_changes(draw(), draw()), flips=499) <= 0.05 for draw in shapes for _ in range(100)]
    assert np.mean(rejected) < 0.1
    calm, wild = 0.5 + 0.02 * rng.normal(size=30), 0.5 + 0.15 * rng.normal(size=30)
    assert sign_flip(spread_changes(calm, wild)) < 0.001


def test_formatting_of_extreme_numbers() -> None:
    assert p_value(NAN) == "no p-value"
    assert p_value(0.0) == "p\u00a0<\u00a010⁻³⁰⁰"
    assert points(-0.0) == points(-0.0001) == "+0.0"
    assert minus(-0.001) == "0.00"
