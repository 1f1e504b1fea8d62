"""Embeddings on disk, keyed by content: an image that was embedded once is never embedded again.

A store is one SQLite database for one encoder, and a call of `add` one transaction: a killed process loses the batch that it was
writing, and nothing else. On a local drive commits go to a write-ahead log with `synchronous` NORMAL: they outlive the process,
and a power cut takes the last ones at most. Other drives may lack the shared memory that such a log needs: there SQLite keeps a
rollback journal with `synchronous` FULL, without which a power cut could damage the file. Rows are only ever added.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import sqlite3
import struct
import threading
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._core.paths import shown
from ..datasets.images import DECODER
from ..errors import UserError

LAYOUT = 4  # raised when the tables change: a store of another layout is another file; up to 3 (version 0.1) it was a folder
ROWS = 256  # embeddings in memory at a time while many are looked up

LOCAL = frozenset(("bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "tmpfs", "xfs", "zfs"))
"""File systems of Linux on which processes share mapped files, as a write-ahead log needs."""

_SCHEMA = f"""BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS encoder (identity TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS embeddings (key BLOB, input BLOB, effect BLOB, vector BLOB, checksum INTEGER);
CREATE INDEX IF NOT EXISTS keys ON embeddings (key);
CREATE INDEX IF NOT EXISTS inputs ON embeddings (input);
PRAGMA user_version = {LAYOUT};"""


class Entry(NamedTuple):
    """One embedding."""

    vector: NDArray[np.float32]  # (dim,) float32, unit length
    input: bytes  # 16-byte digest of the pixels that the network saw; equal digests mean equal embeddings
    strength: float = math.nan  # strength of the manipulation at the network's input, in its own unit
    difference: float = math.nan  # mean absolute change of that input from the unmanipulated photograph's, where white is 1


def embedding_key(image_digest: str, condition: str, colour: str = "srgb") -> bytes:
    """Key of an image under a condition: 32 bytes that depend on the file's content, `Manipulation.key` and `RunSpec.colour`."""
    stored = "" if colour == "srgb" else f"|{colour}"
    return hashlib.sha256(f"{image_digest}|{DECODER}|{condition}{stored}".encode()).digest()


def store_file(folder: Path, identity: str) -> Path:
    """The file in `folder` with the embeddings of an encoder."""
    name = re.sub(r"[^\w.-]+", "-", identity.split("|")[0])
    return folder / f"{name}-{hashlib.sha256(f'{identity}|{LAYOUT}'.encode()).hexdigest()[:12]}.sqlite"


def connect(path: Path) -> sqlite3.Connection:
    """Open a database, and create it if it is absent; in a folder that cannot be written, as a file that nobody writes."""
    path, mounts = path.resolve(), Path("/proc/self/mounts")
    unfinished = any(path.with_name(path.name + journal).exists() for journal in ("-wal", "-journal"))
    frozen = path.exists() and not os.access(path.parent, os.W_OK) and not unfinished
    address = path.as_uri() + "?immutable=1" * frozen
    db = sqlite3.connect(address, timeout=60, isolation_level=None, check_same_thread=False, uri=True)
    db.text_factory = bytes  # a damaged text is read too
    kinds = dict(line.split()[1:3] for line in mounts.read_text("utf-8", "replace").splitlines()) if mounts.exists() else {}
    kind = next((kinds[at] for at in (str(at).replace(" ", "\\040") for at in path.parents) if at in kinds), "")
    # elsewhere than on Linux SQLite itself refuses a log on a network drive; a log that came with a copied file is read alone
    journal = ["journal_mode = WAL"] if kind in LOCAL or not kinds else ["locking_mode = EXCLUSIVE", "journal_mode = DELETE"]
    for setting in ("page_size = 16384", *journal, "locking_mode = NORMAL"):
        with suppress(sqlite3.OperationalError):  # another process has the file open: its journal is used
            db.execute(f"PRAGMA {setting}")
    if db.execute("PRAGMA journal_mode").fetchone()[0] == b"wal":
        db.execute("PRAGMA synchronous = NORMAL")
    return db


def _failure(path: Path, error: Exception) -> UserError:
    of_drive = isinstance(error, sqlite3.OperationalError) and getattr(error, "sqlite_errorcode", 1) != sqlite3.SQLITE_ERROR
    advice = f"`clipnb cache prune {path.stem}` deletes it, and what it held is embedded again"
    if of_drive or isinstance(error, OSError):
        advice = "its drive must have room and let files be written and locked: set $CLIPNB_CACHE to a folder on one that does"
    return UserError(f"the embeddings kept in {shown(path)} cannot be used: {error}; {advice}")


def _checksum(key: bytes, seen: bytes, effect: bytes, vector: bytes) -> int:
    return zlib.crc32(vector, zlib.crc32(key + seen + effect))


class LostEmbeddings(UserError):
    """Embeddings are gone from the store, because of damage or because another process deleted them or their file."""


class EmbeddingStore:
    """The embeddings of one encoder, for any threads; a method raises `UserError` if the file or its drive fails."""

    def __init__(self, folder: Path, identity: str, dim: int) -> None:
        """Open the store of an encoder in `folder`, and create it if it is absent."""
        self._folder, self._identity, self._dim = folder, identity, dim
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._file: int | None = None
        self.path = store_file(folder, identity)
        try:
            self._mark_used()
        except LostEmbeddings:  # another process deleted the file while it was opened
            self._mark_used()

    def _mark_used(self) -> None:
        """Set the time of the file, which `clipnb cache` reads as that of its last use."""
        with self._connection(), suppress(OSError):
            os.utime(self.path)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one thread at a time; two of one process would share the locks of SQLite after a deletion."""
        with self._lock:
            before = self._inode()
            try:
                if self._db is None or before is None or before != self._file:
                    self.close()
                    self._db = self._opened()
                    self._file = before = self._inode()
                yield self._db
            except (sqlite3.Error, OSError, UnicodeError) as error:
                failure, same_file = _failure(self.path, error), before is not None and self._inode() == before
                raise failure if same_file else LostEmbeddings(str(failure)) from error

    def _inode(self) -> int | None:
        """The number of the file that is there now, which is another one after a deletion."""
        with suppress(FileNotFoundError):
            return self.path.stat().st_ino
        return None

    def _opened(self) -> sqlite3.Connection:
        self._folder.mkdir(parents=True, exist_ok=True)
        db = connect(self.path)
        if db.execute("PRAGMA user_version").fetchone()[0] != LAYOUT:
            with db:
                db.executescript(_SCHEMA)
                db.execute("INSERT OR IGNORE INTO encoder VALUES (?)", (self._identity,))
            if any(self._folder.glob("*/encoder.json")):
                folder = shown(self._folder)
                old = f"{folder} holds embeddings of version 0.1, which are not read: `clipnb cache prune` deletes them"
                warnings.warn(old, stacklevel=2)
        return db

    def close(self) -> None:
        """Close the file, which takes its log in; a later call opens it again."""
        with self._lock:
            if self._db:
                self._db.close()
            self._db = None

    __del__ = close

    def __reduce__(self) -> tuple[type[EmbeddingStore], tuple[Path, str, int]]:
        """For another process: the connection stays in this one."""
        return EmbeddingStore, (self._folder, self._identity, self._dim)

    def missing(self, keys: Iterable[bytes]) -> list[bytes]:
        """The keys that have no entry or a damaged one, in their order."""
        return [key for chunk, found in self._read("key", keys) for key in chunk if key not in found]

    def entries(self, keys: Iterable[bytes]) -> Iterator[Entry]:
        """The entries under keys, in their order; LostEmbeddings if one is missing: it was deleted, or is damaged."""
        for chunk, found in self._read("key", keys):
            if lost := set(chunk) - found.keys():
                raise LostEmbeddings(str(_failure(self.path, LookupError(f"it has lost {len(lost)} embeddings"))))
            yield from map(found.__getitem__, chunk)

    def seen(self, inputs: Iterable[bytes]) -> dict[bytes, Entry]:
        """Digest -> entry of the network inputs embedded before, in copies or under a manipulation without effect."""
        return {digest: entry for _, found in self._read("input", inputs) for digest, entry in found.items()}

    def add(self, entries: Iterable[tuple[bytes, Entry]]) -> None:
        """Store entries; once this returns, a killed process does not lose them. An entry replaces another one with its key."""
        rows = [(key, e.input, struct.pack("<2f", *e[2:]), np.asarray(e.vector, np.float32).tobytes()) for key, e in entries]
        if rows:
            with self._connection() as db, db:
                db.execute("BEGIN IMMEDIATE")  # the only wait for other writers
                db.executemany("INSERT INTO embeddings VALUES (?, ?, ?, ?, ?)", ((*row, _checksum(*row)) for row in rows))

    def _read(self, column: str, digests: Iterable[bytes]) -> Iterator[tuple[list[bytes], dict[bytes, Entry]]]:
        """Yield `ROWS` digests at a time with their undamaged entries; of several entries with one digest the newest counts."""
        source = iter(digests)
        while chunk := list(islice(source, ROWS)):
            marks = ",".join("?" * len(chunk))
            newest = f"SELECT max(rowid) FROM embeddings WHERE {column} IN ({marks}) GROUP BY {column}"
            select = f"SELECT {column}, key, input, effect, vector, checksum FROM embeddings WHERE rowid IN ({newest})"
            with self._connection() as db:
                rows = db.execute(select, chunk).fetchall()
            yield chunk, {row[0]: entry for row in rows if (entry := self._entry(*row[1:]))}

    def _entry(self, key: bytes, seen: bytes, effect: bytes, vector: bytes, checksum: int) -> Entry | None:
        with suppress(TypeError):  # damage may change the type of a column
            if _checksum(key, seen, effect, vector) == checksum and len(vector) == 4 * self._dim:
                return Entry(np.frombuffer(vector, np.float32), seen, *struct.unpack("<2f", effect))
        warnings.warn(f"ignoring damaged embeddings in {self.path.name}: they are computed again", stacklevel=2)
        return None
