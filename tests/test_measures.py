"""Measures against cases worked out by hand, and the laws that they obey."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

from clipnb.metrics.validity import result_distances, shift, valid_at_k
from conftest import unit_vectors

NAN = float("nan")

distance_tables = arrays(
    np.float64, st.tuples(st.integers(1, 6), st.integers(1, 8)), elements=st.one_of(st.floats(0, 2), st.just(NAN))
)
thresholds = st.floats(0.01, 2)


def test_result_distances_are_l2_to_the_clean_query() -> None:
    gallery = np.array([[1, 0], [0, 1], [-1, 0], [0.6, 0.8]], dtype=np.float32)
    clean = np.array([[1, 0], [0, 1]], dtype=np.float32)
    rows = np.array([[0, 1, 2, 3], [3, 1, 0, 2]])
    expected = [[0, 2**0.5, 2, 0.8**0.5], [0.4**0.5, 0, 2**0.5, 2**0.5]]
    assert_allclose(result_distances(clean, gallery, rows), expected, atol=1e-7)


@given(st.integers(1, 12), st.integers(1, 5), st.integers(1, 5), st.integers(1, 13), st.integers(0, 99))
def test_result_distances_do_not_depend_on_the_block(queries: int, k: int, dim: int, block: int, seed: int) -> None:
    gallery, clean = unit_vectors(9, dim, seed), unit_vectors(queries, dim, seed + 1)
    rows = np.random.default_rng(seed).integers(0, 9, (queries, k))
    assert_array_equal(result_distances(clean, gallery, rows, block=block), result_distances(clean, gallery, rows))


@pytest.mark.filterwarnings("error")
def test_valid_is_the_share_of_usable_results_within_the_threshold() -> None:
    below = np.nextafter(0.8, 0)
    distances = [[0.1, 0.5, 0.9, 1.2], [0.9, 1.0, 1.1, 1.9], [0.1, 0.2, 0.3, 0.4], [0.8, below, NAN, NAN], [NAN, 0.1, NAN, NAN]]
    assert_array_equal(valid_at_k(np.array([*distances, [NAN] * 4]), 0.8), [0.5, 0, 1, 0.5, 1, NAN])


@given(distance_tables, thresholds, thresholds, st.randoms())
def test_properties_of_valid(distances: np.ndarray, one: float, other: float, random: object) -> None:
    low, high = valid_at_k(distances, min(one, other)), valid_at_k(distances, max(one, other))
    assert low.shape == (len(distances),)
    assert_array_equal(np.isnan(low), np.isnan(distances).all(axis=1))
    assert np.all(((low >= 0) & (low <= high) & (high <= 1)) | np.isnan(low))
    columns = list(range(distances.shape[1]))
    random.shuffle(columns)  # type: ignore[attr-defined]
    more = np.hstack([distances[:, columns], np.full((len(distances), 1), NAN)])  # another order, and an unusable result more
    assert_array_equal(valid_at_k(more, min(one, other)), low)


@given(st.integers(1, 6), st.integers(1, 40), st.integers(0, 99))
def test_shift_is_half_the_squared_distance_of_unit_vectors(n: int, dim: int, seed: int) -> None:
    clean, moved = unit_vectors(n, dim, seed), unit_vectors(n, dim, seed + 1)
    assert_allclose(shift(clean, moved), np.linalg.norm(clean - moved, axis=1) ** 2 / 2, atol=1e-6)
    assert np.all(shift(clean, clean) >= 0)
    assert np.all(shift(clean, -clean) <= 2)
