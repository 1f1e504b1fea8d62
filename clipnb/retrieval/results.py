"""What a gallery answers: the same for an index in this process and for a service on the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

ABSENT, USABLE, DEAD, UNREADABLE = range(4)
"""What became of a result that was asked for: never returned, scored, not to be had, no image."""


@dataclass(frozen=True)
class Found:
    """The results of q queries, k asked of each.

    Attributes:
        vectors: (m, dim) embeddings of results; rows of `rows`.
        rows: (q, k) each result as a row of `vectors`, best first; -1 where it has no embedding.
        status: (q, k) what became of it: ABSENT, USABLE, DEAD or UNREADABLE.
        ids: names of the m results.
        categories: their categories, "" where unknown.
        problems: name of a dead or unreadable result -> why.
        about: where the answers come from, as plain JSON values.
    """

    vectors: Any
    rows: NDArray[np.int64]
    status: NDArray[np.uint8]
    ids: Sequence[str]
    categories: Sequence[str]
    problems: dict[str, str] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    def count(self, *status: int) -> NDArray[np.int64]:
        """How many of each query's results have one of these statuses: (q,)."""
        return np.asarray(np.isin(self.status, status).sum(axis=1), dtype=np.int64)
