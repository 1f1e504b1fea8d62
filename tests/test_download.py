"""`clipnb fetch`: real libraries against local stand-ins, hostile archives, and the layout that comes out."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import stat
import subprocess
import sys
import tarfile
import time
import tracemalloc
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from conftest import HANGS, one_line, picture

pytest.importorskip("gdown", reason="needs pip install 'clipnb[download]'")
pytest.importorskip("kagglehub", reason="needs pip install 'clipnb[download]'")
pytest.importorskip("trustme", reason="needs pip install 'clipnb[test]'")

from clipnb import UserError
from clipnb.datasets import archives
from clipnb.datasets.archives import HostileArchive, members
from clipnb.datasets.dataset import load_dataset
from clipnb.datasets.download import category, fetch, labelled
from clipnb.errors import MissingExtra
from standins import Web, standing_in


def jpeg(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture(seed, 24, 16, seed)).save(file, "JPEG")
    return file.getvalue()


def zipped(files: Mapping[str | zipfile.ZipInfo, bytes], packing: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packing) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def tarred(files: Mapping[str, bytes], mode: Literal["w", "w:gz", "w:bz2", "w:xz"] = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


PLAYERS = {
    f"data/img/{player}/{i}.jpg": jpeg(10 * p + i) for p, player in enumerate(("Stephen Curry", "Nikola Jokić")) for i in range(3)
}
SCENES = {
    **{f"data/images/train/a/abbey/0000{i}.jpg": jpeg(i) for i in range(3)},
    **{f"data/images/train/c/church/outdoor/0000{i}.jpg": jpeg(10 + i) for i in range(3)},
    "data/images/val/val_00001.jpg": jpeg(30),
    "data/images/test/00001.jpg": jpeg(31),
    "data/objects/train/a/abbey/00000.xml": b"<annotation/>",
    "data/images/train/a/abbey/._00000.jpg": b"resource fork",
}


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setenv("CLIPNB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("CLIPNB_CACHE", str(tmp_path / "cache"))
    with standing_in(tmp_path, monkeypatch) as found:
        sign_in(monkeypatch, "secret")
        yield found


def sign_in(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    for name, value in {"KAGGLE_USERNAME": "me", "KAGGLE_KEY": key}.items():
        monkeypatch.setenv(name, value) if key else monkeypatch.delenv(name)


def test_nba_comes_from_kaggle(web: Web) -> None:
    web.archive = zipped(PLAYERS)
    folder = fetch("nba")
    dataset = load_dataset("nba")
    assert dataset.root == folder
    assert dataset.categories == ["Nikola Jokić", "Stephen Curry"]
    assert {p.id: p.path.read_bytes() for p in dataset.photos} == {name.removeprefix("data/img/"): c for name, c in PLAYERS.items()}
    assert [(host, path) for _, host, path, _ in web.asked] == [
        ("api.kaggle.com", "/v1/datasets.DatasetApiService/GetDataset"),
        ("api.kaggle.com", "/v1/datasets.DatasetApiService/DownloadDataset"),
        ("storage.googleapis.com", "/kaggle-data-sets/archive.zip"),
    ]
    about = json.loads((folder / ".clipnb.json").read_text())
    assert (about["photographs"], about["categories"]) == (6, 2)
    assert about["source"] == "kaggle:djjerrish/nba-player-image-dataset-201920"


def test_kaggle_credentials_come_from_the_usual_file(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sign_in(monkeypatch, "")
    web.archive = zipped(PLAYERS)
    keys = tmp_path / "home" / ".kaggle" / "kaggle.json"
    keys.parent.mkdir(parents=True)
    keys.write_text(json.dumps({"username": "me", "key": "secret"}))
    assert len(list(fetch("nba").rglob("*.jpg"))) == 6


@pytest.mark.parametrize("key", ["", "wrong"])
def test_missing_credentials_are_one_line(web: Web, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    sign_in(monkeypatch, key)
    with one_line(r"Kaggle .*kaggle\.json, or set KAGGLE_USERNAME and KAGGLE_KEY"):
        fetch("nba")
    with pytest.raises(UserError, match="choose from nba, miniplaces"):
        fetch("imagenet")


def test_miniplaces_comes_from_drive_past_its_confirmation(web: Web) -> None:
    web.archive = tarred(SCENES)
    fetch("miniplaces")
    dataset = load_dataset("miniplaces")
    assert dataset.categories == ["abbey", "church_outdoor"]
    assert len(dataset.photos) == 6
    assert ("GET", "drive.usercontent.google.com", "/download", "") in web.asked


def test_an_interrupted_download_is_resumed(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clipnb.datasets.download.RETRIES", 0)
    web.archive = tarred({**SCENES, "data/notes.bin": os.urandom(2 * 2**20)})
    web.break_after = 1_500_000
    with pytest.raises(UserError, match="run this again to resume"):
        fetch("miniplaces")
    assert not (tmp_path / "data" / "miniplaces").exists()
    fetch("miniplaces")
    *_, host, _, part = web.asked[-1]
    assert host == "drive.usercontent.google.com"
    assert 0 < int(part.removeprefix("bytes=").rstrip("-")) <= 1_500_000
    assert len(load_dataset("miniplaces").photos) == 6


MEBIBYTE = 2**20
"""What kagglehub writes at a time: of a download that breaks off, whole ones are kept."""


def breaks_off(web: Web, tmp_path: Path) -> Path:
    """A download from Kaggle that ends after two mebibytes and a half; what is left of it."""
    web.archive = zipped({**PLAYERS, "data/notes.bin": os.urandom(4 * MEBIBYTE)})
    web.break_after = 5 * MEBIBYTE // 2
    with one_line("run this again to resume"):
        fetch("nba")
    assert not (tmp_path / "data" / "nba").exists()
    (left,) = (tmp_path / "cache" / "downloads" / "nba").iterdir()
    assert left.read_bytes() == web.archive[: 2 * MEBIBYTE]
    return left


def parts(web: Web) -> list[str]:
    """Which part of the archive each request to Kaggle's storage asked for."""
    return [part for _, host, _, part in web.asked if host == "storage.googleapis.com"]


def test_an_interrupted_download_from_kaggle_is_resumed(web: Web, tmp_path: Path) -> None:
    left = breaks_off(web, tmp_path)
    fetch("nba")
    assert parts(web) == ["", "", f"bytes={2 * MEBIBYTE}-"]
    assert len(load_dataset("nba").photos) == 6
    assert not left.exists()


def test_a_server_that_restarts_a_download_costs_one_more_try(web: Web, tmp_path: Path) -> None:
    left = breaks_off(web, tmp_path)
    web.deaf = True
    with pytest.raises(UserError, match=r"could not be fetched: .* checksum"):
        fetch("nba")
    assert not left.exists()
    fetch("nba")
    assert len(load_dataset("nba").photos) == 6


def test_a_partial_download_of_an_older_version_is_not_resumed(web: Web, tmp_path: Path) -> None:
    left = breaks_off(web, tmp_path)
    web.version, web.archive = 2, zipped({**PLAYERS, "data/img/Nikola Jokić/9.jpg": jpeg(99)})
    fetch("nba")
    assert parts(web) == ["", ""]
    assert len(load_dataset("nba").photos) == 7
    assert not left.exists()


def test_drives_refusal_is_one_line(web: Web) -> None:
    web.quota = True
    with one_line(r"Google Drive could not be fetched: .*Too many users"):
        fetch("miniplaces")


def test_a_network_that_is_not_there_is_one_line(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clipnb.datasets.download.RETRIES", 0)
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("nba", "miniplaces"):
        with pytest.raises(UserError, match="could not be fetched"):
            fetch(name)


def test_the_checksum_of_the_first_download_is_required(web: Web, tmp_path: Path) -> None:
    web.archive = tarred(SCENES)
    folder = fetch("miniplaces")
    with pytest.raises(UserError, match="exists already: pass --again"):
        fetch("miniplaces")
    folder.rename(tmp_path / "elsewhere")
    web.archive = tarred({**SCENES, "data/images/train/a/abbey/extra.jpg": jpeg(99)})
    with pytest.raises(UserError, match="differs from the first one"):
        fetch("miniplaces")
    assert not folder.exists()
    fetch("miniplaces", again=True)
    assert len(load_dataset("miniplaces").photos) == 7


LINK = zipfile.ZipInfo("ok/evil.jpg")
LINK.external_attr = (stat.S_IFLNK | 0o777) << 16

HOSTILE = {
    "up": (zipped({"ok/1.jpg": jpeg(1), "../../evil.jpg": jpeg(2)}), "leads outside"),
    "absolute": (tarred({"ok/1.jpg": jpeg(1), "/evil.jpg": jpeg(2)}), "leads outside"),
    "backslash": (zipped({"ok/1.jpg": jpeg(1), "..\\evil.jpg": jpeg(2)}), "leads outside"),
    "drive": (zipped({"C:/evil.jpg": jpeg(2)}), "leads outside"),
    "link": (zipped({"ok/1.jpg": jpeg(1), LINK: b"/etc/passwd"}), "link or device"),
    "swelling": (zipped({"ok/1.jpg": jpeg(1), "ok/evil.jpg": bytes(8 * MEBIBYTE)}, zipfile.ZIP_DEFLATED), "expands to more"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_nothing_of_a_hostile_archive_is_unpacked(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(archives, "SLACK", MEBIBYTE)
    web.archive, said = HOSTILE[kind]
    with pytest.raises(HostileArchive, match=said):
        fetch("miniplaces" if kind == "absolute" else "nba")  # a tar from Drive, zip files from Kaggle
    assert not list(tmp_path.rglob("evil.jpg"))
    assert not list(tmp_path.rglob("1.jpg"))
    assert not list((tmp_path / "cache").rglob("*.archive"))  # the next try starts anew


@pytest.mark.parametrize("folders", ["x" * 300, f"{'x' * 200}/{'y' * 200}"])
def test_a_name_that_no_file_can_have_is_one_line(web: Web, tmp_path: Path, folders: str) -> None:
    web.archive = zipped({f"{folders}/1.jpg": jpeg(1), "b/2.jpg": jpeg(2)})
    with pytest.raises(UserError, match="miniplaces cannot be written: File name too long"):
        fetch("miniplaces")
    assert not list(tmp_path.rglob("*.jpg"))


@pytest.mark.parametrize("when", ["downloading", "unpacking"])
def test_a_fetch_that_was_killed_is_completed_by_the_same_command(web: Web, tmp_path: Path, when: str) -> None:
    web.archive = zipped({f"{place}/{i}.jpg": jpeg(i) + bytes(100_000) for place in "abc" for i in range(200)})
    seen = {"downloading": "cache/downloads/miniplaces/miniplaces.archive*", "unpacking": "data/.miniplaces.*/b/*"}[when]
    command = [sys.executable, "-m", "clipnb", "fetch", "miniplaces"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not any(path.stat().st_size for path in tmp_path.glob(seen)):
            time.sleep(0.001)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == 0, done.stderr
    assert len(load_dataset("miniplaces").photos) == 600
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["miniplaces"]
    assert not list((tmp_path / "cache").rglob("*.archive*"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        info = tarfile.TarInfo("a/1.jpg")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(HostileArchive, match="link or device"):
        list(members(tmp_path / "a.tar"))


def header(size: int, kind: bytes, content: bytes = b"") -> bytes:
    """A member of a tar file as another program may write it."""
    info = tarfile.TarInfo("a/1.jpg")
    info.type = kind
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)
    block[148:156] = b"%06o\0 " % tarfile.calc_chksums(bytes(block))[0]
    return bytes(block) + content + bytes(-len(content) % 512)


LONG = b"a" * (32 * MEBIBYTE)


@pytest.mark.parametrize(
    "content",
    [
        header(len(LONG), tarfile.GNUTYPE_LONGNAME, LONG) + header(0, tarfile.REGTYPE),
        header(len(LONG), tarfile.GNUTYPE_LONGLINK, LONG) + header(0, tarfile.REGTYPE),
        header(len(LONG) + 20, tarfile.XHDTYPE, b"%d comment=%b\n" % (len(LONG) + 18, LONG)) + header(0, tarfile.REGTYPE),
        header(2**33, tarfile.XHDTYPE, LONG),
        b"".join(header(0, tarfile.DIRTYPE) for _ in range(3 * 2048)),
        header(-1024, tarfile.REGTYPE),
        header(-1024, tarfile.XHDTYPE, LONG),
        header(2**40, tarfile.GNUTYPE_SPARSE),
    ],
    ids=["name", "link", "pax", "pax of 8 GiB", "folders", "negative", "negative pax", "sparse"],
)
def test_headers_of_a_tar_count_in_the_size_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(archives, "SLACK", MEBIBYTE)
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(content + bytes(1024), 1))
    tracemalloc.start()
    try:
        with pytest.raises(HostileArchive, match=r"expands to more than photographs would|sparse file"):
            list(members(tmp_path / "a.tar.gz"))
        assert tracemalloc.get_traced_memory()[1] < 16 * MEBIBYTE
    finally:
        tracemalloc.stop()


NAMELESS = zipped({"ok/1.jpg": b""}).replace(b"ok/1.jpg", b"\0k/1.jpg")


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", tarred(SCENES)[:-200], NAMELESS])
def test_what_is_no_archive_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with one_line(r"a cannot be unpacked here: .+"):
        list(members(tmp_path / "a"))


SOME = {f"a/{i}.jpg": jpeg(i) for i in range(3)}
PACKED = {
    "stored": zipped(SOME),
    "deflated": zipped(SOME, zipfile.ZIP_DEFLATED),
    "zip with bzip2": zipped(SOME, zipfile.ZIP_BZIP2),
    "zip with lzma": zipped(SOME, zipfile.ZIP_LZMA),
    "tar": tarred(SOME, "w"),
    "tar.gz": tarred(SOME),
    "tar.bz2": tarred(SOME, "w:bz2"),
    "tar.xz": tarred(SOME, "w:xz"),
}


bytes_anywhere = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8)


@settings(max_examples=200)
@given(st.sampled_from([*PACKED]), bytes_anywhere)
def test_damaged_bytes_are_unpacked_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, kind: str, damage: list[tuple[float, int]]
) -> None:
    content = bytearray(PACKED[kind])
    for place, value in damage:
        content[int(place * len(content))] = value
    file = tmp_path_factory.getbasetemp() / "damaged"
    file.write_bytes(content)
    said = ""
    try:
        assert len(list(members(file))) <= len(SOME)
    except UserError as error:
        said = str(error)
    assert "\n" not in said


@pytest.mark.parametrize(("place", "value", "said"), [(6, 1, "password"), (8, 99, "compression method")])
def test_an_archive_packed_in_another_way_is_told(tmp_path: Path, place: int, value: int, said: str) -> None:
    content = bytearray(zipped({"a/1.jpg": jpeg(1)}))
    central = content.index(b"PK\x01\x02")
    content[place] = content[central + place + 2] = value  # flags and method, in both of a member's headers
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(UserError, match=f"a.zip cannot be unpacked here: .*{said}"):
        list(members(tmp_path / "a.zip"))


def test_folders_become_a_category() -> None:
    kinds = {
        "train/a/abbey": "abbey",
        "train/c/church/outdoor": "church_outdoor",
        "A B": "A B",
        "b/bar/b": "bar_b",
        "x": "x",
        "": "",
    }
    for folder, name in kinds.items():
        assert category(PurePosixPath(folder, "1.jpg")) == name
    assert [name for _, name in labelled(map(PurePosixPath, ["d/e/cats/1.jpg", "d/e/dogs/1.jpg"]))] == ["cats", "dogs"]
    assert [name for _, name in labelled(map(PurePosixPath, ["d/cats/1.jpg", "d/cats/2.jpg"]))] == ["cats", "cats"], "a sole one"


def test_two_photographs_of_one_name_are_both_kept_and_copies_once(web: Web) -> None:
    web.archive = tarred({"x/cats/1.jpg": jpeg(1), "x/c/cats/1.jpg": jpeg(2), "x/dogs/1.jpg": jpeg(3), "x/d/dogs/1.jpg": jpeg(3)})
    fetch("miniplaces")
    assert [p.category for p in load_dataset("miniplaces").photos] == ["cats", "cats", "dogs"]


def test_archives_of_real_photographs_give_the_folders_they_were_made_from(web: Web, shared_data: Path) -> None:
    wanted: dict[str, dict[str, bytes]] = {"nba": {}, "miniplaces": {}}
    for name, most in (("nba", 6), ("miniplaces", 8)):
        for folder in sorted(p for p in (shared_data / name).iterdir() if p.is_dir())[:most]:
            for path in sorted(folder.iterdir())[:3]:
                wanted[name][f"{folder.name}/{path.name}"] = path.read_bytes()
    web.archive = zipped({f"nba/img/{inside}": content for inside, content in wanted["nba"].items()})
    fetch("nba")
    web.archive = tarred({f"data/images/train/{i[0]}/{i}": content for i, content in wanted["miniplaces"].items()})
    fetch("miniplaces")
    for name, files in wanted.items():
        assert {p.id: p.path.read_bytes() for p in load_dataset(name).photos} == files


def test_no_half_written_set_is_left(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tarred(SCENES)
    web.archive = whole[:-200]
    with pytest.raises(UserError, match="cannot be unpacked here: Compressed file ended"):
        fetch("miniplaces")
    assert not list(tmp_path.glob("data/*"))
    web.archive = whole

    def full(*arguments: object) -> Path:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr("clipnb.datasets.download.destination", full)
        with pytest.raises(UserError, match="cannot be written: No space left on device; make room"):
            fetch("miniplaces")
    assert not list(tmp_path.glob("data/*"))
    assert len(list((tmp_path / "cache").rglob("*.archive"))) == 1, "the archive is kept"
    fetch("miniplaces")
    assert len(load_dataset("miniplaces").photos) == 6


@pytest.mark.parametrize(("name", "function"), [("nba", "kagglehub.clients.download_file"), ("miniplaces", "gdown.download")])
def test_a_drive_that_is_full_during_a_download_is_told_as_such(
    web: Web, monkeypatch: pytest.MonkeyPatch, name: str, function: str
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(function, full)
    with one_line(r"/downloads/\w+ cannot be written: No space left on device; make room"):
        fetch(name)


@pytest.mark.parametrize(("name", "library"), [("nba", "kagglehub.clients"), ("miniplaces", "gdown")])
def test_a_missing_library_is_one_line(web: Web, monkeypatch: pytest.MonkeyPatch, name: str, library: str) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match=r"pip install 'clipnb\[download\]'"):
        fetch(name)
