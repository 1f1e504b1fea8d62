"""Data sets: what counts as one, what is said about what does not, and the samples that are always at hand."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipnb import RunSpec, run
from clipnb.checks import warnings as warnings_of
from clipnb.datasets.dataset import load_dataset, locate, slug
from clipnb.datasets.images import decode, read
from clipnb.datasets.samples import SAMPLES
from clipnb.errors import DatasetError
from conftest import PhotoFolder, Printed, as_a_user, let_torchvision_load, one_line

SAMPLE_SETS = sorted(SAMPLES)


def refusal(dataset: str) -> str:
    with pytest.raises(DatasetError) as caught:
        load_dataset(dataset)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def copy(source: Path, *names: str) -> None:
    """Copies of an image under other names in its folder."""
    for name in names:
        source.with_name(name).write_bytes(source.read_bytes())


def image_folder(root: Path) -> list[str]:
    """What torchvision finds: <category>/<path inside its folder>."""
    pytest.importorskip("torch", reason="needs pip install 'clipnb[clip]'")
    let_torchvision_load()
    found = pytest.importorskip("torchvision.datasets", reason="needs pip install 'clipnb[clip]'").ImageFolder(str(root))
    return [Path(path).relative_to(root).as_posix() for path, _ in found.samples]


def test_a_plain_image_folder_is_read_as_torchvision_reads_it(photo_folder: PhotoFolder) -> None:
    root = photo_folder({"dogs": 3, "Cats": 2, "10": 1, "9": 1, "a cat's": 1, "räv": 2})
    for format, suffixes in {"JPEG": ["jpg", "JPG", "Jpeg"], "PPM": ["ppm", "PGM"], "TIFF": ["tif", "tiff"]}.items():
        for suffix in suffixes:
            name = root / "dogs" / f"odd.name {suffix}.{suffix}"
            Image.open(root / "dogs" / "00.png").convert("L" if suffix == "PGM" else "RGB").save(name, format)
    copy(root / "dogs" / "00.png", "b.bmp", "w.WEBP", "notes.txt", "x.jpg.txt", "no suffix", "y.svg", "z.npy", "9.png", "10.png")
    (root / "LICENSE.md").write_text("beside the folders")
    expected = image_folder(root)
    dataset = load_dataset(str(root))
    assert (dataset.name, dataset.root, dataset.empty) == ("photos", root, ())
    assert dataset.categories == ["10", "9", "Cats", "a cat's", "dogs", "räv"]
    assert [photo.id for photo in dataset.photos] == expected
    assert len(expected) == 21
    assert all(decode(read(photo.path)).shape == (32, 48, 3) for photo in dataset.photos)


def test_differences_from_torchvisions_image_folder(photo_folder: PhotoFolder) -> None:
    root = photo_folder({"church": 1, "church/outdoor": 2, ".git": 1})
    copy(root / "church" / "00.png", "._00.png", "moving.gif", "camera.jfif")
    ours = {photo.id for photo in load_dataset(str(root)).photos}
    theirs = set(image_folder(root))
    assert theirs - ours == {"church/outdoor/00.png", "church/outdoor/01.png", "church/._00.png", ".git/00.png"}
    assert ours - theirs == {"church/moving.gif", "church/camera.jfif"}
    unused = load_dataset(str(root)).unused
    assert unused == {
        ".git": "hidden",
        "church/._00.png": "hidden",
        "church/outdoor/00.png": "in a subfolder of a category",
        "church/outdoor/01.png": "in a subfolder of a category",
    }
    nested = load_dataset(f"nested:{root}")
    assert {photo.id for photo in nested.photos} == ours | {"church/outdoor/00.png", "church/outdoor/01.png"}
    assert all(photo.path.is_file() for photo in nested.photos)
    (root / "empty").mkdir()
    assert load_dataset(str(root)).empty == ("empty",)
    with pytest.raises(FileNotFoundError, match="empty"):
        image_folder(root)


def test_every_file_that_is_not_used_is_named_with_its_reason(photo_folder: PhotoFolder) -> None:
    root = photo_folder({"cats": 1, "cats/night": 1, "text only": 0, "cats/folder.jpg": 0})
    copy(root / "cats" / "00.png", "a.NEF", "no suffix", "._00.png")
    for name in ("loose.png", "list.csv", "text only/readme.txt"):
        (root / name).touch()
    dataset = load_dataset(str(root))
    assert [photo.id for photo in dataset.photos] == ["cats/00.png"]
    assert (dataset.categories, dataset.empty) == (["cats"], ("text only",))
    assert dataset.unused == {
        "cats/._00.png": "hidden",
        "cats/a.NEF": ".nef",
        "cats/night/00.png": "in a subfolder of a category",
        "cats/no suffix": "no suffix",
        "list.csv": ".csv",
        "loose.png": "outside the category folders",
        "text only/readme.txt": ".txt",
    }
    assert dataset.other_files[".txt"] == 1


def test_photographs_in_a_format_that_is_not_read_are_counted(photo_folder: PhotoFolder) -> None:
    root = photo_folder({"cats": 0})
    for name in ("cats/1.NEF", "cats/2.nef", "3.cr2"):
        (root / name).touch()
    assert refusal(str(root)).endswith("holds no photographs that are used (1 .cr2, 2 .nef): convert them to JPEG")


def test_photographs_one_folder_too_deep_give_a_hint_of_the_option(photo_folder: PhotoFolder) -> None:
    root = photo_folder({"2019/beach": 2})
    said = f"2 in a subfolder of a category): -p dataset {root}/2019 has its subfolders as categories"
    assert said in refusal(str(root)), "as an archive is unpacked"
    assert load_dataset(f"{root}/2019").categories == ["beach"]
    photo_folder({"2020/city": 1})
    assert f"3 in a subfolder of a category): -p dataset nested:{root} uses" in refusal(str(root))
    assert [photo.id for photo in load_dataset(f"nested:{root}").photos][:2] == ["2019/beach/00.png", "2019/beach/01.png"]


def test_a_flat_folder_says_whether_originals_are_found_and_adds_distractors(photo_folder: PhotoFolder) -> None:
    flat = photo_folder({"cats": 12}) / "cats"
    dataset = load_dataset(str(flat))
    assert (dataset.flat, dataset.words, len(dataset.categories)) == (True, [], 12)
    (flat / "broken.png").write_bytes(b"no image")
    (problem,) = run(RunSpec(str(flat), "grey", "tiny", 3), progress=False).provenance["unreadable"].values()
    assert problem.startswith("broken.png: "), "in a flat folder, a file has no category"
    assert not [said for said in warnings_of(run(RunSpec(str(flat), "grey", "tiny", 3), progress=False)) if "holds no" in said]
    (flat / "broken.png").unlink()
    with one_line("cats has no category folders, which per_category needs: -p categories draws photographs"):
        run(RunSpec(str(flat), "grey", "tiny", 3, per_category=5), progress=False)
    result = run(RunSpec(str(flat), "grey", "tiny", 3), progress=False)
    assert len(result.rows) == 12
    assert result.macro("found").n == 12, "photographs are the units of the interval"
    assert math.isnan(result.mean("p1"))
    assert "has no category folders: whether the original is found is measured" in " ".join(result.provenance["warnings"])
    own = photo_folder({"dogs": 3, "birds": 3}, name="own")
    alone, among = (run(RunSpec(str(own), "grey", "tiny", 3, gallery=gallery), progress=False) for gallery in ("", f"{own},{flat}"))
    assert among.provenance["gallery"]["images"] == alone.provenance["gallery"]["images"] + 12
    assert among.mean("p1") <= alone.mean("p1")


@pytest.mark.parametrize("categories", [{"cats": 0}, {"cats": 0, "dogs": 0}, {".hidden": 2}])
def test_a_folder_without_images_is_no_data_set(photo_folder: PhotoFolder, categories: dict[str, int]) -> None:
    assert "no images were found" in refusal(str(photo_folder(categories)))


def test_a_typo_is_answered_with_a_guess_and_the_choices() -> None:
    message = refusal("sample-figure")
    assert "did you mean 'sample-figures' or 'sample-scenes'?" in message
    assert all(name in message for name in [*SAMPLE_SETS, "nba", "miniplaces"])
    assert "did you mean" not in refusal("holiday-2023")


def test_a_name_with_a_space_that_a_shell_cut_is_answered_with_the_whole(
    photo_folder: PhotoFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: Printed
) -> None:
    photo_folder({"cats": 2}, "my holiday")
    monkeypatch.chdir(tmp_path)
    assert "put a name with spaces in quotes: 'my holiday'" in refusal("my")
    assert "put a name with spaces in quotes: 'my holiday'" in printed("analyse", "my", "holiday", status=1)
    said = "threshold does not take holiday: put a name with spaces in quotes: 'my holiday'\n"
    assert printed("threshold", "my", "holiday", "--k", "3", status=1).endswith(said)
    assert "does not take gal: put a name with spaces in quotes: 'my holiday'" in printed("index", "my", "holiday", "gal", status=1)
    assert "threshold does not take dogs; clipnb" in printed("threshold", "my", "dogs", status=1)


@pytest.mark.parametrize("dataset", ["", "~nosuchuser/photos", "/no/such/folder", "nul\0byte", "x" * 5000])
def test_a_name_that_cannot_be_a_folder_is_one_line(dataset: str) -> None:
    assert "no data set" in refusal(dataset)


def test_a_study_set_is_looked_up_in_clipnb_data_and_a_missing_one_says_where_to_put_it_and_what_works_without(
    photo_folder: PhotoFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = photo_folder({"Curry": 1}, name="nba")
    monkeypatch.setenv("CLIPNB_DATA", str(root.parent))
    assert (load_dataset("nba").name, load_dataset("nba").root) == ("nba", root)
    message = refusal("miniplaces")
    for said in ("data set 'miniplaces'", "CLIPNB_DATA", "-p dataset sample-figures"):
        assert said in message


@pytest.mark.parametrize("run_from", [".", "notebooks", "book/runs"])
def test_a_relative_clipnb_data_is_relative_to_the_project(
    photo_folder: PhotoFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_from: str
) -> None:
    root = photo_folder({"Curry": 1}, name="my photos/nba")
    for folder in ("notebooks", "book/runs"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "_config.yml").write_text("title: a project\n")
    monkeypatch.chdir(tmp_path / run_from)
    monkeypatch.setenv("CLIPNB_DATA", "my photos")
    assert locate("nba").resolve() == root.resolve()
    assert locate("my photos/nba").resolve() == root.resolve()


def test_a_short_name_fits_a_file_name() -> None:
    same = {name: name for name in ("nba", "v1.2+extra_3")}
    kept = {**same, "../data/nba/": "nba", r"C:\photos\nba": "nba", "Müller, Jörg": "Müller-Jörg", "/home/my set 2/": "my-set-2"}
    for dataset, name in {**kept, **dict.fromkeys(("..", "", "???"), "photos")}.items():
        assert slug(dataset) == name


@pytest.mark.parametrize("name", SAMPLE_SETS)
def test_a_sample_set_is_large_enough_and_gives_each_manipulation_something_to_do(name: str) -> None:
    dataset = load_dataset(name)
    assert dataset.name == name
    assert len(dataset.categories) >= 6
    assert min(sum(photo.category == c for photo in dataset.photos) for c in dataset.categories) >= 12
    images = [Image.open(photo.path) for photo in dataset.photos]
    sizes = np.array([image.size for image in images])
    assert np.mean(sizes[:, 0] != sizes[:, 1]) > 0.9  # for the crop
    assert (sizes[:, 0] > sizes[:, 1]).any()
    assert (sizes[:, 0] < sizes[:, 1]).any()
    assert np.mean([np.ptp(np.asarray(i.convert("RGB")).astype(int), axis=2).mean() > 4 for i in images]) > 0.5  # for grey
    contents = {photo.path.read_bytes() for photo in dataset.photos}
    assert len(contents) == len(dataset.photos), "no two are alike"


def test_the_sample_sets_are_the_same_bytes_wherever_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def written() -> list[dict[str, bytes]]:
        return [{photo.id: photo.path.read_bytes() for photo in load_dataset(name).photos} for name in SAMPLE_SETS]

    expected = written()
    monkeypatch.setenv("CLIPNB_CACHE", str(tmp_path / "another"))
    code = f"from clipnb.datasets.samples import ensure; [ensure(name) for name in {SAMPLE_SETS}]"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONHASHSEED": "7"})  # by another process
    assert sorted(p.name for p in locate(SAMPLE_SETS[0]).parent.iterdir()) == SAMPLE_SETS
    assert locate(SAMPLE_SETS[0]).is_relative_to(tmp_path)
    assert written() == expected


def test_a_folder_without_permission_is_one_line(photo_folder: PhotoFolder, tmp_path: Path) -> None:
    dogs = photo_folder({"cats": 3, "dogs": 3}) / "dogs"
    dogs.chmod(0)
    done = subprocess.run(
        [*as_a_user(), sys.executable, "-m", "clipnb", "card", "photos"], cwd=tmp_path, capture_output=True, text=True
    )
    dogs.chmod(0o755)
    assert (done.returncode, done.stderr) == (
        1,
        "clipnb: photos/dogs cannot be read: Permission denied\n",
    )


def test_broken_links_and_pipes_are_counted(photo_folder: PhotoFolder) -> None:
    root = photo_folder({"cats": 2})
    (root / "cats" / "gone.jpg").symlink_to("nowhere.jpg")
    (root / "cats" / "loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(root / "cats" / "pipe.jpg")
    assert load_dataset(str(root)).other_files == {"broken link or device": 3}
    assert sorted(load_dataset(str(root)).unused) == ["cats/gone.jpg", "cats/loop.jpg", "cats/pipe.jpg"]


def test_what_is_typed_as_a_path_is_that_path(photo_folder: PhotoFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo_folder({"sand": 3}, name="photographs/beach")
    monkeypatch.setenv("CLIPNB_DATA", str(tmp_path / "photographs"))
    monkeypatch.setenv("CLIPNB_PROJECT", str(tmp_path / "project"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert load_dataset("beach").categories == ["sand"]
    for typed in ("./beach", "../beach", "nested:./beach"):
        with pytest.raises(DatasetError, match="no data set"):
            load_dataset(RunSpec(typed, encoder="histogram").dataset)
    photo_folder({"cars": 3}, name="here/beach")
    for typed in ("./beach", "beach/", "../here/beach", "nested:./beach"):
        assert load_dataset(RunSpec(typed, encoder="histogram").dataset).categories == ["cars"]
    assert load_dataset("beach").categories == ["sand"]
