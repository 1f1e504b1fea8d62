"""The study's sampling: seeded, stable whatever else changes, and batches that merge into the whole."""

from __future__ import annotations

import inspect
import warnings as python_warnings
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipnb import Result, RunSpec, UserError, load_results, run
from clipnb._core import random
from clipnb._core.paths import shown
from clipnb.checks import warnings
from clipnb.datasets.dataset import Dataset, Photo, batch, load_dataset, sample
from clipnb.errors import DatasetError
from clipnb.merge import merge, merge_saved
from clipnb.possible import require_possible
from clipnb.runs import current_result
from conftest import PhotoFolder, Printed


def made_up(categories: int, photographs: int) -> Dataset:
    photos = [Photo(f"c{c:02d}", Path(f"{i:02d}.png")) for c in range(categories) for i in range(photographs)]
    return Dataset("made-up", Path(), tuple(photos))


counts = st.integers(1, 12)


@given(counts, counts, st.integers(0, 5))
def test_asking_for_more_keeps_those_that_were_drawn(categories: int, photographs: int, seed: int) -> None:
    whole = made_up(12, 12)
    some = sample(whole, categories, photographs, seed)
    assert len(some.categories) == categories
    assert len(some.photos) == categories * photographs
    assert set(some.photos) <= set(sample(whole, min(12, categories + 1), photographs, seed).photos)
    assert set(some.photos) <= set(sample(whole, categories, min(12, photographs + 1), seed).photos)
    assert list(some.photos) == sorted(some.photos, key=lambda p: p.id)


def test_the_draw_depends_on_the_seed_and_the_names_alone() -> None:
    whole = made_up(12, 12)
    fewer = Dataset("other", Path("/elsewhere"), tuple(p for p in reversed(whole.photos) if p.category != "c07"))
    drawn = sample(whole, 5, 3, 1)
    assert {sample(whole, 5, 3, seed).photos for seed in range(4)} == {sample(whole, 5, 3, seed).photos for seed in range(4)}
    assert len({sample(whole, 5, 3, seed).photos for seed in range(4)}) == 4
    kept = {p for p in drawn.photos if p.category != "c07"}
    assert kept <= set(sample(fewer, 5, 3, 1).photos)
    assert random.drawn(whole.categories, 5, 1, "categories") != random.drawn(whole.categories, 5, 1, "calibration")


def test_a_category_with_fewer_photographs_keeps_them_all(photo_folder: PhotoFolder) -> None:
    dataset = sample(load_dataset(str(photo_folder({"cats": 2, "dogs": 5}))), 0, 3)
    assert [sum(p.category == name for p in dataset.photos) for name in ("cats", "dogs")] == [2, 3]


def test_more_categories_than_there_are_is_one_line() -> None:
    with pytest.raises(DatasetError, match=r"has 3 categories .* fewer than -p categories 4"):
        sample(made_up(3, 1), 4)
    with pytest.raises(DatasetError, match="at most 2 photographs in a category, fewer than -p per_category 3"):
        sample(made_up(3, 2), per_category=3)
    with pytest.raises(DatasetError, match=r"-p start 3 is past the last"):
        batch(made_up(3, 1).photos, 3)
    with pytest.raises(DatasetError, match=r"-p start 99 is past the last"):  # before the run starts
        require_possible(RunSpec("sample-figures", encoder="histogram", start=99))


@given(st.integers(1, 12), st.integers(1, 12))
def test_batches_cover_every_photograph_once(categories: int, step: int) -> None:
    photos = made_up(categories, 3).photos
    parts = [batch(photos, start, step) for start in range(0, categories, step)]
    assert [p for part in parts for p in part] == list(photos)


def test_only_what_was_drawn_is_searched(photo_folder: PhotoFolder) -> None:
    root = photo_folder({"cats": 6, "dogs": 6, "birds": 6})
    result = run(RunSpec(str(root), "grey", "tiny", 2, categories=2, per_category=3), progress=False)
    assert result.rows.groupby("category").size().tolist() == [3, 3]
    drawn = set(result.rows["category"] + "/" + result.rows["image"])
    assert {found for row in result.rows["results"] for found in row} <= drawn
    assert result.provenance["images"] == 6


def batches(root: str, *starts: int) -> list[Result]:
    return [run(RunSpec(root, "cropped", "tiny", 2, draws=2, start=at, step=2), progress=False) for at in starts]


def test_merged_batches_are_the_whole_run(photo_folder: PhotoFolder) -> None:
    root = str(photo_folder({"cats": 4, "dogs": 4, "birds": 4, "fish": 4}, size=(96, 32)))
    whole = run(RunSpec(root, "cropped", "tiny", 2, draws=2), progress=False)
    found = merge(batches(root, 2, 0))
    assert found.spec == whole.spec
    pd.testing.assert_frame_equal(found.rows, whole.rows)


def test_of_two_batches_with_one_query_the_later_counts(photo_folder: PhotoFolder) -> None:
    first = run(RunSpec(str(photo_folder({"cats": 4, "dogs": 4})), "grey", "tiny", 2, step=1), progress=False)
    later = replace(first, rows=first.rows.assign(valid=0.25), provenance=first.provenance | {"created": "2999-01-01"})
    assert (merge([later, first]).rows["valid"] == 0.25).all()
    assert (first.rows["valid"] != 0.25).all()


def test_batches_that_overlap_are_not_counted_double(photo_folder: PhotoFolder, own_results: Path) -> None:
    root = str(photo_folder({"cats": 4, "dogs": 4, "birds": 4, "fish": 4}))
    for result in batches(root, 0, 1):
        result.save()
    (folder, missing), *others = merge_saved()
    merged = Result.load(folder)
    assert (missing, others) == ([(3, 1)], [])
    assert len(merged.rows) == 3 * 4 * 2
    assert not merged.rows.duplicated(["category", "image", "draw"]).any()
    assert any("1 category is still to be run" in w for w in warnings(merged))


def test_a_run_that_lacks_batches_is_marked_wherever_it_is_shown(
    photo_folder: PhotoFolder, own_results: Path, printed: Printed, tmp_path: Path
) -> None:
    root = str(photo_folder({"birds": 3, "cats": 3, "dogs": 3, "fish": 3}))
    clean, grey = (run(RunSpec(root, manip, "tiny", 2), progress=False) for manip in ("original", "grey"))
    clean.save()
    parts = [replace(grey.spec, start=at, step=1) for at in range(4)]
    for spec in (parts[0], parts[2]):
        run(spec, progress=False).save()
    name = grey.spec.run_id
    assert printed("merge").endswith(f"{name}; still to be run: -p start 1 -p step 1, -p start 3 -p step 1\n")
    assert printed("runs", name).split()[-1] == "2", "the last column: categories_missing"
    said = f"{name}: 2 categories are still to be run: the number covers the merged batches only"
    for command in (["analyse", "photos"], ["compare", clean.spec.run_id, name], ["export", "--out", str(tmp_path / "out")]):
        with pytest.warns(UserWarning, match=said):
            printed(*command)
    shown_as = [python_warnings.formatwarning(said, UserWarning, inspect.getfile(Result), 1) for _ in range(2)]
    assert shown_as == [f"clipnb: {said}\n", ""], "a command says it in one line, once"
    assert dict(pd.read_csv(tmp_path / "out" / "runs.csv")[["run", "categories_missing"]].to_numpy()) == {
        clean.spec.run_id: 0,
        name: 2,
    }
    assert current_result(grey.spec) is None, "the next command that needs the run makes the whole of it"
    for spec in (parts[1], parts[3]):
        run(spec, progress=False).save()
    assert printed("merge") == f"{shown(own_results / name)}\n"
    assert "categories_missing" not in printed("runs")


def test_a_whole_run_is_not_replaced_by_a_part_of_it(photo_folder: PhotoFolder, own_results: Path) -> None:
    root = str(photo_folder({"cats": 4, "dogs": 4, "birds": 4, "fish": 4}))
    folder = run(RunSpec(root, "cropped", "tiny", 2, draws=2), progress=False).save()
    part, rest = batches(root, 0, 2)
    part.save()
    assert [r.spec.run_id for r in load_results()] == [folder.name], "batches are not listed beside the whole, merged or not"
    with pytest.raises(UserError, match=f"the saved run {folder.name} holds 16 queries that its batches do not: move it away"):
        merge_saved()
    assert len(Result.load(folder).rows) == 32
    rest.save()
    assert merge_saved() == [(folder, [])]
    assert len(Result.load(folder).rows) == 32
    assert [r.spec.run_id for r in load_results()] == [folder.name]
    assert len(load_results(batches=True)) == 3


def test_runs_that_are_no_batches_of_one_are_not_merged(photo_folder: PhotoFolder, own_results: Path) -> None:
    root = str(photo_folder({"cats": 4, "dogs": 4}))
    with pytest.raises(UserError, match="are not batches of one run"):
        merge([*batches(root, 0), run(RunSpec(root, "grey", "tiny", 2, start=1, step=2), progress=False)])
    with pytest.raises(UserError, match="no runs with -p start"):
        merge_saved()
