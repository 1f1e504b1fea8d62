"""Exact nearest neighbours among unit vectors, in-process (faiss inner product)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import UserError


class Index(Protocol):
    """What retrieval asks of a gallery."""

    def search(self, queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """Rows of the gallery nearest to each of (q, dim) unit queries, best first: (q, k), -1 where there is none."""
        ...


class ExactIndex:
    """All pairs are compared; memory is that of the vectors."""

    def __init__(self, gallery: NDArray[np.float32]) -> None:
        import faiss

        self._index = faiss.IndexFlatIP(gallery.shape[1])
        self._index.add(np.ascontiguousarray(gallery, dtype=np.float32))

    def search(self, queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        _, rows = self._index.search(np.ascontiguousarray(queries, dtype=np.float32), k)
        found: NDArray[np.int64] = rows
        return found


def require_results(k: int, others: int) -> None:
    """See that a gallery has k images beside the query's own.

    Raises:
        UserError: it has not; the message names the largest k that it allows.
    """
    if k > others:
        smaller = f"pass a smaller one (-p k {others}) or " if others > 0 else ""
        raise UserError(f"k = {k} is more than the {max(others, 0)} other images in the gallery: {smaller}add photographs")


def retrieve(
    index: Index, queries: NDArray[np.float32], k: int, query_digests: Sequence[str], gallery_digests: Sequence[str]
) -> NDArray[np.int64]:
    """The k nearest gallery images to each query, the query's own image excluded.

    "Own" is by content, so a copy of the same file under another name is excluded too.

    Args:
        index: over the gallery.
        queries: (q, dim) unit vectors.
        k: results wanted, at least 1.
        query_digests: q content digests.
        gallery_digests: a content digest for each row of the gallery.

    Returns:
        (q, k) gallery rows, best first; -1 where the index found fewer.

    Raises:
        UserError: the gallery is too small to give k results for every query.
    """
    copies = Counter(gallery_digests)
    most = max((copies[d] for d in query_digests), default=0)
    require_results(k, len(gallery_digests) - most)
    rows = index.search(queries, k + most)
    gallery = np.asarray(gallery_digests)
    own = (gallery[rows] == np.asarray(query_digests)[:, None]) | (rows < 0)
    order = np.argsort(own, axis=1, kind="stable")[:, :k]  # others first, in their order
    return np.take_along_axis(rows, order, axis=1)
