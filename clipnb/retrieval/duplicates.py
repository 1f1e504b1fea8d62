"""Rules that say which gallery images are the query itself, or a copy of it: by content and picture, not by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets.images import RGB, decode, read
from ..datasets.picture_hash import BITS, SIDE, picture_hash
from ..errors import UnreadableImage

COLUMN = "dhash_16x16"
"""Metadata column of a gallery with picture hashes in hexadecimal; named after the hash, so that no other hash is compared."""

LIKELY = 0.5
"""A file whose embedding has this cosine to the clean query, or a higher one, may be a copy and is worth reading."""

SAME_VECTOR = 0.9999
"""Cosine from which two embeddings count as the same image; rounding an embedding to float16 keeps the cosine above it."""

Excluded = Callable[[NDArray[np.integer], NDArray[np.integer]], NDArray[np.bool_]]
"""(queries (q,), gallery rows (q, f)) -> (q, f), True where the query must not find the row."""


class PictureHash:
    """The picture hash as an encoder of 256 values of ±1/16, so that the cache keeps hashes as it keeps embeddings."""

    name = "picture-hash"
    dim = BITS
    input_size = SIDE
    weights_sha256 = ""
    identity = "picture-hash|2"
    batch_size = 256

    def prepare(self, image: RGB) -> NDArray[np.uint8]:
        return picture_hash(image)

    def encode(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.where(np.unpackbits(batch, axis=1), 1 / SIDE, -1 / SIDE).astype(np.float32)


def packed(vectors: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The (n, 32) packed hashes of (n, 256) vectors that `PictureHash.encode` made."""
    return np.packbits(vectors > 0, axis=1)


def same_content(queries: Sequence[str], gallery: Sequence[str]) -> Excluded:
    """Exclude gallery images whose file has the query's digest; "" stands for an unknown digest and equals none."""
    asked = np.asarray(queries, dtype=np.str_)
    held = np.asarray(gallery, dtype=np.str_)
    return lambda rows_of, rows: np.asarray((held[rows] == asked[rows_of][:, None]) & (held[rows] != ""))


def same_picture(
    queries: NDArray[np.uint8], gallery: NDArray[np.uint8], bits: int, known: NDArray[np.bool_] | None = None
) -> Excluded:
    """Exclude gallery images whose picture hash differs from the query's in at most `bits` of 256 bits.

    Args:
        queries: (q, 32) packed hashes.
        gallery: (n, 32) packed hashes.
        bits: 0 excludes pictures of equal hash only; a negative number excludes none.
        known: (n,) whether each hash of the gallery is known; by default all are.
    """

    def excluded(rows_of: NDArray[np.integer], rows: NDArray[np.integer]) -> NDArray[np.bool_]:
        differing = np.bitwise_count(gallery[rows] ^ queries[rows_of][:, None, :]).sum(axis=2, dtype=np.int64)
        return np.asarray((differing <= bits) & (True if known is None else known[rows]))

    return excluded


def same_file(queries: NDArray[np.uint8], clean: NDArray[np.float32], gallery: Any, paths: Sequence[str], bits: int) -> Excluded:
    """Do what `same_picture` does, for a gallery that knows its files but not their hashes.

    It reads only files that may be copies: those whose embedding has a cosine of at least `LIKELY` to the clean query.

    Args:
        queries: (q, 32) packed hashes.
        clean: (q, dim) clean embeddings of the queries.
        gallery: (n, dim) embeddings.
        paths: n files.
        bits: bits in which the hashes of near-copies differ at most.
    """

    def excluded(rows_of: NDArray[np.integer], rows: NDArray[np.integer]) -> NDArray[np.bool_]:
        out = np.zeros(rows.shape, dtype=np.bool_)
        near = np.einsum("qd,qfd->qf", clean[rows_of], gallery[rows]) >= LIKELY
        for query, place in zip(*np.nonzero(near), strict=True):
            found = _hash_of(paths[rows[query, place]])
            if found is not None:
                out[query, place] = np.bitwise_count(found ^ queries[rows_of[query]]).sum(dtype=np.int64) <= bits
        return out

    return excluded


@lru_cache(maxsize=100_000)
def _hash_of(path: str) -> NDArray[np.uint8] | None:
    try:
        return picture_hash(decode(read(Path(path)), path)) if path else None
    except UnreadableImage:
        return None


def same_vector(queries: NDArray[np.float32], gallery: Any) -> Excluded:
    """Exclude gallery images whose embedding is almost that of the clean query, where nothing else is known about them.

    Args:
        queries: (q, dim) clean embeddings of unit length.
        gallery: (n, dim) embeddings of unit length.
    """

    def excluded(rows_of: NDArray[np.integer], rows: NDArray[np.integer]) -> NDArray[np.bool_]:
        return np.asarray(np.einsum("qd,qfd->qf", queries[rows_of], gallery[rows].astype(np.float32)) >= SAME_VECTOR)

    return excluded


def any_of(*rules: Excluded) -> Excluded:
    """Exclude what any of the rules excludes; without rules, nothing."""
    return lambda at, rows: np.asarray(np.any([np.zeros(rows.shape, np.bool_), *(rule(at, rows) for rule in rules)], axis=0))
