"""Agreement of two result lists: by hand, by law, and against the reference implementation of RBO."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from clipnb.metrics.agreement import overlap, rbo

NAN = float("nan")
GOLDEN = json.loads((Path(__file__).parent / "data" / "rbo.json").read_text(encoding="utf-8"))["cases"]


def rows(*lists: list[int]) -> np.ndarray:
    k = max(1, *(len(row) for row in lists))
    return np.array([row + [-1] * (k - len(row)) for row in lists])


def pair(a: list[int], b: list[int]) -> tuple[np.ndarray, np.ndarray]:
    both = rows(a, b)
    return both[:1], both[1:]


lists = st.lists(st.integers(0, 12), unique=True, max_size=8)


def test_rbo_equals_the_reference_implementation() -> None:
    found = [rbo(*pair(a, b), p)[0] for a, b, p, _ in GOLDEN]
    assert_allclose(found, [expected for *_, expected in GOLDEN], atol=1e-9)


def test_by_hand() -> None:
    a, b = pair([1, 2, 3, 4], [2, 1, 5, 6])
    assert overlap(a, b) == [0.5]
    # X = 0, 2, 2, 2; p = 0.5: (1-p)/p Σ X_d/d p^d + X_4/4 p^4
    assert_allclose(rbo(a, b, 0.5), [1 * (2 / 2 / 4 + 2 / 3 / 8 + 2 / 4 / 16) + 0.5 / 16])
    with pytest.raises(ValueError, match="between 0 and 1"):
        rbo(a, b, 1.0)


def test_empty_lists() -> None:
    a, b = rows([], [1], []), rows([], [], [1])
    for measure in (overlap, rbo):
        assert_array_equal(measure(a, b), [NAN, 0, 0])


@given(lists, lists)
def test_agreement_is_symmetric_and_lies_in_0_1(a: list[int], b: list[int]) -> None:
    one, other = pair(a, b)
    for measure in (overlap, rbo):
        assert_allclose(measure(one, other), measure(other, one), atol=1e-12)
        (value,) = measure(one, other)
        assert np.isnan(value) == (not a and not b)
        assert np.isnan(value) or -1e-12 <= value <= 1 + 1e-12


@given(lists.filter(len), st.sampled_from([0.3, 0.8, 0.99]))
def test_a_list_agrees_with_itself_and_with_no_other_set(items: list[int], p: float) -> None:
    same, elsewhere = pair(items, [i + 100 for i in items])
    assert_allclose([overlap(same, same)[0], rbo(same, same, p)[0]], 1)
    assert [overlap(same, elsewhere)[0], rbo(same, elsewhere, p)[0]] == [0, 0]
