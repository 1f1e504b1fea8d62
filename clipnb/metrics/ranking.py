"""How well a ranking puts images of the query's own category first: P@k, R@k, Success@k, AP, AP@R; and its own original.

A query's own image is junk: it is neither relevant nor irrelevant (revisitop; Radenović et al. 2018). Ties are broken
against the query: of images at one similarity the irrelevant come first, so that equal scores earn nothing. Similarities
are compared in float32, the precision of the embeddings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .validity import Floats

Bools = NDArray[np.bool_]
Integers = NDArray[np.integer]

BLOCK_BYTES = 8 * 2**20
"""Size of the similarities that are held at once; a few arrays of it are."""


def precision_at_k(hits: Bools) -> NDArray[np.float64]:
    """P@k = hits / k (TREC): a result that is missing counts as a miss.

    Args:
        hits: (q, k) whether each result is relevant, k at least 1.

    Returns:
        (q,) in [0, 1].
    """
    return np.asarray(hits.mean(axis=1), dtype=np.float64)


def recall_at_k(hits: Bools, relevant: Integers) -> NDArray[np.float64]:
    """R@k = hits / relevant (TREC).

    Args:
        hits: (q, k) whether each result is relevant.
        relevant: (q,) relevant images in the gallery.

    Returns:
        (q,) in [0, 1]; NaN for a query with nothing to find.
    """
    found = hits.sum(axis=1).astype(np.float64)
    return np.asarray(np.divide(found, relevant, out=np.full(len(hits), np.nan), where=np.asarray(relevant) > 0))


def success_at_k(hits: Bools) -> Bools:
    """Success@k: whether any of the k results is relevant, (q,). Not recall: one hit is enough."""
    return np.asarray(hits.any(axis=1))


def ordered_hits(similarity: Floats, relevant: Bools, junk: Bools | None = None) -> Bools:
    """Relevance in ranked order, most similar first, ties worst case.

    Args:
        similarity: (q, n), higher is nearer; finite.
        relevant: (q, n).
        junk: (q, n) left out of the ranking; nothing by default.

    Returns:
        (q, n); a row with j junk images ends in j False.
    """
    bits = (np.asarray(similarity, dtype=np.float32) + np.float32(0)).view(np.int32)  # + 0: no negative zero
    ascending = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # integers in the order of the floats
    keys = ~ascending.astype(np.int64) << 1  # descending; the lowest bit puts the relevant after their equals
    keys |= relevant
    if junk is not None:
        keys[junk] = np.iinfo(np.int64).max - 1
    keys.sort(axis=1)
    return np.asarray(keys & 1, dtype=np.bool_)


@dataclass(frozen=True)
class Precisions:
    """Summaries of whole rankings, (q,) each, in [0, 1]; NaN for a query with nothing to find.

    Attributes:
        ap: average precision, AP = Σ_{i ≤ R} i / rank_i / R over the R relevant images (TREC); its mean is mAP.
        ap_at_r: AP@R = Σ_{rank_i ≤ R} i / rank_i / R, precision counted within the first R places only
            (Musgrave et al. 2020); its mean is mAP@R.
        first: 1 / rank of the first relevant image.
        relevant: R.
    """

    ap: NDArray[np.float64]
    ap_at_r: NDArray[np.float64]
    first: NDArray[np.float64]
    relevant: NDArray[np.int64]


def average_precisions(hits: Bools) -> Precisions:
    """AP, AP@R and the first hit's reciprocal rank of each ranking.

    Args:
        hits: (q, n) relevance in ranked order, all relevant images in it (`ordered_hits`).
    """
    relevant = hits.sum(axis=1)
    at, rank = np.nonzero(hits)
    nth = np.arange(1, len(at) + 1) - np.repeat(np.cumsum(relevant) - relevant, relevant)
    precision = nth / (rank + 1)
    within = rank < relevant[at]
    none = relevant == 0
    with np.errstate(invalid="ignore"):
        ap = np.bincount(at, precision, len(hits)) / relevant
        ap_at_r = np.bincount(at, precision * within, len(hits)) / relevant
    first = np.where(none, np.nan, 1.0 / (1 + np.argmax(hits, axis=1)))
    return Precisions(ap, ap_at_r, first, relevant.astype(np.int64))


def reciprocal_rank(similarity: Floats, target: Floats, junk: Bools | None = None) -> NDArray[np.float64]:
    """1 / rank of one wanted image, ties worst case; the mean is MRR, and self@1 is where it is 1 (DISC21).

    Args:
        similarity: (q, n) to the other images; entries under `junk` do not count.
        target: (q,) similarity to the wanted one; NaN where it is not in the gallery.
        junk: (q, n).

    Returns:
        (q,) in (0, 1]; NaN where there is no target.
    """
    before = similarity >= np.asarray(target)[:, None]
    if junk is not None:
        before &= ~junk
    return np.where(np.isnan(target), np.nan, 1.0 / (1 + before.sum(axis=1)))


def similarity_blocks(queries: Floats, gallery: Floats, rows: int = 0) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Cosines of unit vectors, some queries at a time: (which queries, (b, n)).

    Args:
        queries: (q, dim).
        gallery: (n, dim).
        rows: queries at a time; as many as `BLOCK_BYTES` hold by default.
    """
    rows = rows or max(1, BLOCK_BYTES // (4 * max(1, len(gallery))))
    wide = np.ascontiguousarray(gallery, dtype=np.float32).T
    for start in range(0, len(queries), rows):
        part = slice(start, min(start + rows, len(queries)))
        yield part, np.asarray(queries[part], dtype=np.float32) @ wide


@dataclass(frozen=True)
class Ranked:
    """What whole rankings say of each query.

    Attributes:
        precisions: by category, the own image and its copies left out.
        self_rr: reciprocal rank of the query's own original among all images; NaN where the gallery lacks it.
    """

    precisions: Precisions
    self_rr: NDArray[np.float64]


def rank_all(
    queries: Floats,
    gallery: Floats,
    same_category: tuple[Integers, Integers],
    same_image: tuple[Integers, Integers],
    pictures: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None,
    bits: int = -1,
    rows: int = 0,
) -> Ranked:
    """Rank the whole gallery for every query, a block at a time.

    Args:
        queries: (q, dim) unit vectors.
        gallery: (n, dim) unit vectors.
        same_category: (q,) and (n,) category codes; equal codes are relevant.
        same_image: (q,) and (n,) content codes; equal codes are the query's own image, or a copy of it.
        pictures: (q, 32) and (n, 32) picture hashes; what is left out of results as a near-copy is neither relevant nor in the
            way.
        bits: in which the hashes of near-copies may differ.
        rows: queries at a time; memory is bounded whatever q is.
    """
    kept: list[Precisions] = []
    own_rr: list[NDArray[np.float64]] = []
    for part, similarity in similarity_blocks(queries, gallery, rows):
        own = same_image[0][part, None] == same_image[1]
        junk = own if pictures is None else own | (differing_bits(pictures[0][part], pictures[1]) <= bits)
        relevant = (same_category[0][part, None] == same_category[1]) & ~junk
        target = np.where(own, similarity, -np.inf).max(axis=1)
        own_rr.append(reciprocal_rank(similarity, np.where(own.any(axis=1), target, np.nan), own))
        kept.append(average_precisions(ordered_hits(similarity, relevant, junk)))
    joined = {name: np.concatenate([getattr(p, name) for p in kept] or [np.empty(0)]) for name in Precisions.__dataclass_fields__}
    return Ranked(Precisions(**joined), np.concatenate(own_rr or [np.empty(0)]))


def codes(*labels: object) -> tuple[NDArray[np.int64], ...]:
    """Several lists of labels as integers, equal where the labels are."""
    lists = [np.asarray(part, dtype=str).reshape(-1) for part in labels]
    _, at = np.unique(np.concatenate(lists), return_inverse=True)
    return tuple(np.split(at.astype(np.int64), np.cumsum([len(part) for part in lists])[:-1]))


def differing_bits(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.float32]:
    """In how many of 256 bits every two of (q, 32) and (n, 32) packed hashes differ: (q, n)."""
    signs = [np.unpackbits(hashes, axis=1).astype(np.float32) * 2 - 1 for hashes in (one, other)]
    return np.asarray((signs[0].shape[1] - signs[0] @ signs[1].T) / 2, dtype=np.float32)
