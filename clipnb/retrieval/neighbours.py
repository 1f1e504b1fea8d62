"""Find the nearest gallery images to each query, and leave excluded images out."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from .duplicates import Excluded


class Index(Protocol):
    """An index of a gallery's vectors."""

    def search(self, queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """Find the gallery rows nearest to each of (q, dim) unit queries: (q, k), best first, -1 where there is none."""


def require_results(k: int, others: int) -> None:
    """Check that a gallery has at least k images besides the query's own.

    Raises:
        UserError: it has fewer; the message names the largest possible k.
    """
    if k > others:
        smaller = f"pass a smaller one (-p k {others}) or " if others > 0 else ""
        raise UserError(f"k = {k} is more than the {max(others, 0)} other images in the gallery: {smaller}add photographs")


def retrieve(
    index: Index, queries: NDArray[np.float32], k: int, excluded: Excluded, size: int, *, exact: bool = True
) -> NDArray[np.int64]:
    """Find the k nearest gallery images to each query, without the excluded ones.

    Args:
        queries: (q, dim) unit vectors.
        k: number of results, at least 1.
        excluded: rule for the gallery images that a query must not find: its own image and copies of it.
        size: number of images in the gallery.
        exact: whether the index finds every vector when it is asked for all of them.

    Returns:
        (q, k) gallery rows, best first; -1 where an approximate index found fewer.

    Raises:
        UserError: the gallery is too small to give k results for every query.
    """
    out = np.full((len(queries), k), -1, dtype=np.int64)
    waiting = np.arange(len(queries))
    fetch = min(size, k + 2)
    while len(waiting):
        rows = index.search(queries[waiting], fetch)
        bad = (rows < 0) | excluded(waiting, np.maximum(rows, 0))
        order = np.argsort(bad, axis=1, kind="stable")[:, :k]  # allowed rows first, in their order
        best = np.where(np.take_along_axis(bad, order, axis=1), -1, np.take_along_axis(rows, order, axis=1))
        out[waiting, : best.shape[1]] = best
        good = (~bad).sum(axis=1)
        if fetch == size:
            if exact:
                require_results(k, int(good.min()))
            break
        waiting = waiting[good < k]
        fetch = min(size, 4 * fetch)
    return out
