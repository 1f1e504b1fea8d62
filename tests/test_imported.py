"""Hugging Face and WebDataset sets, written by their own libraries and read as any data set."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from clipnb import RunSpec, run
from clipnb.datasets.dataset import load_dataset
from clipnb.errors import DatasetError
from conftest import one_line, picture

hf = pytest.importorskip("datasets", reason="needs pip install 'clipnb[datasets]'")
wds = pytest.importorskip("webdataset", reason="needs pip install 'clipnb[datasets]'")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLIPNB_CACHE", str(tmp_path / "cache"))


def png(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture(seed, kind=seed % 2)).save(file, "PNG")
    return file.getvalue()


def saved_set(folder: Path, names: list[str], labels: list[Any]) -> None:
    """Write a set of pictures; without `names`, its labels are texts."""
    features = hf.Features({"picture": hf.Image(), "label": hf.ClassLabel(names=names) if names else hf.Value("string")})
    rows = {"picture": [{"bytes": png(i), "path": None} for i in range(len(labels))], "label": labels}
    hf.Dataset.from_dict(rows, features=features).save_to_disk(str(folder))


def test_a_hugging_face_set_is_a_data_set(tmp_path: Path) -> None:
    saved_set(tmp_path / "pets", ["cats", "dogs/wolves"], [0, 1] * 3)
    dataset = load_dataset("hf:pets")
    assert dataset.categories == ["cats", "dogs_wolves"]
    assert [p.id for p in dataset.photos[:2]] == ["cats/0000000.png", "cats/0000002.png"]
    assert dataset.photos[1].path.read_bytes() == png(2)
    result = run(RunSpec("hf:pets", "grey", "tiny", 2), progress=False)
    assert len(result.rows) == 6
    assert result.spec.run_id == "hf-pets-grey-tiny-k2"
    for i in range(4):
        (tmp_path / "folder" / "train" / ("cats", "dogs")[i % 2]).mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / "train" / ("cats", "dogs")[i % 2] / f"{i}.png").write_bytes(png(i))
    assert load_dataset("hf:folder@train").categories == ["cats", "dogs"]  # `datasets` reads a plain folder too


def shard(path: Path, samples: list[tuple[str, dict[str, bytes]]]) -> None:
    with tarfile.open(path, "w") as tar:
        for key, parts in samples:
            for suffix, content in parts.items():
                info = tarfile.TarInfo(f"{key}.{suffix}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def test_tars_as_img2dataset_writes_them_are_a_data_set(tmp_path: Path) -> None:
    for s in range(2):
        about = [json.dumps({"caption": "c", "label": label}).encode() for label in ("cat", "dog")]
        parts = [{"png": png(2 * s + i), "json": about[i], "txt": b"c"} for i in range(2)]
        shard(tmp_path / f"{s:05d}.tar", [(f"{s:05d}{i:04d}", part) for i, part in enumerate(parts)])
    dataset = load_dataset("wds:{00000..00001}.tar")
    for spelled in ("wds:0*.tar", f"wds:{tmp_path}/*.tar", "wds:00000.tar::0*1.tar"):
        assert [photo.id for photo in load_dataset(spelled).photos] == [photo.id for photo in dataset.photos]
    assert [p.id for p in dataset.photos] == ["cat/000000000.png", "cat/000010000.png", "dog/000000001.png", "dog/000010001.png"]
    before = {p.path: p.path.stat().st_mtime_ns for p in dataset.photos}
    assert {p.path: p.path.stat().st_mtime_ns for p in load_dataset("wds:{00000..00001}.tar").photos} == before


def test_a_path_that_leads_upward_stays_that_of_an_imported_set() -> None:
    for typed, settled in (
        ("wds:../../a.tar", "wds:../../a.tar"),
        ("wds:b/../a.tar", "wds:a.tar"),
        ("hf:../../b/", "hf:../../b"),
        ("nested:../../b/", "nested:../../b"),
    ):
        assert RunSpec(typed, encoder="histogram").dataset == settled


def test_tars_that_webdataset_wrote_are_one_too(tmp_path: Path) -> None:
    with wds.TarWriter(str(tmp_path / "a.tar")) as out:
        for i in range(3):
            out.write({"__key__": f"sample{i}", "png": png(i), "cls": i % 2})
    assert [p.id for p in load_dataset("wds:a.tar").photos] == ["0/sample0.png", "0/sample2.png", "1/sample1.png"]


def test_a_hostile_key_stays_inside(tmp_path: Path) -> None:
    shard(tmp_path / "a.tar", [("../../evil", {"png": png(0), "cls": b"../up"}), ("ok", {"png": png(1), "cls": b"cats"})])
    root = load_dataset("wds:a.tar").root
    assert not list(tmp_path.glob("evil*"))
    assert all(root in p.parents for p in tmp_path.rglob("*.png"))


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ("hf:", "is incomplete"),
        ("hf:nowhere/at-all", "cannot be loaded"),
        ("wds:missing.tar", r"no such file: missing.tar \(several: \{0000..0003\}.tar or \*.tar, in quotes\)"),
        ("wds:missing-*.tar", r"no such file: missing-\*.tar \(several: "),
        ("wds:damaged.tar", "cannot be read|no images with a category"),
        ("wds:unlabelled.tar", "no images with a category"),
        ("hf:numbers", "no column of images"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, dataset: str, said: str) -> None:
    (tmp_path / "damaged.tar").write_bytes(b"no tar" * 500)
    shard(tmp_path / "unlabelled.tar", [("a", {"png": png(0)})])
    hf.Dataset.from_dict({"x": [1, 2]}).save_to_disk(str(tmp_path / "numbers"))
    with one_line(said, DatasetError):
        load_dataset(dataset)
    assert not list((tmp_path / "cache").glob("imported/*"))


def test_a_set_that_names_a_file_elsewhere_brings_nothing(tmp_path: Path) -> None:
    """A picture of this machine, or a device, must not become part of a data set that somebody sent."""
    secret, folder = tmp_path / "secret.png", tmp_path / "sent"
    Image.fromarray(picture(0)).save(secret)
    features = hf.Features({"image": hf.Image(), "label": hf.ClassLabel(names=["a", "b"])})
    rows = hf.Dataset.from_dict({"image": [{"bytes": None, "path": str(secret)}] * 2, "label": [0, 1]}, features=features)
    folder.mkdir()
    pq.write_table(rows.data.table, folder / "train.parquet")
    with pytest.raises(DatasetError, match="names a file outside it"):
        load_dataset(f"hf:{folder}")


@pytest.mark.parametrize("names", [["tv/monitor", "tv_monitor", "tv\\monitor"], [".5", "5"], ["1.", "1"], ["Cat", "cat"]])
def test_distinct_labels_stay_distinct(tmp_path: Path, names: list[str]) -> None:
    saved_set(tmp_path / "set", names, list(range(len(names))))
    assert len(load_dataset("hf:set").categories) == len(names)


def test_two_unicode_spellings_of_a_label_are_one_category(tmp_path: Path) -> None:
    saved_set(tmp_path / "set", [], ["caf\u00e9", "cafe\u0301"] * 2)
    assert load_dataset("hf:set").categories == ["caf\u00e9"]


def test_samples_without_a_label_are_counted(tmp_path: Path) -> None:
    saved_set(tmp_path / "set", ["a", "b"], [0, 1, -1, None, 0, 1])
    with pytest.warns(UserWarning, match="2 samples without an image or a label are left out"):
        assert len(load_dataset("hf:set").photos) == 4


def test_two_spellings_of_a_folder_are_a_warning(tmp_path: Path) -> None:
    for name in ("caf\u00e9", "cafe\u0301"):
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "1.png").write_bytes(png(1))
    with pytest.warns(UserWarning, match="two Unicode spellings"):
        load_dataset(str(tmp_path / "set"))
