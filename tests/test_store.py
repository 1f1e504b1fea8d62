"""The store: what was embedded once is there for every later process, whatever happened to the one that wrote it."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import warnings
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from clipnb.embedding.store import KEYS, EmbeddingStore, Entry, embedding_key

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


def check(store: EmbeddingStore, numbers: range) -> None:
    for n in numbers:
        assert key(n) in store
        assert_array_equal(store.get(key(n)).vector, entry(n).vector)
        assert store.get(key(n)).input == entry(n).input


def shards(store: EmbeddingStore) -> list[Path]:
    return sorted(store.folder.glob("*.keys"))


def test_entries_are_there_before_after_and_long_after_they_are_written(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.add((key(n), entry(n)) for n in range(10))
    check(store, range(10))
    check(open_store(tmp_path), range(10))
    assert len(open_store(tmp_path)) == 10


def test_what_was_never_added_is_not_there(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    fill(store, range(3))
    assert key(3) not in store
    with pytest.raises(KeyError):
        store.get(key(3))


def test_every_process_appends_to_a_shard_of_its_own(tmp_path: Path) -> None:
    for start in (0, 6, 12):
        fill(open_store(tmp_path), range(start, start + 6), shard=2)
    store = open_store(tmp_path)
    assert len(shards(store)) == 3
    check(store, range(18))
    assert len(store) == 18


def test_many_entries_are_found_while_they_are_added(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    fill(store, range(9000), shard=500)  # more than the newest that are kept apart
    assert len(store) == 9000
    check(store, range(0, 9000, 700))
    check(open_store(tmp_path), range(0, 9000, 700))


def test_an_entry_is_found_by_what_the_network_saw(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert store.seen(entry(1).input) is None
    store.add([(key(1), entry(1))])
    for found in (store.seen(entry(1).input), open_store(tmp_path).seen(entry(1).input)):
        assert found is not None
        assert_array_equal(found.vector, entry(1).vector)


def test_adding_nothing_writes_nothing(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.add([])
    assert shards(store) == []


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


DAMAGE: dict[str, tuple[str, Callable[[bytes], bytes], int]] = {
    "vectors emptied": (".vectors", lambda content: b"", 0),
    "vectors cut in a row": (".vectors", lambda content: content[: 4 * DIM * 3 + 7], 3),
    "vectors overwritten": (".vectors", lambda content: content[: 4 * DIM * 2] + b"x" * (4 * DIM * 3), 2),
    "vectors of zeros, as a power cut leaves them": (".vectors", lambda content: bytes(len(content)), 0),
    "keys emptied": (".keys", lambda content: b"", 0),
    "keys cut in a row": (".keys", lambda content: content[: KEYS.itemsize * 4 + 20], 4),
    "keys overwritten": (".keys", lambda content: b"not a key " * (len(content) // 10), 0),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_row_is_one_that_is_not_there_and_can_be_made_again(tmp_path: Path, damage: str) -> None:
    store = open_store(tmp_path)
    fill(store, range(5))
    (first,) = shards(store)
    fill(open_store(tmp_path), range(5, 10))
    suffix, change, left = DAMAGE[damage]
    file = first.with_suffix(suffix)
    file.write_bytes(change(file.read_bytes()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = open_store(tmp_path)
        check(again, range(left))
        check(again, range(5, 10))
        for n in range(left, 5):
            assert key(n) not in again
            assert again.seen(entry(n).input) is None
            with pytest.raises(KeyError):
                again.get(key(n))
        fill(again, range(left, 5))
        check(again, range(10))
        check(open_store(tmp_path), range(10))


def test_damage_is_said_once(tmp_path: Path) -> None:
    fill(open_store(tmp_path), range(5))
    store = open_store(tmp_path)
    vectors = shards(store)[0].with_suffix(".vectors")
    vectors.write_bytes(bytes(vectors.stat().st_size))
    with pytest.warns(UserWarning, match=f"damaged embeddings in {vectors.name}") as said:
        assert not any(key(n) in store for n in range(5))
    assert len(said) == 1


def test_a_vector_whose_key_was_not_written_is_ignored(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    fill(store, range(5))
    with shards(store)[0].with_suffix(".vectors").open("ab") as file:
        file.write(entry(5).vector.tobytes())  # killed between the two files
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(open_store(tmp_path), range(5))
    assert key(5) not in open_store(tmp_path)


def test_an_interrupt_between_the_two_files_loses_that_batch_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path)
    fill(store, range(5))
    opened = Path.open

    def interrupt(path: Path, *rest: str) -> object:
        if path.suffix == ".keys":
            raise KeyboardInterrupt
        return opened(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.add((key(n), entry(n)) for n in range(5, 10))
    assert key(5) not in store
    fill(store, range(10, 15))
    for found in (store, open_store(tmp_path)):
        assert len(found) == 10
        check(found, range(5))
        check(found, range(10, 15))


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
    for n in range(120):
        fill(open_store(tmp_path), range(n, n + 1))
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
