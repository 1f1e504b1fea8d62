"""Ranking quality: how high images of the query's category rank (P@k, R@k, AP, AP@R), and the query's original.

A query's own image is junk: it counts neither as relevant nor as irrelevant (revisitop; Radenović et al. 2018).

Ties. Cosines are compared in steps of `TIE`. Ties are broken against the query: images of another category
come first, then images farther from the clean query, then by the digest of the content; the original comes last. A tie
never raises a score: an encoder that maps all photographs to one vector scores 0, not chance (the worst case of
trec_eval; also Douze et al. 2021). All measures and the results of a run use this order; the order of the gallery
has no influence. The order of a search service is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .validity import Floats, unit_rows

Bools = NDArray[np.bool_]
Integers = NDArray[np.integer]

TIE = 2.0**-20
"""Step in which cosines and distances are compared, about 0.000001: above the rounding of float32 embeddings."""

RANKED_AS_A_WHOLE = 200_000
"""Size of the largest gallery for which measures of the whole ranking, such as average precision, are computed."""

BLOCK_BYTES = 8 * 2**20
"""Size of one block of similarities. A few arrays of this size are in memory at once."""


def precision_at_k(hits: Bools) -> NDArray[np.float64]:
    """P@k = hits / k (TREC) of (q, k) hits, k at least 1: (q,) in [0, 1]. A missing result counts as a miss.

    >>> precision_at_k(np.array([[True, False, True, False]]))
    array([0.5])
    """
    return np.asarray(hits.mean(axis=1), dtype=np.float64)


def recall_at_k(hits: Bools, relevant: Integers) -> NDArray[np.float64]:
    """R@k = hits / relevant (TREC) of (q, k) hits: (q,) in [0, 1]; NaN for a query without relevant images.

    `relevant` (q,) is the number of relevant images in the gallery.

    >>> recall_at_k(np.array([[True, False, True]]), np.array([8]))
    array([0.25])
    """
    found = hits.sum(axis=1).astype(np.float64)
    return np.asarray(np.divide(found, relevant, out=np.full(len(hits), np.nan), where=np.asarray(relevant) > 0))


def in_steps(values: Floats) -> NDArray[np.float64]:
    """Round to whole multiples of `TIE`: values with equal results are ties."""
    return np.asarray(np.rint(np.asarray(values, dtype=np.float64) / TIE))


def tie_order(similarity: Floats, own_kind: Bools, distances: Floats, names: Integers) -> Integers:
    """(q, f) positions of a query's results, best first: most similar first, ties against the query.

    Args:
        similarity: (q, f) cosine to the manipulated query.
        own_kind: (q, f) whether a result has the query's category.
        distances: (q, f) L2 distance to the clean query.
        names: (q, f) rank of each result by content, different for each image.

    >>> tie_order(np.array([[0.5, 0.5, 0.9]]), np.array([[True, False, True]]), np.zeros((1, 3)), np.array([[0, 1, 2]]))
    array([[2, 1, 0]])
    """
    return np.asarray(np.lexsort((names, -in_steps(distances), own_kind, -in_steps(similarity)), axis=-1))


def ordered_hits(similarity: Floats, relevant: Bools, junk: Bools | None = None) -> Bools:
    """(q, n) relevance in ranked order, most similar first; among ties the irrelevant images come first.

    Args:
        similarity: (q, n) finite similarities; higher is nearer.
        relevant: (q, n) whether each image is relevant.
        junk: (q, n) whether it is left out, none by default; a row with j junk images ends with j times False.

    >>> ordered_hits(np.array([[0.9, 0.5, 0.9]]), np.array([[True, True, False]]))
    array([[False,  True,  True]])
    """
    keys = (-2 * in_steps(similarity)).astype(np.int64)  # descending; the lowest bit puts relevant images last among ties
    keys |= relevant
    if junk is not None:
        keys[junk] = np.iinfo(np.int64).max - 1
    keys.sort(axis=1)
    return np.asarray(keys & 1, dtype=np.bool_)


def average_precisions(hits: Bools) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """AP, AP@R and R of each ranking: (q,) each; NaN for a query without relevant images.

    AP = Σ_{i ≤ R} i / rank_i / R over the R relevant images (TREC); its mean is mAP. AP@R = Σ_{rank_i ≤ R} i / rank_i / R counts
    only the first R ranks (Musgrave et al. 2020). `hits` (q, n) is the relevance in ranked order, from `ordered_hits`.

    >>> average_precisions(np.array([[True, False, False, True]]))  # (1 / 1 + 2 / 4) / 2, (1 / 1) / 2, 2
    (array([0.75]), array([0.5]), array([2]))
    """
    relevant = hits.sum(axis=1)
    at, rank = np.nonzero(hits)
    nth = np.arange(1, len(at) + 1) - np.repeat(np.cumsum(relevant) - relevant, relevant)
    precision = nth / (rank + 1)
    within = rank < relevant[at]
    with np.errstate(invalid="ignore"):
        ap = np.bincount(at, precision, len(hits)) / relevant
        ap_at_r = np.bincount(at, precision * within, len(hits)) / relevant
    return ap, ap_at_r, relevant.astype(np.int64)


def expected_ap(relevant: NDArray[np.integer], candidates: int) -> NDArray[np.float64]:
    """Expected average precision of a random ranking (Bestgen 2015), in (0, 1].

    E[AP] = (H + (R - 1)(N - H) / (N - 1)) / N for (q,) numbers R of relevant images, from 1 up, among N candidates, where
    H = 1 + 1/2 + ... + 1/N.

    >>> expected_ap(np.array([1, 2]), 2)  # one relevant image is first or second: (1 + 1/2) / 2
    array([0.75, 1.  ])
    """
    harmonic = float((1 / np.arange(1, candidates + 1)).sum())
    return (harmonic + (relevant - 1) * (candidates - harmonic) / max(1, candidates - 1)) / candidates


def reciprocal_rank(similarity: Floats, target: Floats, junk: Bools | None = None) -> NDArray[np.float64]:
    """1 / rank of one target image, which ranks last among ties. The mean is MRR; self@1 counts the values of 1 (DISC21).

    It is (q,) in (0, 1]; NaN where there is no target.

    Args:
        similarity: (q, n) similarity to the other images.
        target: (q,) similarity to the target image; NaN if it is not in the gallery.
        junk: (q, n) images that do not count; none by default.

    >>> reciprocal_rank(np.array([[0.9, 0.5]]), np.array([0.7]))
    array([0.5])
    """
    before = in_steps(similarity) >= in_steps(target)[:, None]
    if junk is not None:
        before &= ~junk
    return np.where(np.isnan(target), np.nan, 1.0 / (1 + before.sum(axis=1)))


def similarity_blocks(queries: Floats, gallery: Floats) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yield cosine similarities block by block: the slice of b queries and their (b, n) similarities; without queries, b is 0.

    They are computed in float64, because a float32 product depends on the place of an image in the gallery. A `UserError` says
    that a vector is not finite or not of length 1.
    """
    for vectors in (queries, gallery):
        unit_rows(vectors)
    rows = max(1, BLOCK_BYTES // (8 * max(1, len(gallery))))
    wide = np.asarray(gallery, dtype=np.float64).T
    for start in range(0, max(1, len(queries)), rows):
        part = slice(start, min(start + rows, len(queries)))
        yield part, np.asarray(queries[part], dtype=np.float64) @ wide


@dataclass(frozen=True)
class Ranked:
    """Summaries of the ranking of the whole gallery, for each query, by category and without its own image and its copies."""

    ap: NDArray[np.float64]  #: (q,) average precision; NaN for a query without relevant images
    ap_at_r: NDArray[np.float64]  #: (q,) AP@R
    relevant: NDArray[np.int64]  #: (q,) number of relevant images
    self_rr: NDArray[np.float64]  #: (q,) reciprocal rank of the original among all images; NaN if it is not in the gallery
    copies: NDArray[np.int64]  #: (q,) number of copies of the query, without its own image


def rank_all(
    queries: Floats,
    gallery: Floats,
    same_category: tuple[Integers, Integers],
    same_image: tuple[Integers, Integers],
    copies: Callable[[slice], NDArray[np.bool_]] | None = None,
) -> Ranked:
    """Rank the whole gallery for every query. Memory does not grow with the number of queries.

    Args:
        queries, gallery: (q, dim) and (n, dim) unit vectors.
        same_category: (q,) and (n,) category codes; an image with the query's code is relevant.
        same_image: (q,) and (n,) content codes; an image with the query's code is the query's own image or a copy of it.
        copies: a slice of b queries -> (b, n) whether each image is a near-copy of the query and so junk.

    >>> gallery = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    >>> ranked = rank_all(gallery[:1], gallery, codes(["cat"], ["cat", "cat", "dog"]), codes(["a"], ["a", "b", "c"]))
    >>> ranked.ap, ranked.self_rr  # the other cat ranks after the dog
    (array([0.5]), array([1.]))
    """
    blocks = []
    for part, similarity in similarity_blocks(queries, gallery):
        own = same_image[0][part, None] == same_image[1]
        junk = own if copies is None else own | copies(part)
        relevant = (same_category[0][part, None] == same_category[1]) & ~junk
        target = np.where(own.any(axis=1), np.where(own, similarity, -np.inf).max(axis=1, initial=-np.inf), np.nan)
        precisions = average_precisions(ordered_hits(similarity, relevant, junk))
        copied = junk.sum(axis=1) - own.any(axis=1)
        blocks.append((*precisions, reciprocal_rank(similarity, target, own), copied))
    return Ranked(*(np.concatenate(column) for column in zip(*blocks, strict=True)))


def codes(*labels: object) -> tuple[NDArray[np.int64], ...]:
    """Encode several lists of labels as integers; equal labels get equal codes.

    >>> codes(["cat"], ["dog", "cat"])
    (array([0]), array([1, 0]))
    """
    lists = [np.asarray(part, dtype=str).reshape(-1) for part in labels]
    _, at = np.unique(np.concatenate(lists), return_inverse=True)
    return tuple(np.split(at.astype(np.int64), np.cumsum([len(part) for part in lists])[:-1]))
