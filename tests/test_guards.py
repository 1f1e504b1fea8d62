"""Guards: a manipulation that does nothing, and a condition that was run twice, do not pass unnoticed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipnb import RunSpec, run
from clipnb.analysis.scores import of_result
from clipnb.checks import duplicate_conditions, warnings
from clipnb.report.text import by_condition, changes_table, changes_text, results_table, summary, warnings_list
from clipnb.result import Result
from conftest import PhotoFolder, picture


def three(root: Path) -> list[Result]:
    settings = (("grey", 0), ("grey", 5), ("blurred", 0))
    return [run(RunSpec(str(root), m, "tiny", 2, severity=s, duplicates=-1), progress=False) for m, s in settings]


def test_a_condition_that_is_another_is_named_in_the_book_and_not_in_results(photo_folder: PhotoFolder, own_results: Path) -> None:
    root = photo_folder({"cats": 4, "dogs": 4})
    results = three(root)
    said = warnings_list(results)
    assert "grey and grey, severity 5 are the same for the encoder on 100% of the photographs" in said
    assert "blurred" not in said
    saved = [json.loads((r.save() / "run.json").read_text()) for r in results]
    assert [record["provenance"]["warnings"] for record in saved] == [[], [], []]
    assert [r.provenance["warnings"] for r in three(root)] == [[], [], []]  # beside the saved runs too


def test_conditions_with_equal_scores_and_other_inputs_are_distinct(photo_folder: PhotoFolder) -> None:
    root = photo_folder({"cats": 4, "dogs": 4})
    results = [run(RunSpec(str(root), manip, "tiny", 2), progress=False) for manip in ("grey", "blurred")]
    alike = [replace(r, rows=r.rows.assign(valid=np.linspace(0, 1, len(r.rows)))) for r in results]
    assert alike[0].scores == alike[1].scores
    assert duplicate_conditions(alike) == []


def test_a_threshold_under_which_nothing_is_valid_is_said_not_to_fit(photo_folder: PhotoFolder) -> None:
    root = photo_folder({"cats": 4, "dogs": 4, "owls": 4})
    conditions = by_condition([run(RunSpec(str(root), m, "tiny", 2, tau=1e-6), progress=False) for m in ("original", "grey")])
    said = changes_text(conditions)
    assert "100% of the clean queries have no valid result" in said
    assert "no change" not in changes_table(conditions, "valid")
    assert said.index("the original is found first for") < said.index("valid@2 at 1e-06 is 0.0%")
    for result in conditions.values():
        assert f"the first other result is of the query's kind for {result.mean('p1'):.1%}" in said
    assert changes_table(conditions, "valid").splitlines()[2].endswith("| none |")
    assert any("the threshold does not fit this encoder" in warning for warning in warnings(conditions["original"]))
    fits = by_condition([run(RunSpec(str(root), m, "tiny", 2, tau=1.9), progress=False) for m in ("original", "grey")])
    assert "does not fit" not in changes_text(fits)


def test_where_there_are_no_kinds_no_measure_by_kind_is_recommended(photo_folder: PhotoFolder) -> None:
    flat = photo_folder({"cats": 6}) / "cats"
    said = " ".join(run(RunSpec(str(flat), "original", "tiny", 2, tau=1e-6), progress=False).provenance["warnings"])
    assert "the threshold does not fit this encoder; read found instead" in said
    assert "clipnb threshold" not in said


def test_a_query_among_its_own_results_is_said(photo_folder: PhotoFolder) -> None:
    root = str(photo_folder({"cats": 6, "dogs": 6}))
    for settings, said in (({"duplicates": -1}, False), ({"duplicates": -2}, True), ({"mode": "study"}, False)):
        told = " ".join(run(RunSpec(root, "grey", "tiny", 10, **settings), progress=False).provenance["warnings"])
        assert ("-p duplicates -2 keeps the query's own image in its results" in told) == said


def test_the_crop_of_square_photographs_is_caught_everywhere(photo_folder: PhotoFolder, tmp_path: Path) -> None:
    root = photo_folder({"cats": 4, "dogs": 4}, "square", (32, 32))
    result = run(RunSpec(str(root), "cropped", "tiny", 2), progress=False)
    clean, grey = (run(RunSpec(str(root), manip, "tiny", 2), progress=False) for manip in ("original", "grey"))
    assert (result.noop_share, clean.noop_share, grey.noop_share) == (1.0, 1.0, 0.0)
    assert result.category_means == clean.category_means
    assert "pixel-identical" not in " ".join(warnings(clean) + warnings(grey))
    wanted = "cropped leaves 100% of the photographs pixel-identical"
    assert wanted in summary(result)
    assert wanted in warnings_list([result])
    assert wanted in " ".join(json.loads((result.save(tmp_path) / "run.json").read_text())["provenance"]["warnings"])
    assert "area kept 1" in summary(result)


def test_a_crop_that_changes_photographs_gives_no_warning(photo_folder: PhotoFolder) -> None:
    root = photo_folder({"cats": 4, "dogs": 4}, "square", (32, 32))
    result = run(RunSpec(str(root), "cropped", "tiny", 2, severity=3, draws=3, duplicates=-1), progress=False)
    assert warnings(result) == []
    assert len(result.rows) == 24
    assert [len(v) for v in result.scores.values()] == [4, 4]  # draws are nested in photographs
    mean = result.rows[(result.rows["category"] == "cats") & (result.rows["image"] == "01.png")]["valid"].mean()
    assert result.scores["cats"][1] == pytest.approx(mean)
    assert 0.4 < result.rows["strength"].mean() < 0.6
    assert result.rows.groupby(["category", "image"])["input"].nunique().max() > 1


@pytest.mark.parametrize("settings", [{"k": 3, "duplicates": -1}, {"mode": "study"}])
def test_a_category_of_one_photograph_has_no_measure_by_category_and_the_run_says_so(tmp_path: Path, settings: Any) -> None:
    """amenra/ranx#31: a query with nothing to find has no score."""
    categories = {"cats": 8, "dogs": 8, "one": 1, "two": 1}
    for kind, (category, images) in enumerate(categories.items()):
        (tmp_path / category).mkdir()
        for i in range(images):
            Image.fromarray(picture(i, kind=kind)).save(tmp_path / category / f"{i}.png")
    found = run(RunSpec(str(tmp_path), "original", "tiny", **settings), progress=False)
    for measure in ("p1", "p_at_k", "r_at_k", "map", "map_at_r"):
        assert found.means(measure).keys() == of_result(found, measure).by_category.keys() == {"cats", "dogs"}, measure
        assert found.rows.loc[found.rows["category"].isin(["one", "two"]), measure].isna().all()
    assert found.mean("p1") == found.mean("map") == 1
    assert found.means("valid").keys() == categories.keys()
    said = "no other photograph of its category is in the gallery for 2 of 18 queries: measures by category leave them out"
    assert said in warnings(found)
    alone = Result(found.spec, found.provenance, found.rows[found.rows["category"] == "one"])
    assert "nan" not in results_table([alone])
    assert alone.macro("p1").n == 0
