"""Thresholds against scikit-learn and hand-worked cases, with ties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from clipnb.analysis.calibration import calibrate
from clipnb.analysis.pair_counts import BINS, jackknife, pair_counts
from clipnb.analysis.result_threshold import result_threshold
from clipnb.errors import UserError
from clipnb.metrics.ranking import codes
from clipnb.metrics.verification import (
    OperatingCurve,
    average_precision,
    curve_of_counts,
    equal_error,
    recall_at_precision,
    roc_auc,
    tau_at_fpr,
)
from conftest import one_line


def operating_curve(same: np.ndarray, different: np.ndarray) -> OperatingCurve:
    """The exact curve, with a threshold above each distance."""
    values = np.unique(np.concatenate([same, different]))
    counts = (np.bincount(np.searchsorted(values, part), minlength=len(values)) for part in (same, different))
    return curve_of_counts(np.nextafter(values, np.inf), *counts)


@pytest.mark.parametrize("seed", range(2))
def test_the_curve_and_its_summaries_are_scikit_learns_with_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    same, different = (np.round(np.clip(rng.normal(mean, 0.2, n), 0, 2) * 16) / 16 for mean, n in ((0.7, 60), (1.1, 240)))
    truth, score = np.r_[np.ones(60), np.zeros(240)], -np.r_[same, different]
    found = operating_curve(same, different)

    fpr, recall, thresholds = roc_curve(truth, score, drop_intermediate=False)
    assert_allclose(found.fpr, fpr[1:], atol=1e-9)
    assert_allclose(found.recall, recall[1:], atol=1e-9)
    assert_allclose(found.tau, -thresholds[1:], atol=1e-9)
    assert roc_auc(found) == pytest.approx(roc_auc_score(truth, score), abs=1e-9)
    assert average_precision(found) == pytest.approx(average_precision_score(truth, score), abs=1e-9)

    along = np.arange(len(fpr))  # the ROC as a line from point to point
    crossing = brentq(interp1d(along, fpr - (1 - recall)), 0, along[-1], xtol=1e-14)
    assert equal_error(found)[0] == pytest.approx(interp1d(along, fpr)(crossing), abs=1e-9)

    precision, recall, thresholds = precision_recall_curve(truth, score)
    assert_allclose(found.precision, precision[:-1][::-1], atol=1e-9)
    best = int(np.argmax(np.where(precision[:-1] >= 0.9, recall[:-1], -1)))
    assert recall_at_precision(found, 0.9) == pytest.approx((recall[best], -thresholds[best]), abs=1e-9)


def test_by_hand() -> None:
    curve = operating_curve(np.array([0.2, 0.4, 0.4, 0.9]), np.array([0.4, 0.8, 1.0, 1.0, 1.2]))
    assert_allclose(curve.tau, [0.2, 0.4, 0.8, 0.9, 1.0, 1.2])
    assert_allclose(curve.recall, [1 / 4, 3 / 4, 3 / 4, 1, 1, 1])
    assert_allclose(curve.fpr, [0, 1 / 5, 2 / 5, 2 / 5, 4 / 5, 1])
    assert_allclose(curve.precision, [1, 3 / 4, 3 / 5, 4 / 6, 4 / 8, 4 / 9])
    assert 0.4 < tau_at_fpr(curve, 0.2) == pytest.approx(0.4)  # it accepts what lies below it
    assert tau_at_fpr(curve, 0.19) == pytest.approx(0.2)
    assert recall_at_precision(curve, 0.7) == (0.75, pytest.approx(0.4))
    # between (0.2, miss 0.25) and (0.4, miss 0.25) the two meet at 0.25
    assert equal_error(curve) == (pytest.approx(0.25), pytest.approx(0.8))


def test_an_unreachable_threshold_is_nan() -> None:
    curve = operating_curve(np.array([0.9]), np.array([0.1, 0.2]))
    assert math.isnan(tau_at_fpr(curve, 0.01))
    assert all(math.isnan(v) for v in recall_at_precision(curve, 0.9))


def clusters(groups: int, each: int, seed: int, spread: float = 0.6, dim: int = 16) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    centres = np.repeat(rng.normal(size=(groups, dim)), each, axis=0)
    vectors = centres + spread * rng.normal(size=centres.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), [f"c{i // each}" for i in range(groups * each)]


def exact(vectors: np.ndarray, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    d = np.linalg.norm(vectors[:, None].astype(float) - vectors[None], axis=2)
    upper = np.triu(np.ones_like(d, dtype=bool), 1)
    equal = np.array(names)[:, None] == np.array(names)
    return d[upper & equal], d[upper & ~equal]


def test_counted_pairs_give_the_exact_curve_to_the_width_of_a_bin() -> None:
    vectors, names = clusters(6, 7, 0)
    counts = pair_counts(vectors, codes(names)[0], np.arange(len(names)))
    same, different = exact(vectors, names)
    assert (counts.same.sum(), counts.different.sum()) == (2 * len(same), 2 * len(different))
    found, expected = counts.curve(), operating_curve(same, different)
    assert roc_auc(found) == pytest.approx(roc_auc(expected), abs=2e-3)
    for rate in (0.01, 0.05):
        assert tau_at_fpr(found, rate) == pytest.approx(tau_at_fpr(expected, rate), abs=0.02)
    # at any edge of a bin the counts are exact
    tau = 1600 * 2 / BINS
    below = found.recall[found.tau <= tau + 1e-12][-1]
    assert below == pytest.approx(np.mean(same < tau), abs=1e-12)


@given(st.integers(3, 6), st.integers(2, 4), st.integers(0, 30))
def test_leaving_a_category_out_is_counting_without_it(groups: int, each: int, seed: int) -> None:
    vectors, names = clusters(groups, each, seed)
    counts = pair_counts(vectors, codes(names)[0], np.arange(len(names)))
    rest = np.flatnonzero(np.array(names) != "c1")
    again = pair_counts(vectors[rest], codes(np.array(names)[rest])[0], rest).curve()
    one = counts.curve(without=1)
    for field in OperatingCurve.__dataclass_fields__:
        assert_allclose(getattr(one, field), getattr(again, field))


def test_leaving_a_category_out_leaves_out_the_results_that_it_gives_and_those_that_it_is() -> None:
    vectors, names = clusters(6, 5, 11, spread=1.0)
    labels, images = codes(names)[0], np.arange(len(names))
    counts, pairs = (pair_counts(vectors, labels, images, k) for k in (4, 0))
    for without in range(6):
        rest = [(d, same) for name, d, same, other in brute_results(vectors, names, 4) if f"c{without}" not in (name, other)]
        for tau in (0.4, 0.8, 1.2):
            below = [same for d, same in rest if d < tau]
            _, _, precision = counts.curve(without=without).at(tau)
            assert precision == pytest.approx(np.mean(below), nan_ok=True) if below else math.isnan(precision)
    # if all others are results, the results are all pairs
    everything = result_threshold(vectors, labels, images, len(names) - 1, wanted=0.9).tau
    of_pairs = jackknife(pairs, {"tau": lambda curve: recall_at_precision(curve, 0.9)[1]})["tau"]
    assert (everything.point, everything.low, everything.high) == (of_pairs.point, of_pairs.low, of_pairs.high)
    assert everything.bounded


def test_copies_of_an_image_are_no_pair() -> None:
    vectors, names = clusters(3, 4, 1)
    images = np.array([0, 0, 1, 2, 3, 3, 3, 4, 5, 6, 7, 8])
    counts = pair_counts(vectors, codes(names)[0], images)
    assert counts.same.sum() == 3 * 12 - 2 - 6


def test_a_jackknife_of_unequal_categories_has_fewer_degrees_of_freedom() -> None:
    """One category of six has most of the pairs: the interval is that of the effective number of categories."""
    sizes = [30, 4, 4, 4, 4, 4]
    vectors, names = clusters(6, 30, 5)
    kept = np.concatenate([np.arange(30 * c, 30 * c + n) for c, n in enumerate(sizes)])
    counts = pair_counts(vectors[kept], codes(np.array(names)[kept])[0], kept)
    pairs = np.array([n * (sum(sizes) - 1) for n in sizes])
    effective = pairs.sum() ** 2 / (pairs**2).sum()
    assert 2 < effective < 3
    found = jackknife(counts, {"tau": lambda curve: tau_at_fpr(curve, 0.05)})["tau"]
    left_out = np.array([tau_at_fpr(counts.curve(without=c), 0.05) for c in range(6)])
    error = math.sqrt(5 / 6 * ((left_out - left_out.mean()) ** 2).sum())
    assert found.high - found.point == pytest.approx(stats.t.ppf(0.975, effective - 1) * error)


def brute_results(vectors: np.ndarray, names: list[str], k: int) -> list[tuple[str, float, bool, str]]:
    """(category of the query, distance, whether of its kind, category) of the k nearest others of each image."""
    found = []
    for q in range(len(names)):
        distance = np.linalg.norm(vectors.astype(float) - vectors[q], axis=1)
        near = [i for i in np.argsort(distance) if i != q][:k]
        found += [(names[q], distance[i], names[i] == names[q], names[i]) for i in near]
    return found


def test_the_threshold_for_results_reaches_its_precision_and_is_checked_category_by_category() -> None:
    vectors, names = clusters(12, 6, 7, spread=1.0)
    labels, images = codes(names)[0], np.arange(len(names))
    found = result_threshold(vectors, labels, images, 5, wanted=0.8)
    results = brute_results(vectors, names, 5)
    below = [same for _, d, same, _ in results if d < found.tau.point]
    assert np.mean(below) >= 0.8
    more = [same for _, d, same, _ in results if d < found.tau.point + 2 / BINS + 1e-4]
    assert found.curve.at(found.tau.point)[2] == pytest.approx(np.mean(below))
    assert np.mean(more) < 0.8 or len(more) == len(below)
    accepted: list[bool] = []
    counts = pair_counts(vectors, labels, images, 5)
    for c in sorted(set(names)):  # each judged by the threshold of the others
        tau = recall_at_precision(counts.curve(without=sorted(set(names)).index(c)), 0.8)[1]
        accepted += [same for name, d, same, _ in results if name == c and d < tau]
    assert found.precision == pytest.approx(np.mean(accepted))
    assert found.accepted == pytest.approx(len(accepted) / len(results))
    assert found.tau.low < found.tau.point < found.tau.high


def test_the_results_of_copies_and_of_ties_do_not_depend_on_the_order() -> None:
    rng = np.random.default_rng(0)
    vectors = np.eye(4, dtype=np.float32)[rng.integers(0, 4, 20)]
    kinds, images = rng.integers(0, 3, 20), rng.integers(0, 15, 20)
    counts = pair_counts(vectors, kinds, images, 4)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(20)
        again = pair_counts(vectors[order], kinds[order], images[order], 4)
        assert (again.same == counts.same).all()
        assert (again.different == counts.different).all()


def test_a_wanted_precision_out_of_range_is_said_and_one_out_of_reach_is_absent() -> None:
    vectors, names = clusters(4, 6, 4)
    with pytest.raises(UserError, match="above 0 and at most 1, not 2"):
        calibrate(vectors, names, [str(i) for i in range(24)], wanted=2)
    mixed = np.tile(vectors[:1], (8, 1))
    found = result_threshold(mixed, np.arange(8) % 2, np.arange(8), 3)
    assert math.isnan(found.tau.point)
    assert found.accepted == 0
    assert math.isnan(found.precision)


def test_what_cannot_be_calibrated_is_one_line() -> None:
    vectors, names = clusters(4, 6, 4)
    images = [str(i) for i in range(24)]
    expected = calibrate(vectors, names, images, k=4).values["roc_auc"]
    assert calibrate(vectors.tolist(), names, images, k=4).values["roc_auc"] == expected
    lost = vectors.copy()
    lost[3, 0] = math.nan
    unit = "24 categories need 24 vectors of length 1, one for each photograph"
    for wrong, said in (
        (vectors * 2, f"{unit}; wrong: 24 of 24; the first has length 2$"),
        (lost, f"{unit}; wrong: 1 of 24; the first is not finite"),
        (vectors[:5], rf"{unit}, not an array of shape \(5, 16\)"),
        (vectors[0], rf"{unit}, not an array of shape \(16,\)"),
    ):
        with one_line(said):
            calibrate(wrong, names, images, k=4)
    with one_line("24 categories and 5 images: each photograph has one of both"):
        calibrate(vectors, names, images[:5], k=4)
    for k in (0, 1.5):
        with one_line(f"k must be a whole number from 1 up, not {k}"):
            calibrate(vectors, names, images, k=k)  # type: ignore[arg-type]
    with one_line("k = 24 is more than the 23 other images"):
        calibrate(vectors, names, images, k=24)


def test_half_of_many_categories_is_held_out_and_the_promise_checked_on_it() -> None:
    vectors, names = clusters(24, 12, 3)
    images = [str(i) for i in range(len(names))]
    found = calibrate(vectors, names, images)
    assert found.check
    assert len(found.calibrated_on) == len(found.scored_on) == 12
    assert not set(found.calibrated_on) & set(found.scored_on)
    tau = found.values["tau_fpr_5"]
    assert tau.low < tau.point < tau.high
    assert found.curve.at(tau.point)[1] <= 0.05
    assert found.check.at(tau.point)[1] == pytest.approx(0.05, abs=0.04)
    rest = [at for at, name in enumerate(names) if name in found.scored_on]
    checked = pair_counts(vectors[rest], codes([names[at] for at in rest])[0], np.arange(len(rest))).curve()
    assert_allclose(found.check.recall, checked.recall)
    assert_allclose(found.check.fpr, checked.fpr)
    again = calibrate(vectors[::-1], names[::-1], images[::-1])
    assert again.calibrated_on == found.calibrated_on
    assert again.values["tau_fpr_5"].point == pytest.approx(tau.point, abs=1e-3)
