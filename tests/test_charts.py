"""What stands beside a mean in a chart: its interval, and a dot for each category behind it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection

from clipnb.manipulations import STUDY
from clipnb.metrics.measures import HEADLINES
from clipnb.report import plots
from clipnb.stats.intervals import mean_interval
from clipnb_book import performance, scale, severities
from clipnb_book import plots as book_plots
from clipnb_book.claims import evidence
from clipnb_book.measured import findings, records
from clipnb_book.published import original
from conftest import PhotoFolder, tiny_run


def dots(ax: Any) -> list[tuple[float, float]]:
    """(x, y) of everything that is drawn as a point without an edge: the raw values."""
    lines = [line for line in ax.lines if line.get_linestyle() == "None" and line.get_markeredgewidth() == 0]
    return [(float(x), float(y)) for line in lines for x, y in zip(*line.get_data(), strict=True)]


def spans(ax: Any, style: str) -> list[tuple[float, float]]:
    """Lower and upper end of each vertical line of two points."""
    lines = [line for line in ax.lines if line.get_linestyle() == style and len(line.get_xdata()) == 2]
    return [(float(min(line.get_ydata())), float(max(line.get_ydata()))) for line in lines]


def test_a_printed_mean_has_the_interval_of_its_list_or_the_widest_that_is_possible() -> None:
    ax = book_plots.means(evidence.all_printed()).axes[0]
    players, scenes = (original.printed_log(name).total for name in ("NBA", "MiniPlaces"))
    assert sorted(y for _, y in dots(ax)) == pytest.approx(sorted([*players, *scenes]))
    known = [mean_interval(values, bounds=(0.0, 1.0)) for values in (players, scenes)]
    assert np.allclose(spans(ax, "-"), [(i.low, i.high) for i in known])
    possible = spans(ax, ":")
    assert len(possible) == 6
    assert all(0 <= low < high <= 1 and high - low > known[0].high - known[0].low for low, high in possible)


@pytest.mark.parametrize("encoder", findings.ENCODERS)
def test_an_interaction_is_drawn_with_both_changes_and_their_difference(encoder: str) -> None:
    pairs = evidence.findings_crossed(encoder)
    left, right = book_plots.interactions(pairs).axes
    values = [v for x in pairs for c in (x.first, x.second) for v in c.values]
    assert sorted(x for x, _ in dots(left)) == pytest.approx(sorted(100 * v for v in values))
    drawn = [sorted(map(float, line.get_xdata())) for line in right.lines if line.get_linewidth() == 2]
    expected = [x.test.difference for x in reversed(pairs)]
    assert drawn == [pytest.approx([100 * d.low, 100 * d.high]) for d in expected if d.bounded]


def test_a_curve_of_severity_has_a_dot_for_each_category_and_an_interval_at_each_severity() -> None:
    table, _ = records.severities()
    table = table[table["manip"].isin(STUDY)]
    figure = severities.curves(table, "map")
    panels = [ax for ax in figure.axes if ax.get_title(loc="left")]
    graded = (table["severity"] > 0) & (table["manip"] != "original")
    assert len(panels) == len(table[graded].groupby(["dataset", "manip"]))
    for ax in panels:
        dataset, manip = ax.get_title(loc="left").split(", ")
        rows = table[(table["dataset"] == dataset) & ((graded & (table["manip"] == manip)) | (table["manip"] == "original"))]
        expected = [point for points in rows["map_points"] for point in points]
        assert len(expected) == rows["categories"].sum() > 0
        assert sorted(y for _, y in dots(ax)) == pytest.approx(sorted(expected))
        arms = [c for c in ax.collections if isinstance(c, LineCollection)]
        drawn = sorted(tuple(sorted(segment[:, 1])) for c in arms for segment in c.get_segments())
        known = rows.dropna(subset=["map_low"])
        assert np.allclose(drawn[-len(known) :], sorted(zip(known["map_low"], known["map_high"], strict=True)), atol=1e-6)


def test_the_points_of_a_table_of_severities_are_the_categories_behind_its_means() -> None:
    table, _ = records.severities()
    for measure in HEADLINES:
        points = table[f"{measure}_points"]
        assert points.map(len).equals(table["categories"])
        pd.testing.assert_series_equal(points.map(np.mean), table[measure], check_names=False, atol=1e-4)


def test_every_ratio_of_speed_is_the_median_of_its_rounds_and_each_round_is_drawn() -> None:
    rows = performance.measured()["rows"][::-1]
    collections = performance.chart().axes[0].collections
    assert len(collections) == 2 * len(rows)
    for row, small, large in zip(rows, collections[::2], collections[1::2], strict=True):
        assert row["ratio"] == pytest.approx(np.median(row["rounds"]), abs=1e-3)
        shares = [row["reach"] / r if row["at_most"] else r / row["reach"] for r in row["rounds"]]
        assert sorted(small.get_offsets()[:, 0]) == pytest.approx(sorted(shares))
        assert large.get_offsets()[0, 0] == pytest.approx(np.median(shares), rel=0.02)


def test_a_factor_that_mixes_order_of_work_and_engine_is_given_as_their_product() -> None:
    rows = {row["measure"]: row["ratio"] for row in performance.measured()["rows"]}
    plain = rows[performance.GRID]
    lines = [line for line in performance.table().splitlines() if line.startswith("|")]
    mixed = [name for name in rows if name.startswith(f"{performance.LOOP}, ") and name != performance.GRID]
    assert len(mixed) == sum("= " in line for line in lines) == 2
    for name in mixed:
        (said,) = (line for line in lines if line.startswith(f"| {name} |"))
        assert f"**{rows[name]:.2f}** = {plain:.2f} x {rows[name] / plain:.2f} |" in said


def test_the_gpu_is_kept_busy_and_each_row_gives_its_share_of_the_lower_limit() -> None:
    rows = performance.on_gpu()["rows"]
    for row, line in zip(rows, performance.gpu_table().splitlines()[2:], strict=True):
        share = row["end to end"] / min(row["bare"], row["preparing alone"])
        assert row["share of the lower"] == pytest.approx(share, abs=1e-3)
        assert f"| {100 * share:.0f}% |" in line
    for size, limit, least, rate in (
        ("128 x 128", "share of bare", 0.8, "the network alone"),
        ("1000 x 750", "share of the lower", 0.9, "preparing alone"),
    ):
        row = next(row for row in rows if row["photograph"] == size)
        assert row[limit] >= least
        assert f"{100 * row[limit]:.0f}% of the rate of {rate}" in performance.gpu_summary()


def test_every_round_of_searching_is_drawn_beside_its_median() -> None:
    rows = scale.measured()
    assert np.allclose(rows["rounds"].map(np.median), rows["queries_per_second"])
    rates, sizes = scale.figure().axes
    drawn = [y for line in rates.lines if line.get_marker() == "." for y in line.get_ydata()]
    assert sorted(drawn) == sorted(rate for rounds in rows["rounds"] for rate in rounds)
    assert not [line for line in sizes.lines if line.get_marker() == "."]  # bytes are exact
    assert {"(exact ÷ HNSW)" in line for line in scale.speed_table().splitlines()[2:] if "hnsw" in line} == {True}


def test_of_a_thousand_categories_the_lowest_are_drawn(photo_folder: PhotoFolder) -> None:
    result = tiny_run(photo_folder({"cats": 3, "dogs": 3}))
    kinds = [result.rows.assign(category=f"kind {i}", valid=i / 1000) for i in range(1000)]
    figure = plots.categories(replace(result, rows=pd.concat(kinds, ignore_index=True)))
    assert figure.get_figheight() < 31
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [f"kind {i}" for i in range(120)]
    assert figure.axes[0].get_xlabel().endswith("; the lowest 120 of 1000")
