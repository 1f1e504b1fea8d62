"""Near-copies: pictures with a flat ground are told apart, copies of them are found, and a run says what it left out."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from clipnb.datasets.images import RGB
from clipnb.datasets.picture_hash import near_copies
from clipnb.report.text import summary
from clipnb.retrieval.duplicates import PictureHash
from clipnb.runs import run
from clipnb.spec import RunSpec
from conftest import picture as drawn

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def copies() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("copies_benchmark", ROOT / "benchmarks" / "copies.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.parametrize(
    "kind", ["logo", "product shot", "line drawing", "icon", "screenshot", "scanned text", "night sky", "digit"]
)
def test_different_pictures_on_a_flat_background_are_not_copies_but_their_copies_are(copies: ModuleType, kind: str) -> None:
    pictures = copies.drawings(kind, 20)
    near = near_copies(copies.hashes(pictures), copies.hashes(pictures))
    assert np.triu(near, 1).sum() <= 1  # of 190 pairs
    copied = [copies.jpeg(picture, 90) for picture in pictures]
    assert np.diag(near_copies(copies.hashes(pictures), copies.hashes(copied))).mean() >= 0.7


def test_the_table_of_the_book_is_what_the_benchmark_measures(copies: ModuleType) -> None:
    kept = pd.read_csv(copies.OUT, dtype=str).set_index("pictures")
    assert list(kept.index[:8]) == list(copies.KINDS)
    assert {"miniplaces", "athletes"} <= set(kept.index)
    row = copies.measured("icon", copies.drawings("icon"))
    assert {name: str(value) for name, value in row.items() if name != "pictures"} == kept.loc["icon"].to_dict()


def test_a_run_says_how_many_copies_each_query_lost_and_warns(copies: ModuleType, tmp_path: Path) -> None:
    pictures = copies.drawings("line drawing", 9)
    for category in "ab":
        (tmp_path / "set" / category).mkdir(parents=True)
    for i, picture in enumerate(pictures):
        picture.save(tmp_path / "set" / "ab"[i % 2] / f"{i}.png")
    spec = RunSpec(str(tmp_path / "set"), "original", "histogram", k=3)
    result = run(spec, progress=False)
    assert result.rows["n_copies"].tolist() == [0] * 9
    assert "| copies left out per query | 0 (median), 0 (most) |" in summary(result)
    for quality in (80, 90):
        pictures[0].save(tmp_path / "set" / "a" / f"again{quality}.jpg", quality=quality)
    result = run(spec, progress=False)
    assert sorted(result.rows["n_copies"]) == [0] * 8 + [2] * 3
    assert any("3 of 11 queries lose more than 10% of the gallery as copies" in said for said in result.provenance["warnings"])
    assert "n_copies" not in run(RunSpec(str(tmp_path / "set"), "original", "histogram", mode="study"), progress=False).rows


def test_where_copies_leave_too_few_images_the_message_names_them(tmp_path: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((160, 120))
    (tmp_path / "set" / "a").mkdir(parents=True)
    for quality in (95, 90, 85, 80, 75):
        picture.save(tmp_path / "set" / "a" / f"{quality}.jpg", quality=quality)
    with pytest.raises(Exception, match="4 left out as copies of a query; with -p duplicates -1 only equal files are"):
        run(RunSpec(str(tmp_path / "set"), "original", "histogram", k=2), progress=False)


def test_hashes_are_computed_by_as_many_threads_as_a_run_may_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("set", "more"):
        (tmp_path / folder / "a").mkdir(parents=True)
        for i in range(12):
            Image.fromarray(drawn(i + 12 * (folder == "more"))).save(tmp_path / folder / "a" / f"{i}.png")
    prepare, at_work, most = PictureHash.prepare, list[int](), list[int]()

    def seen(self: PictureHash, image: RGB) -> np.ndarray:
        at_work.append(1)
        most.append(len(at_work))
        time.sleep(0.02)
        at_work.pop()
        return prepare(self, image)

    monkeypatch.setattr(PictureHash, "prepare", seen)
    spec = RunSpec(str(tmp_path / "set"), "grey", "tiny", k=2, gallery=f"{tmp_path / 'set'},{tmp_path / 'more'}")
    for workers in (4, 1):
        monkeypatch.setenv("CLIPNB_CACHE", str(tmp_path / f"cache {workers}"))
        most.clear()
        run(spec, workers=workers, progress=False)
        assert len(most) == 24
        assert max(most) == workers
