"""The results of a search; they have the same form for an index in this process (`in_process`) and for a service (`service`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ABSENT, USABLE, DEAD, UNREADABLE = range(4)
"""Status of a requested result: not returned, usable, image not available, not an image."""


@dataclass(frozen=True)
class Retrieved:
    """The results of q queries, with k results requested for each.

    Attributes:
        vectors: (m, dim) embeddings of the results.
        rows: (q, k) row in `vectors` of each result, best first; -1 for a result without an embedding.
        status: (q, k) ABSENT, USABLE, DEAD or UNREADABLE.
        ids, categories: names and categories of the m results; a category is "" where unknown.
        copies: (q,) number of results left out as copies of the query, besides its own image; None if they are counted elsewhere.
    """

    vectors: Any
    rows: NDArray[np.int64]
    status: NDArray[np.uint8]
    ids: Sequence[str]
    categories: Sequence[str]
    copies: NDArray[np.int64] | None = None

    def count(self, *status: int) -> NDArray[np.int64]:
        """Count, for each query, the results that have one of these statuses: (q,)."""
        return np.asarray(np.isin(self.status, status).sum(axis=1), dtype=np.int64)


@dataclass(frozen=True)
class Labels:
    """Labels of all n images of a gallery, and their (n, dim) embeddings, which measures of the whole ranking need.

    `copies` maps a slice of b queries to (b, n) whether each image is a near-copy of the query. It is None if near-copies are not
    excluded.
    """

    vectors: Any
    categories: list[str]
    digests: list[str]
    copies: Callable[[slice], NDArray[np.bool_]] | None


@dataclass(frozen=True)
class SearchResults:
    """Results of a run's queries under a condition.

    Attributes:
        retrieved: results of the manipulated queries.
        before: (q, k) results of the clean queries as rows of `retrieved.vectors`; None for a service.
        labels: labels of the gallery; None if a label is unknown or the gallery is too large to be ranked as a whole.
    """

    retrieved: Retrieved
    before: NDArray[np.int64] | None
    labels: Labels | None


LookUp = Callable[[str], SearchResults]
"""Condition -> results of the queries under it."""
