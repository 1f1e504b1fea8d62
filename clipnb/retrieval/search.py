"""What is searched: the data set itself, more folders, clip-retrieval folders, or a clip-retrieval service.

`opened` gives every query's results, wherever they come from. One file a purpose: `folder` (the format on disk),
`indexes` (faiss), `build` (`clipnb index`), `parts` (what a gallery is made of), `local` (searching it in-process),
`service` and `fetch` (over the network), `found`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..embedding.embed import Embeddings
from ..embedding.store import EmbeddingStore
from ..encoders import Encoder
from ..manipulations import CLEAN
from ..spec import RunSpec, is_service
from . import study_protocol
from .results import Found


@dataclass(frozen=True)
class Labels:
    """What is known of every image of a gallery, so that it can be ranked as a whole.

    Attributes:
        vectors: (n, dim).
        categories, digests: n texts each.
        pictures: (q, 32) picture hashes of the queries and (n, 32) of the gallery, where near-copies are left out.
        bits: in which those of near-copies may differ.
    """

    vectors: Any
    categories: list[str]
    digests: list[str]
    pictures: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None
    bits: int


@dataclass(frozen=True)
class SearchResults:
    """What a run's queries found.

    Attributes:
        found: results of the manipulated queries.
        before: (q, k) results of the clean queries as rows of `found.vectors`; None of a service, which is asked once.
        labels: of the gallery, where all are known and few enough to be ranked as a whole; None otherwise.
    """

    found: Found
    before: NDArray[np.int64] | None
    labels: Labels | None


RANKED_AS_A_WHOLE = 200_000
"""Gallery size up to which measures of whole rankings (average precision) are computed."""


LookUp = Callable[[str], SearchResults]
"""Condition -> what the queries find under it."""


@dataclass(frozen=True)
class Searched:
    """A gallery that was opened.

    Attributes:
        look_up: answers the queries under a condition.
        about: what it is and what was lost, as plain JSON values; complete once the last condition was answered.
    """

    look_up: LookUp
    about: dict[str, Any]


def opened(
    spec: RunSpec, asked: Embeddings, data: Embeddings, encoder: Encoder, store: EmbeddingStore, progress: bool = True
) -> Searched:
    """Open the run's gallery.

    Args:
        spec: the run.
        asked: its queries, clean and under each condition.
        data: its data set, clean.
        encoder: of both; result images of a service are embedded with it.
        store: that encoder's embeddings.
        progress: show bars.

    Raises:
        UserError: the gallery is missing, too small, of another encoder, or a service that answers with an error.
    """
    from . import in_process, sources

    about: dict[str, Any] = {"unusable": {}}
    if is_service(spec.gallery):
        from . import service

        hashes = sources.hashes_for(spec, asked.photos, progress)

        def ask(condition: str) -> SearchResults:
            found = service.search(spec, asked, condition, hashes, encoder, store, progress)
            copies = about.get("copies_left_out", 0) + found.about["copies_left_out"]
            about.update(found.about | {"unusable": about["unusable"] | found.problems, "copies_left_out": copies})
            return SearchResults(found, None, None)

        return Searched(ask, about)

    own = sources.from_photos(spec.dataset_name, data, sources.hashes_for(spec, data.photos, progress))
    row = {photo.id: at for at, photo in enumerate(data.photos)}
    hashes = own.hashes[[row[photo.id] for photo in asked.photos]]
    gallery = in_process.open_gallery(spec, own, encoder, store, progress)
    about.update(gallery.about)
    labelled = all(gallery.categories) and all(gallery.digests) and len(gallery.ids) <= RANKED_AS_A_WHOLE
    pictures = (hashes, gallery.hashes) if spec.duplicates >= 0 and gallery.known.all() else None
    labels = Labels(gallery.vectors[:], gallery.categories, gallery.digests, pictures, spec.duplicates) if labelled else None
    direction = np.zeros(encoder.dim, dtype=np.float32)
    if spec.aesthetic_weight:
        direction, about["aesthetic"] = study_protocol.aesthetic_direction(
            spec.encoder, encoder.dim, spec.aesthetic_score, spec.seed
        )

    def search(condition: str) -> Found:
        return in_process.search(
            spec, gallery, study_protocol.moved(asked.vectors[condition], direction, spec.aesthetic_weight), asked, hashes
        )

    before = search(CLEAN)

    def look_up(condition: str) -> SearchResults:
        return SearchResults(before if condition == CLEAN else search(condition), before.rows, labels)

    return Searched(look_up, about)
