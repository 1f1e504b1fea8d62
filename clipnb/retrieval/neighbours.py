"""Find the nearest gallery images to each query, and leave excluded images out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..metrics.ranking import TIE, tie_order
from ..metrics.validity import result_distances
from .duplicates import Excluded
from .faiss_index import FaissIndex


@dataclass(frozen=True)
class Ties:
    """The data that order tied images (`metrics.ranking.tie_order`)."""

    clean: NDArray[np.float32]  # (q, dim) embeddings of the clean queries
    gallery: Any  # (n, dim) embeddings
    own: NDArray[np.integer]  # (q,) codes of the queries' categories
    kinds: NDArray[np.integer]  # (n,) codes of the gallery's categories
    names: NDArray[np.integer]  # (n,) rank of each image by content, different for each image

    def order(self, of: NDArray[np.integer], rows: NDArray[np.integer], similarity: NDArray[np.float64]) -> NDArray[np.integer]:
        """(q, f) positions of the rows of the queries `of`, best first."""
        distances = result_distances(self.clean[of], self.gallery, rows)
        return tie_order(similarity, self.kinds[rows] == self.own[of][:, None], distances, self.names[rows])


def cosines(queries: NDArray[np.float32], gallery: Any, rows: NDArray[np.integer]) -> NDArray[np.float64]:
    """(q, f) cosines of queries and gallery rows, computed in float64, some queries at a time."""
    out = np.empty(rows.shape)
    for start in range(0, len(rows), 256):
        part = slice(start, start + 256)
        out[part] = np.einsum("qd,qfd->qf", queries[part].astype(np.float64), gallery[rows[part]].astype(np.float64))
    return out


def require_results(k: int, others: float, copies: int = 0, unused: str = "") -> None:
    """Raise a `UserError` that names the largest possible k if k is more than the images besides the query's own and its `copies`.

    `unused` describes the files of the gallery that are not used, for the message.
    """
    if k > others:
        left = f" (not used: {unused})" if unused else ""
        smaller = f"pass a smaller one (-p k {others}) or " if others > 0 else ""
        rule = f" ({copies} left out as copies of a query; with -p duplicates -1 only equal files are)" if copies > 0 else ""
        raise UserError(
            f"k = {k} is more than the {max(others, 0)} other images in the gallery{rule}: {smaller}add photographs{left}"
        )


def retrieve(
    index: FaissIndex, queries: NDArray[np.float32], k: int, excluded: Excluded, ties: Ties, *, exact: bool = True
) -> NDArray[np.int64]:
    """Find the k nearest gallery images to each of (q, dim) unit queries, without the excluded ones.

    They are (q, k) gallery rows, best first; -1 where an approximate index found fewer. An `exact` index, which finds every vector
    when it is asked for all, is searched until the tie of the last result is complete; a `UserError` says that it has too few.
    """
    out = np.full((len(queries), k), -1, dtype=np.int64)
    waiting, size = np.arange(len(queries)), len(ties.gallery)
    fetch = min(size, k + 2)
    while len(waiting):
        rows = index.search(queries[waiting], fetch)
        missing = rows < 0
        rows = np.where(missing, 0, rows)
        bad = missing | excluded(waiting, rows)
        similarity = cosines(queries[waiting], ties.gallery, rows)
        farthest = similarity[:, -1].copy()
        similarity[bad] = -np.inf  # after all allowed rows
        order = ties.order(waiting, rows, similarity)[:, :k]
        best = np.where(np.take_along_axis(bad, order, axis=1), -1, np.take_along_axis(rows, order, axis=1))
        out[waiting, : best.shape[1]] = best
        good = (~bad).sum(axis=1)
        if fetch == size:
            if exact:
                require_results(k, int(good.min()), size - 1 - int(good.min()))
            break
        last = np.take_along_axis(similarity, order, axis=1)[:, -1]
        waiting = waiting[(good < k) | (exact & (last - farthest < 4 * TIE))]  # the index rounds to float32
        fetch = min(size, 4 * fetch)
    return out
