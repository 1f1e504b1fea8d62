"""Indexes over unit vectors: exact, or approximate with a measured recall (faiss, inner product)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.files import atomic
from .._core.random import rng_for
from ..errors import UserError
from .neighbours import Index

EF_SEARCH = 128
NPROBE = 64
SEARCH_BLOCK = 4096
"""Vectors that a batch of queries is compared with at once, by exact search; measured 1.2 times as fast as faiss's 1024."""
SAMPLE = 200
"""Queries on which the recall of an approximate index is measured."""
APPROXIMATE_FROM = 1_000_000
"""Vectors from which `clipnb index` writes HNSW with 16-bit vectors instead of the exact index: half the memory, recall .998."""
TRAIN = 100_000
"""Vectors on which a quantizer is trained, at most."""


class FaissIndex:
    """A faiss index, built here or read from a file."""

    def __init__(self, index: Any) -> None:
        self.faiss = index

    @property
    def size(self) -> int:
        return int(self.faiss.ntotal)

    @property
    def dim(self) -> int:
        return int(self.faiss.d)

    @property
    def is_exact(self) -> bool:
        import faiss

        return isinstance(faiss.downcast_index(self.faiss), faiss.IndexFlat)

    def search(self, queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """Rows of the gallery nearest to each of (q, dim) unit queries, best first: (q, k), -1 where there is none."""
        _, rows = self.faiss.search(np.ascontiguousarray(queries, dtype=np.float32), k)
        found: NDArray[np.int64] = rows
        return found

    def stored_vectors(self) -> NDArray[np.float32]:
        """The vectors as the index holds them, (n, dim): those that were added, or what its compression left of them."""
        import faiss

        inner = faiss.downcast_index(self.faiss.index if isinstance(self.faiss, faiss.IndexPreTransform) else self.faiss)
        if isinstance(inner, faiss.IndexIVF):
            inner.make_direct_map()
        vectors: NDArray[np.float32] = self.faiss.reconstruct_n(0, self.size)
        return vectors


def build(kind: str, vectors: Iterable[NDArray[np.floating]], size: int, dim: int, seed: int = 0) -> FaissIndex:
    """Index vectors that come in blocks.

    Args:
        kind: "exact"; "hnsw" (a graph of 32 links a node, vectors in 16 bits); "ivf" (about 4 √n lists, vectors in full).
        vectors: blocks of (b, dim), unit rows; read once, in order.
        size: of all blocks together.
        dim: length of a vector.
        seed: of the sample that lists are trained on.

    Raises:
        UserError: there are no vectors, or none such kind.
    """
    import faiss

    if size < 1:
        raise UserError("a gallery of no vectors cannot be searched")
    index: Any
    faiss.cvar.distance_compute_blas_database_bs = SEARCH_BLOCK
    if kind == "exact":
        index = faiss.IndexFlatIP(dim)
    elif kind == "hnsw":
        index = faiss.index_factory(dim, "HNSW32,SQfp16", faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efSearch = EF_SEARCH
    elif kind == "ivf":
        index = faiss.index_factory(dim, f"IVF{lists(size)},Flat", faiss.METRIC_INNER_PRODUCT)
        index.nprobe = min(NPROBE, lists(size))
    else:
        raise UserError(f"unknown index {kind!r}; choose from exact, hnsw, ivf")
    blocks = (np.ascontiguousarray(block, dtype=np.float32) for block in vectors)
    if not index.is_trained:
        held = _enough(blocks, min(size, TRAIN))
        sample = np.concatenate(held)
        if len(sample) > TRAIN:
            sample = sample[rng_for(seed, "train").choice(len(sample), TRAIN, replace=False)]
        index.train(sample)
        for block in held:
            index.add(block)
    for block in blocks:
        index.add(block)
    return FaissIndex(index)


def lists(size: int) -> int:
    """Inverted lists for a gallery of that size: about 4 √n, and 39 vectors at least to train each."""
    return max(1, min(int(4 * size**0.5), size // 39))


def _enough(blocks: Iterable[NDArray[np.float32]], least: int) -> list[NDArray[np.float32]]:
    held: list[NDArray[np.float32]] = []
    for block in blocks:
        held.append(block)
        if sum(map(len, held)) >= least:
            break
    return held


def write(index: FaissIndex, path: Path) -> None:
    """Write an index file, all of it or nothing."""
    import faiss

    with atomic(path) as file:
        faiss.write_index(index.faiss, faiss.PyCallbackIOWriter(file.write))  # type: ignore[attr-defined]


def read(path: Path) -> FaissIndex:
    """Open an index file; it stays on disk, and the system reads of it what is asked for (memory mapping).

    Raises:
        UserError: it is no index that faiss reads, or one of distances instead of inner products.
    """
    import faiss

    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_READ_ONLY)
    except RuntimeError as error:
        raise UserError(f"{path} is not an index that faiss can read: {str(error).strip().splitlines()[-1]}") from error
    if index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise UserError(f"{path} compares distances, not inner products: build it again with clipnb index or clip-retrieval index")
    return FaissIndex(index)


def exact_search(vectors: Any, queries: NDArray[np.float32], k: int, block: int = 100_000) -> NDArray[np.int64]:
    """Exact search through vectors that may lie on disk, a block in memory at a time: (q, k) rows, best first."""
    import faiss

    best = np.full((len(queries), k), -np.inf, dtype=np.float32)
    rows = np.full((len(queries), k), -1, dtype=np.int64)
    for start in range(0, len(vectors), block):
        part = np.ascontiguousarray(vectors[start : start + block], dtype=np.float32)
        near, at = faiss.knn(queries, part, min(k, len(part)), metric=faiss.METRIC_INNER_PRODUCT)
        both, where = np.hstack([best, near]), np.hstack([rows, at + start])
        order = np.argsort(-both, axis=1, kind="stable")[:, :k]
        best, rows = np.take_along_axis(both, order, axis=1), np.take_along_axis(where, order, axis=1)
    return rows


def recall_at_k(index: Index, vectors: Any, queries: NDArray[np.float32], k: int) -> float:
    """recall@k of an index against exact search: the share of the k truly nearest that it finds, in [0, 1].

    Results that are as near as the k-th nearest count as found, so that ties cost nothing.

    Args:
        index: over `vectors`.
        vectors: (n, dim) gallery.
        queries: (q, dim) to measure on.
        k: at most n.
    """
    found = index.search(queries, k)
    exact = exact_search(vectors, queries, k)
    last = np.einsum("qd,qd->q", queries, vectors[exact[:, -1]].astype(np.float32))
    near = np.einsum("qd,qkd->qk", queries, vectors[np.maximum(found, 0)].astype(np.float32))
    return float(np.mean((near >= last[:, None] - 1e-6) & (found >= 0)))
