"""Galleries that are searched in this process: the data set itself, more folders, clip-retrieval folders."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.paths import cache_root
from ..datasets.images import decode, read
from ..datasets.picture_hash import picture_hash
from ..embedding.embed import Embeddings
from ..embedding.store import EmbeddingStore
from ..encoders import Encoder
from ..errors import UnreadableImage, UserError
from ..manipulations import CLEAN
from ..spec import NOTHING_LEFT_OUT, RunSpec
from . import duplicates, faiss_index
from .folder import Vectors
from .neighbours import Index, retrieve
from .results import ABSENT, USABLE, Found
from .sources import Images, Part, open_parts
from .study_protocol import without_lookalikes

SAME_VECTOR = 0.9999
"""Cosine from which embeddings are one image's, where nothing but the embedding is known (float16 leaves more)."""


@dataclass(frozen=True)
class Gallery(Images):
    """Images to be searched.

    Attributes:
        index: over the vectors.
        exact: whether the index compares everything.
        about: plain JSON values for the run's provenance.
    """

    index: Index
    exact: bool
    about: dict[str, Any]


def open_gallery(spec: RunSpec, own: Part, encoder: Encoder, store: EmbeddingStore, progress: bool) -> Gallery:
    """The gallery that a run names, with an index over it.

    Args:
        spec: the run.
        own: its data set.
        encoder: of both.
        store: where embeddings of more folders are kept.
        progress: show a bar.

    Raises:
        UserError: a folder is missing or does not fit the encoder.
    """
    parts = open_parts(spec, own, encoder, store, progress)
    vectors = parts[0].vectors if len(parts) == 1 else Vectors([a for part in parts for a in _arrays(part.vectors)])
    index, exact, how = _index(spec, parts, vectors)
    about = {
        "kind": "in-process",
        "parts": [{"name": p.name, "images": len(p.ids), "unreadable": p.unreadable, **p.origin()} for p in parts],
        "images": len(vectors),
        "index": how,
    }
    if not exact:
        sample = own.vectors[:: max(1, len(own.ids) // faiss_index.SAMPLE)][: faiss_index.SAMPLE]
        k = min(spec.k, len(vectors))
        about["recall"] = {"k": k, "queries": len(sample), "recall": faiss_index.recall_at_k(index, vectors, sample, k)}

    def joined(field: str) -> list[str]:
        return [text for part in parts for text in getattr(part, field)]

    return Gallery(
        vectors=vectors,
        ids=joined("ids"),
        categories=joined("categories"),
        digests=joined("digests"),
        paths=joined("paths"),
        hashes=np.concatenate([part.hashes for part in parts]),
        known=np.concatenate([part.known for part in parts]),
        index=index,
        exact=exact,
        about=about,
    )


def _arrays(vectors: Any) -> list[Any]:
    return vectors.arrays if isinstance(vectors, Vectors) else [vectors]


def _index(spec: RunSpec, parts: Sequence[Part], vectors: Any) -> tuple[Index, bool, str]:
    """The index asked for: (index, whether it is exact, its description)."""
    size, dim = vectors.shape
    folder = parts[0].folder if len(parts) == 1 else None
    if spec.index == "stored":
        if folder is None or folder.index is None:
            raise UserError("index stored is a clip-retrieval folder's image.index: name such a gallery, or pass -p index exact")
        return folder.index, folder.index.is_exact, f"stored {type(folder.index.faiss).__name__}"

    def blocks() -> Iterable[Any]:
        return vectors.blocks() if isinstance(vectors, Vectors) else [vectors]

    if spec.index == "exact":
        return faiss_index.build("exact", blocks(), size, dim), True, "exact"
    sha = hashlib.sha256()
    for block in blocks():
        sha.update(np.ascontiguousarray(block).tobytes())
    kept = cache_root() / "indexes" / f"{sha.hexdigest()[:24]}-{spec.index}-{spec.seed}.index"
    if not kept.is_file():
        faiss_index.write(faiss_index.build(spec.index, blocks(), size, dim, spec.seed), kept)
    return faiss_index.read(kept), False, spec.index


def search(spec: RunSpec, gallery: Gallery, queries: NDArray[np.float32], embedded: Embeddings, hashes: NDArray[np.uint8]) -> Found:
    """Each query's results.

    Args:
        spec: the run; it says what is left out.
        gallery: what is searched.
        queries: (q, dim) what is asked: manipulated embeddings, moved if the protocol says so.
        embedded: the data set, for its clean embeddings and digests.
        hashes: (q, 32) its picture hashes.

    Raises:
        UserError: the gallery is too small to give k results for every query.
    """
    size = len(gallery.vectors)
    rule = duplicates.any_of() if spec.duplicates == NOTHING_LEFT_OUT else exclusion(spec, gallery, embedded, hashes)
    rows = retrieve(gallery.index, queries, spec.k, rule, size, exact=gallery.exact)
    if spec.deduplicate:
        rows = np.stack([without_lookalikes(row, gallery.vectors) for row in rows])
    status = np.where(rows < 0, ABSENT, USABLE).astype(np.uint8)
    return Found(gallery.vectors, rows, status, gallery.ids, gallery.categories, {}, gallery.about)


def exclusion(spec: RunSpec, gallery: Gallery, embedded: Embeddings, hashes: NDArray[np.uint8]) -> duplicates.Excluded:
    """The rule by which a query's own image and its copies are left out of its results."""
    clean = embedded.vectors[CLEAN]
    rules = [duplicates.same_content(embedded.digests, gallery.digests)]
    if spec.duplicates >= 0:
        rules.append(duplicates.same_picture(hashes, gallery.hashes, spec.duplicates, gallery.known))
    if not gallery.known.all():
        rules.append(duplicates.same_vector(clean, gallery.vectors, SAME_VECTOR))
        if spec.duplicates >= 0 and any(gallery.paths):
            rules.append(duplicates.same_file(hashes, clean, gallery.vectors, gallery.paths, spec.duplicates, _hash_of))
    return duplicates.any_of(*rules)


@lru_cache(maxsize=100_000)
def _hash_of(path: str) -> NDArray[np.uint8] | None:
    try:
        return picture_hash(decode(read(Path(path)), path)) if path else None
    except UnreadableImage:
        return None
