"""The store: what was embedded once is there for every later process, whatever happened to the one that wrote it."""

from __future__ import annotations

import math
import multiprocessing
import random
import shutil
import sqlite3
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from clipnb.embedding import store as module
from clipnb.embedding.store import ROWS, EmbeddingStore, Entry, LostEmbeddings, embedding_key, store_file
from clipnb.errors import UserError
from conftest import as_a_user, held

DIM = 40
IDENTITY = "tiny/1|weights|preprocessing"


def key(number: int) -> bytes:
    return bytes(32) if number == 0 else embedding_key(f"image {number}", "original")  # NUL bytes are bytes like others


def entry(number: int) -> Entry:
    vector = np.random.default_rng(number).normal(size=DIM).astype(np.float32)
    return Entry(vector, number.to_bytes(16, "little"), number / 2, math.nan)


def open_store(folder: Path, identity: str = IDENTITY) -> EmbeddingStore:
    return EmbeddingStore(folder, identity, DIM)


def fill(store: EmbeddingStore, numbers: range, batch: int = 1000) -> None:
    for start in range(0, len(numbers), batch):
        store.add((key(n), entry(n)) for n in numbers[start : start + batch])


def check(store: EmbeddingStore, numbers: range) -> None:
    for n, found in zip(numbers, store.entries(map(key, numbers)), strict=True):
        assert_array_equal(found.vector, entry(n).vector)
        assert found[1:3] == entry(n)[1:3]
        assert math.isnan(found.difference)
    assert store.missing(map(key, numbers)) == []


def pragma(store: EmbeddingStore, name: str) -> int | bytes:
    return store._db.execute(f"PRAGMA {name}").fetchone()[0]


def refuse(said: str, do: Callable[[], object]) -> None:
    with pytest.raises(UserError, match=f"^the embeddings kept in .*tiny-1-.*{said}.*$"):
        do()


def test_entries_are_there_before_and_after_the_store_is_opened_again(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    fill(store, range(3 * ROWS), batch=100)
    for opened in (store, open_store(tmp_path)):
        check(opened, range(3 * ROWS))
        check(opened, range(3 * ROWS - 1, 0, -7))
        assert held(opened) == 3 * ROWS
        assert opened.missing(map(key, (-4, 0, -3, 2))) == [key(-4), key(-3)]
        refuse("lost 1 embeddings", lambda: list(opened.entries(map(key, (0, -3)))))  # noqa: B023 (called at once)
    store.add([(key(5), entry(6))])
    assert_array_equal(next(store.entries([key(5)])).vector, entry(6).vector)  # the newest counts, once
    assert held(store) == 3 * ROWS


def test_an_entry_is_found_by_what_the_network_saw(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert store.seen([entry(1).input]) == {}
    store.add([(key(1), entry(1)), (key(2), entry(1)._replace(strength=7.0))])
    for opened in (store, open_store(tmp_path)):
        ((seen, found),) = opened.seen(entry(n).input for n in (0, 1)).items()
        assert seen == found.input == entry(1).input
        assert_array_equal(found.vector, entry(1).vector)


@pytest.mark.parametrize("part", ["vector", "effect", "checksum"])
def test_a_damaged_row_is_noticed_and_can_be_made_again(tmp_path: Path, part: str) -> None:
    fill(open_store(tmp_path), range(5))
    content = bytearray(store_file(tmp_path, IDENTITY).read_bytes())
    content[content.index(entry(3).vector.tobytes()) + {"vector": 9, "effect": -8, "checksum": 4 * DIM + 1}[part]] ^= 16
    store_file(tmp_path, IDENTITY).write_bytes(content)
    store = open_store(tmp_path)
    with pytest.warns(UserWarning, match="damaged embeddings in tiny-1-"):
        assert store.missing(map(key, range(5))) == [key(3)]
    with pytest.warns(UserWarning, match="damaged embeddings in tiny-1-"):
        assert store.seen([entry(3).input]) == {}
    fill(store, range(3, 4))
    for opened in (store, open_store(tmp_path)):
        check(opened, range(5))


def test_a_row_under_the_key_of_another_is_noticed(tmp_path: Path) -> None:
    fill(open_store(tmp_path), range(3))
    with closing(sqlite3.connect(store_file(tmp_path, IDENTITY))) as db, db:
        db.execute("DELETE FROM embeddings WHERE key = ?", (key(0),))
        db.execute("UPDATE embeddings SET key = ? WHERE key = ?", (key(0), key(1)))
    with pytest.warns(UserWarning, match="damaged embeddings in tiny-1-"):
        assert open_store(tmp_path).missing(map(key, range(3))) == [key(0), key(1)]


@pytest.mark.filterwarnings("ignore:ignoring damaged")
def test_whatever_bytes_are_damaged_nothing_wrong_is_read(tmp_path: Path) -> None:
    dice, ends, refusals = random.Random(0), set(), []
    fill(open_store(tmp_path), range(200), batch=50)
    good = store_file(tmp_path, IDENTITY).read_bytes()
    for case in map(str, range(150)):
        content, size, at = bytearray(good), dice.choice([1, 1, 30, 4096]), dice.randrange(dice.choice([200, len(good)]))
        content[at : at + size] = dice.randbytes(size)
        (tmp_path / case).mkdir()
        store_file(tmp_path / case, IDENTITY).write_bytes(content)
        try:
            store = open_store(tmp_path / case)
            lost = store.missing(map(key, range(200)))
            store.add((key(n), entry(n)) for n in range(200) if key(n) in lost)
            check(store, range(200))
            ends.add(bool(lost))
        except UserError as error:
            refusals.append("clipnb cache prune tiny-1-" in str(error))
    assert ends == {True, False}
    assert set(refusals) == {True}


@pytest.mark.parametrize("damage", [lambda content: content[:-20_000], lambda content: b"no database" * 2000])
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    fill(open_store(tmp_path), range(300))
    path = store_file(tmp_path, IDENTITY)
    path.write_bytes(damage(path.read_bytes()))
    refuse(f"`clipnb cache prune {path.stem}`", lambda: open_store(tmp_path))


def _write(folder: Path, numbers: range, local: frozenset[str], kept: Path) -> None:
    module.LOCAL = local
    store = open_store(folder)

    def step(n: int) -> None:
        fill(store, range(n, n + 3))
        with kept.open("a") as file:
            file.write(f"{n}\n")
        check(store, range(n, n + 3))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(step, numbers[::3]))


@pytest.mark.parametrize("local", [module.LOCAL, frozenset[str]()], ids=["log", "journal"])
def test_of_three_writers_one_is_killed_and_nothing_else_is_lost(tmp_path: Path, local: frozenset[str]) -> None:
    spawn = multiprocessing.get_context("spawn")
    parts, kept = [range(k, k + 600) for k in (0, 1000, 1300)], [tmp_path / f"kept{k}" for k in range(3)]  # 300 of them twice
    processes = [spawn.Process(target=_write, args=(tmp_path / "s", *job)) for job in zip(parts, [local] * 3, kept, strict=True)]
    for process in processes:
        process.start()
    while not kept[0].is_file() and processes[0].is_alive():
        time.sleep(0.001)
    time.sleep(random.uniform(0, 0.2))
    processes[0].kill()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes[1:]] == [0, 0]
    store, done = open_store(tmp_path / "s"), kept[0].read_text().split()
    for n in map(int, done):
        check(store, range(n, n + 3))
    check(store, range(1000, 1900))
    assert held(store) - 900 - 3 * len(done) in (0, 3, 6)
    assert pragma(store, "integrity_check") == b"ok"


class Refusing(sqlite3.Connection):
    """A drive on which SQLite finds no shared memory."""

    def execute(self, sql: str, *values: object) -> sqlite3.Cursor:  # type: ignore[override]
        return super().execute("PRAGMA journal_mode" if "= WAL" in sql else sql, *values)


@pytest.mark.parametrize("drive", ["local", "network", "refused"])
def test_a_log_is_kept_where_the_drive_lets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drive: str) -> None:
    folder = tmp_path / "My Drive" / "embeddings"
    mounts = f"disk / ext4\nx {tmp_path.resolve()}/My\\040Drive {'fuse.drive' if drive == 'network' else 'ext4'}\n"
    monkeypatch.setattr(Path, "read_text", lambda *rest: mounts)
    if drive == "refused":
        real = sqlite3.connect
        monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: real(*a, **k, factory=Refusing))
    store = open_store(folder)
    fill(store, range(20))
    assert (pragma(store, "journal_mode"), pragma(store, "synchronous")) == ((b"wal", 1) if drive == "local" else (b"delete", 2))
    store.close()
    assert list(folder.iterdir()) == [store.path]  # the log was taken up
    monkeypatch.undo()
    monkeypatch.setattr(module, "LOCAL", frozenset())
    moved = open_store(folder)
    check(moved, range(20))
    assert pragma(moved, "journal_mode") == b"delete"


READ_ONLY = """
import sys; sys.path.insert(0, sys.argv[2])
from test_store import *
store = open_store(Path(sys.argv[1]))
check(store, range(5))
refuse("readonly", lambda: fill(store, range(5, 6)))
refuse("unable to open", lambda: open_store(Path(sys.argv[1]), "tiny/1|new"))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no folders that cannot be written")
@pytest.mark.parametrize("taken_up", [True, False], ids=["no log", "log of a killed process"])
def test_a_cache_that_cannot_be_written_is_read(tmp_path: Path, taken_up: bool) -> None:
    folder, store = tmp_path / "shared", open_store(tmp_path / "own")
    fill(store, range(5))
    if taken_up:
        store.close()
    shutil.copytree(tmp_path / "own", folder)
    for path in (*folder.iterdir(), folder):
        path.chmod(0o555)
    subprocess.run([*as_a_user(), sys.executable, "-c", READ_ONLY, str(folder), str(Path(__file__).parent)], check=True)
    folder.chmod(0o755)


def test_reading_many_holds_a_few_in_memory(tmp_path: Path) -> None:
    store, size = EmbeddingStore(tmp_path, IDENTITY, 1280), 4 * 1280
    for start in range(0, 6000, 500):
        store.add((key(n), Entry(np.full(1280, n, np.float32), key(n)[:16])) for n in range(start, start + 500))
    keys = list(map(key, range(6000)))
    tracemalloc.start()
    assert store.missing(keys) == []
    assert sum(float(found.vector[0]) for found in store.entries(keys)) == sum(range(6000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * ROWS * size < 6000 * size / 4


def test_a_batch_that_fails_is_lost_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, asked = open_store(tmp_path), list[str]()
    fill(store, range(20))
    monkeypatch.setattr(module, "_checksum", lambda *row: 1 // (row[1] != entry(27).input))
    with pytest.raises(ZeroDivisionError):
        fill(store, range(20, 40))
    monkeypatch.undo()
    pragma(store, f"max_page_count = {pragma(store, 'page_count')}")
    refuse("full; its drive must have room", lambda: fill(store, range(40, 2000)))
    assert held(store) == 20
    pragma(store, "max_page_count = 100000")
    fill(store, range(20, 2000))
    check(open_store(tmp_path), range(2000))
    store._db.set_trace_callback(asked.append)
    store.add([])
    assert asked == []  # nothing to add takes no lock, which a cache may not give that cannot be written


@pytest.mark.parametrize("moment", ["before it is opened", "when it is open"])
def test_a_file_that_another_process_deletes_while_it_is_opened_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    folder, connect, deleted = tmp_path / "embeddings", module.connect, list[Path]()

    def disturbed(path: Path) -> sqlite3.Connection:
        db = connect(path) if moment == "when it is open" else None
        if not deleted:
            shutil.rmtree(folder)
            deleted.append(folder)
        return db or connect(path)

    monkeypatch.setattr(module, "connect", disturbed)
    store = open_store(folder)
    fill(store, range(20))
    shutil.rmtree(folder)
    deleted.clear()
    with pytest.raises(LostEmbeddings):  # for `embed`, which goes on
        store.missing([key(1)])
    fill(store, range(20))
    check(open_store(folder), range(20))


def test_threads_use_a_store_while_another_one_deletes_its_folder(tmp_path: Path) -> None:
    store, end, used = open_store(tmp_path / "embeddings"), time.monotonic() + 1.5, list[int]()

    def use(start: int) -> None:
        while time.monotonic() < end:
            with suppress(LostEmbeddings):
                fill(store, range(start, start + 3))
                used.extend(len(list(store.entries([key(n)]))) for n in range(start, start + 3))

    with ThreadPoolExecutor(3) as threads:
        users = [threads.submit(use, 10 * n) for n in range(3)]
        while time.monotonic() < end:
            time.sleep(0.01)
            shutil.rmtree(store.path.parent, ignore_errors=True)
        for user in users:
            user.result()
    assert len(used) > 20
    fill(store, range(20))
    check(open_store(store.path.parent), range(20))
