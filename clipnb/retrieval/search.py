"""Open the gallery of a run: the data set itself, further data sets, clip-retrieval folders, or a clip-retrieval service.

`folder` is the format on disk, `build` writes it, `sources` are the images of a gallery, `in_process` searches in this process,
`service` over the network (by `knn_client` and `image_fetcher`), and `duplicates` are the rules of exclusion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.text import is_service
from ..datasets.picture_hash import near_copies
from ..embedding.embed import Embeddings
from ..embedding.store import EmbeddingStore
from ..encoders import Encoder
from ..manipulations import CLEAN
from ..spec import RunSpec
from .results import Retrieved
from .study_protocol import aesthetic_direction, move_queries


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


RANKED_AS_A_WHOLE = 200_000
"""Largest gallery for which measures of the whole ranking, such as average precision, are computed."""

LookUp = Callable[[str], SearchResults]
"""Condition -> results of the queries under it."""


def open_search(
    spec: RunSpec, asked: Embeddings, data: Embeddings, encoder: Encoder, store: EmbeddingStore, **options: Any
) -> tuple[LookUp, dict[str, Any]]:
    """Open the gallery of a run.

    Args:
        asked: embeddings of the queries, clean and under each condition.
        data: clean embeddings of the data set.
        encoder: encoder of the queries and the gallery; it also embeds the result images of a service.
        options: `workers` and `progress`, as `embed` takes them.

    Returns:
        The function that searches the gallery, and the gallery with its unusable results in plain JSON values, which are complete
        after the search under the last condition.

    Raises:
        UserError: the gallery is missing, too small, or made with another encoder, or the service answers with an error.
    """
    from . import in_process, sources

    about: dict[str, Any] = {"unusable": {}}
    if is_service(spec.gallery):
        from . import service

        hashes = sources.hashes_for(spec, asked.photos, **options)

        def ask(condition: str) -> SearchResults:
            retrieved = service.search(spec, asked, condition, hashes, encoder, store, **options)
            about.update(retrieved.about | {"unusable": about["unusable"] | retrieved.problems})
            return SearchResults(retrieved, None, None)

        return ask, about

    own = sources.from_photos(spec.dataset_name, data, sources.hashes_for(spec, data.photos, **options))
    row = {photo.id: at for at, photo in enumerate(data.photos)}
    hashes = own.hashes[[row[photo.id] for photo in asked.photos]]
    gallery = in_process.open_gallery(spec, own, encoder, store, **options)
    about.update(gallery.about)
    labelled = all(gallery.categories) and all(gallery.digests) and len(gallery.ids) <= RANKED_AS_A_WHOLE
    known = spec.duplicates >= 0 and gallery.known.all()
    copies = (lambda part: near_copies(hashes[part], gallery.hashes, spec.duplicates)) if known else None
    labels = Labels(gallery.vectors[:], gallery.categories, gallery.digests, copies) if labelled else None
    direction = np.zeros(encoder.dim, dtype=np.float32)
    if spec.aesthetic_weight:
        direction, about["aesthetic"] = aesthetic_direction(spec.encoder, encoder.dim, spec.aesthetic_score, spec.seed)

    def search(condition: str) -> Retrieved:
        queries = move_queries(asked.vectors[condition], direction, spec.aesthetic_weight)
        return in_process.search(spec, gallery, queries, asked, hashes)

    before = search(CLEAN)

    def look_up(condition: str) -> SearchResults:
        return SearchResults(before if condition == CLEAN else search(condition), before.rows, labels)

    return look_up, about
