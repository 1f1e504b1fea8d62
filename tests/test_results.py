"""Results on disk: what a run's folder holds, and what it is never mistaken for."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from clipnb import Result, RunSpec, UserError, load_results
from clipnb import rows as stored
from clipnb.checks import warnings
from clipnb.cli import main
from clipnb.execution.sweep import numbers_only
from clipnb.runs import current_result, saved_or_new, saved_result
from conftest import PhotoFolder, as_a_user, one_line, tiny_run


def assert_same_rows(one: pd.DataFrame, other: pd.DataFrame) -> None:
    assert list(one.columns) == list(other.columns)
    for column in one.columns:
        assert [np.asarray(v).tolist() for v in one[column]] == [np.asarray(v).tolist() for v in other[column]]


def test_a_result_is_the_same_when_it_is_read_again(photo_folder: PhotoFolder, tmp_path: Path) -> None:
    result = tiny_run(photo_folder({"cats": 3, "dogs": 3}), "grey")
    folder = result.save(tmp_path / "results")
    assert folder == tmp_path / "results" / "photos-grey-tiny-k2"
    assert sorted(p.name for p in folder.iterdir()) == ["clip_output_photos_grey.json", "rows.parquet", "run.json"]
    again = Result.load(folder)
    assert again.spec == result.spec
    assert again.provenance == result.provenance
    assert_same_rows(again.rows, result.rows)
    assert again.valid == result.valid
    assert again.mean("p1") == result.mean("p1")
    assert warnings(again) == warnings(result)


def test_all_results_come_in_the_studys_order(photo_folder: PhotoFolder, tmp_path: Path) -> None:
    scenes, figures = photo_folder({"abbey": 3, "alley": 3}, "scenes"), photo_folder({"cats": 3, "dogs": 3}, "figures")
    for root, manip in ((scenes, "grey"), (figures, "cropped"), (scenes, "original"), (figures, "blurred"), (figures, "original")):
        tiny_run(root, manip).save(tmp_path / "results")
    found = [(r.spec.dataset_name, r.spec.manip) for r in load_results(tmp_path / "results")]
    scenes_of, figures_of = (("original", "grey"), ("original", "blurred", "cropped"))
    assert found == [*(("figures", m) for m in figures_of), *(("scenes", m) for m in scenes_of)]


def test_what_a_killed_process_leaves_is_not_a_result(photo_folder: PhotoFolder, tmp_path: Path) -> None:
    folder = tiny_run(photo_folder({"cats": 3, "dogs": 3}), "grey").save(tmp_path / "results")
    for left in (".x7a2", ".x7a2.old"):
        shutil.copytree(folder, folder.with_name(f".{folder.name}{left}"))
    assert len(load_results(tmp_path / "results")) == 1
    with pytest.raises(UserError, match=f"{folder.name} is the folder of one run: pass its parent"):
        load_results(folder)
    (folder / "run.json").unlink()
    assert load_results(tmp_path / "results") == []
    with pytest.raises(UserError, match=r"there is no folder .*nothing here"):
        load_results(tmp_path / "nothing here")
    with pytest.raises(UserError, match="not the folder of a finished run"):
        Result.load(folder)


@pytest.mark.parametrize("moment", ["while it is written", "while it takes its place"])
def test_an_interrupted_save_leaves_the_earlier_result(
    photo_folder: PhotoFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    root = photo_folder({"cats": 3, "dogs": 3})
    tiny_run(root, "grey").save(tmp_path / "results")
    (root / "dogs" / "02.png").unlink()
    smaller, rename = tiny_run(root, "grey"), Path.rename

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def interrupt_the_new(source: Path, target: Path) -> Path:
        if (source / "run.json").is_file() and len(Result.load(source).rows) == 5:
            raise KeyboardInterrupt
        return rename(source, target)

    with monkeypatch.context() as patch:
        if moment == "while it is written":
            patch.setattr(os, "replace", interrupt)
        else:
            patch.setattr(Path, "rename", interrupt_the_new)
        with pytest.raises(KeyboardInterrupt):
            smaller.save(tmp_path / "results")
    assert [p.name for p in (tmp_path / "results").iterdir()] == ["photos-grey-tiny-k2"]
    assert [len(r.rows) for r in load_results(tmp_path / "results")] == [6]
    smaller.save(tmp_path / "results")
    assert [len(r.rows) for r in load_results(tmp_path / "results")] == [5]


@pytest.mark.parametrize("file", ["run.json", "rows.parquet"])
def test_a_damaged_result_is_a_one_line_error_and_can_be_replaced(photo_folder: PhotoFolder, tmp_path: Path, file: str) -> None:
    result = tiny_run(photo_folder({"cats": 3, "dogs": 3}), "grey")
    folder = result.save(tmp_path / "results")
    for content in (b"", b"{}", b"[1]", b"\xff\xfe", b"[" * 100_000):
        (folder / file).write_bytes(content)
        with one_line("photos-grey-tiny-k2 is not the folder of a finished run"):
            Result.load(folder)
    assert Result.load(result.save(tmp_path / "results")).valid == result.valid


def test_a_run_of_version_0_1_is_refused_in_one_line_and_made_again(photo_folder: PhotoFolder, own_results: Path) -> None:
    result = tiny_run(photo_folder({"cats": 3, "dogs": 3}), "grey")
    about = result.save() / "run.json"
    record = json.loads(about.read_text(encoding="utf-8"))
    record["warnings"] = record["provenance"].pop("warnings")
    record["provenance"]["passed_over"] = record["provenance"].pop("other_files")
    about.write_text(json.dumps(record), encoding="utf-8")
    with pytest.warns(UserWarning, match="version 0.1 saved it, and later versions do not read it: run the same again$"):
        assert load_results() == []
    with pytest.warns(UserWarning, match="version 0.1 saved it"):
        assert_same_rows(saved_or_new(result.spec).rows, result.rows)
    assert len(load_results()) == 1


def test_a_damaged_result_is_left_out_of_tables_and_made_again_by_a_sweep(
    photo_folder: PhotoFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_results: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    root = photo_folder({"cats": 3, "dogs": 3})
    clean, grey = tiny_run(root, "original"), tiny_run(root, "grey")
    clean.save()
    (grey.save() / "rows.parquet").write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="photos-grey-tiny-k2 is not the folder of a finished run"):
        assert main(["export", "--format", "csv", "md", "tex", "parquet"]) == 0
    assert pd.read_csv("tables/runs.csv")["run"].tolist() == [clean.spec.run_id]
    with pytest.warns(UserWarning, match="photos-grey-tiny-k2 is not the folder of a finished run"):
        assert numbers_only([grey.spec]) == {}
    assert_same_rows(Result.load(own_results / grey.spec.run_id).rows, grey.rows)


def test_a_data_set_or_checkpoint_of_the_same_name_does_not_overwrite_another(photo_folder: PhotoFolder, tmp_path: Path) -> None:
    mine, yours = (tiny_run(photo_folder({"cats": 3, who: 3}, f"{who}/photos"), "grey") for who in ("mine", "yours"))
    checkpoints = (replace(mine, spec=replace(mine.spec, encoder=f"/{who}/ViT-L-14.pt")) for who in ("mine", "yours"))
    for first, second in ((mine, yours), checkpoints):
        kept = first.save(tmp_path / "results")
        with pytest.raises(UserError, match=r"mine.*yours.*rename one of the two"):
            second.save(tmp_path / "results")
        assert Result.load(kept).spec == first.spec


def test_only_the_result_of_exactly_a_specification_is_taken_for_it(photo_folder: PhotoFolder, own_results: Path) -> None:
    result = tiny_run(photo_folder({"cats": 3, "dogs": 3}), "grey")
    assert saved_result(result.spec) is None
    result.save()
    found = saved_result(result.spec)
    assert found is not None
    assert_same_rows(found.rows, result.rows)
    assert saved_result(replace(result.spec, tau=0.7)) is None
    assert saved_result(replace(result.spec, dataset="elsewhere/photos")) is None


def test_a_copied_or_renamed_folder_is_named_and_counts_as_no_run(photo_folder: PhotoFolder, tmp_path: Path) -> None:
    folder = tiny_run(photo_folder({"cats": 3, "dogs": 3}), "grey").save(tmp_path / "results")
    shutil.copytree(folder, folder.with_name("backup of it"))
    with pytest.warns(UserWarning, match="backup of it holds the run photos-grey-tiny-k2 and is ignored: rename or delete it"):
        (counted,) = load_results(tmp_path / "results")
    assert counted.spec.run_id == folder.name


def test_a_folder_that_was_moved_with_its_photographs_is_no_other(photo_folder: PhotoFolder, tmp_path: Path) -> None:
    root = photo_folder({"cats": 3, "dogs": 3})
    first = tiny_run(root, "grey").save(tmp_path / "results")
    (tmp_path / "elsewhere").mkdir()
    moved = root.rename(tmp_path / "elsewhere" / root.name)
    assert tiny_run(moved, "grey").save(tmp_path / "results") == first
    (moved / "cats" / "00.png").unlink()
    root.mkdir()
    for path in moved.iterdir():
        path.rename(root / path.name)
    with pytest.raises(UserError, match="another folder"):
        tiny_run(root, "grey").save(tmp_path / "results")


def test_a_bit_of_the_rows_that_turned_over_is_found(photo_folder: PhotoFolder, tmp_path: Path) -> None:
    folder = tiny_run(photo_folder({"cats": 3, "dogs": 3}), "grey").save(tmp_path / "results")
    content = (folder / "rows.parquet").read_bytes()
    for at in np.random.default_rng(0).integers(8 * len(content), size=20):
        flipped = bytearray(content)
        flipped[at // 8] ^= 1 << at % 8
        (folder / "rows.parquet").write_bytes(flipped)
        with pytest.raises(UserError, match=r"rows.parquet is not the file that run.json was written for"):
            Result.load(folder)


def _without(part: str) -> Callable[[dict[str, Any]], object]:
    return lambda record: record["provenance"].pop(part)


def _with(**changed: object) -> Callable[[dict[str, Any]], object]:
    return lambda record: record["provenance"].update(changed)


ODD_RECORDS = [
    (_without("created"), "provenance lacks created"),
    (_without("versions"), "provenance lacks versions"),
    (_without("unreadable"), "provenance lacks unreadable"),
    (_with(created="yesterday"), "Invalid isoformat"),
    (_with(encoder={"identity": "x"}), "provenance.encoder lacks dim, weights_sha256"),
    (_with(unreadable=3), "provenance.unreadable must be dict, not 3"),
    (_with(images=10**30), "provenance.images must be int"),
    (_with(gallery=["x"]), "provenance.gallery must be a table"),
    (lambda record: record["spec"].update(later=1), "unexpected keyword argument 'later'"),
    (lambda record: record["spec"].update(k="many"), "k must be a whole number"),
    (lambda record: record.pop("spec"), "spec"),
]
ODD_ROWS = [
    (lambda rows: rows.drop(columns="category"), "category"),
    (lambda rows: rows.drop(columns="valid"), "'valid' is absent"),
    (lambda rows: rows.drop(columns="noop"), "'noop' is absent"),
    (lambda rows: rows.drop(columns="results"), "'results' is absent"),
    (lambda rows: rows.iloc[:0], "has no rows"),
    (lambda rows: rows.assign(category=7), "'category' is of type int64"),
    (lambda rows: rows.assign(image=[None, *rows["image"][1:]]), "string with gaps"),
    (lambda rows: rows.assign(distances="far"), "'distances' is of type"),
    (lambda rows: rows.assign(valid=80.0), "'valid' is not between 0 and 1"),
    (lambda rows: rows.assign(map="high"), "Unable to parse"),
    (lambda rows: pd.concat([rows, rows[:2]]), "several rows for cats/00.png, draw 0"),
]


def test_whatever_is_odd_in_a_run_is_named(photo_folder: PhotoFolder, tmp_path: Path) -> None:
    result = tiny_run(photo_folder({"cats": 3, "dogs": 3}), "grey")
    folder = result.save(tmp_path / "results")
    whole = (folder / "run.json").read_text(encoding="utf-8")
    for change, said in [*ODD_RECORDS, *ODD_ROWS]:
        record = json.loads(whole)
        if (change, said) in ODD_RECORDS:
            change(record)
        else:
            change(result.rows).to_parquet(folder / "rows.parquet", index=False)
            del record["rows_sha256"]
        (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
        with pytest.raises(UserError, match=f"is not the folder of a finished run.*{re.escape(said)}"):
            Result.load(folder)


def test_a_small_file_that_states_a_billion_values_is_not_read(tmp_path: Path) -> None:
    pa.parquet.write_table(pa.table({"a": pa.array(np.zeros(10_000_000, np.int8))}), tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match="states 10,000,000 values in"):
        stored.read((tmp_path / "rows.parquet").read_bytes())


FULL = """
import resource, signal, sys
from clipnb import RunSpec, UserError, run
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
results = [run(RunSpec(sys.argv[1], "grey", "histogram", k=2, seed=seed), progress=False) for seed in (0, 1)]
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
for result in results:
    try:
        result.save()
    except UserError as error:
        print(error)
"""
READ_ONLY = """
import sys
from clipnb import RunSpec, UserError
from clipnb.runs import saved_or_new
try:
    saved_or_new(RunSpec(sys.argv[1], "grey", "histogram", k=2, seed=1))
except UserError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit of file sizes")
def test_where_results_are_full_or_read_only_one_line_says_so_and_nothing_is_lost(
    photo_folder: PhotoFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, results = str(photo_folder({"cats": 3, "dogs": 3})), tmp_path / "results"
    monkeypatch.setenv("CLIPNB_RESULTS", str(results))
    monkeypatch.setenv("CLIPNB_CACHE", str(tmp_path / "cache"))

    def embedded(seed: int) -> int:
        return saved_or_new(RunSpec(data, "grey", "histogram", k=2, seed=seed)).provenance["embedded_now"]

    def said_by(code: str, *bound: str) -> str:
        return subprocess.run([*bound, sys.executable, "-c", code, data], check=True, capture_output=True, text=True).stdout

    assert embedded(0) == 12
    before = {path: path.read_bytes() for path in results.rglob("*.*")}
    line = r"\S*photos-grey-\S* cannot be written: File too large; make room .* \$CLIPNB_RESULTS .* is kept\n"
    assert re.fullmatch(2 * line, said_by(FULL))
    assert {path: path.read_bytes() for path in results.rglob("*.*")} == before
    results.chmod(0o555)
    said = said_by(READ_ONLY, *as_a_user())
    results.chmod(0o755)
    assert re.fullmatch(r"\S*results cannot be written: Permission denied; make room or permit .* \$CLIPNB_RESULTS .*\n", said)
    assert embedded(1) == 0


def test_a_result_of_photographs_that_changed_is_not_current(photo_folder: PhotoFolder, own_results: Path) -> None:
    root = photo_folder({"cats": 4, "dogs": 4})
    (root / "cats" / "broken.jpg").write_bytes(b"no image")
    spec = RunSpec(str(root), "grey", "tiny", k=2)
    saved_or_new(spec)
    assert current_result(spec) is not None
    next((root / "dogs").iterdir()).unlink()
    assert current_result(spec) is None
    assert len(saved_or_new(spec).rows) == 7
    shutil.rmtree(root)
    assert current_result(spec) is not None, "without its photographs, a result can still be used"
