"""What is asked of which gallery, and how: the settings of a run that concern retrieval, and the study's own protocol.

`study` repeats the original protocol: 10 results asked of the gallery, its query moved towards photographs that people
rate 9 (weight 0.5), results that look alike or unsafe dropped, the query's own image not left out, a threshold of 0.8,
and a category without any result counting 0. `corrected` leaves the query alone, asks for as many results as it scores,
leaves the query's own image out, and counts nothing that was not found as 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._core.paths import data_root
from .._core.random import rng_for

if TYPE_CHECKING:
    pass


def moved(queries: NDArray[np.float32], direction: NDArray[np.float32], weight: float) -> NDArray[np.float32]:
    """The study's aesthetic option: (q + w a) / ‖q + w a‖, as clip-retrieval's back end computes it.

    With a of unit length and orthogonal to q, and w = 0.5, the query moves by 0.46 in L2.

    Args:
        queries: (q, dim) unit vectors.
        direction: (dim,) the mean embedding of photographs of one rating.
        weight: w.
    """
    if not weight:
        return queries
    towards = queries.astype(np.float64) + weight * direction.astype(np.float64)
    return np.asarray(towards / np.linalg.norm(towards, axis=1, keepdims=True), dtype=np.float32)


def aesthetic_direction(encoder: str, dim: int, score: int, seed: int) -> tuple[NDArray[np.float32], str]:
    """What `moved` moves towards: (direction (dim,), where it is from).

    The published vectors are for ViT-L/14 and ViT-B/32, as `rating<score>.npy` of LAION's aesthetic predictor; they are
    looked for in `aesthetic/<model>/` in $CLIPNB_DATA. For want of them a random direction stands in, which is all but
    orthogonal to every photograph: it moves a query as far as any vector could, and towards nothing.
    """
    folder = {"ViT-L/14": "vit_l_14_embeddings", "ViT-B/32": "vit_b_32_embeddings"}.get(encoder, "")
    path = data_root() / "aesthetic" / folder / f"rating{score}.npy"
    if folder and path.is_file():
        return np.load(path, allow_pickle=False).astype(np.float32).reshape(dim), f"rating {score} of the aesthetic predictor"
    drawn = rng_for(seed, "aesthetic", score, dim).normal(size=dim)
    return (drawn / np.linalg.norm(drawn)).astype(np.float32), "a random direction that stands in for the aesthetic vector"


def without_lookalikes(rows: NDArray[np.int64], vectors: Any, cosine: float = 0.94) -> NDArray[np.int64]:
    """One query's results with those dropped that look like a better one, as clip-retrieval's `deduplicate` does.

    Results are linked when their cosine is above 0.94; of each connected group only the first is kept.

    Args:
        rows: (k,) rows of `vectors`, best first, -1 where there is none.
        vectors: (n, dim) unit rows.
        cosine: of a link.

    Returns:
        (k,) what is kept, in its order, then -1.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    there = rows[rows >= 0]
    held = vectors[there].astype(np.float64)
    _, group = connected_components(csr_array(held @ held.T > cosine), directed=False)
    _, first = np.unique(group, return_index=True)
    kept = there[np.sort(first)]
    return np.concatenate([kept, np.full(len(rows) - len(kept), -1, dtype=rows.dtype)])
