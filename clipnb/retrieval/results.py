"""The results of a search; they have the same form for an index in this process (`in_process`) and for a service (`service`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ABSENT, USABLE, DEAD, UNREADABLE = range(4)  # status of a requested result: not returned, usable, image not available, not an image


@dataclass(frozen=True)
class Labels:
    """Labels of all n images of a gallery, and their (n, dim) embeddings, which measures of the whole ranking need."""

    vectors: Any
    categories: list[str]
    digests: list[str]
    copies: Callable[[slice], NDArray[np.bool_]] | None  # b queries -> (b, n) near-copies of them; None if they are not excluded


@dataclass(frozen=True)
class SearchResults:
    """The results of q queries under a condition, with k results requested for each: m images in all."""

    vectors: Any  # (m, dim) embeddings of the results
    rows: NDArray[np.int64]  # (q, k) row in `vectors` of each result, best first; -1 for a result without an embedding
    status: NDArray[np.uint8]  # (q, k) ABSENT, USABLE, DEAD or UNREADABLE
    ids: Sequence[str]
    categories: Sequence[str]  # "" where unknown
    copies: NDArray[np.int64] | None = None  # (q,) results left out as copies, besides the own image; None: counted elsewhere
    labels: Labels | None = None  # of the gallery; None if a label is unknown or the gallery is too large to be ranked as a whole
    before: NDArray[np.int64] | None = None  # `rows` of the clean queries; None for a service

    def count(self, *status: int) -> NDArray[np.int64]:
        """Count, for each query, the results that have one of these statuses: (q,)."""
        return np.asarray(np.isin(self.status, status).sum(axis=1), dtype=np.int64)


LookUp = Callable[[str], SearchResults]  # condition -> results of the queries under it
