"""Agreement of two result lists of one query: overlap, Jaccard and rank-biased overlap. No labels are needed.

A list is a row of gallery indices, best first, with -1 where there is no result. No index occurs twice in a list.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.integer]

PERSISTENCE = 0.8
"""p of RBO; at k = 10 the ten ranks carry 96.9 % of the weight (Webber et al. 2010, eq. 21)."""


def _common(a: Rows, b: Rows) -> NDArray[np.int64]:
    """(q, k) X_d: the number of items in the first d ranks of both lists, for d = 1..k."""
    queries, k = a.shape
    counts = np.zeros((queries, k), dtype=np.int64)
    block = max(1, 2**24 // max(1, k * k))
    depth = np.maximum.outer(np.arange(k), np.arange(k)).ravel()
    for start in range(0, queries, block):
        part = slice(start, start + block)
        same = (a[part, :, None] == b[part, None, :]) & (a[part, :, None] >= 0)
        at, pair = np.nonzero(same.reshape(len(same), -1))
        np.add.at(counts[part], (at, depth[pair]), 1)
    return counts.cumsum(axis=1)


def _lengths(a: Rows, b: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(q,) lengths of the shorter and of the longer list."""
    one, other = (a >= 0).sum(axis=1), (b >= 0).sum(axis=1)
    return np.minimum(one, other), np.maximum(one, other)


def overlap(a: Rows, b: Rows) -> NDArray[np.float64]:
    """overlap@k = |A ∩ B| / k of two lists with the same k: (q, k) and (q, k) -> (q,) in [0, 1].

    If both lists have fewer than k results, the length of the longer one replaces k. NaN for two empty lists.

    >>> overlap(np.array([[1, 2, 3, 4]]), np.array([[2, 1, 7, 8]]))
    array([0.5])
    """
    _, longer = _lengths(a, b)
    shared = _common(a, b)[:, -1]
    return np.asarray(np.divide(shared, longer, out=np.full(len(a), np.nan), where=longer > 0))


def rbo(a: Rows, b: Rows, p: float = PERSISTENCE) -> NDArray[np.float64]:
    """Rank-biased overlap, extrapolated beyond the lists (Webber et al. 2010, eq. 32). Early ranks weigh most.

    X_d is the number of shared items in the first d ranks; s and l are the lengths of the lists, s ≤ l:
    RBO = (1-p)/p (Σ_{d≤l} X_d/d p^d + Σ_{s<d≤l} X_s (d-s)/(s d) p^d) + ((X_l - X_s)/l + X_s/s) p^l.

    Of (q, k) results it is (q,) in [0, 1]; 0 if one list is empty, NaN if both are. A `ValueError` says that the persistence p is
    not in (0, 1).

    >>> rbo(np.array([[1, 2]]), np.array([[2, 1]]), p=0.8).round(3)  # (1 - p) p + p² = p
    array([0.8])
    """
    if not 0 < p < 1:
        raise ValueError(f"RBO's p must lie between 0 and 1, not {p!r}")
    shorter, longer = (n[:, None] for n in _lengths(a, b))
    x = _common(a, b)
    d = np.arange(1, x.shape[1] + 1)
    at_shorter = np.take_along_axis(x, np.maximum(shorter - 1, 0), axis=1)
    at_longer = x[:, -1:]
    some = np.maximum(shorter, 1)
    beyond = np.where(d > shorter, at_shorter * (d - shorter) / (some * d), 0.0)
    series = np.where(d <= longer, (x / d + beyond) * p**d, 0.0).sum(axis=1, keepdims=True)
    value = (1 - p) / p * series + ((at_longer - at_shorter) / np.maximum(longer, 1) + at_shorter / some) * p**longer
    value = np.where(shorter > 0, value, 0.0)
    return np.asarray(np.where(longer > 0, value, np.nan)[:, 0], dtype=np.float64)
