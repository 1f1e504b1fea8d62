"""Breaking points: cases by hand, ends out of reach, and properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clipnb.stats.breaking_point import breaking_point

ALIKE = np.ones(8)


@pytest.mark.parametrize(
    ("clean", "edited", "strengths", "options", "expected"),
    [
        (1.0, [0.9, 0.6, 0.2], [1, 2, 4], {}, 2.5),  # a quarter of the way from 0.6 to 0.2
        (1.0, [0.8, 0.2], [0.85, 0.25], {}, 0.55),  # a smaller strength is the stronger edit
        (1.0, [0.9, 0.4, 0.7, 0.1], [1, 2, 3, 4], {}, 3 + 0.05 / 0.45),  # 0.4 and 0.7 pool to 0.55
        (0.5, [0.4, 0.1], [10, 20], {"chance": 0.1}, 10 + 10 / 3),  # the target is halfway to chance: 0.3
        (0.5, [0.4, 0.1], [10, 20], {"chance": 0.1, "fraction": 0.5 + 1 / 8}, 15.0),
        (0.1, [0.1], [1], {"chance": 0.1}, math.nan),  # nothing to lose
        (1.0, [0.51], [3], {}, math.inf),  # nothing is extrapolated
        (1.0, [0.49], [3], {}, -math.inf),
    ],
)
def test_the_breaking_point_is_interpolated_between_measured_strengths(
    clean: float, edited: list[float], strengths: list[float], options: dict[str, float], expected: float
) -> None:
    found = breaking_point(clean * ALIKE, [level * ALIKE for level in edited], strengths, **options)
    assert found.strength == pytest.approx(expected, nan_ok=True)
    assert found.reached == math.isfinite(expected)


def test_a_breaking_point_says_what_it_is_of() -> None:
    found = breaking_point(ALIKE, [0.9 * ALIKE, 0.6 * ALIKE, 0.2 * ALIKE], [1, 2, 4])
    assert (found.bracket, found.clean, found.target, found.n) == ((2, 4), 1.0, 0.5, 8)
    assert breaking_point(ALIKE, [0.8 * ALIKE, 0.2 * ALIKE], [0.85, 0.25]).bracket == (0.85, 0.25)
    assert breaking_point(0.5 * ALIKE, [0.4 * ALIKE, 0.1 * ALIKE], [10, 20], chance=0.1).target == pytest.approx(0.3)
    assert not breaking_point([0.1, 0.1], [[0.1, 0.1]], [1], chance=0.1).bounded
    for level, end in ((0.51, math.inf), (0.49, -math.inf)):
        beyond = breaking_point(ALIKE, [level * ALIKE], [3.0])
        assert (beyond.low, beyond.high) == (end, end)


def test_few_categories_and_equal_ones_get_no_interval() -> None:
    assert not breaking_point([1.0] * 5, [[0.9] * 5, [0.1] * 5], [1, 2]).bounded
    assert breaking_point([1.0] * 6, [[0.9] * 6, [0.1, 0.2] * 3], [1, 2]).bounded
    assert not breaking_point([1.0] * 6, [[0.9] * 6, [0.1] * 6], [1, 2]).bounded  # no spread is not certainty


def test_the_interval_inverts_a_t_test() -> None:
    """Excess over the target is 0.3 and then -0.5 to -0.3, so that the test depends on the strength: bounds by hand."""
    edited = np.array([[0.8] * 6, [0.0, 0.04, 0.08, 0.12, 0.16, 0.2]])
    found = breaking_point(np.ones(6), edited, [0.0, 1.0])
    mean, spread = edited[1].mean() - 0.5, edited[1].std(ddof=1) / math.sqrt(6)
    for bound, side in ((found.low, -1), (found.high, 1)):
        w = 0.3 / (0.3 - mean - side * 2.5706 * spread)  # 0.3 (1 - w) + w mean ± t(5) w spread = 0
        assert bound == pytest.approx(w, abs=1e-5)


@pytest.mark.parametrize(
    ("clean", "edited", "strengths", "fraction"),
    [([], [[]], [1], 0.5), ([1, 1], [[1]], [1], 0.5), ([1], [[1], [1]], [1, 1], 0.5), ([1], [[1]], [1], 1.0)],
)
def test_arrays_of_mismatched_shapes_are_refused(
    clean: list[float], edited: list[list[float]], strengths: list[float], fraction: float
) -> None:
    with pytest.raises(ValueError, match=r"fit|rise|fraction"):
        breaking_point(clean, edited, strengths, fraction=fraction)


@given(
    arrays(float, (3, 7), elements=st.floats(0, 1)),
    arrays(float, 7, elements=st.floats(0.2, 1)),
    st.booleans(),
    st.floats(0.1, 0.9),
)
def test_the_interval_holds_the_point(edited: np.ndarray, clean: np.ndarray, falls: bool, fraction: float) -> None:
    strengths = np.array([1.0, 2.0, 5.0])[:: -1 if falls else 1]
    found = breaking_point(clean, edited, strengths, fraction=fraction)
    assume(found.bounded)
    low, point, high = (-v if falls and math.isfinite(v) else v for v in (found.low, found.strength, found.high))
    assert low - 1e-9 <= point <= high + 1e-9
    if found.reached:
        assert min(found.bracket) <= found.strength <= max(found.bracket)
