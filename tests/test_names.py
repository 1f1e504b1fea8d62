"""A run has one name and one folder, however its data set is typed, and every command finds it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from clipnb import Result, RunSpec, UserError, load_results, run
from clipnb.analysis.scores import read_log
from clipnb.cli import main
from clipnb.runs import saved_result, saved_runs
from conftest import PhotoFolder, Printed


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_results: Path) -> Path:
    monkeypatch.setenv("CLIPNB_PROJECT", str(tmp_path))
    monkeypatch.setenv("CLIPNB_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(dataset: str, manip: str = "grey", encoder: str = "tiny", **settings: Any) -> Result:
    result = run(RunSpec(dataset, manip, encoder, 2, **settings), progress=False)
    result.save()
    return result


def test_a_run_is_found_however_its_folder_is_typed(
    project: Path, photo_folder: PhotoFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = photo_folder({"cats": 3, "dogs": 3}, "holiday")
    saved = made("holiday")
    (project / "below").mkdir()
    monkeypatch.chdir(project / "below")
    for typed in ("../holiday", str(folder), f"{folder}/", str(folder / ".." / "holiday")):
        spec = RunSpec(typed, "grey", "tiny", 2)
        assert spec.run_id == saved.spec.run_id
        found = saved_result(spec)
        assert found is not None, typed
        assert found.spec == saved.spec
        assert [r.spec.run_id for r in saved_runs(typed)] == [saved.spec.run_id]
    assert saved_runs("nested:../holiday") == [], "another data set in the same folder"
    photo_folder({"below/holiday/cats": 3, "below/holiday/dogs": 3}, ".")
    assert saved_result(RunSpec("./holiday", "grey", "tiny", 2)) is None, "another folder of this name"


def test_all_runs_of_a_data_set_are_analysed_encoder_by_encoder(project: Path, photo_folder: PhotoFolder, printed: Printed) -> None:
    photo_folder({"cats": 4, "dogs": 4, "owls": 4}, "holiday")
    for encoder in ("tiny", "histogram"):
        for manip in ("original", "grey", "jpeg"):
            made("holiday", manip, encoder)
    made("holiday", "grey", "tiny", severity=3)
    made("holiday", "original", "tiny", per_category=3)
    said = printed("analyse", "./holiday")
    assert "holiday-tiny-k2 " in said
    assert "holiday-histogram-k2 " in said
    assert "holiday-tiny-k2-per_category3 " in said
    assert "grey/3" in said
    assert "jpeg" in said
    assert (said.count("planned "), len(re.findall("^exploratory ", said, re.M))) == (2, 3), "each group against its own clean run"
    assert "Interaction" not in said
    assert printed("analyse", "results/") == said, "the folder of all runs, which are all on this data set"
    assert "tiny" not in printed("analyse", "holiday", "--encoder", "histogram")
    said = printed("analyse", "holiday-tiny-k2")
    assert (said.count("planned "), len(re.findall("^exploratory ", said, re.M))) == (1, 2)
    assert main(["analyse", "holiday-grey-tiny-k2"]) == 0
    runs = "holiday-original-tiny-k2", "holiday-grey-tiny-k2"
    assert printed("analyse", *runs, "--measure", "P@1") == printed(
        "analyse", *(f"results/{run}" for run in runs), "--measure", "p1"
    )
    said = printed("analyse", "holiday", "--encoder", "ViT-L/14", status=1)
    assert "has no finished runs with encoder ViT-L/14; clipnb runs lists the runs" in said


def test_a_log_states_its_run(project: Path, photo_folder: PhotoFolder, printed: Printed) -> None:
    photo_folder({"cats": 3, "dogs": 3}, "holiday")
    logs = project / "logs"
    logs.mkdir()
    for encoder in ("tiny", "histogram"):
        for manip, severity in (("original", 0), ("grey", 3)):
            result = made("holiday", manip, encoder, severity=severity)
            (path,) = (project / "results" / result.spec.run_id).glob("clip_output_*.json")
            read = read_log(path)
            assert (read.dataset, read.condition, read.group) == ("holiday", str(result.spec.condition), result.spec.group_id)
            (logs / f"clip_output_{encoder}_{path.name}").write_text(path.read_text())
    said = printed("analyse", str(logs))
    assert said.count("exploratory") == 2, "as from the runs themselves"
    assert "holiday-histogram-k2" in said
    old = json.loads(path.read_text())
    del old["clipnb"]
    for manip in ("grey", "gaussian_noise"):
        (logs / f"clip_output_my_set_{manip}-s3.json").write_text(json.dumps({manip: old["grey"]}))
        read = read_log(logs / f"clip_output_my_set_{manip}-s3.json")
        assert (read.dataset, read.condition, read.group) == ("my_set", f"{manip}/3", "")


def test_sampled_runs_are_analysed(project: Path, photo_folder: PhotoFolder, capsys: pytest.CaptureFixture[str]) -> None:
    photo_folder({"cats": 4, "dogs": 4, "owls": 4}, "holiday")
    settings: dict[str, int]
    for settings in ({}, {"categories": 2, "per_category": 3}):
        for manip in ("original", "grey"):
            result = made("holiday", manip, **settings)
    assert main(["analyse", "holiday", "--encoder", "tiny", "--k", "2", "--out", "tables"]) == 0
    table = pd.read_csv("tables/conditions.csv")
    assert dict(zip(table["dataset"], table["images"], strict=True)) == {"holiday-tiny-k2": 12, result.spec.group_id: 6}
    for typed in (["holiday", "--categories", "2"], [result.spec.group_id]):
        assert main(["analyse", *typed, "--encoder", "tiny", "--k", "2", "--out", "tables"]) == 0
        assert pd.read_csv("tables/conditions.csv")["images"].tolist() == [6, 6]


def test_runs_are_listed(project: Path, photo_folder: PhotoFolder, printed: Printed) -> None:
    assert "no finished runs in results" in printed("runs")
    photo_folder({"cats": 3, "dogs": 3}, "holiday")
    grey, clean = made("holiday"), made("holiday", "original")
    table = printed("runs")
    assert grey.spec.run_id in table
    assert "valid" in table
    listed = json.loads(printed("runs", "../" + project.name + "/holiday", "--format", "json"))
    assert [row["run"] for row in listed] == [clean.spec.run_id, grey.spec.run_id]
    assert listed[1]["valid"] == pytest.approx(grey.valid.point)
    assert "no finished runs in results on 'holidy' (did you mean 'holiday'?); clipnb" in printed("runs", "holidy", status=1)
    assert "no finished runs (did you mean 'holiday'?)" in printed("analyse", "holidy", status=1)
    near = r"\(did you mean 'holiday-grey-tiny-k2' or .*\)"
    for other in (clean.spec.run_id, "holiday-grye-tiny-k2", "tiny"):
        assert re.search(near, printed("compare", "holiday-gray-tiny-k2", other, status=1))
    with pytest.raises(UserError, match="no folder 'nowhere'"):
        load_results("nowhere")
    for setting in ({"strength": 11.5}, {"severity": 3}):
        made("holiday", "blurred", **setting)
    shown = {line.split()[2] for line in printed("runs").splitlines()}
    assert shown == {"manip", "original", "blurred=11.5", "blurred/3", "grey"}
