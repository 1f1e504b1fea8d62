"""Galleries on disk and in-process: the format, building and resuming, indexes, distractors, copies left out."""

from __future__ import annotations

import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clipnb._core.files import alone_in
from clipnb.checks import warnings as warnings_of
from clipnb.cli import main
from clipnb.datasets.dataset import load_dataset
from clipnb.datasets.picture_hash import near_copies, picture_hash
from clipnb.embedding.store import EmbeddingStore
from clipnb.errors import UserError
from clipnb.possible import require_possible
from clipnb.report.photos import query_results
from clipnb.report.text import summary
from clipnb.result import Result
from clipnb.retrieval import faiss_index, service
from clipnb.retrieval.build import build_gallery
from clipnb.retrieval.duplicates import PictureHash, hashes_in, same_content, same_picture
from clipnb.retrieval.folder import Vectors, open_folder
from clipnb.retrieval.image_fetcher import Limits
from clipnb.retrieval.knn_client import ServiceResult
from clipnb.retrieval.results import USABLE
from clipnb.retrieval.sources import image_finder
from clipnb.retrieval.study_protocol import move_queries, without_lookalikes
from clipnb.runs import run, saved_result
from clipnb.spec import RunSpec
from conftest import PhotoFolder, Printed, TinyEncoder, one_line, picture, unit_vectors


def write_gallery(out: Path, vectors: np.ndarray, cuts: tuple[int, ...] = (), dtype: str = "float16", **columns: list[Any]) -> Path:
    """A gallery as clip-retrieval's inference writes it: no index, nothing of clipnb's."""
    (out / "img_emb").mkdir(parents=True)
    (out / "metadata").mkdir()
    table = pd.DataFrame({"image_path": [f"/elsewhere/{i}.jpg" for i in range(len(vectors))], **columns})
    edges = [0, *cuts, len(vectors)]
    for n, (a, b) in enumerate(itertools.pairwise(edges)):
        np.save(out / "img_emb" / f"img_emb_{n}.npy", vectors[a:b].astype(dtype))
        table[a:b].to_parquet(out / "metadata" / f"metadata_{n}.parquet")
    return out


def varied(root: Path, categories: dict[str, int], offset: int = 0) -> Path:
    """Photographs no two of which are alike: `conftest.picture` makes those of one kind so."""
    for c, (name, images) in enumerate(categories.items()):
        (root / name).mkdir(parents=True)
        for i in range(images):
            Image.fromarray(picture(i, 48, 32, kind=offset + 100 * c + i)).save(root / name / f"{i}.png")
    return root


def own(result: Result) -> list[str]:
    """Each query's own name."""
    return [f"{c}/{i}" for c, i in zip(result.rows["category"], result.rows["image"], strict=True)]


def tiny_run(dataset: Path, manip: str = "original", k: int = 3, **settings: Any) -> Result:
    return run(RunSpec(str(dataset), manip, "tiny", k=k, **settings), progress=False)


# ---- the format


@given(st.integers(1, 40), st.lists(st.integers(0, 40), max_size=3), st.integers(0, 99))
@settings(max_examples=40)
def test_vectors_in_files_are_the_vectors(n: int, cuts: list[int], seed: int) -> None:
    whole = unit_vectors(n, 5, seed)
    edges = [0, *sorted(min(c, n) for c in cuts), n]
    held = Vectors([whole[a:b] for a, b in itertools.pairwise(edges)])
    assert held.shape == (n, 5)
    rows = np.random.default_rng(seed).integers(-n, n, size=(3, 4))
    np.testing.assert_array_equal(held[rows], whole[rows])
    np.testing.assert_array_equal(held[:], whole)
    np.testing.assert_array_equal(np.concatenate(list(held.blocks(7))), whole)


def test_half_precision_comes_out_of_unit_length_and_nested_columns_are_left_out(tmp_path: Path) -> None:
    whole = unit_vectors(20, 64, 0)
    gallery = open_folder(write_gallery(tmp_path / "g", whole, cuts=(7,), tags=[["a", "b"]] * 20))
    np.testing.assert_allclose(np.linalg.norm(gallery.vectors[:], axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(gallery.vectors[:], whole, atol=1e-3)
    assert gallery.column("image_path")[8] == "/elsewhere/8.jpg"
    assert "tags" not in gallery.metadata


def with_shape(gallery: Path, shape: str) -> None:
    """Embeddings whose header states another shape."""
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    content = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + bytes(20 * 8 * 4)
    (gallery / "img_emb" / "img_emb_0.npy").write_bytes(content)


def with_index_ids(gallery: Path) -> None:
    faiss = pytest.importorskip("faiss")
    index = faiss.IndexIDMap(faiss.IndexFlatIP(8))
    index.add_with_ids(unit_vectors(20, 8, 0), np.arange(20)[::-1].copy())
    faiss.write_index(index, str(gallery / "image.index"))


def with_many_values(gallery: Path) -> None:
    """Metadata that state more than they hold."""
    pd.DataFrame({"url": np.zeros(10_000_000, np.int8)}).to_parquet(gallery / "metadata" / "metadata_0.parquet")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (with_index_ids, "ids of its own"),
        (lambda g: np.save(g / "img_emb" / "img_emb_0.npy", np.zeros((20, 8))), "20 embeddings .* zero or not finite, .* in row 0"),
        (lambda g: np.save(g / "img_emb" / "img_emb_1.npy", unit_vectors(2, 5, 0)), "have 5 and 8 values"),
        (with_many_values, r"metadata_0\.parquet states 10,000,000 values"),
        (lambda g: shutil.rmtree(g / "metadata") or (g / "metadata").mkdir(), "has no metadata"),
        (lambda g: (g / "img_emb" / "img_emb_0.npy").write_bytes(b"\x93NUMPY"), "is damaged"),
        (lambda g: np.save(g / "img_emb" / "img_emb_1.npy", np.ones((2, 8), np.float16)), "22 in img_emb"),
        (lambda g: np.save(g / "img_emb" / "img_emb_0.npy", np.ones(20)), "holds no embeddings"),
        (lambda g: (g / "image.index").write_bytes(b"not an index"), "is not an index"),
        (lambda g: (g / "metadata" / "metadata_0.parquet").write_bytes(b"PAR1"), "is a damaged gallery"),
        *(
            (lambda g, text=text: (g / "clipnb.json").write_text(text), said)
            for text, said in (
                ("[]", "must be a table"),
                ("null", "must be a table"),
                ("[" * 100_000, "is a damaged gallery"),
                ('{"encoder": "x"}', "clipnb.json.encoder must be a table"),
                ('{"encoder": {"identity": "x"}}', "clipnb.json.encoder lacks name"),
                ('{"encoder": {"identity": 5, "name": "x", "precision": "fp32"}}', "identity must be str"),
            )
        ),
        (lambda g: np.savez((g / "img_emb" / "img_emb_0.npy").open("wb"), np.ones((2, 8))), "holds several arrays"),
        (lambda g: with_shape(g, "(-20, 8)"), "is damaged"),
        (lambda g: with_shape(g, "(9223372036854775807, 8)"), "is damaged"),
        (lambda g: with_shape(g, "(" * 5000), "is damaged"),
        (lambda g: (g / "img_emb" / "img_emb_0.npy").unlink() or os.mkfifo(g / "img_emb" / "img_emb_0.npy"), "not a regular file"),
        (lambda g: np.save(g / "img_emb" / "img_emb_0.npy", np.full((20, 8), np.nan)), "20 embeddings .* first in row 0"),
    ],
)
def test_a_gallery_whose_files_do_not_match_is_one_line(tmp_path: Path, spoil: Any, said: str) -> None:
    gallery = write_gallery(tmp_path / "g", unit_vectors(20, 8, 0))
    spoil(gallery)
    with one_line(said):
        _ = open_folder(gallery).vectors[:]


# ---- building


def bytes_of(gallery: Path) -> dict[str, bytes]:
    return {str(p.relative_to(gallery)): p.read_bytes() for p in sorted(gallery.rglob("*")) if p.is_file()}


def build(photos: Path, out: Path, **options: Any) -> Path:
    return build_gallery(str(photos), out, **{"encoder": "tiny", "shard_size": 3} | options).path


def test_a_gallery_of_the_data_set_gives_the_data_sets_own_numbers(tmp_path: Path) -> None:
    photos = varied(tmp_path / "photos", {"cats": 5, "dogs": 5})
    gallery = str(build(photos, tmp_path / "gallery"))
    for manip in ("original", "grey"):
        itself, there = tiny_run(photos, manip), tiny_run(photos, manip, gallery=gallery)
        for column in ("valid", "map", "distances", "result_categories"):
            np.testing.assert_array_equal(np.stack(there.rows[column]), np.stack(itself.rows[column]))
        names = [[name.removeprefix("gallery:") for name in row] for row in there.rows["results"]]
        assert names == [list(row) for row in itself.rows["results"]]
    assert there.spec.run_id == "photos-grey-tiny-k3-in-gallery"
    assert query_results(there) is not None
    stored = tiny_run(photos, gallery=gallery, index="stored")
    assert "| searched | 10 images, stored IndexFlat" in summary(stored)
    assert stored.rows["valid"].tolist() == tiny_run(photos).rows["valid"].tolist()


def test_the_command_builds_and_says_how_to_use_it(tmp_path: Path, printed: Printed) -> None:
    photos = varied(tmp_path / "photos", {"cats": 4, "dogs": 3})
    (photos / "cats" / "broken.png").write_bytes(b"no image")
    (photos / "raw.cr2").write_bytes(b"")
    said = printed("index", str(photos), str(tmp_path / "g"), "--encoder", "tiny", "--shard-size", "2", "--index", "hnsw")
    assert "7 images, hnsw index: search it with -p gallery" in said
    assert "1 unreadable, named in" in said
    assert said.endswith(f"not used: 1 .cr2 (`clipnb card --files {photos}` names them)\n")
    about = json.loads((tmp_path / "g" / "clipnb.json").read_text())
    assert list(about["unreadable"]) == ["cats/broken.png"]
    assert about["other_files"] == {".cr2": 1}
    assert about["encoder"]["name"] == "tiny"
    assert len(list((tmp_path / "g" / "img_emb").glob("img_emb_*.npy"))) == 4


@pytest.mark.parametrize("harm", ["cut metadata", "no embeddings", "cut embeddings"])
def test_an_incomplete_shard_is_made_again(tmp_path: Path, harm: str) -> None:
    photos = varied(tmp_path / "photos", {"cats": 7, "dogs": 6})
    gallery = build(photos, tmp_path / "g")
    before = bytes_of(gallery)
    what, kind = harm.split()
    path = next((tmp_path / "g" / {"metadata": "metadata", "embeddings": "img_emb"}[kind]).glob("*_0001.*"))
    path.write_bytes(path.read_bytes()[:-40]) if what == "cut" else path.unlink()
    build(photos, tmp_path / "g")
    assert bytes_of(gallery) == before


def test_the_second_of_two_builds_in_a_folder_is_refused(tmp_path: Path) -> None:
    photos = varied(tmp_path / "photos", {"cats": 7, "dogs": 6})
    (tmp_path / "g").mkdir()
    with alone_in(tmp_path / "g"), pytest.raises(UserError, match="another process builds g: wait until it ends, or name another"):
        build(photos, tmp_path / "g")
    build(photos, tmp_path / "g")
    assert not list(tmp_path.glob(".*.lock"))


@pytest.mark.parametrize(("out", "said"), [("f", "f is a file: name a folder"), ("f/x", "f is a file"), ("", "folder is empty")])
def test_a_gallery_needs_a_folder(
    photo_folder: PhotoFolder, monkeypatch: pytest.MonkeyPatch, printed: Printed, out: str, said: str
) -> None:
    photos = photo_folder({"cats": 2})
    monkeypatch.chdir(photos.parent)
    Path("f").write_text("mine")
    assert said in printed("index", "photos", out, "--encoder", "tiny", status=1)
    assert Path("f").read_text() == "mine"


def test_a_gallery_is_searched_with_the_treatment_of_colour_that_it_was_made_with(tmp_path: Path) -> None:
    photos = varied(tmp_path / "photos", {"cats": 4, "dogs": 4})
    with Image.open(Path(pytest.importorskip("skimage").__file__).parent / "data" / "rocket.jpg") as adobe_rgb:
        wide = adobe_rgb.info["icc_profile"]
    for path in photos.rglob("*.png"):
        Image.open(path).save(path, icc_profile=wide)
    galleries = {"srgb": build(photos, tmp_path / "converted"), "stored": tmp_path / "as-stored"}
    assert main(["index", str(photos), str(galleries["stored"]), "--encoder", "tiny", "--colour", "stored"]) == 0
    for colour, other in (("srgb", "stored"), ("stored", "srgb")):
        there, itself = (tiny_run(photos, colour=colour, gallery=gallery) for gallery in (str(galleries[colour]), ""))
        np.testing.assert_array_equal(np.stack(there.rows["distances"]), np.stack(itself.rows["distances"]))
        with pytest.raises(UserError, match=f"was indexed with colour {colour}, and the run has {other}: pass -p colour {colour}"):
            tiny_run(photos, colour=other, gallery=str(galleries[colour]))
    assert bytes_of(galleries["srgb"])["img_emb/img_emb_0000.npy"] != bytes_of(galleries["stored"])["img_emb/img_emb_0000.npy"]


def test_another_gallery_in_the_folder_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = varied(tmp_path / "photos", {"cats": 4})
    gallery = build(photos, tmp_path / "g")
    before = bytes_of(gallery)
    Image.fromarray(picture(9)).save(photos / "cats" / "more.png")
    for encoder, differ in (("tiny", "photographs"), ("histogram", "encoder, photographs")):
        with one_line(f"holds a gallery that differs in {differ}: remove that folder to build the gallery again, or name another"):
            build(photos, tmp_path / "g", encoder=encoder)
    (photos / "cats" / "more.png").unlink()
    monkeypatch.setattr(TinyEncoder, "identity", "tiny|edited code")
    with one_line("holds a gallery that differs in the code or weights of the encoder: remove that folder"):
        build(photos, tmp_path / "g")
    with pytest.raises(UserError, match="holds other files"):
        build(photos, photos)
    with pytest.raises(UserError, match="a gallery that another program made"):
        build(photos, write_gallery(tmp_path / "theirs", unit_vectors(3, 4, 0)))
    assert bytes_of(gallery) == before


def test_a_killed_build_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    photos = varied(tmp_path / "photos", {"cats": 30, "dogs": 30})
    options = ["--encoder", "histogram", "--shard-size", "1"]
    command = ["index", str(photos), str(tmp_path / "g"), *options]
    with subprocess.Popen(
        [sys.executable, "-m", "clipnb", *command], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as process:
        while process.poll() is None and len(list((tmp_path / "g").glob("metadata/*.parquet"))) < 3:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    done = {part: part.stat().st_mtime_ns for part in (tmp_path / "g").glob("metadata/*.parquet")}
    assert 3 <= len(done) < 60
    assert not (tmp_path / "g" / "image.index").exists()
    assert main(command) == 0
    assert {part: part.stat().st_mtime_ns for part in done} == done, "no finished shard is made again"
    assert main(["index", str(photos), str(tmp_path / "whole"), *options]) == 0
    assert bytes_of(tmp_path / "g") == bytes_of(tmp_path / "whole")


def test_on_ray_the_bytes_are_the_same(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs Ray: pip install 'clipnb[scale]'")
    photos = varied(tmp_path / "photos", {"cats": 20, "dogs": 20})
    (photos / "cats" / "broken.png").write_bytes(b"no image")
    options = ["--encoder", "histogram", "--shard-size", "2"]
    assert main(["index", str(photos), str(tmp_path / "whole"), *options]) == 0
    assert main(["index", str(photos), str(tmp_path / "ray"), *options, "--engine", "ray"]) == 0
    assert bytes_of(tmp_path / "ray") == bytes_of(tmp_path / "whole")


# ---- indexes


@pytest.mark.parametrize("kind", ["exact", "hnsw", "ivf"])
def test_an_index_from_disk_answers_as_it_did(tmp_path: Path, kind: str) -> None:
    vectors, asked = unit_vectors(2000, 32, 0), unit_vectors(50, 32, 1)
    built = faiss_index.build(kind, [vectors[:700], vectors[700:]], 2000, 32)
    faiss_index.write(built, tmp_path / "image.index")
    held = faiss_index.read(tmp_path / "image.index")
    np.testing.assert_array_equal(held.search(asked, 10), built.search(asked, 10))
    assert (held.size, held.dim, held.is_exact) == (2000, 32, kind == "exact")
    np.testing.assert_allclose(held.stored_vectors(), vectors, atol=1e-3)
    recall = faiss_index.recall_at_k(held, vectors, asked, 10)
    assert recall == 1 if kind == "exact" else 0.5 < recall <= 1


def test_recall_is_the_share_of_the_true_neighbours_whatever_the_blocks_of_the_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By hand: of the three nearest to the query, an index that returns rows 0, 1 and 3 has found two."""
    angles = np.array([0.0, 0.1, 0.2, 0.3])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    class Misses:
        def search(self, queries: np.ndarray, k: int) -> np.ndarray:
            return np.array([[0, 1, 3]])

    for block in (1, 3, 4, 100):
        monkeypatch.setattr(faiss_index, "AT_ONCE", block)
        assert faiss_index.recall_at_k(Misses(), vectors, vectors[:1], 3) == pytest.approx(2 / 3)


@pytest.mark.parametrize("index", ["hnsw", "ivf"])
def test_a_run_with_an_approximate_index_reports_its_recall_and_warns_where_it_misses_much(tmp_path: Path, index: str) -> None:
    photos = varied(tmp_path / "photos", {"cats": 8, "dogs": 8})
    exact, near = tiny_run(photos), tiny_run(photos, index=index)
    told = near.provenance["gallery"]
    assert told["index"] == index
    assert told["recall"] == {"k": 3, "queries": 16, "recall": 1.0}
    assert near.spec.run_id.endswith(f"-{index}")
    np.testing.assert_allclose(np.stack(near.rows["distances"]), np.stack(exact.rows["distances"]), atol=1e-3)
    assert "searched" not in summary(exact)
    assert f"| searched | 16 images, {index} index, recall@3 1.000 on 16 queries |" in summary(near)
    assert "approximate" not in " ".join(warnings_of(near))
    told["recall"]["recall"] = 0.26
    assert "the approximate index finds only 26% of the 3 nearest images" in " ".join(warnings_of(near))


# ---- distractors and copies


def test_distractors_make_a_gallery_larger_than_the_query_set(tmp_path: Path) -> None:
    photos = varied(tmp_path / "photos", {"cats": 4, "dogs": 4})
    more = varied(tmp_path / "more", {"cats": 3, "hats": 20}, offset=1000)
    (more / "cats" / "broken.png").write_bytes(b"no image")
    shutil.copy(more / "cats" / "0.png", more / "loose.png")
    theirs = write_gallery(tmp_path / "theirs", unit_vectors(30, TinyEncoder.dim, 5))
    result = tiny_run(photos, gallery=f"{photos},{more},{theirs}")
    told = result.provenance["gallery"]
    assert told["images"] == 8 + 23 + 30
    assert [(p["name"], p["images"]) for p in told["sources"]] == [("photos", 8), ("more", 23), ("theirs", 30)]
    unused = "these files of the gallery `more` are not used: 1 `unreadable`, 1 `outside the category folders`"
    assert unused in warnings_of(result)
    assert any(name.startswith("more:") for row in result.rows["results"] for name in row)
    assert not any(name in row for name, row in zip(own(result), result.rows["results"], strict=True))
    alone = tiny_run(photos)
    assert (np.stack(result.rows["distances"]) <= np.stack(alone.rows["distances"]) + 1e-6).all()  # asked clean: nearer or as near
    assert "map" not in result.rows  # not all of the gallery is labelled
    why = "because the gallery does not state the category and the digest of each image"
    assert f"not measured: whether the original is found, {why}" in warnings_of(result)
    assert query_results(result) is not None


def test_a_gallery_without_some_originals_counts_the_queries_that_have_one(
    tmp_path: Path, own_results: Path, printed: Printed
) -> None:
    photos = varied(tmp_path / "photos", {"cats": 5, "dogs": 5, "hats": 2})
    gallery = str(build(varied(tmp_path / "part", {"cats": 4, "dogs": 2}), tmp_path / "gallery"))
    for manip in ("original", "grey"):
        result = tiny_run(photos, manip, gallery=gallery)
        result.save()
    assert "no original is in the gallery for 6 of 12 queries: whether it is found leaves them out" in warnings_of(result)
    printed("analyse", "photos-tiny-k3-in-gallery", "--out", str(tmp_path / "out"))
    for table in ("conditions", "contrasts"):
        frame = pd.read_csv(tmp_path / "out" / f"{table}.csv")
        assert {(row.categories, row.images) for row in frame.itertuples()} == {(2, 6)}, table


def test_runs_without_a_value_of_a_measure_are_named_and_others_analysed(
    tmp_path: Path, own_results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = varied(tmp_path / "photos", {"cats": 3, "dogs": 3})
    others = varied(tmp_path / "others", {"cats": 4, "dogs": 4}, offset=1000)
    gallery = str(build(others, tmp_path / "gallery"))
    for manip in ("original", "grey"):
        for searched in ("", gallery):
            tiny_run(photos, manip, gallery=searched).save()
    runs = [f"photos-{manip}-tiny-k3-in-gallery" for manip in ("original", "grey")]

    def analysed(*typed: str, status: int = 0) -> tuple[str, str]:
        capsys.readouterr()
        assert main(["analyse", *typed]) == status
        said = capsys.readouterr()
        return said.out, said.err

    out, err = analysed("photos-tiny-k3-in-gallery")  # what the run says to type next
    assert "\nvalid: mean over categories\n" in out
    assert err == ""
    out, err = analysed("photos")
    assert "\nvalid: mean over categories\n" in out
    named = ", ".join(runs)
    assert err == f"clipnb: {named} have no value of found: valid for all (--measure found leaves them out)\n"
    out, err = analysed("photos", "--measure", "found")
    assert out == analysed("photos-tiny-k3")[0]
    why = f"clipnb: {named} have no value of found (choose --measure from p1, map, valid)"
    assert err == f"{why}: left out\n"
    assert analysed("photos-tiny-k3-in-gallery", "--measure", "found", status=1) == ("", f"{why}\n")
    assert main(["compare", *runs]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines() if " minus " in line] == ["p1", "valid"]
    assert main(["export", "--out", str(tmp_path / "out")]) == 0
    groups = pd.read_csv(tmp_path / "out" / "contrasts.csv").groupby("group")["measure"].apply(list)
    assert groups.to_dict() == {
        "photos-tiny-k3": ["found", "p1", "map", "valid"],
        "photos-tiny-k3-in-gallery": ["p1", "map", "valid"],
    }


def test_galleries_with_the_same_last_folder_name_stay_distinct(tmp_path: Path) -> None:
    photos = varied(tmp_path / "photos", {"cats": 3, "dogs": 3})
    folders = [varied(tmp_path / side / "more", {"hats": 4}, offset=offset) for side, offset in (("x", 1000), ("y", 2000))]
    result = tiny_run(photos, k=12, gallery=f"{photos},{folders[0]},{folders[1]}")
    names = result.rows["results"][0]
    assert len(set(names)) == 12
    assert {name.partition(":")[0] for name in names if ":" in name} == {"more", "more-2"}
    find = image_finder(result.spec)
    assert [find(f"{prefix}:hats/0.png") for prefix in ("more", "more-2")] == [folder / "hats" / "0.png" for folder in folders]


def test_copies_of_the_query_among_the_distractors_are_left_out(tmp_path: Path) -> None:
    photos = varied(tmp_path / "photos", {"cats": 4, "dogs": 4})
    more = varied(tmp_path / "more", {"hats": 6}, offset=1000)
    shutil.copy(photos / "cats" / "0.png", more / "hats" / "same-bytes.png")
    Image.open(photos / "cats" / "1.png").resize((480, 320)).save(more / "hats" / "larger.jpg", quality=80)
    for gallery in (f"{photos},{more}", f"{photos},{build(more, tmp_path / 'built')}"):
        found = tiny_run(photos, k=5, gallery=gallery).rows
        assert not any("same-bytes.png" in name for name in found["results"][0])
        assert not any("larger.jpg" in name for name in found["results"][1])
        kept = tiny_run(photos, k=5, gallery=gallery, duplicates=-1).rows
        assert "larger.jpg" in kept["results"][1][0]
        assert not any("same-bytes.png" in name for name in kept["results"][0])


def test_copies_are_known_by_their_files_or_vectors_where_a_gallery_says_no_more(tmp_path: Path) -> None:
    photos = varied(tmp_path / "photos", {"cats": 4, "dogs": 4})
    data = load_dataset(str(photos))
    encoder = TinyEncoder()
    images = [np.asarray(Image.open(p.path)) for p in data.photos]
    vectors = encoder.encode(np.stack([encoder.prepare(image) for image in images]))
    unknown = write_gallery(tmp_path / "unknown", vectors)
    Image.fromarray(images[0]).resize((96, 64)).save(tmp_path / "copy.jpg", quality=90)
    smaller = encoder.encode(encoder.prepare(np.asarray(Image.open(tmp_path / "copy.jpg")))[None])
    assert float(smaller[0] @ vectors[0]) < 0.9999
    named = write_gallery(
        tmp_path / "named", np.concatenate([smaller, vectors[1:]]), image_path=[str(tmp_path / "copy.jpg"), *map(str, range(7))]
    )
    for gallery in (unknown, named):
        rows = tiny_run(photos, gallery=str(gallery), k=7).rows
        assert all(len(set(found)) == 7 for found in rows["results"])
        assert min(rows["distances"][0]) > 0.05


def test_a_gallery_of_another_encoder_is_refused(tmp_path: Path) -> None:
    photos = varied(tmp_path / "photos", {"cats": 4, "dogs": 4})
    foreign = str(write_gallery(tmp_path / "g", unit_vectors(30, 64, 0)))
    for refuse in (run, require_possible):
        with pytest.raises(UserError, match="holds vectors of 64 values, the encoder 'tiny' makes 192"):
            refuse(RunSpec(str(photos), "original", "tiny", k=3, gallery=foreign))
    gallery = build(photos, tmp_path / "ours")
    with pytest.raises(UserError, match=r"k = 9 is more than the 8 other images in the gallery: pass a smaller one \(-p k 8\)"):
        require_possible(RunSpec(str(photos), "original", "tiny", k=9, gallery=str(gallery)))
    with pytest.raises(UserError, match=r"k = 5 is more than the 4 other images"):
        require_possible(RunSpec(str(photos), "original", "tiny", k=5, gallery=str(photos / "cats")))
    about = json.loads((gallery / "clipnb.json").read_text())
    for changed, why in (
        ({"identity": "tiny|other weights"}, "'tiny', whose code or weights have changed since: build the gallery again"),
        ({"identity": "tiny|in bf16", "precision": "bf16"}, "'tiny' in bf16 on torch, and the run is in fp32 on torch: pass -p p"),
        ({"identity": "mine:f|a", "name": "mine:f"}, r"'mine:f', not with 'tiny': use that encoder \(-p encoder mine:f\), or b"),
    ):
        held = about | {"encoder": about["encoder"] | changed}
        (gallery / "clipnb.json").write_text(json.dumps(held))
        for refuse in (run, require_possible):
            with one_line(f"was made with {why}"):
                refuse(RunSpec(str(photos), "original", "tiny", k=3, gallery=str(gallery)))
    with pytest.raises(UserError, match="no data set 'nowhere'"):
        tiny_run(photos, gallery="nowhere")
    with pytest.raises(UserError, match="index stored needs"):
        tiny_run(photos, index="stored")


def test_a_hash_survives_what_is_done_to_copies_and_tells_photographs_apart() -> None:
    photos = [picture(i, 200, 150, kind=i) for i in range(20)]
    hashes = np.stack([picture_hash(p) for p in photos])
    small = [np.asarray(Image.fromarray(photo).resize((90, 70), Image.Resampling.BICUBIC)) for photo in photos]
    np.testing.assert_array_equal(near_copies(hashes, np.stack([picture_hash(p) for p in small])), np.eye(20, dtype=bool))
    for kept in (hashes, np.array([[0] * 272, [255] * 272, [1] * 272], np.uint8)):
        np.testing.assert_array_equal(hashes_in(PictureHash().encode(kept)), kept)


def test_rules_of_exclusion_by_hand() -> None:
    rows = np.array([[0, 1, 2]])
    assert same_content(["a"], ["a", "b", ""])(np.array([0]), rows).tolist() == [[True, False, False]]
    assert same_content([""], ["", "b", ""])(np.array([0]), rows).tolist() == [[False, False, False]]
    asked = np.tile(np.arange(17, dtype=np.uint8) * 3, (1, 16))  # each cell is brighter than the one to its left: 256 votes
    held = asked.repeat(3, axis=0)
    held[1, 1] += 10  # not brighter than this one: the cell to its right
    held[2, 1:15:2] += 10
    for bits, expected in ((-1, [False, False, False]), (0, [True, False, False]), (3, [True, True, False]), (32, [True] * 3)):
        assert same_picture(asked, held, bits, np.ones(3, np.bool_))(np.array([0]), rows).tolist() == [expected]


# ---- the study's protocol


def test_the_aesthetic_option_moves_a_query_by_what_the_facts_say() -> None:
    """Unit, orthogonal, weight 0.5: (1, 0.5) / √1.25, which lies √(2 - 2 / √1.25) = 0.4595 from (1, 0)."""
    there = move_queries(np.array([[1, 0]], np.float32), np.array([0, 1], np.float32), 0.5)
    np.testing.assert_allclose(there, [[1 / 1.25**0.5, 0.5 / 1.25**0.5]], rtol=1e-6)
    assert np.linalg.norm(there[0] - [1, 0]) == pytest.approx((2 - 2 / 1.25**0.5) ** 0.5) == pytest.approx(0.4595, abs=1e-4)


def test_lookalikes_by_hand() -> None:
    """Links of cosine > 0.94: 0-1 and 1-2 join three, of which the first is kept; 3 stands alone."""
    angles = np.array([0.0, 0.3, 0.6, 2.0])  # cos 0.3 = 0.955, cos 0.6 = 0.825
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert without_lookalikes(np.array([0, 1, 2, 3, -1]), vectors).tolist() == [0, 3, -1, -1, -1]
    assert without_lookalikes(np.array([3, 2, 0]), vectors).tolist() == [3, 2, 0]


def test_mode_study_is_the_protocol_to_the_letter(tmp_path: Path) -> None:
    photos = varied(tmp_path / "photos", {"cats": 8, "dogs": 8})
    spec = RunSpec(str(photos), "grey", "tiny", mode="study")
    assert (spec.k, spec.tau, spec.num_images, spec.aesthetic_score, spec.aesthetic_weight) == (10, 0.8, 10, 9, 0.5)
    assert spec.deduplicate
    assert spec.safety
    assert spec.run_id == "photos-grey-tiny-study"
    assert RunSpec(**spec.to_dict()) == spec
    result = run(spec, progress=False)
    assert any(name in row for name, row in zip(own(result), result.rows["results"], strict=True))
    assert "stands in for the aesthetic vector" in result.provenance["gallery"]["aesthetic"]
    assert result.rows["r_at_k"].max() <= 1  # the own image does not count as found
    with pytest.raises(UserError, match=r"mode study has k 10, not 5; mode study has tau 0\.8, not 0\.5"):
        RunSpec(str(photos), k=5, tau=0.5, mode="study")


def test_the_request_is_checked_at_once() -> None:
    for settings_, said in (
        ({"gallery": "http://x:1"}, "pass -p index <name>"),
        ({"gallery": "http://me:secret@x:1", "index": "a"}, "a service's address must hold no user name or password"),
        ({"gallery": "ftp://x"}, "a service's address is http"),
        ({"gallery": "http://x:1,gallery", "index": "a"}, "a service cannot be one of several galleries: name its address alone"),
        ({"gallery": "http://[::1", "index": "a"}, "a service's address is http"),
        ({"gallery": "http://x:99x", "index": "a"}, "a service's address is http"),
        ({"gallery": "localhost:1234", "index": "a"}, r"\Aa service's address begins with .*: -p gallery http://localhost:1234\Z"),
        ({"gallery": "[::1]:1234/"}, r"\Aa service's address begins with .*: -p gallery http://\[::1\]:1234/\Z"),
        ({"index": "laion5B"}, "index must be one of exact, hnsw, ivf, stored, .* whose address begins with http://"),
        ({"mode": "studyy"}, "mode must be one of corrected, study"),
        ({"duplicates": 300}, "duplicates must be"),
        ({"gallery": "http://x:1", "index": "a", "num_images": 5}, "num_images = 5 cannot give k = 10"),
        ({"deduplicate": "yes"}, "deduplicate must be True or False"),
    ):
        with pytest.raises(UserError, match=said):
            RunSpec(**settings_)  # type: ignore[arg-type]
    assert os.sep not in RunSpec(encoder="tiny", gallery="http://knn.example:8080/knn-service", index="laion5B-L-14").run_id
    assert RunSpec(encoder="tiny", gallery="nested:2024").gallery == "nested:2024"


@pytest.mark.parametrize(
    ("spellings", "one"),
    [
        (["../gal", "../gal/", " ../gal/. ", "../x/../gal"], "../gal"),
        (["../gal, more/a", "../gal/,more/a/,"], "../gal,more/a"),
        (["http://Host:1", "HTTP://host:1/", " http://host:1/knn-service/"], "http://host:1"),
        (["", " "], ""),
    ],
)
def test_a_gallery_has_one_spelling(spellings: list[str], one: str) -> None:
    index = "a" if "//" in one else ""
    specs = {RunSpec(encoder="tiny", gallery=gallery, index=index) for gallery in spellings}
    assert {spec.gallery for spec in specs} == {one}
    assert len(specs) == 1


def test_the_run_on_a_gallery_is_found_however_the_gallery_is_spelled(
    tmp_path: Path, own_results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photos, gallery = varied(tmp_path / "photos", {"cats": 3, "dogs": 3}), varied(tmp_path / "gal", {"hats": 4}, offset=1000)
    build(gallery, tmp_path / "built")
    for name in ("gal", "built"):
        first = tiny_run(photos, gallery=name)
        about = first.save() / "run.json"
        assert first.spec.gallery == name
        for typed in (f"{name}/", f"./{name}", f"photos/../{name}", str(tmp_path / name)):
            spec = replace(first.spec, gallery=typed)
            require_possible(spec)
            assert saved_result(spec) is not None, typed
            replace(first, spec=spec).save()  # refused if it were another gallery
        about.write_text(about.read_text().replace(str(tmp_path / name), f"photos/../{name}/"))  # as earlier versions saved it
        assert saved_result(first.spec) is not None
        varied(tmp_path / "other" / name, {"hats": 4})
        other = replace(first.spec, gallery=f"other/{name}")
        assert saved_result(other) is None
        with one_line(f"holds a run on gallery './{name}', not 'other/{name}': rename one of the two, or move that run away"):
            require_possible(other)
        nested = replace(first.spec, gallery=f"nested:{name}")
        assert saved_result(nested) is None


def test_the_run_on_another_address_of_the_same_host_is_to_be_moved(tmp_path: Path) -> None:
    own_gallery = tiny_run(varied(tmp_path / "photos", {"cats": 3, "dogs": 3}))
    first, second = (
        replace(own_gallery, spec=replace(own_gallery.spec, gallery=f"{scheme}://localhost:1", index="a"))
        for scheme in ("http", "https")
    )
    first.save(tmp_path / "results")
    with one_line("holds a run on gallery 'http://localhost:1', not 'https://localhost:1': move that run away"):
        second.save(tmp_path / "results")


def test_a_build_has_its_own_number_of_threads_and_size_of_batches_whether_or_not_the_encoder_is_noted(tmp_path: Path) -> None:
    code = (
        "import sys, torch\n"
        "from clipnb.encoders import load_encoder\n"
        "from clipnb.retrieval.build import Plan, load_worker\n"
        "fields = {name: None for name in Plan.__dataclass_fields__}\n"
        "for _ in range(2):\n"
        "    own = load_encoder('efficientnet-lite2')\n"
        "    plan = fields | {'encoder': own.name, 'precision': 'fp32', 'identity': own.identity, 'threads': 1}\n"
        "    encoder = load_worker(Plan(**plan))\n"
        "    print(type(own).__name__, torch.get_num_threads(), encoder._size.next(100))\n"
        "    torch.set_num_threads(2)\n"
    )
    environment = os.environ | {"CLIPNB_CACHE": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    first, second = (line.split() for line in done.stdout.splitlines())
    assert first[1:] == second[1:] == ["1", "32"]
    assert second[0] == "KnownEncoder"


def test_recall_is_of_what_can_be_found_where_copies_are_left_out(tmp_path: Path) -> None:
    photos = varied(tmp_path / "photos", {"cats": 3, "dogs": 3})
    for path in list(photos.rglob("*.png")):
        Image.open(path).convert("RGB").save(path.with_suffix(".jpg"), quality=80)  # near-copies: other bytes, one picture
    rows = tiny_run(photos, k=10).rows
    assert rows["r_at_k"].tolist() == [1.0] * 12
    assert (rows["map"] <= 1).all()


def test_results_that_are_one_image_under_two_names_are_each_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPNB_CACHE", str(tmp_path / "cache"))
    file = io.BytesIO()
    Image.fromarray(picture(0)).save(file, "PNG")
    encoder = TinyEncoder()
    store = EmbeddingStore(tmp_path / "store", encoder.identity, encoder.dim)
    spec = RunSpec("sample-figures", encoder="tiny", gallery="http://x:1", index="a")
    images = service._Images(spec, encoder, store, Limits(), {"workers": 0, "progress": False})
    hits = [ServiceResult(at, 0.9, image_path=f"/a/{at}.png", image=file.getvalue()) for at in range(2)]
    images.get(hits)
    assert images.status == {"/a/0.png": USABLE, "/a/1.png": USABLE}
    assert len(images.vectors) == 2


def test_a_local_file_that_a_service_names_is_not_shown(photo_folder: PhotoFolder, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"private")
    spec = RunSpec(str(photo_folder({"cats": 2})), encoder="tiny", gallery="http://x:1", index="a")
    assert image_finder(spec)(str(tmp_path / "secret.png")) is None


def test_a_damaged_index_is_one_line_when_it_is_read_or_used(tmp_path: Path) -> None:
    faiss_index.write(faiss_index.build("ivf", [unit_vectors(400, 16, 0)], 400, 16), tmp_path / "whole")
    content, said = (tmp_path / "whole").read_bytes(), set()
    for seed in (0, *range(60, 120)):
        rng, damaged = np.random.default_rng(seed), bytearray(content)
        for at in rng.integers(len(content) if seed % 2 == 0 else 160, size=2):
            damaged[at] ^= 1 << int(rng.integers(8))
        (tmp_path / "i").write_bytes(damaged)
        try:
            index = faiss_index.read(tmp_path / "i")
            index.search(unit_vectors(5, 16, 1), 3)
            index.stored_vectors()
        except UserError as error:
            said.add(str(error))
    assert said
    assert not any("\n" in line for line in said)
