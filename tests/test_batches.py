"""The batch size that finds itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipnb.encoders.engines import TRIALS, FastestSize


def work(size: FastestSize, inputs: int, seconds: Callable[[int], float]) -> list[int]:
    """The batches in which so many inputs are taken, if one of n takes `seconds(n)`."""
    taken = []
    while inputs:
        taken.append(size.next(inputs))
        inputs -= taken[-1]
        size.note(taken[-1], seconds(taken[-1]))
    return taken


@pytest.mark.parametrize(
    ("seconds", "best"),
    [(lambda n: n**2, 4), (lambda n: 1.0, 16), (lambda n: n * (1.0 if n == 8 else 2.0), 8)],
    ids=["small ones are quick", "large ones cost nothing more", "the middle"],
)
def test_the_fastest_batch_size_is_kept(seconds: Callable[[int], float], best: int) -> None:
    size = FastestSize((4, 8, 16))
    taken = work(size, 400, seconds)
    assert size.best == best
    trial = TRIALS * (4 + 8 + 16)
    assert sum(taken[: TRIALS * 3]) == trial
    assert set(taken[TRIALS * 3 : -1]) == {best}


def test_a_slow_first_trial_does_not_count() -> None:
    size = FastestSize((4, 8))
    for inputs, seconds in ((4, 40.0), (8, 8.0), (4, 0.4), (8, 8.0)):
        size.note(inputs, seconds)
    assert size.best == 4


@given(st.integers(1, 300), st.lists(st.floats(0.001, 10), min_size=17, max_size=17))
def test_every_input_is_taken_once_in_batches_that_are_allowed(inputs: int, seconds: list[float]) -> None:
    taken = work(FastestSize((4, 8, 16)), inputs, lambda n: seconds[min(n, 16)])
    assert sum(taken) == inputs
    assert max(taken) <= 16


def test_a_batch_size_that_does_not_fit_is_never_tried_again() -> None:
    size = FastestSize((4, 8, 16))
    for fits, allowed in ((5, {1, 2, 3, 4}), (2, {1, 2}), (1, {1})):
        size.limit(fits)
        assert set(work(size, 100, lambda n: 1.0)) <= allowed
