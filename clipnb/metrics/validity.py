"""Validity of results under a manipulation, and shift of the embedding.

Notation: v is the embedding of a clean query, v' that of the manipulated query, both of unit length; a result is a
gallery vector g. A query without a usable result scores NaN, never 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def result_distances(clean: Floats, gallery: Floats, rows: NDArray[np.integer], block: int = 256) -> NDArray[np.float64]:
    """L2 distance of each result to the clean query: (q, k) of ‖g - v‖, in [0, 2] for unit vectors, NaN where there is no result.

    Args:
        clean: (q, dim) embeddings v.
        gallery: (n, dim) embeddings g.
        rows: (q, k) rows of the gallery, -1 where there is no result.
        block: queries per block; memory is bounded by block x k x dim.

    >>> result_distances(np.array([[1.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0, 1, -1]])).round(3)
    array([[0.   , 1.414,   nan]])
    """
    out = np.full(rows.shape, np.nan)
    for start in range(0, len(rows) if len(gallery) else 0, block):
        part = slice(start, start + block)
        out[part] = np.linalg.norm(gallery[rows[part]].astype(np.float64) - clean[part, None, :], axis=2)
    return np.where(rows < 0, np.nan, out)


def valid_at_k(distances: Floats, tau: float) -> NDArray[np.float64]:
    """valid@k,tau, which the study calls accuracy: the share of a query's usable results with ‖g - v‖ < tau.

    For unit vectors an L2 distance d corresponds to a cosine of 1 - d²/2; tau = 0.8 to a cosine of 0.68. `distances` (q, k) are
    those of the results to the clean query, NaN for an unusable result. The share is (q,) in [0, 1], NaN without usable results.

    >>> valid_at_k(np.array([[0.5, 1.0, np.nan]]), tau=0.8)
    array([0.5])
    """
    usable = ~np.isnan(distances)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((distances < tau).sum(axis=1) / usable.sum(axis=1), dtype=np.float64)


def shift(clean: Floats, manipulated: Floats) -> NDArray[np.float64]:
    """Shift of each (q, dim) unit embedding by a manipulation: 1 - cos(v, v'), (q,) in [0, 2].

    >>> shift(np.array([[1.0, 0.0]]), np.array([[0.6, 0.8]]))
    array([0.4])
    """
    cosine = np.einsum("qd,qd->q", clean.astype(np.float64), manipulated.astype(np.float64))
    return np.asarray(np.clip(1.0 - cosine, 0.0, 2.0), dtype=np.float64)
