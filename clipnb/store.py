"""Embeddings on disk, keyed by content: an image that was embedded once is never embedded again.

A store is a folder of shards for one encoder identity. A shard is one `.npy` file, a structured array of
(key, input, effect, vector) rows, written under a temporary name and then renamed: readers see whole shards or none, several
processes may add shards at once, and a killed process loses only what it had not yet written.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import uuid
import warnings
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .files import atomic, write_text
from .images import DECODER

LAYOUT = 2
"""Raised when the rows of a shard change: a store of another layout is another folder."""

MAPPED = 32
"""Shards kept open at a time."""


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


class EmbeddingStore:
    """The embeddings of one encoder."""

    def __init__(self, folder: Path, identity: str, dim: int) -> None:
        """Open the store of an encoder below `folder`, creating it if need be."""
        name = re.sub(r"[^\w.-]+", "-", identity.split("|")[0])
        self.folder = folder / f"{name}-{hashlib.sha256(f'{identity}|{LAYOUT}'.encode()).hexdigest()[:12]}"
        # void, not bytes: numpy strips trailing NULs from byte strings
        self._row = np.dtype([("key", "V32"), ("input", "V16"), ("effect", np.float32, (2,)), ("vector", np.float32, (dim,))])
        self._pending: dict[bytes, Entry] = {}
        self._paths: list[Path] = []
        self._opened: OrderedDict[int, NDArray[np.void]] = OrderedDict()
        self._where: dict[bytes, tuple[int, int]] = {}
        self._by_input: dict[bytes, bytes] = {}
        about = self.folder / "encoder.json"
        if not about.exists():
            write_text(about, json.dumps({"identity": identity, "dim": dim}, indent=1) + "\n")
        for path in sorted(self.folder.glob("*.npy")):
            self._open(path)

    def _open(self, path: Path) -> None:
        try:
            shard = np.load(path, mmap_mode="r", allow_pickle=False)
            if shard.dtype != self._row:
                raise ValueError("its rows are of another kind")
        except (OSError, ValueError, EOFError) as error:
            warnings.warn(f"passing over a damaged embedding shard, {path.name}: {error}", stacklevel=3)
            return
        self._paths.append(path)
        self._where.update({key.tobytes(): (len(self._paths) - 1, row) for row, key in enumerate(shard["key"])})
        self._by_input.update({row["input"].tobytes(): row["key"].tobytes() for row in shard[["key", "input"]]})

    def _mapped(self, shard: int) -> NDArray[np.void]:
        """A shard, memory-mapped; a mapping holds a file open, so only the last few are kept."""
        if shard not in self._opened:
            self._opened[shard] = np.load(self._paths[shard], mmap_mode="r", allow_pickle=False)
            if len(self._opened) > MAPPED:
                self._opened.popitem(last=False)
        self._opened.move_to_end(shard)
        return self._opened[shard]

    def __contains__(self, key: bytes) -> bool:
        return key in self._pending or key in self._where

    def __len__(self) -> int:
        return len(self._where.keys() | self._pending.keys())

    def get(self, key: bytes) -> Entry:
        """The entry under a key.

        Raises:
            KeyError: it was never added.
        """
        if key in self._pending:
            return self._pending[key]
        shard, row = self._where[key]
        found = self._mapped(shard)[row]
        return Entry(np.array(found["vector"]), found["input"].tobytes(), *map(float, found["effect"]))

    def seen(self, pixels: bytes) -> Entry | None:
        """An entry whose network input has this digest, if there is one: a manipulation that changed nothing, a copy."""
        key = self._by_input.get(pixels)
        return None if key is None else self.get(key)

    def add(self, entries: Iterable[tuple[bytes, Entry]]) -> None:
        """Keep entries in memory until `flush`."""
        for key, entry in entries:
            self._pending[key] = entry
            self._by_input[entry.input] = key

    def flush(self) -> None:
        """Write what was added since the last flush as one shard."""
        if not self._pending:
            return
        shard = np.zeros(len(self._pending), self._row)
        for row, (key, entry) in enumerate(self._pending.items()):
            shard[row] = (np.void(key), np.void(entry.input), (entry.strength, entry.difference), entry.vector)
        path = self.folder / f"{uuid.uuid4().hex}.npy"
        with atomic(path) as file:
            np.save(file, shard)
        self._pending.clear()
        self._open(path)
