"""Measures of retrieval under a manipulation: pure functions on arrays.

Notation: v is the clean embedding of a query, v' the manipulated one, both of unit length; a result is a gallery
vector g. A query without a usable result has no score (NaN): it is absent, never 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def result_distances(clean: Floats, gallery: Floats, rows: NDArray[np.integer], block: int = 256) -> NDArray[np.float64]:
    """L2 distance of each result to the CLEAN query: ‖g - v‖, in [0, 2] for unit vectors.

    Args:
        clean: (q, dim) embeddings v.
        gallery: (n, dim) embeddings g.
        rows: (q, k) results of each query as rows of the gallery, -1 where there is none.
        block: queries at a time; bounds memory at block x k x dim.

    Returns:
        (q, k), NaN where there is no result.
    """
    out = np.empty(rows.shape)
    for start in range(0, len(rows), block):
        part = slice(start, start + block)
        out[part] = np.linalg.norm(gallery[rows[part]].astype(np.float64) - clean[part, None, :], axis=2)
    return np.where(rows < 0, np.nan, out)


def valid_at_k(distances: Floats, tau: float) -> NDArray[np.float64]:
    """The study's accuracy, valid@k,tau: share of a query's usable results with ‖g - v‖ < tau.

    On unit vectors L2 distance d is cosine 1 - d²/2, so that tau = 0.8 is cosine 0.68.

    Args:
        distances: (q, k), NaN where a result is not usable.
        tau: threshold.

    Returns:
        (q,) in [0, 1], NaN for a query without usable results.
    """
    usable = ~np.isnan(distances)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((distances < tau).sum(axis=1) / usable.sum(axis=1), dtype=np.float64)


def shift(clean: Floats, manipulated: Floats) -> NDArray[np.float64]:
    """How far a manipulation moved each embedding: 1 - cos(v, v'), (q,) in [0, 2]."""
    cosine = np.einsum("qd,qd->q", clean.astype(np.float64), manipulated.astype(np.float64))
    return np.asarray(np.clip(1.0 - cosine, 0.0, 2.0), dtype=np.float64)


def zero_shot(queries: Floats, prompts: Floats, labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Whether the text nearest to each query is that of its own category (Radford et al. 2021).

    Args:
        queries: (q, dim) image embeddings of unit length.
        prompts: (c, dim) text embeddings of unit length, one a category.
        labels: (q,) each query's row of `prompts`.

    Returns:
        (q,).
    """
    return np.asarray(np.argmax(queries @ prompts.T, axis=1) == labels)
