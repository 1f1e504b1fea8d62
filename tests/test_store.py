"""The store: what was embedded once is there for every later process, whatever happened to the one that wrote it."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from clipnb.store import EmbeddingStore, Entry, embedding_key

DIM = 5
IDENTITY = "tiny|weights|preprocessing"


def key(number: int) -> bytes:
    return embedding_key(f"image {number}", "original")


def entry(number: int) -> Entry:
    vector = np.random.default_rng(number).normal(size=DIM).astype(np.float32)
    return Entry(vector, number.to_bytes(16, "little"))


def open_store(folder: Path, identity: str = IDENTITY, dim: int = DIM) -> EmbeddingStore:
    return EmbeddingStore(folder, identity, dim)


def fill(store: EmbeddingStore, numbers: range, shard: int = 1000) -> None:
    for start in range(numbers.start, numbers.stop, shard):
        store.add((key(n), entry(n)) for n in range(start, min(start + shard, numbers.stop)))
        store.flush()


def check(store: EmbeddingStore, numbers: range) -> None:
    for n in numbers:
        assert key(n) in store
        assert_array_equal(store.get(key(n)).vector, entry(n).vector)
        assert store.get(key(n)).input == entry(n).input


def shards(store: EmbeddingStore) -> list[Path]:
    return sorted(store.folder.glob("*.npy"))


def test_entries_are_there_before_after_and_long_after_they_are_written(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.add((key(n), entry(n)) for n in range(10))
    check(store, range(10))
    store.flush()
    check(store, range(10))
    check(open_store(tmp_path), range(10))
    assert len(open_store(tmp_path)) == 10


def test_what_was_never_added_is_not_there(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    fill(store, range(3))
    assert key(3) not in store
    with pytest.raises(KeyError):
        store.get(key(3))


def test_entries_are_spread_over_shards(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    fill(store, range(20), shard=6)
    assert len(shards(store)) == 4
    check(store, range(20))
    check(open_store(tmp_path), range(20))
    assert len(open_store(tmp_path)) == 20


def test_an_entry_is_found_by_what_the_network_saw(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert store.seen(entry(1).input) is None
    store.add([(key(1), entry(1))])
    pending = store.seen(entry(1).input)
    store.flush()
    for found in (pending, store.seen(entry(1).input), open_store(tmp_path).seen(entry(1).input)):
        assert found is not None
        assert_array_equal(found.vector, entry(1).vector)


def test_flushing_nothing_writes_nothing(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.flush()
    fill(store, range(2))
    store.flush()
    assert len(shards(store)) == 1


def test_an_entry_that_two_shards_hold_counts_once(tmp_path: Path) -> None:
    for _ in range(2):
        one, other = open_store(tmp_path), open_store(tmp_path)
        fill(one, range(4))
        fill(other, range(4))
    assert len(open_store(tmp_path)) == 4
    check(open_store(tmp_path), range(4))


@pytest.mark.parametrize("raw", [bytes(32), b"\1" + bytes(31), bytes(31) + b"\1", b"a" + bytes(30) + b"\0"])
def test_nul_bytes_in_keys_and_inputs_are_kept(tmp_path: Path, raw: bytes) -> None:
    store = open_store(tmp_path)
    store.add([(raw, Entry(entry(0).vector, raw[16:]))])
    store.flush()
    again = open_store(tmp_path)
    assert raw in again
    assert len(again) == 1
    assert again.get(raw).input == raw[16:]


def test_another_encoder_has_another_folder(tmp_path: Path) -> None:
    fill(open_store(tmp_path), range(3))
    other = open_store(tmp_path, "tiny|other weights|preprocessing")
    assert len(other) == 0
    assert other.folder.parent == open_store(tmp_path).folder.parent
    fill(other, range(3, 5))
    check(open_store(tmp_path), range(3))
    assert len(open_store(tmp_path)) == 3


def test_a_folder_says_whose_it_is(tmp_path: Path) -> None:
    about = json.loads((open_store(tmp_path).folder / "encoder.json").read_text(encoding="utf-8"))
    assert about == {"identity": IDENTITY, "dim": DIM}


def test_keys_tell_images_and_conditions_apart() -> None:
    keys = {embedding_key(image, condition) for image in ("ab", "abc") for condition in ("original", "cropped/0", "cropped/1")}
    assert len(keys) == 6
    assert {len(k) for k in keys} == {32}


def another_kind() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda content: b"",
    "truncated": lambda content: content[:-30],
    "cut in its header": lambda content: content[:40],
    "text": lambda content: b"not an array at all",
    "another array": lambda content: another_kind(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_shard_is_passed_over_with_a_warning(tmp_path: Path, damage: str) -> None:
    store = open_store(tmp_path)
    fill(store, range(5))
    (first,) = shards(store)
    fill(store, range(5, 10))
    first.write_bytes(DAMAGE[damage](first.read_bytes()))
    with pytest.warns(UserWarning, match=f"damaged embedding shard, {first.name}"):
        again = open_store(tmp_path)
    assert len(again) == 5
    check(again, range(5, 10))


def test_leftovers_of_a_killed_writer_are_ignored(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    fill(store, range(5))
    (shard,) = shards(store)
    (store.folder / f".{'0' * 32}.npy.x7.part").write_bytes(shard.read_bytes()[:50])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(open_store(tmp_path), range(5))


def test_a_flush_that_is_interrupted_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path)
    fill(store, range(5))
    store.add((key(n), entry(n)) for n in range(5, 10))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.flush()
    check(store, range(10))
    assert len(open_store(tmp_path)) == 5
    store.flush()
    check(open_store(tmp_path), range(10))
    assert sorted(p.suffix for p in store.folder.iterdir()) == [".json", ".npy", ".npy"]


def _write_in_a_process(folder: Path, start: int, together: Barrier) -> None:
    together.wait(60)
    fill(open_store(folder), range(start, start + 150), shard=2)


def test_processes_that_write_at_once_keep_everything(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    together = spawn.Barrier(2)
    processes = [spawn.Process(target=_write_in_a_process, args=(tmp_path, s, together)) for s in (0, 100)]  # 50 of them twice
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store = open_store(tmp_path)
    assert len(store) == 250
    check(store, range(250))


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit on open files to lower")
def test_a_store_of_more_shards_than_open_files_is_read_whole(tmp_path: Path) -> None:
    fill(open_store(tmp_path), range(120), shard=1)
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (80, 80))\n"
        "from pathlib import Path\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "from test_store import check, open_store\n"
        "check(open_store(Path(sys.argv[1])), range(120))\n"
        "print('all read')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent)], capture_output=True, text=True)
    assert done.stdout.strip() == "all read", done.stderr[-500:]
