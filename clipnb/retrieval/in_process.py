"""Search in this process: the data set itself, further data sets, and clip-retrieval folders."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.paths import cache_root
from ..datasets.picture_hash import near_copies
from ..embedding.embed import Embeddings
from ..embedding.store import EmbeddingStore
from ..encoders import Encoder
from ..errors import UserError
from ..manipulations import CLEAN
from ..metrics.ranking import RANKED_AS_A_WHOLE, codes
from ..spec import NOTHING_LEFT_OUT, RunSpec
from . import duplicates, faiss_index
from .faiss_index import FaissIndex
from .folder import Vectors
from .neighbours import Ties, retrieve
from .results import ABSENT, USABLE, Labels, LookUp, SearchResults
from .sources import Images, Source, from_photos, hashes_for, joined, open_sources
from .study_protocol import aesthetic_direction, move_queries, without_lookalikes


def _index(spec: RunSpec, sources: Sequence[Source], vectors: Any) -> FaissIndex:
    """Make or open the index that the run names."""
    size, dim = vectors.shape
    folder = sources[0].folder if len(sources) == 1 else None
    if spec.index == "stored":
        if folder is None or folder.index is None:
            needed = "index stored needs a clip-retrieval folder with an image.index"
            raise UserError(f"{needed}: name such a gallery, or pass -p index exact")
        return folder.index
    blocks: Callable[[], Iterable[Any]] = vectors.blocks if isinstance(vectors, Vectors) else lambda: [vectors]
    if spec.index == "exact":
        return faiss_index.build("exact", blocks(), size, dim)
    sha = hashlib.sha256()
    for block in blocks():
        sha.update(np.ascontiguousarray(block).tobytes())
    kept = cache_root() / "indexes" / f"{sha.hexdigest()[:24]}-{spec.index}-{spec.seed}.index"
    if not kept.is_file():
        faiss_index.write(faiss_index.build(spec.index, blocks(), size, dim, spec.seed), kept)
    return faiss_index.read(kept)


def _about(spec: RunSpec, own: Source, sources: Sequence[Source], gallery: Images, index: FaissIndex) -> dict[str, Any]:
    """The gallery in plain JSON values, with the recall of an approximate index on some photographs of the data set."""
    parts = [
        {"name": s.name, "images": len(s.ids), "unreadable": s.unreadable, "other_files": s.other_files, **s.origin()}
        for s in sources
    ]
    about: dict[str, Any] = {"unusable": {}, "kind": "in-process", "sources": parts, "images": len(gallery.vectors)}
    about["index"] = f"stored {type(index.faiss).__name__}" if spec.index == "stored" else spec.index
    if not index.is_exact:
        sample = own.vectors[:: max(1, len(own.ids) // faiss_index.SAMPLE)][: faiss_index.SAMPLE]
        k = min(spec.k, len(gallery.vectors))
        recall = faiss_index.recall_at_k(index, gallery.vectors, sample, k)
        about["recall"] = {"k": k, "queries": len(sample), "recall": recall}
    return about


def _exclusion(spec: RunSpec, gallery: Images, asked: Embeddings, hashes: NDArray[np.uint8]) -> duplicates.Excluded:
    """Make the rule that excludes a query's own image and its copies from its results."""
    if spec.duplicates == NOTHING_LEFT_OUT:
        return duplicates.any_of()
    clean = asked.vectors[CLEAN]
    rules = [duplicates.same_content(asked.digests, gallery.digests)]
    if spec.duplicates >= 0:
        rules.append(duplicates.same_picture(hashes, gallery.hashes, spec.duplicates, gallery.known))
    if not gallery.known.all():
        rules.append(duplicates.same_vector(clean, gallery.vectors))
        if spec.duplicates >= 0 and any(gallery.paths):
            rules.append(duplicates.same_file(hashes, clean, gallery.vectors, gallery.paths, spec.duplicates))
    return duplicates.any_of(*rules)


def open_search(
    spec: RunSpec, asked: Embeddings, data: Embeddings, encoder: Encoder, store: EmbeddingStore, **options: Any
) -> tuple[LookUp, dict[str, Any]]:
    """The function that searches the gallery of a run in this process, and a description of the gallery in plain JSON values.

    `asked` are the embeddings of the queries, clean and under each condition; `data` are those of the clean data set; `options` are
    `workers` and `progress` of `embed`. A `UserError` says that the gallery is missing, too small, or made with another encoder.
    """
    own = from_photos(spec.dataset_name, data, hashes_for(spec, data.photos, **options))
    row = {photo.id: at for at, photo in enumerate(data.photos)}
    hashes = own.hashes[[row[photo.id] for photo in asked.photos]]
    sources = open_sources(spec, own, encoder, store, **options)
    gallery = joined(sources)
    index = _index(spec, sources, gallery.vectors)
    about = _about(spec, own, sources, gallery, index)
    labelled = all(gallery.categories) and all(gallery.digests) and len(gallery.ids) <= RANKED_AS_A_WHOLE
    known = spec.duplicates >= 0 and gallery.known.all()
    copies = (lambda part: near_copies(hashes[part], gallery.hashes, spec.duplicates)) if known else None
    labels = Labels(gallery.vectors[:], gallery.categories, gallery.digests, copies) if labelled else None
    direction = np.zeros(encoder.dim, dtype=np.float32)
    if spec.aesthetic_weight:
        direction, about["aesthetic"] = aesthetic_direction(spec.encoder, encoder.dim, spec.aesthetic_score, spec.seed)
    rule = _exclusion(spec, gallery, asked, hashes)
    own_kinds, kinds = codes([photo.category for photo in asked.photos], gallery.categories)
    names = np.array([digest or name for digest, name in zip(gallery.digests, gallery.ids, strict=True)], dtype=str)
    ties = Ties(asked.vectors[CLEAN], gallery.vectors, own_kinds, kinds, np.argsort(np.argsort(names, kind="stable")))

    def search(condition: str) -> SearchResults:
        queries = move_queries(asked.vectors[condition], direction, spec.aesthetic_weight)
        rows = retrieve(index, queries, spec.k, rule, ties, exact=index.is_exact)
        if spec.deduplicate:
            rows = np.stack([without_lookalikes(row, gallery.vectors) for row in rows])
        status = np.where(rows < 0, ABSENT, USABLE).astype(np.uint8)
        return SearchResults(gallery.vectors, rows, status, gallery.ids, gallery.categories, labels=labels)

    before = search(CLEAN)
    return lambda condition: replace(before if condition == CLEAN else search(condition), before=before.rows), about
