"""Rules that say which gallery images are the query itself, or a copy of it: by content and picture, not by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets.images import RGB, decode, read
from ..datasets.picture_hash import CELLS, SIDE, near_copies, picture_hash
from ..errors import UnreadableImage

COLUMN = "grey_16x17"  # metadata column with picture hashes in hexadecimal; named after the hash, so that no other is compared
LIKELY = 0.5  # a file whose embedding has this cosine to the clean query, or a higher one, may be a copy and is worth reading
PAIRS = 2**22  # pairs of hashes that are compared at a time
SAME_VECTOR = 0.9999  # cosine from which two embeddings count as one image; rounding to float16 keeps the cosine above it

Excluded = Callable[[NDArray[np.integer], NDArray[np.integer]], NDArray[np.bool_]]
"""(queries (q,), gallery rows (q, f)) -> (q, f), True where the query must not find the row."""


class PictureHash:
    """The picture hash as an encoder, for the cache of embeddings: a vector holds the cells and a 1, scaled to unit length."""

    name = "picture-hash"
    dim = CELLS + 1
    input_size = SIDE
    weights_sha256 = ""
    identity = "picture-hash|3"
    batch_size = 256

    def prepare(self, image: RGB) -> NDArray[np.uint8]:
        return picture_hash(image)

    def encode(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        vectors = np.pad(batch.astype(np.float32), ((0, 0), (0, 1)), constant_values=1)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def hashes_in(vectors: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The (n, 272) hashes in (n, 273) vectors that `PictureHash.encode` made."""
    return np.asarray(np.rint(vectors[:, :-1] / vectors[:, -1:]), dtype=np.uint8)


def same_content(queries: Sequence[str], gallery: Sequence[str]) -> Excluded:
    """Exclude gallery images whose file has the query's digest; "" stands for an unknown digest and equals none."""
    asked = np.asarray(queries, dtype=np.str_)
    held = np.asarray(gallery, dtype=np.str_)
    return lambda rows_of, rows: np.asarray((held[rows] == asked[rows_of][:, None]) & (held[rows] != ""))


def same_picture(queries: NDArray[np.uint8], gallery: NDArray[np.uint8], bits: int, known: NDArray[np.bool_]) -> Excluded:
    """Exclude near-copies by (q, 272) and (n, 272) picture hashes; `known` (n,) says which of the gallery's are known."""

    def excluded(rows_of: NDArray[np.integer], rows: NDArray[np.integer]) -> NDArray[np.bool_]:
        out = np.zeros(rows.shape, dtype=np.bool_)
        block = max(1, PAIRS // len(gallery), math.isqrt(PAIRS // max(1, rows.shape[1])))  # block x different rows <= PAIRS
        for part in (slice(start, start + block) for start in range(0, len(rows), block)):
            held, at = np.unique(rows[part], return_inverse=True)
            near = near_copies(queries[rows_of[part]], gallery[held], bits)
            out[part] = np.take_along_axis(near, at.reshape(rows[part].shape), axis=1)
        return np.asarray(out & known[rows])

    return excluded


def same_file(queries: NDArray[np.uint8], clean: NDArray[np.float32], gallery: Any, paths: Sequence[str], bits: int) -> Excluded:
    """Do what `same_picture` does, for a gallery that knows its n files (`paths`) but not their hashes.

    It reads only files that may be copies: those whose embedding in `gallery` (n, dim) has a cosine of at least `LIKELY` to that
    of the query in `clean` (q, dim).
    """

    def excluded(rows_of: NDArray[np.integer], rows: NDArray[np.integer]) -> NDArray[np.bool_]:
        out = np.zeros(rows.shape, dtype=np.bool_)
        near = np.einsum("qd,qfd->qf", clean[rows_of], gallery[rows]) >= LIKELY
        for query, place in zip(*np.nonzero(near), strict=True):
            found = _hash_of(paths[rows[query, place]])
            if found is not None:
                out[query, place] = near_copies(queries[rows_of[query : query + 1]], found[None], bits)[0, 0]
        return out

    return excluded


@lru_cache(maxsize=100_000)
def _hash_of(path: str) -> NDArray[np.uint8] | None:
    try:
        return picture_hash(decode(read(Path(path)), path)) if path else None
    except UnreadableImage:
        return None


def same_vector(queries: NDArray[np.float32], gallery: Any) -> Excluded:
    """Exclude images without a known hash by their embedding (n, dim), if it almost equals the clean query's (q, dim)."""
    return lambda rows_of, rows: np.asarray(np.einsum("qd,qfd->qf", queries[rows_of], gallery[rows]) >= SAME_VECTOR)


def any_of(*rules: Excluded) -> Excluded:
    """Exclude what any of the rules excludes; without rules, nothing."""
    return lambda at, rows: np.asarray(np.any([np.zeros(rows.shape, np.bool_), *(rule(at, rows) for rule in rules)], axis=0))
