"""Tables of severities: what they hold, the scores made of them by hand, and the figures."""

from __future__ import annotations

import math
import shlex
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from clipnb import RunSpec, UserError, run
from clipnb.analysis import severity
from clipnb.cli import parser
from clipnb.cli.flags import given_settings
from clipnb.execution import sweep
from clipnb.manipulations import STUDY
from clipnb.metrics.corruption import mean_corruption_error, mean_performance, relative_performance
from clipnb.report import text
from clipnb_book import severities, tables
from clipnb_book.measured import records
from conftest import PhotoFolder


def table(**performance: dict[str, list[float]]) -> pd.DataFrame:
    """A table by hand: encoder -> manipulation -> performance at severities, `original` being the clean one."""
    rows = [
        {"dataset": "d", "encoder": encoder, "manip": manip, "severity": s, "strength": float(s), "unit": "u", "map": value}
        | {"map_low": value - 0.1, "map_high": value + 0.1, "map_points": [value - 0.1, value + 0.1]}
        for encoder, manips in performance.items()
        for manip, values in manips.items()
        for s, value in enumerate(values, start=0 if manip == "original" else 1)
    ]
    return pd.DataFrame(rows)


BY_HAND = table(
    mine={"original": [0.9], "blurred": [0.8, 0.6], "grey": [0.9, 0.7]},
    histogram={"original": [0.5], "blurred": [0.4, 0.2], "grey": [0.1, 0.1]},
)


def test_scores_by_hand() -> None:
    found = severities.scores(BY_HAND).set_index("encoder").loc["mine"]
    assert found["clean"] == 0.9
    assert found["mPC"] == pytest.approx(0.75)
    assert found["rPC"] == pytest.approx(0.75 / 0.9)
    assert found["CE blurred"] == pytest.approx(0.6 / 1.4)
    assert found["CE grey"] == pytest.approx(0.4 / 1.8)
    assert found["mCE"] == pytest.approx((0.6 / 1.4 + 0.4 / 1.8) / 2)
    assert severities.scores(BY_HAND).set_index("encoder").loc["histogram", "mCE"] == 1
    assert math.isnan(relative_performance({"grey": {1: 0.5}}, clean=0.0))
    for nothing in (lambda: mean_performance({}), lambda: mean_corruption_error({}, {})):
        with pytest.raises(ValueError, match="at least one"):
            nothing()


def test_the_table_of_scores_has_a_column_an_encoder() -> None:
    others = table(mine={"original": [0.8], "rotated": [0.4]}, histogram={"original": [0.5], "rotated": [0.499]})
    lines = tables.scores_table(pd.concat([BY_HAND, others.assign(dataset="e-f")])).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["", "d, mine", "d, histogram", "e\u2011f, mine", "e\u2011f, histogram"]
    assert {row[0]: row[1:4:2] for row in cells[2:]} == {
        "clean": ["0.900", "0.800"],
        "mPC": ["0.750", "0.400"],
        "rPC": ["0.83", "0.50"],
        "mCE": ["0.33", "1.20"],
        "CE blurred": ["0.43", "–"],
        "CE grey": ["0.22", "–"],
        "CE rotated": ["–", "1.20"],
    }


def test_the_books_tables_compare_encoders_on_what_all_of_them_have() -> None:
    gone = (BY_HAND["encoder"] == "histogram") & (BY_HAND["manip"] == "grey")
    lines = tables.scores_table(BY_HAND[~gone]).splitlines()
    cells = {line.split("|")[1].strip(): line.split("|")[2].strip() for line in lines}
    assert cells["mCE"] == cells["CE blurred"] == "0.43"
    assert "CE grey" not in cells


@pytest.mark.parametrize(
    ("without", "said"),
    [
        (("histogram", "grey", 1), "no run at severity 1"),
        (("histogram", "grey", None), "no run of 'grey'"),
        (("histogram", "original", None), "no clean run of d with histogram"),
    ],
)
def test_a_baseline_that_lacks_a_run_is_one_line(without: tuple[str, str, int | None], said: str) -> None:
    encoder, manip, level = without
    gone = (BY_HAND["encoder"] == encoder) & (BY_HAND["manip"] == manip)
    gone &= True if level is None else BY_HAND["severity"] == level
    with pytest.raises(UserError, match=said):
        severities.scores(BY_HAND[~gone])


def test_a_table_of_runs_is_written_and_read_again(photo_folder: PhotoFolder, tmp_path: Path) -> None:
    root = str(photo_folder({"cats": 5, "dogs": 5}))
    clean = RunSpec(root, encoder="tiny", k=3)
    specs = [clean, *(clean.under(manip, s) for manip in ("blurred", "cropped") for s in (1, 5))]
    results = [run(spec, progress=False) for spec in specs]
    made = severity.tabulate(results)
    first = results[1]
    assert made["valid"][1] == pytest.approx(first.valid.point)
    assert made["valid_low"][1] == pytest.approx(first.valid.low, nan_ok=True)
    assert made["p1"][1] == pytest.approx(first.mean("p1"))
    assert made["map"][1] == pytest.approx(first.rows.groupby("category")["map"].mean().mean())
    assert made["strength"][3] > made["strength"][4]  # area kept
    severity.write_table(results, tmp_path / "table.json")
    read, sources = severities.read_table(tmp_path / "table.json")
    pd.testing.assert_frame_equal(read, made, atol=1e-6, check_dtype=False)
    assert sources["photos, tiny"]["images"] == 10
    assert str(tmp_path) not in (tmp_path / "table.json").read_text()
    weak = RunSpec(root, encoder="histogram", k=3)
    other = [run(spec, progress=False) for spec in (weak, weak.under("blurred", 1))]
    severity.write_table(other, tmp_path / "table.json")
    severity.write_table(results[:2], tmp_path / "table.json")
    rows = severities.read_table(tmp_path / "table.json")[0].groupby("encoder").size().to_dict()
    assert rows == {"histogram": 2, "tiny": 2}


def test_figures_show_every_cell_and_curve() -> None:
    texts = severities.heat_map(BY_HAND, "d", "mine", "map").axes[0].texts
    assert sorted(t.get_text() for t in texts) == ["0.60", "0.70", "0.80", "0.90", "0.90", "0.90"]
    first, _ = severities.curves(BY_HAND, "map").axes
    assert [0.9, 0.8, 0.6] in [list(line.get_ydata()) for line in first.get_lines()]


def test_the_measured_table_holds_what_the_book_says_of_it() -> None:
    measured, sources = records.severities()
    assert {"athletes", "miniplaces"} <= set(measured["dataset"])
    for dataset in ("athletes", "miniplaces"):
        for encoder in ("efficientnet-lite2", "histogram"):
            own = measured[(measured["dataset"] == dataset) & (measured["encoder"] == encoder)]
            assert {(m, s) for m in STUDY[1:] for s in range(1, 6)} <= set(zip(own["manip"], own["severity"], strict=True))
            assert len(sources[f"{dataset}, {encoder}"]["data_fingerprint"]) == 64
            assert not own[["valid", "map", "p1", "strength"]].isna().any().any()
    square = measured[(measured["dataset"] == "miniplaces") & (measured["manip"] == "cropped") & (measured["value"] == 0)]
    assert (square["untouched"] == 1).all()
    for encoder, value in square.set_index("encoder")["valid"].items():
        assert value == severities.clean_value(measured, "miniplaces", str(encoder), "valid")


def test_sizes_of_one_network_are_compared_on_the_same_photographs_without_a_corruption_error() -> None:
    sizes, about = records.encoders()
    names = list(sizes["encoder"])
    assert {"efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2", "histogram"} == set(names)
    assert len({source["data_fingerprint"] for source in about.values()}) == 1
    head, _, *rows = tables.encoders_table(sizes, "miniplaces", names).splitlines()
    assert "mCE" not in head
    shares = [float(row.split("|")[2].partition("%")[0]) for row in rows]
    assert shares == sorted(shares, reverse=True)


def test_categories_of_one_photograph_have_no_average_precision_and_no_traceback(photo_folder: PhotoFolder) -> None:
    root = str(photo_folder({"cats": 2, "dogs": 2, "birds": 2}))
    (made,) = severity.tabulate([run(RunSpec(root, "original", "tiny", 2, per_category=1), progress=False)]).to_dict("records")
    assert math.isnan(made["map"])
    assert 0 <= made["valid"] <= 1


def test_what_to_type_makes_the_runs_that_the_page_is_about() -> None:
    spec = RunSpec("my holiday", "original", "histogram", k=5, tau=0.5, precision="fp32", per_category=20)
    settings = {name: value for name, value in spec.to_dict().items() if name not in ("dataset", "manip")}
    said = text.how_to(spec.dataset, **settings)
    assert "--encoders histogram --k 5 --tau 0.5 --per-category 20`" in said
    options = parser("sweep").parse_args(shlex.split(said.split("`")[1])[1:])
    fields = {name: tuple(getattr(options, name) or ()) for name in ("severities", "encoders")}
    made = sweep.typed_grid(options.datasets, settings=given_settings(options), **fields).specs()
    assert made[0] == spec
    assert made[1:] == [spec.under(manip, level) for manip in STUDY[1:] for level in range(1, 6)]
    assert '`settings: {"start": 2}` in its grid file' in text.how_to("a", "histogram", start=2)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sources": [], "rows": {}}', '{"sources": {}, "rows": [1]}', "[" * 100_000])
def test_another_file_is_not_taken_for_a_table(tmp_path: Path, text: str) -> None:
    (tmp_path / "other.json").write_text(text)
    for use in (severities.read_table, partial(severity.write_table, [])):
        with pytest.raises(UserError, match=r"other\.json is not a table of severities"):
            use(tmp_path / "other.json")
    assert (tmp_path / "other.json").read_text() == text
