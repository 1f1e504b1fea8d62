"""Zero-shot classification and text-to-image retrieval, for encoders that embed images and texts in one space.

A prompt is the text embedding of a category. Cosines are compared in steps of `ranking.TIE`, and ties count against the query.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .ranking import Bools, in_steps, similarity_blocks
from .validity import Floats


@dataclass(frozen=True)
class Texts:
    """The texts of a run's categories."""

    prompts: Floats  #: (c, dim) unit embeddings of the categories, by the prompts of the run
    names: Floats  #: (c, dim) unit embeddings of the categories, by the bare names
    own: NDArray[np.integer]  #: (q,) row of each query's category
    written: NDArray[np.integer] | None = None  #: (q,) row of the category whose name is written on each query, if any is
    whole: bool = True  #: whether the queries are all photographs of the data set, as text-to-image retrieval needs


def zero_shot(queries: Floats, prompts: Floats, labels: NDArray[np.integer]) -> Bools:
    """Whether the text nearest to a query is that of its label (Radford et al. 2021).

    `queries` (q, dim) and `prompts` (c, dim) are unit embeddings of images and of the categories' texts, and `labels` (q,) the row
    of `prompts` of each query's label.

    >>> zero_shot(np.array([[0.6, 0.8]]), np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1]))
    array([ True])
    """
    right = []
    for part, similarity in similarity_blocks(queries, prompts):
        steps = in_steps(similarity)
        own = np.take_along_axis(steps, labels[part, None], axis=1)
        right.append((steps >= own).sum(axis=1) == 1)
    return np.concatenate(right)


def retrieved_by_text(photos: Floats, prompts: Floats, labels: NDArray[np.integer], k: int) -> Bools:
    """Whether each photograph is among the first k results of the text of its category.

    The mean over the photographs of a category is the recall R@k of its text, at most k / R for R photographs.

    Args:
        photos, prompts: (n, dim) and (c, dim) unit embeddings: the gallery, and the categories' texts, which are the queries.
        labels: (n,) row of `prompts` of each photograph's category.

    >>> photos = np.array([[0.6, 0.8], [1.0, 0.0], [0.0, 1.0]])
    >>> retrieved_by_text(photos, np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 0, 1]), k=1)
    array([False,  True,  True])
    """
    found = np.zeros(len(photos), dtype=np.bool_)
    for part, similarity in similarity_blocks(prompts, photos):
        for row, steps in zip(range(part.start, part.stop), in_steps(similarity), strict=True):
            own = np.flatnonzero(labels == row)
            order = np.lexsort((labels == row, -steps))[:k]
            found[own] = np.isin(own, order)
    return found
