"""What became of every result: hand-computed books, and bounds that hold whatever was lost."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipnb.analysis.missing import FATES, account, bounds
from clipnb.checks import warnings
from clipnb.report.text import accounts_table
from clipnb.result import Result
from clipnb.spec import RunSpec
from clipnb_book.plots import accounts


def result(manip: str, counts: dict[str, list[tuple[int, int, int, int, int]]], mode: str = "corrected") -> Result:
    """A run of these queries: category -> (returned, dead, unreadable, usable, valid) of 10 asked."""
    rows = [
        {"category": category, "image": f"{i}.jpg", "draw": 0, "noop": False, "shift": 0.0, "n_asked": 10, "n_returned": returned}
        | {"n_dead": dead, "n_unreadable": unreadable, "n_results": usable, "n_valid": valid}
        | {"valid": valid / usable if usable else np.nan, "result_categories": [category] * usable}
        | {"distances": np.full(usable, 0.5)}
        for category, queries in counts.items()
        for i, (returned, dead, unreadable, usable, valid) in enumerate(queries)
    ]
    about = {"unreadable": {}, "empty_categories": [], "other_files": {}, "gallery": {}}
    return Result(RunSpec("photos", manip, "tiny", mode=mode), about, pd.DataFrame(rows))


COUNTS = {
    "cats": [(10, 2, 0, 8, 4), (10, 0, 0, 10, 10)],
    "dogs": [(8, 1, 2, 5, 5), (0, 0, 0, 0, 0)],
    "hats": [(10, 10, 0, 0, 0)],
}


def test_a_draw_without_results_weighs_in_the_account_as_in_the_headline() -> None:
    """cats: 0.jpg has 2/2 and 1/2, 1.jpg 0/2 and nothing; dogs: 1/2 and 1/2. By image: cats (0.75 + 0) / 2, dogs 0.5."""
    rows = pd.DataFrame({"category": ["cats"] * 4 + ["dogs"] * 2, "image": list("001100"), "draw": [0, 1] * 3})
    rows = rows.assign(n_asked=2, n_returned=[2, 2, 2, 0, 2, 2], n_dead=0, n_unreadable=0, n_valid=[2, 1, 0, 0, 1, 1])
    rows = rows.assign(n_results=rows["n_returned"], valid=rows["n_valid"] / rows["n_returned"])
    drawn = Result(RunSpec("photos", "cropped", "tiny", draws=2), {}, rows)
    assert account(drawn).available.point == pytest.approx((0.375 + 0.5) / 2)
    assert drawn.valid.point == account(drawn).available.point


def test_account_by_hand() -> None:
    """cats: 4/8 and 10/10; dogs: 5/5 and nothing; hats: nothing.

    Available: mean of 0.75 and 1. Worst: cats (0.4 + 1) / 2, dogs (0.5 + 0) / 2, hats 0. Best: cats (0.6 + 1) / 2, dogs and
    hats 1. The study passes over queries without results and counts hats 0.
    """
    books, corrected, study = account(result("grey", COUNTS)), result("grey", COUNTS), result("grey", COUNTS, "study")
    assert books.fates == {"valid": 19, "not valid": 4, "dead": 13, "unreadable": 2, "not returned": 12}
    assert (books.asked, books.lost, books.queries) == (50, 27, 5)
    assert books.available.point == corrected.valid.point == pytest.approx((0.75 + 1) / 2)
    assert books.available.n == 2
    assert books.worst == pytest.approx((0.7 + 0.25 + 0) / 3)
    assert books.best == pytest.approx((0.8 + 1 + 1) / 3)
    assert books.study == study.valid.point == pytest.approx((0.75 + 1 + 0) / 3)
    assert json.dumps(corrected.category_means)


@given(st.lists(st.tuples(st.integers(1, 10), st.integers(0, 10), st.integers(0, 10)), min_size=1, max_size=20))
def test_true_value_lies_within_the_bounds(drawn: list[tuple[int, int, int]]) -> None:
    asked, usable, valid = np.minimum.accumulate(np.array(drawn), axis=1).T
    worst, best = bounds(valid, usable, asked)
    for share in (0, 0.3, 1):  # whatever part of the lost was valid
        truth = (valid + share * (asked - usable)) / asked
        assert (worst <= truth + 1e-12).all()
        assert (truth <= best + 1e-12).all()
    seen, full = usable > 0, usable == asked
    assert (worst[seen] <= valid[seen] / usable[seen]).all()
    assert (valid[seen] / usable[seen] <= best[seen]).all()
    for bound in (worst, best):
        np.testing.assert_array_equal(bound[full], valid[full] / usable[full])


def test_a_warning_says_what_was_lost() -> None:
    told = " ".join(warnings(result("grey", COUNTS)))
    assert "of 50 results asked for, 12 never returned, 13 dead, 2 unreadable" in told
    assert "asked for" not in " ".join(warnings(result("grey", {"cats": [(10, 0, 0, 10, 9)], "dogs": [(10, 0, 0, 10, 9)]})))


def test_table_and_figure_show_every_condition() -> None:
    arms = [result("original", COUNTS), result("grey", COUNTS)]
    lines = accounts_table(arms).splitlines()
    assert len(lines) == 4
    assert lines[2].split("|")[1:8] == [" original ", " 5 ", " 50 ", " 38 ", " 13 ", " 2 ", " 23 "]
    drawn = accounts(arms)
    legend = [text.get_text() for ax in drawn.axes for text in ax.get_legend().get_texts()]
    assert set(FATES) <= set(legend)
    assert [label.get_text() for label in drawn.axes[0].get_yticklabels()] == ["original", "grey"]
