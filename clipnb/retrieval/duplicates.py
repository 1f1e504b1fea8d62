"""Which gallery images are the query itself: by content, not by name.

Two files are copies when their bytes agree, or when their pictures do: a difference hash (Krawetz 2013) of 16 x 16
grey cells survives resizing and recompression. Of its 256 bits, copies of a photograph at JPEG quality 40 differ in
about 10, and the nearest two *different* photographs of the sample sets and of MiniPlaces in 37.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..datasets.images import RGB

SIDE = 16
BITS = SIDE * SIDE
LIKELY = 0.5

Excluded = Callable[[NDArray[np.integer], NDArray[np.integer]], NDArray[np.bool_]]
"""(queries (q,), gallery rows (q, f)) -> which of the rows each query must not find, (q, f)."""


def picture_hash(image: RGB) -> NDArray[np.uint8]:
    """Which of 16 x 17 grey cells is brighter than its left neighbour: (32,) packed bits."""
    grey = np.asarray(Image.fromarray(image).convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BOX), dtype=np.int16)
    return np.packbits(grey[:, 1:] > grey[:, :-1])


class PictureHash:
    """The hash as an encoder, so that hashes are computed and kept as embeddings are: 256 values of ±1/16."""

    name = "picture-hash"
    dim = BITS
    input_size = SIDE
    weights_sha256 = ""
    identity = "picture-hash|1"
    batch_size = 256

    def prepare(self, image: RGB) -> NDArray[np.uint8]:
        return picture_hash(image)

    def encode(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.where(np.unpackbits(batch, axis=1), 1 / SIDE, -1 / SIDE).astype(np.float32)


def packed(vectors: NDArray[np.float32]) -> NDArray[np.uint8]:
    """What `PictureHash.encode` made, back to (n, 32) packed bits."""
    return np.packbits(vectors > 0, axis=1)


def same_content(queries: Sequence[str], gallery: Sequence[str]) -> Excluded:
    """Gallery images whose file has the query's digest; "" is an unknown one, equal to none."""
    asked = np.asarray(queries, dtype=np.str_)
    held = np.asarray(gallery, dtype=np.str_)

    def excluded(rows_of: NDArray[np.integer], rows: NDArray[np.integer]) -> NDArray[np.bool_]:
        return np.asarray((held[rows] == asked[rows_of][:, None]) & (held[rows] != ""))

    return excluded


def same_picture(
    queries: NDArray[np.uint8], gallery: NDArray[np.uint8], bits: int, known: NDArray[np.bool_] | None = None
) -> Excluded:
    """Gallery images whose picture hash differs from the query's in at most so many of 256 bits.

    Args:
        queries: (q, 32) packed hashes.
        gallery: (n, 32) packed hashes.
        bits: 0 for pictures of equal hash; below 0 none is excluded.
        known: (n,) which of the gallery's hashes are known; all by default.
    """

    def excluded(rows_of: NDArray[np.integer], rows: NDArray[np.integer]) -> NDArray[np.bool_]:
        differing = np.bitwise_count(gallery[rows] ^ queries[rows_of][:, None, :]).sum(axis=2, dtype=np.int64)
        return np.asarray((differing <= bits) & (True if known is None else known[rows]))

    return excluded


def same_file(
    queries: NDArray[np.uint8],
    clean: NDArray[np.float32],
    gallery: Any,
    paths: Sequence[str],
    bits: int,
    hash_of: Callable[[str], NDArray[np.uint8] | None],
) -> Excluded:
    """As `same_picture`, for a gallery that does not know its pictures' hashes but where their files are.

    Only files that may be copies are read: those whose embedding has a cosine of 0.5 or more to the clean query.

    Args:
        queries: (q, 32) packed hashes.
        clean: (q, dim) clean embeddings of the queries.
        gallery: (n, dim) embeddings.
        paths: n files.
        bits: as in `same_picture`.
        hash_of: packed hash of a file, or None where it cannot be read.
    """

    def excluded(rows_of: NDArray[np.integer], rows: NDArray[np.integer]) -> NDArray[np.bool_]:
        out = np.zeros(rows.shape, dtype=np.bool_)
        near = np.einsum("qd,qfd->qf", clean[rows_of], gallery[rows]) >= LIKELY
        for query, place in zip(*np.nonzero(near), strict=True):
            found = hash_of(paths[rows[query, place]])
            if found is not None:
                out[query, place] = np.bitwise_count(found ^ queries[rows_of[query]]).sum(dtype=np.int64) <= bits
        return out

    return excluded


def same_vector(queries: NDArray[np.float32], gallery: Any, cosine: float) -> Excluded:
    """Gallery images whose embedding is all but that of the clean query, where nothing else is known of them.

    Args:
        queries: (q, dim) clean embeddings of unit length.
        gallery: (n, dim).
        cosine: from which on; that of one embedding before and after rounding to float16 is above 0.9999.
    """

    def excluded(rows_of: NDArray[np.integer], rows: NDArray[np.integer]) -> NDArray[np.bool_]:
        held = gallery[rows].astype(np.float32)
        return np.asarray(np.einsum("qd,qfd->qf", queries[rows_of], held) >= cosine)

    return excluded


def any_of(*rules: Excluded) -> Excluded:
    """What any of the rules excludes; nothing, of no rules."""

    def excluded(rows_of: NDArray[np.integer], rows: NDArray[np.integer]) -> NDArray[np.bool_]:
        found = np.zeros(rows.shape, dtype=np.bool_)
        for rule in rules:
            found |= rule(rows_of, rows)
        return found

    return excluded
