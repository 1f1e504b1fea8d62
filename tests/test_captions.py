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
    broken = set()
    for name, who in SETS.items():
        for t in records.tolerances(name, OFFLINE, measure):
            label = MANIPULATIONS[t.manip].label
            after = lost.partition(label)[2]
            if t.point.strength < math.inf:
                assert who in after.partition("(")[2].partition(")")[0]
                broken.add(label)
            else:
                assert f"({who})" not in after.partition(";")[0]
    assert not [label for label in broken if label in held]


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


def test_the_first_query_of_the_browser_is_one_that_loses_valid_results_to_another_kind() -> None:
    same = [[1, 0.1]]
    found = [
        (same, same),  # nothing happens
        ([[0, 0.1]], [[2, 0.9]]),  # a valid result is lost to another kind
        ([[0, 0.1]], [[1, 0.9]]),  # another kind without an edit
        ([[2, 0.9]], [[0, 1.2]]),  # nothing valid to lose
    ]
    described = {
        "photos": [["cat", "0", ""], ["cat", "1", ""], ["dog", "0", ""], ["dog", "1", ""]],
        "queries": [{CLEAN: {"results": clean}, "blurred-5": {"results": edited}} for clean, edited in found],
    }
    assert browser_data.clearest_example(described, ["blurred-5"], 0.8) == (1, "blurred-5")
