"""FAISS indexes of unit vectors by inner product: exact, or approximate with a measured recall."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.files import atomic
from .._core.paths import shown
from .._core.random import rng_for
from ..errors import UserError

EF_SEARCH = 128
NPROBE = 64
SEARCH_BLOCK = 4096  # number of vectors in a block of the exact search; measured to be 1.2 times as fast as the 1024 of FAISS
SAMPLE = 200  # number of queries on which the recall of an approximate index is measured
APPROXIMATE_FROM = 1_000_000  # vectors from which `clipnb index` writes HNSW with 16 bits: half the memory, and a recall of 0.998
AT_ONCE = 100_000  # vectors in memory at a time: to train a quantizer, and in a block of an exact search


class FaissIndex:
    """A FAISS index that was built here or read from a file."""

    def __init__(self, index: Any, path: Path | None = None) -> None:
        self.faiss, self.path = index, path
        self.size, self.dim = int(index.ntotal), int(index.d)

    @property
    def is_exact(self) -> bool:
        import faiss

        return isinstance(faiss.downcast_index(self.faiss), faiss.IndexFlat)

    def search(self, queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """Find the gallery rows nearest to each of (q, dim) unit queries: (q, k), best first, -1 where there is none."""
        with _one_line(self.path):
            return np.asarray(self.faiss.search(np.ascontiguousarray(queries, dtype=np.float32), k)[1])

    def stored_vectors(self) -> NDArray[np.float32]:
        """The (n, dim) vectors as the index holds them, after any compression."""
        import faiss

        with _one_line(self.path):
            inner = faiss.downcast_index(self.faiss.index if isinstance(self.faiss, faiss.IndexPreTransform) else self.faiss)
            if isinstance(inner, faiss.IndexIVF):
                inner.make_direct_map()
            return np.asarray(self.faiss.reconstruct_n(0, self.size))


def build(kind: str, vectors: Iterable[NDArray[np.floating]], size: int, dim: int, seed: int = 0) -> FaissIndex:
    """Index `size` vectors that come in blocks of (b, dim) unit rows; the blocks are read once and in order.

    Args:
        kind: "exact", "hnsw" (a graph with 32 links at each node, 16-bit vectors) or "ivf" (about 4 √n lists, full vectors).
        seed: seed of the sample on which the lists are trained.
    """
    import faiss

    if size < 1:
        raise UserError("a gallery without vectors cannot be searched")
    faiss.cvar.distance_compute_blas_database_bs = SEARCH_BLOCK
    if kind == "exact":
        index: Any = faiss.IndexFlatIP(dim)
    elif kind == "hnsw":
        index = faiss.index_factory(dim, "HNSW32,SQfp16", faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efSearch = EF_SEARCH
    elif kind == "ivf":
        index = faiss.index_factory(dim, f"IVF{lists(size)},Flat", faiss.METRIC_INNER_PRODUCT)
        index.nprobe = min(NPROBE, lists(size))
    else:
        raise UserError(f"unknown index {kind!r}; choose from exact, hnsw, ivf")
    blocks: Iterable[NDArray[np.float32]] = (np.ascontiguousarray(block, dtype=np.float32) for block in vectors)
    if not index.is_trained:
        held: list[NDArray[np.float32]] = []
        for block in blocks:
            held.append(block)
            if sum(map(len, held)) >= AT_ONCE:
                break
        sample = np.concatenate(held)
        if len(sample) > AT_ONCE:
            sample = sample[rng_for(seed, "train").choice(len(sample), AT_ONCE, replace=False)]
        index.train(sample)
        blocks = chain(held, blocks)
    for block in blocks:
        index.add(block)
    return FaissIndex(index)


def lists(size: int) -> int:
    """Number of inverted lists for a gallery of n vectors: about 4 √n, with at least 39 training vectors for each list."""
    return max(1, min(int(4 * size**0.5), size // 39))


def write(index: FaissIndex, path: Path) -> None:
    """Write an index file, completely or not at all."""
    import faiss

    with atomic(path) as file:
        faiss.write_index(index.faiss, faiss.PyCallbackIOWriter(file.write))  # type: ignore[attr-defined]


def read(path: Path) -> FaissIndex:
    """Open an index file, which stays on disk; a `UserError` if it is damaged, compares distances, or has ids of its own."""
    import faiss

    with _one_line(path):
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_READ_ONLY)
    if index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise UserError(f"{path} compares distances, not inner products: build it again with clipnb index or clip-retrieval index")
    if isinstance(faiss.downcast_index(index), faiss.IndexIDMap):
        raise UserError(f"{shown(path)} numbers its images by ids of its own, not by rows: pass -p index exact, or build it again")
    return FaissIndex(index, path)


@contextmanager
def _one_line(path: Path | None) -> Iterator[None]:
    """Report what FAISS says of a damaged index in one line."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if path is None:
            raise
        raise UserError(f"{shown(path)} is not an index that faiss can read: {str(error).strip().splitlines()[-1]}") from error


def recall_at_k(index: FaissIndex, vectors: Any, queries: NDArray[np.float32], k: int) -> float:
    """recall@k of an index against exact search, in [0, 1]: the share of the k nearest vectors that the index finds.

    A result that is as near as the k-th nearest vector counts as found, so that ties do not lower the recall. `vectors` (n, dim)
    may lie on disk; `queries` are (q, dim), and k is at most n.
    """
    import faiss
    from faiss.contrib.exhaustive_search import knn_ground_truth

    found = index.search(queries, k)
    blocks = (np.ascontiguousarray(vectors[at : at + AT_ONCE], dtype=np.float32) for at in range(0, len(vectors), AT_ONCE))
    _, exact = knn_ground_truth(np.ascontiguousarray(queries), blocks, k, faiss.METRIC_INNER_PRODUCT, ngpu=0)
    last = np.einsum("qd,qd->q", queries, vectors[exact[:, -1]].astype(np.float32))
    near = np.einsum("qd,qkd->qk", queries, vectors[np.maximum(found, 0)].astype(np.float32))
    return float(np.mean((near >= last[:, None] - 1e-6) & (found >= 0)))
