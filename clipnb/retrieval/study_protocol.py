"""The retrieval protocol of the study, which a run in mode `study` repeats; `clipnb.spec` says how the modes differ."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.paths import data_root
from .._core.random import rng_for


def move_queries(queries: NDArray[np.float32], direction: NDArray[np.float32], weight: float) -> NDArray[np.float32]:
    """Apply the study's aesthetic option as clip-retrieval's back end computes it: (q + w a) / ‖q + w a‖.

    q are (q, dim) unit vectors, and a (dim,) is the mean embedding of photographs with one rating. If a has unit length and is
    orthogonal to q, w = 0.5 moves the query by an L2 distance of 0.46.
    """
    if not weight:
        return queries
    towards = queries.astype(np.float64) + weight * direction.astype(np.float64)
    return np.asarray(towards / np.linalg.norm(towards, axis=1, keepdims=True), dtype=np.float32)


def aesthetic_direction(encoder: str, dim: int, score: int, seed: int) -> tuple[NDArray[np.float32], str]:
    """Find the direction for `move_queries`: (direction (dim,), description of its origin).

    LAION's aesthetic predictor publishes such vectors for ViT-L/14 and ViT-B/32 as `rating<score>.npy`. They are read from
    `aesthetic/<model>/` in $CLIPNB_DATA. If the file is missing, a random direction replaces it. A random direction is
    nearly orthogonal to every photograph, so it moves a query by about the same distance but towards no photograph.
    """
    folder = {"ViT-L/14": "vit_l_14_embeddings", "ViT-B/32": "vit_b_32_embeddings"}.get(encoder, "")
    path = data_root() / "aesthetic" / folder / f"rating{score}.npy"
    if folder and path.is_file():
        return np.load(path, allow_pickle=False).astype(np.float32).reshape(dim), f"rating {score} of the aesthetic predictor"
    drawn = rng_for(seed, "aesthetic", score, dim).normal(size=dim)
    return (drawn / np.linalg.norm(drawn)).astype(np.float32), "a random direction that stands in for the aesthetic vector"


def without_lookalikes(rows: NDArray[np.int64], vectors: Any) -> NDArray[np.int64]:
    """Drop results of a query that look like a better result, as clip-retrieval's `deduplicate` does.

    Two results are linked if their cosine is above 0.94; the best result of each connected group is kept. `rows` (k,) are rows of
    `vectors` (n, dim), best first, and -1 where there is none. The kept rows are returned in their order, followed by -1.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    there = rows[rows >= 0]
    held = vectors[there].astype(np.float64)
    _, group = connected_components(csr_array(held @ held.T > 0.94), directed=False)
    _, first = np.unique(group, return_index=True)
    kept = there[np.sort(first)]
    return np.concatenate([kept, np.full(len(rows) - len(kept), -1, dtype=rows.dtype)])
