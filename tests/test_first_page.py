"""The answer of the first page: breaking points of real photographs, said in words."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

from clipnb.analysis.tolerance import Tolerance, of_means
from clipnb.manipulations import MANIPULATIONS
from clipnb_book import first_page
from clipnb_book.first_page import EDITS, SETS, answer, breaking_points
from clipnb_book.measured import records


def test_each_edit_has_a_sentence_with_the_numbers_of_the_records() -> None:
    *edits, kind = answer().splitlines()
    for edit, line in zip(EDITS, edits, strict=True):
        assert line.startswith(f"- **{MANIPULATIONS[edit].label.capitalize()}**: ")
        for name, who in SETS.items():
            (t,) = records.tolerances(name, "efficientnet-lite2", "found", [edit])
            words = MANIPULATIONS[edit].parameter.in_words
            if t.point.reached:
                number = MANIPULATIONS[edit].parameter.text(t.point.strength)
                assert f"{words(t.point.strength) if who == 'scenes' else number}**{' (' if t.point.bounded else ' for'}" in line
                assert line.count("half of the originals are lost at") == 1
            else:
                assert f"**{t.means[-1]:.0%}**" in line
                assert line.count(f" of the originals are still found at the strongest setting, {words(t.strengths[-1])}") == 1
            assert f" for {who}" in line
    assert kind.startswith("- **Same kind**: the first other result is of the same kind: ")
    shares = [int(share) for share in re.findall(r"(\d+)%", kind)]
    assert shares[0] == round(100 * breaking_points("p1")["blurred"]["miniplaces"].point.clean)


def one(strength: list[float]) -> Tolerance:
    means = np.array([[1.0] * 6, *([v] * 6 for v in strength)])
    return of_means(("photos", "tiny", "blurred", "found"), [1.0, 2.0], means, np.zeros(6))


@pytest.mark.parametrize(
    ("means", "said"),
    [
        ([0.9, 0.1], "half of the originals are lost at **a blur of sigma 1.5 px** for scenes"),
        ([0.9, 0.8], "**80%** of the originals are still found at the strongest setting, a blur of sigma 2 px, for scenes"),
        ([0.3, 0.1], "**30%** of the originals are found at the weakest setting, a blur of sigma 1 px, for scenes"),
    ],
)
def test_an_edit_that_breaks_nothing_is_described_by_the_share_still_found(means: list[float], said: str) -> None:
    assert first_page._part(one(means), "scenes") == said


def test_the_curves_mark_the_breaking_points() -> None:
    figure = first_page.picture()
    marks = [line for ax in figure.axes for line in ax.lines if line.get_marker() == "X"]
    reached = [t for m in ("found", "p1") for sets in breaking_points(m).values() for t in sets.values() if t.point.reached]
    assert len(marks) == len(reached) > 0
    assert all(0 < float(mark.get_xdata()[0]) < 9 for mark in marks)
    assert not any(math.isnan(float(mark.get_ydata()[0])) for mark in marks)


def test_data_sets_of_ones_own_are_linked_and_samples_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_page, "project_root", lambda: tmp_path)
    assert first_page.own_data_sets() == ""
    (tmp_path / "book" / "datasets").mkdir(parents=True)
    for name in ("sample-figures-efficientnet-lite2", "holiday-histogram"):
        (tmp_path / "book" / "datasets" / f"{name}.ipynb").touch()
    assert first_page.own_data_sets() == "**Your photographs**: {doc}`holiday-histogram <datasets/holiday-histogram>`."
