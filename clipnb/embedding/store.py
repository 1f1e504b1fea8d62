"""Embeddings on disk, keyed by content: an image that was embedded once is never embedded again.

A store is a folder of shards for one encoder identity. A shard is a pair of files to which one process appends:
`<name>.vectors` holds the rows (dim,) float32, `<name>.keys` for each of them its key, the digest of the network's input,
the manipulation's effect on it and a checksum of all. The keys of a row are written after its vector, so that a killed
process leaves whole rows, and a row cut short or damaged is one that is not there. Several processes may write at once,
each to its own shard; vectors are memory-mapped, and the keys kept in memory as 16 bytes each.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import re
import threading
import uuid
import warnings
import zlib
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._core.files import write_text
from ..datasets.images import DECODER

LAYOUT = 3
"""Raised when the rows of a shard change: a store of another layout is another folder."""

MAPPED = 32
"""Shards kept open at a time."""

KEYS = np.dtype(
    [("key", "V32"), ("input", "V16"), ("effect", "<f4", (2,)), ("check", "<u4")]
)  # void, not bytes: numpy strips trailing NULs from those
_ROWS = 40  # bits of a place that say which row of its shard


class Entry(NamedTuple):
    """One embedding.

    Attributes:
        vector: (dim,) float32, unit length.
        input: 16-byte digest of the pixels that the network saw; equal digests mean equal embeddings.
        strength: of the manipulation at the network's input, in its own unit.
        difference: of that input from the unmanipulated photograph's: mean absolute change, white being 1.
    """

    vector: NDArray[np.float32]
    input: bytes
    strength: float = math.nan
    difference: float = math.nan


def embedding_key(image_digest: str, condition: str) -> bytes:
    """Key of an image under a condition: 32 bytes that depend on the file's content and `Manipulation.key`."""
    return hashlib.sha256(f"{image_digest}|{DECODER}|{condition}".encode()).digest()


def _check(row: np.void, vector: bytes) -> int:
    return zlib.crc32(vector, zlib.crc32(row.tobytes()[: -KEYS["check"].itemsize]))


def release(mapped: NDArray[Any]) -> None:
    """Let the pages of a mapped array leave memory; they come back from the file when they are needed."""
    mapping = getattr(mapped, "_mmap", None)
    if mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)


class _Places:
    """Where digests are, as sorted arrays of their first 8 bytes, with a small dictionary for the newest."""

    def __init__(self) -> None:
        self._sorted: tuple[NDArray[np.uint64], NDArray[np.int64]] = (np.empty(0, np.uint64), np.empty(0, np.int64))
        self._new: dict[int, int] = {}

    def __len__(self) -> int:
        prefixes = self._sorted[0]
        return len(np.union1d(prefixes, np.fromiter(self._new, np.uint64, len(self._new))))

    def extend(self, digests: NDArray[np.void], places: NDArray[np.int64]) -> None:
        """Add many: (n,) rows of at least 8 bytes."""
        raw = np.ascontiguousarray(digests).view(np.uint8).reshape(len(digests), digests.dtype.itemsize)
        self._merge(np.ascontiguousarray(raw[:, :8]).view("<u8").ravel().astype(np.uint64), places)

    def put(self, digest: bytes, place: int) -> None:
        self._new.setdefault(int.from_bytes(digest[:8], "little"), place)
        if len(self._new) >= 4096:
            new = self._new
            self._merge(np.fromiter(new, np.uint64, len(new)), np.fromiter(new.values(), np.int64, len(new)))
            self._new = {}  # after the merge: a reader in another thread looks here first

    def _merge(self, prefixes: NDArray[np.uint64], places: NDArray[np.int64]) -> None:
        prefixes = np.concatenate([self._sorted[0], prefixes])
        places = np.concatenate([self._sorted[1], places])
        order = np.argsort(prefixes, kind="stable")
        self._sorted = prefixes[order], places[order]

    def find(self, digest: bytes) -> list[int]:
        """Places that may hold a digest: whoever asks compares the rest of it."""
        prefix = int.from_bytes(digest[:8], "little")
        recent = self._new.get(prefix)
        prefixes, places = self._sorted
        low, high = np.searchsorted(prefixes, np.uint64(prefix), "left"), np.searchsorted(prefixes, np.uint64(prefix), "right")
        return ([] if recent is None else [recent]) + [int(place) for place in places[low:high]]


def store_folder(folder: Path, identity: str) -> Path:
    """Where below `folder` the embeddings of an encoder are."""
    name = re.sub(r"[^\w.-]+", "-", identity.split("|")[0])
    return folder / f"{name}-{hashlib.sha256(f'{identity}|{LAYOUT}'.encode()).hexdigest()[:12]}"


class EmbeddingStore:
    """The embeddings of one encoder."""

    def __init__(self, folder: Path, identity: str, dim: int) -> None:
        """Open the store of an encoder below `folder`, creating it if need be."""
        self.folder = store_folder(folder, identity)
        self._dim = dim
        self._shards: list[str] = []
        self._mine: int | None = None
        self._keys, self._inputs = _Places(), _Places()
        self._mapped: OrderedDict[int, tuple[NDArray[np.void], NDArray[np.float32]]] = OrderedDict()
        self._lock = threading.Lock()
        self._damaged: set[int] = set()
        about = self.folder / "encoder.json"
        if not about.exists():
            write_text(about, json.dumps({"identity": identity, "dim": dim}, indent=1) + "\n")
        about.touch()  # for `clipnb cache`: when it was last used
        found = [self._index(path.stem) for path in sorted(self.folder.glob("*.keys"))]
        rows = np.concatenate([keys for keys, _ in found]) if found else np.empty(0, KEYS)
        places = np.concatenate([places for _, places in found]) if found else np.empty(0, np.int64)
        self._keys.extend(rows["key"], places)
        self._inputs.extend(rows["input"], places)

    def _files(self, shard: int) -> tuple[Path, Path]:
        return self.folder / f"{self._shards[shard]}.keys", self.folder / f"{self._shards[shard]}.vectors"

    def _length(self, shard: int) -> int:
        """Rows that both files of a shard hold whole."""
        sizes = [path.stat().st_size if path.is_file() else 0 for path in self._files(shard)]
        return min(sizes[0] // KEYS.itemsize, sizes[1] // (4 * self._dim))

    def _index(self, name: str) -> tuple[NDArray[np.void], NDArray[np.int64]]:
        self._shards.append(name)
        shard = len(self._shards) - 1
        rows = np.fromfile(self._files(shard)[0], KEYS, self._length(shard))
        return rows, (shard << _ROWS) + np.arange(len(rows), dtype=np.int64)

    def _map(self, shard: int, row: int) -> tuple[NDArray[np.void], NDArray[np.float32]]:
        """A shard's two files, memory-mapped; a mapping holds a file open, so only the last few are kept."""
        with self._lock:
            if shard not in self._mapped or row >= len(self._mapped[shard][0]):
                keys, vectors = self._files(shard)
                n = self._length(shard)
                self._mapped[shard] = (
                    np.memmap(keys, KEYS, "r", shape=n),
                    np.memmap(vectors, np.float32, "r", shape=(n, self._dim)),
                )
                if len(self._mapped) > MAPPED:
                    self._mapped.popitem(last=False)
            self._mapped.move_to_end(shard)
            return self._mapped[shard]

    def release(self) -> None:
        """Let what was read leave memory."""
        with self._lock:
            for keys, vectors in self._mapped.values():
                release(keys)
                release(vectors)

    def _read(self, place: int) -> tuple[bytes, Entry] | None:
        """Key and entry at a place, None where it is damaged."""
        shard, row = place >> _ROWS, place & ((1 << _ROWS) - 1)
        try:
            keys, vectors = self._map(shard, row)
            about, vector = keys[row], np.array(vectors[row])
        except (OSError, ValueError, IndexError):  # gone or cut short since it was indexed
            about = None
        if about is not None:
            key, seen = about["key"].tobytes(), about["input"].tobytes()
            if _check(about, vector.tobytes()) == int(about["check"]):
                return key, Entry(vector, seen, *map(float, about["effect"]))
        if shard not in self._damaged:
            self._damaged.add(shard)
            warnings.warn(f"passing over damaged embeddings in {self._shards[shard]}.vectors: they are made again", stacklevel=4)
        return None

    def _find(self, places: _Places, digest: bytes, field: int) -> Entry | None:
        for place in places.find(digest):
            found = self._read(place)
            if found is not None and (found[0] if field == 0 else found[1].input) == digest:
                return found[1]
        return None

    def __contains__(self, key: bytes) -> bool:
        return self._find(self._keys, key, 0) is not None

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, key: bytes) -> Entry:
        """The entry under a key.

        Raises:
            KeyError: it was never added, or is damaged.
        """
        found = self._find(self._keys, key, 0)
        if found is None:
            raise KeyError(key.hex())
        return found

    def seen(self, pixels: bytes) -> Entry | None:
        """An entry whose network input has this digest, if there is one: a manipulation that changed nothing, a copy."""
        return self._find(self._inputs, pixels, 1)

    def add(self, entries: Iterable[tuple[bytes, Entry]]) -> None:
        """Append entries to this process's shard; once this returns, a killed process does not lose them."""
        new = list(entries)
        if not new:
            return
        vectors = [np.asarray(entry.vector, dtype=np.float32).tobytes() for _, entry in new]
        rows = np.zeros(len(new), KEYS)
        for row, ((key, entry), vector) in enumerate(zip(new, vectors, strict=True)):
            rows[row] = (np.void(key), np.void(entry.input), (entry.strength, entry.difference), 0)
            rows["check"][row] = _check(rows[row], vector)
        if self._mine is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._shards.append(uuid.uuid4().hex)
            self._mine, self._written = len(self._shards) - 1, 0
        shard = self._mine
        try:
            keys_file, vectors_file = self._files(shard)
            for path, content in ((vectors_file, b"".join(vectors)), (keys_file, rows.tobytes())):
                with path.open("ab") as file:
                    file.write(content)
        except BaseException:
            self._mine = None  # its two files may be out of step: the next entries go to another shard
            raise
        for row, (key, entry) in enumerate(new, start=self._written):
            self._keys.put(key, (shard << _ROWS) + row)
            self._inputs.put(entry.input, (shard << _ROWS) + row)
        self._written += len(new)
