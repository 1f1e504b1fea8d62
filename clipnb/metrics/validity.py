"""Validity of results under a manipulation, and shift of the embedding.

Notation: v is the embedding of a clean query, v' that of the manipulated query, both of unit length; a result is a
gallery vector g. A query without a usable result scores NaN, never 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError, one_line

Floats = NDArray[np.floating]

TOLERANCE = 1e-3  # largest difference of a vector's length from 1, above the rounding of half precision
EXPECTED = "measures take vectors of length 1"


def unit_rows(
    given: Any, shape: tuple[int, int] = (-1, -1), expected: str = EXPECTED, names: Sequence[str] = ()
) -> NDArray[np.float32]:
    """Check vectors, which `names` name, and return them as float32.

    A `UserError` says what is `expected` if they have another shape (-1: any), or are not finite and of length 1.
    """
    with one_line(f"{expected}, not {type(given).__name__}"):
        vectors = np.asarray(given, dtype=np.float32)
    if vectors.ndim != 2 or any(wanted not in (-1, has) for wanted, has in zip(shape, vectors.shape, strict=True)):
        raise UserError(f"{expected}, not an array of shape {vectors.shape}")
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))  # without a copy in float64
    if (wrong := ~(np.abs(lengths - 1) <= TOLERANCE)).any():
        first = int(wrong.argmax())
        whose = f", of {names[first]}," if names else ""
        gave = f"has length {lengths[first]:.3g}" if np.isfinite(lengths[first]) else "is not finite (NaN or infinity)"
        raise UserError(f"{expected}; wrong: {wrong.sum()} of {len(vectors)}; the first{whose} {gave}")
    return vectors


def result_distances(clean: Floats, gallery: Floats, rows: NDArray[np.integer], block: int = 256) -> NDArray[np.float64]:
    """L2 distance of each result to the clean query: (q, k) of ‖g - v‖, in [0, 2] for unit vectors, NaN where there is no result.

    Args:
        clean: (q, dim) embeddings v.
        gallery: (n, dim) embeddings g.
        rows: (q, k) rows of the gallery, -1 where there is no result.
        block: queries per block; memory is bounded by block x k x dim.

    A `UserError` says that a vector is not finite or not of length 1.

    >>> result_distances(np.array([[1.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0, 1, -1]])).round(3)
    array([[0.   , 1.414,   nan]])
    """
    unit_rows(clean)
    out = np.full(rows.shape, np.nan)
    for start in range(0, len(rows) if len(gallery) else 0, block):
        part = slice(start, start + block)
        results = gallery[rows[part]].astype(np.float64)
        unit_rows(results.reshape(-1, results.shape[-1]))
        out[part] = np.linalg.norm(results - clean[part, None, :], axis=2)
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
    """Shift of each (q, dim) unit embedding by a manipulation: 1 - cos(v, v'), (q,) in [0, 2]; a `UserError` for other vectors.

    >>> shift(np.array([[1.0, 0.0]]), np.array([[0.6, 0.8]]))
    array([0.4])
    """
    for vectors in (clean, manipulated):
        unit_rows(vectors)
    cosine = np.einsum("qd,qd->q", clean.astype(np.float64), manipulated.astype(np.float64))
    return np.asarray(np.clip(1.0 - cosine, 0.0, 2.0), dtype=np.float64)
