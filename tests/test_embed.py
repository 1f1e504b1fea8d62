"""The embedding pipeline: each image once, whatever the order, the batches, the workers and the interruptions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from PIL import Image

from clipnb.datasets.dataset import Photo, load_dataset
from clipnb.datasets.images import RGB, decode
from clipnb.embedding import workers
from clipnb.embedding.embed import Embeddings, _array, colour_difference, embed
from clipnb.embedding.store import EmbeddingStore
from clipnb.encoders import Encoder
from clipnb.errors import UserError
from clipnb.manipulations import MANIPULATIONS
from clipnb.metrics.ranking import codes
from clipnb.metrics.validity import result_distances, valid_at_k
from clipnb.retrieval import faiss_index
from clipnb.retrieval.duplicates import same_content
from clipnb.retrieval.neighbours import Ties, retrieve
from conftest import PhotoFolder, TinyEncoder, full_drive, held, picture

CONDITIONS = ("original", "blurred", "cropped", "grey")


@pytest.fixture
def photos(photo_folder: PhotoFolder) -> tuple[Photo, ...]:
    return load_dataset(str(photo_folder({"cats": 9, "dogs": 8}))).photos


def same(found: Embeddings, expected: Embeddings, conditions: tuple[str, ...] = CONDITIONS, rows: object = slice(None)) -> bool:
    return all(np.array_equal(found.vectors[c], expected.vectors[c][rows]) for c in conditions)


def store_for(encoder: Encoder, folder: Path) -> EmbeddingStore:
    return EmbeddingStore(folder, encoder.identity, encoder.dim)


def go(photos: object, encoder: Encoder, folder: Path, conditions: tuple[str, ...] = CONDITIONS, **options: int) -> Embeddings:
    return embed(photos, conditions, encoder, store_for(encoder, folder), progress=False, **options)  # type: ignore[arg-type]


def test_rows_belong_to_their_photographs_and_conditions(photos: tuple[Photo, ...], tiny: TinyEncoder, tmp_path: Path) -> None:
    found = go(photos, tiny, tmp_path)
    assert found.photos == list(photos)
    assert set(found.vectors) == set(CONDITIONS)
    for vectors in found.vectors.values():
        assert (vectors.shape, vectors.dtype) == ((17, tiny.dim), np.float32)
        assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    with pytest.raises(UserError, match="batch_size must be"):
        go(photos, tiny, tmp_path, batch_size=-1)
    for row in (0, 10):
        alone = go(photos[row : row + 1], tiny, tmp_path / "other")
        assert alone.digests == [found.digests[row]]
        for condition in CONDITIONS:
            assert_array_equal(alone.vectors[condition][0], found.vectors[condition][row])
            assert alone.inputs[condition] == [found.inputs[condition][row]]


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_an_image_that_occurs_twice_is_embedded_once(
    photos: tuple[Photo, ...], tiny: TinyEncoder, tmp_path: Path, batch_size: int
) -> None:
    copy = photos[0].path.with_name("zz copy of the first.png")
    copy.write_bytes(photos[0].path.read_bytes())
    found = go([*photos[:5], Photo("cats", copy), photos[0]], tiny, tmp_path, ("original",), batch_size=batch_size)
    assert (tiny.seen, found.computed) == (5, 5)
    assert len(found.photos) == 7
    assert_array_equal(found.vectors["original"][[5, 6]], found.vectors["original"][[0, 0]])


def test_a_second_run_prepares_embeds_and_writes_nothing(
    photos: tuple[Photo, ...], tiny: TinyEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = go(photos, tiny, tmp_path)
    assert (tiny.seen, first.computed) == (68, 68)
    sizes = {path: path.stat().st_size for path in tmp_path.glob("*/*")}
    monkeypatch.setattr(TinyEncoder, "prepare", None)
    second = go(photos, tiny, tmp_path)
    assert second.computed == 0
    assert {path: path.stat().st_size for path in tmp_path.glob("*/*")} == sizes
    assert same(second, first)


def test_only_what_is_missing_is_embedded(photos: tuple[Photo, ...], tiny: TinyEncoder, tmp_path: Path) -> None:
    go(photos[:10], tiny, tmp_path, ("original",))
    assert go(photos, tiny, tmp_path, ("original",)).computed == 7
    assert go(photos, tiny, tmp_path, ("original", "grey")).computed == 17


def test_another_seed_draws_other_crops_and_nothing_else(photos: tuple[Photo, ...], tiny: TinyEncoder, tmp_path: Path) -> None:
    first = go(photos, tiny, tmp_path, seed=0)
    other = go(photos, tiny, tmp_path, seed=1)
    assert 0 < other.computed <= 17
    assert not np.array_equal(first.vectors["cropped"], other.vectors["cropped"])
    assert_array_equal(first.vectors["blurred"], other.vectors["blurred"])


@pytest.mark.parametrize("batch_size", [1, 64])
def test_equal_inputs_of_the_network_are_embedded_once_and_marked(
    photo_folder: PhotoFolder, tiny: TinyEncoder, tmp_path: Path, batch_size: int
) -> None:
    square = load_dataset(str(photo_folder({"cats": 6}, "square", (32, 32)))).photos
    found = go(square, tiny, tmp_path / "store", ("original", "cropped"), batch_size=batch_size)
    assert (tiny.seen, found.computed) == (6, 6)
    assert found.inputs["cropped"] == found.inputs["original"]
    assert_array_equal(found.vectors["cropped"], found.vectors["original"])
    assert go(square, tiny, tmp_path / "store", ("original", "cropped"), seed=1).computed == 0


@pytest.mark.parametrize("options", [{"batch_size": 1, "workers": 4}, {"batch_size": 7, "workers": 1}])
def test_batches_workers_and_the_order_of_photographs_do_not_change_the_result(
    photos: tuple[Photo, ...], tiny: TinyEncoder, tmp_path: Path, options: dict[str, int]
) -> None:
    order = np.random.default_rng(0).permutation(len(photos))
    expected, found = go(photos, tiny, tmp_path / "a"), go([photos[i] for i in order], tiny, tmp_path / "b", **options)
    assert found.photos == [photos[i] for i in order]
    assert same(found, expected, rows=order)


def test_the_networks_result_does_not_depend_on_batches_and_order(encoder: Encoder, tmp_path: Path) -> None:
    chosen = [photo for photo in load_dataset("sample-figures").photos if photo.path.stem <= "003"]
    order = np.random.default_rng(0).permutation(len(chosen))

    def valid(vectors: NDArray[np.float32], digests: list[str]) -> NDArray[np.float64]:
        n, index = len(digests), faiss_index.build("exact", [vectors], *vectors.shape)
        ties = Ties(vectors, vectors, np.zeros(n), np.ones(n), codes(digests)[0])
        rows = retrieve(index, vectors, 5, same_content(digests, digests), ties)
        return valid_at_k(result_distances(vectors, vectors, rows), 0.8)

    expected = go(chosen, encoder, tmp_path / "a", ("original",), batch_size=64)
    one_by_one = go(chosen, encoder, tmp_path / "b", ("original",), batch_size=1, workers=1)
    shuffled = go([chosen[i] for i in order], encoder, tmp_path / "c", ("original",), batch_size=7, workers=4)
    clean = expected.vectors["original"]
    assert clean.shape == (24, 1280)
    assert_allclose(one_by_one.vectors["original"], clean, atol=1e-5)
    assert_allclose(shuffled.vectors["original"], clean[order], atol=1e-5)
    scores = valid(clean, expected.digests)
    assert 0 < scores.mean() < 1
    assert_array_equal(valid(one_by_one.vectors["original"], expected.digests), scores)
    assert_array_equal(valid(shuffled.vectors["original"], shuffled.digests), scores[order])


def test_unreadable_images_are_reported_and_the_rest_is_embedded(
    photos: tuple[Photo, ...], tiny: TinyEncoder, tmp_path: Path
) -> None:
    photos[1].path.write_bytes(b"")
    photos[5].path.write_bytes(photos[5].path.read_bytes()[:200])
    photos[9].path.unlink()
    found = go(photos, tiny, tmp_path)
    assert set(found.unreadable) == {photos[i].id for i in (1, 5, 9)}
    assert "empty" in found.unreadable[photos[1].id]
    assert found.photos == [photo for i, photo in enumerate(photos) if i not in (1, 5, 9)]
    assert {len(v) for v in found.vectors.values()} == {14}


class Picky(TinyEncoder):
    def prepare(self, image: RGB) -> NDArray[np.uint8]:
        if len(image) == 33:
            raise ValueError("33 rows\nare odd")
        return super().prepare(image)


def test_what_is_raised_on_one_photograph_is_named_and_the_rest_is_embedded(photos: tuple[Photo, ...], tmp_path: Path) -> None:
    Image.fromarray(picture(3, 40, 33)).save(photos[4].path)
    found = go(photos, Picky(), tmp_path)
    assert list(found.unreadable) == [photos[4].id]
    why = f"{photos[4].id}: ValueError: 33 rows are odd (test_embed.py, line "
    assert found.unreadable[photos[4].id].startswith(why)
    assert len(found.photos) == len(photos) - 1


def test_what_a_manipulation_cannot_take_is_said_for_that_manipulation(
    photos: tuple[Photo, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(picture(3, 40, 33)).save(photos[4].path)
    grey = MANIPULATIONS["grey"]

    def picky(image: RGB, rng: np.random.Generator, value: float) -> RGB:
        return grey.apply(image, rng, value) if len(image) != 33 else image.reshape(5, 5)

    monkeypatch.setitem(MANIPULATIONS._items, "grey", replace(grey, apply=picky))
    found = go(photos, TinyEncoder(), tmp_path)
    assert list(found.unreadable) == [photos[4].id]
    assert found.unreadable[photos[4].id].startswith(f"{photos[4].id} (grey): ValueError: cannot reshape array")
    assert len(found.photos) == len(photos) - 1


class Interrupted(TinyEncoder):
    def encode(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self.seen >= 12:
            raise KeyboardInterrupt
        return super().encode(batch)


def test_many_photographs_give_mapped_arrays_with_the_same_rows(
    photos: tuple[Photo, ...], tiny: TinyEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = go(photos, tiny, tmp_path / "a")
    monkeypatch.setattr("clipnb.embedding.embed.IN_MEMORY", 0)
    found = go(photos, tiny, tmp_path / "b")
    assert {type(vectors) for vectors in found.vectors.values()} == {np.memmap}
    assert same(found, expected)
    suffixes = {path.suffix for path in (tmp_path / "b").iterdir()}
    assert suffixes <= {".sqlite", ".sqlite-wal", ".sqlite-shm"}  # the mapped file has no name


def test_a_drive_without_room_for_the_arrays_is_one_line(
    tiny: TinyEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clipnb.embedding.embed.IN_MEMORY", 0)
    store = store_for(tiny, tmp_path)
    with full_drive(2**20), pytest.raises(UserError, match="cannot be written: File too large; make room"):
        _array(2**20, 192, store)


def test_ctrl_c_keeps_what_is_done(photos: tuple[Photo, ...], tiny: TinyEncoder, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        go(photos, Interrupted(), tmp_path, ("original",), batch_size=4)
    assert held(store_for(tiny, tmp_path)) == 12
    assert go(photos, tiny, tmp_path, ("original",)).computed == 5


class OnGpu(TinyEncoder):
    """Pretends to be on a GPU, so that processes prepare its inputs; notes their ids, and kills one that prepares `fatal`."""

    device = "cuda"

    def __init__(self, notes: Path, fatal: RGB | None = None) -> None:
        super().__init__()

        def preparation(image: RGB) -> NDArray[np.uint8]:
            (notes / str(os.getpid())).touch()
            if fatal is not None and image.shape == fatal.shape and (image == fatal).all():
                os.kill(os.getpid(), signal.SIGKILL)
            return np.asarray(Image.fromarray(image).resize((8, 8), Image.Resampling.BOX))

        self.preparation = preparation


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes start after a few photographs."""
    monkeypatch.setattr(workers, "FIRST", 4)
    monkeypatch.setattr(workers, "CHUNK", 3)


def test_processes_feed_a_gpu_and_give_the_same(photos: tuple[Photo, ...], tiny: TinyEncoder, tmp_path: Path, few: None) -> None:
    photos[9].path.write_bytes(b"")
    expected = go(photos, tiny, tmp_path / "threads")
    (notes := tmp_path / "notes").mkdir()
    found = go(photos, OnGpu(notes), tmp_path / "processes", batch_size=4)
    assert found.photos == expected.photos
    assert found.unreadable == expected.unreadable
    assert same(found, expected)
    assert found.inputs == expected.inputs
    for condition in CONDITIONS:
        assert_array_equal(found.effects[condition], expected.effects[condition])
    assert {path.name for path in notes.iterdir()} - {str(os.getpid())}
    for note in notes.iterdir():
        note.unlink()
    assert go(photos, OnGpu(notes), tmp_path / "processes").computed == 0
    assert not list(notes.iterdir())


def test_a_killed_process_is_one_line_and_the_next_run_goes_on(
    photos: tuple[Photo, ...], tiny: TinyEncoder, tmp_path: Path, few: None
) -> None:
    (notes := tmp_path / "notes").mkdir()
    fatal = decode(photos[13].path.read_bytes())
    with pytest.raises(UserError, match=r"was killed, .*: the embeddings so far are kept; run the same again"):
        go(photos, OnGpu(notes, fatal), tmp_path, ("original",), batch_size=2, workers=1)
    kept = held(store_for(tiny, tmp_path))
    assert 4 <= kept < len(photos)
    assert go(photos, OnGpu(notes), tmp_path, ("original",)).computed == len(photos) - kept


SLOW = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from conftest import TinyEncoder
import clipnb.embedding.embed, clipnb.embedding.workers
from clipnb.datasets.dataset import load_dataset
from clipnb.embedding.store import EmbeddingStore

clipnb.embedding.workers.FIRST = 4

class Slow(TinyEncoder):
    device = sys.argv[4]
    preparation = staticmethod(lambda image: TinyEncoder().prepare(image))

    def encode(self, batch):
        time.sleep(0.1)
        return super().encode(batch)

store = EmbeddingStore(Path(sys.argv[3]), Slow.identity, Slow.dim)
clipnb.embedding.embed.embed(load_dataset(sys.argv[2]).photos, ["original"], Slow(), store, batch_size=1, progress=False)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
@pytest.mark.parametrize("device", ["cpu", "cuda"], ids=["threads", "processes"])
def test_a_killed_process_keeps_every_batch_and_another_goes_on(
    photo_folder: PhotoFolder, tiny: TinyEncoder, tmp_path: Path, device: str
) -> None:
    root = photo_folder({"cats": 40})
    process = subprocess.Popen([sys.executable, "-c", SLOW, str(Path(__file__).parent), str(root), str(tmp_path / "store"), device])
    end = time.monotonic() + 60
    while held(store_for(tiny, tmp_path / "store")) < 6 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    helpers = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    pids = helpers.read_text().split() if helpers.is_file() else []
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < end + 60:
        time.sleep(0.1)
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    kept = held(store_for(tiny, tmp_path / "store"))
    assert 6 <= kept < 40
    photos = load_dataset(str(root)).photos
    resumed = go(photos, tiny, tmp_path / "store", ("original",))
    assert resumed.computed == 40 - kept
    assert_array_equal(resumed.vectors["original"], go(photos, tiny, tmp_path / "fresh", ("original",)).vectors["original"])


def test_the_colour_difference_of_a_darker_picture_does_not_wrap() -> None:
    dark, light = (np.full((2, 2, 3), level, np.uint8) for level in (10, 11))
    assert colour_difference(light, dark) == colour_difference(dark, light) == pytest.approx(1 / 255)
    assert np.isnan(colour_difference(dark.astype(np.float32), dark))
