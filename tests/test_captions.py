"""Captions: the finding of a figure is that of its numbers, and tables have numbers."""

from __future__ import annotations

import math

import pytest

from clipnb.encoders import OFFLINE
from clipnb.manipulations import CLEAN, MANIPULATIONS
from clipnb_book import browser_data, captions, drift
from clipnb_book.first_page import SETS
from clipnb_book.measured import records


@pytest.mark.parametrize("measure", ["found", "p1"])
def test_a_caption_names_each_measured_edit_where_it_breaks(measure: str) -> None:
    lost, found, held = captions.breaking(measure).partition(" At no measured strength do these: ")
    assert found
    for name, who in SETS.items():
        for t in records.tolerances(name, OFFLINE, measure):
            label = MANIPULATIONS[t.manip].label
            if t.point.strength < math.inf:
                group = lost.partition(label)[2].partition("(")[2].partition(")")[0]
                assert who in group
            else:
                assert f"({who})" not in lost.partition(label)[2].partition(";")[0]
    unbroken = {t.manip for name in SETS for t in records.tolerances(name, OFFLINE, measure) if t.point.strength == math.inf}
    broken = {t.manip for name in SETS for t in records.tolerances(name, OFFLINE, measure)} - unbroken
    for manip in broken:
        assert MANIPULATIONS[manip].label not in held


def test_the_largest_rise_is_that_of_scenes_rotated_by_a_right_angle() -> None:
    (t,) = records.tolerances("miniplaces", OFFLINE, "found", ["rotated"])
    shares = (f"{t.at(angle):.0%}" for angle in (45.0, 90.0))
    assert "{} are found under a rotation by 45 degrees and {} under a rotation by 90 degrees".format(*shares) in captions.rise()
    assert all(t.means[0] >= mean for mean in t.means)


def test_the_caption_of_the_scatter_gives_the_rank_correlation_of_its_points() -> None:
    table, _ = records.severities()
    for name, who in SETS.items():
        own = table[(table["encoder"] == OFFLINE) & (table["dataset"] == name) & (table["manip"] != CLEAN)]
        expected = own["shift"].rank().corr(own["found"].rank())
        assert f"{expected:.2f} on {who}".replace("-", "\u2212") in drift.reading()
    drawn = [len(line.get_xdata()) for ax in drift.scatter().axes for line in ax.lines]
    assert sum(drawn) == len(drift.measured())


def test_the_caption_of_thresholds_gives_what_the_threshold_accepts() -> None:
    for name in records.SETS:
        recall, fpr = records.calibration(name).curve.at(0.8)[:2]
        assert captions.pairs(name).count(f"{recall:.1%}") == 1
        assert f"{fpr:.1%} of pairs of different kinds" in captions.pairs(name)


def test_names_are_listed_as_in_a_sentence() -> None:
    assert [captions.listed(names) for names in ("a", "ab", "abc")] == ["a", "a and b", "a, b and c"]


def test_the_first_query_of_the_browser_is_one_that_loses_valid_results_to_another_kind() -> None:
    photos = [["cat", "0", ""], ["cat", "1", ""], ["dog", "0", ""], ["dog", "1", ""]]

    def found(clean: list[list[float]], edited: list[list[float]]) -> dict[str, dict[str, object]]:
        return {CLEAN: {"results": clean}, "blurred-5": {"results": edited}}

    same = [[1, 0.1]]
    queries = [
        found(same, same),  # nothing happens
        found([[0, 0.1]], [[2, 0.9]]),  # a valid result is lost to another kind
        found([[0, 0.1]], [[1, 0.9]]),  # another kind without an edit
        found([[2, 0.9]], [[0, 1.2]]),  # nothing valid to lose
    ]
    described = {"photos": photos, "queries": queries}
    assert browser_data.clearest_example(described, ["blurred-5"], 0.8) == (1, "blurred-5")
