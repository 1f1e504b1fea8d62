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

from .. import copies
from ..datasets import Photo, load_dataset, locate, slug
from ..embed import Embeddings, embed
from ..encoders import Encoder
from ..errors import UnreadableImage, UserError
from ..images import decode, read
from ..manipulations import CLEAN
from ..paths import cache_root, project_root, shown
from ..protocol import NOTHING_LEFT_OUT, without_lookalikes
from ..retrieval import Index, retrieve
from ..spec import RunSpec
from ..store import EmbeddingStore
from . import indexes
from .folder import GalleryFolder, Vectors, is_gallery, open_folder
from .found import ABSENT, USABLE, Found

SAME_VECTOR = 0.9999
"""Cosine from which embeddings are one image's, where nothing but the embedding is known (float16 leaves more)."""


@dataclass(frozen=True)
class _Images:
    """n images.

    Attributes:
        vectors: (n, dim) unit rows, in memory or mapped.
        ids, categories, digests, paths: n texts each, "" where unknown.
        hashes: (n, 32) packed picture hashes, zero where unknown.
        known: (n,) which of them are known.
    """

    vectors: Any
    ids: list[str]
    categories: list[str]
    digests: list[str]
    paths: list[str]
    hashes: NDArray[np.uint8]
    known: NDArray[np.bool_]


@dataclass(frozen=True)
class Part(_Images):
    """Images of one data set or folder.

    Attributes:
        name: of the folder.
        folder: where it is a clip-retrieval folder.
        unreadable: id -> reason, for images that it does not hold for that.
    """

    name: str
    folder: GalleryFolder | None
    unreadable: dict[str, str]


@dataclass(frozen=True)
class Gallery(_Images):
    """Images to be searched.

    Attributes:
        index: over the vectors.
        exact: whether the index compares everything.
        about: plain JSON values for the run's provenance.
    """

    index: Index
    exact: bool
    about: dict[str, Any]


def picture_hashes(photos: Sequence[Photo], progress: bool = False) -> NDArray[np.uint8]:
    """Picture hashes of readable photographs, kept in the cache: (n, 32) packed bits."""
    hasher = copies.PictureHash()
    store = EmbeddingStore(cache_root() / "embeddings", hasher.identity, hasher.dim)
    return copies.packed(embed(photos, [CLEAN], hasher, store, progress=progress).vectors[CLEAN])


def no_hashes(n: int) -> NDArray[np.uint8]:
    """In place of hashes that nobody asks for."""
    return np.zeros((n, copies.BITS // 8), dtype=np.uint8)


def from_photos(name: str, embedded: Embeddings, hashes: NDArray[np.uint8], prefix: str = "") -> Part:
    """Photographs that were embedded now, as they are."""
    return Part(
        name=name,
        vectors=embedded.vectors[CLEAN],
        ids=[prefix + photo.id for photo in embedded.photos],
        categories=[photo.category for photo in embedded.photos],
        digests=list(embedded.digests),
        paths=[str(photo.path) for photo in embedded.photos],
        hashes=hashes,
        known=np.ones(len(hashes), dtype=np.bool_),
        folder=None,
        unreadable={prefix + photo: why for photo, why in embedded.unreadable.items()},
    )


def from_folder(folder: GalleryFolder, encoder: Encoder) -> Part:
    """A folder in clip-retrieval's format.

    Raises:
        UserError: it was made with another encoder, or for vectors of another length.
    """
    made_with = folder.about.get("encoder", {})
    if folder.dim != encoder.dim:
        raise UserError(
            f"{shown(folder.path)} holds vectors of {folder.dim} values, the encoder {encoder.name!r} makes {encoder.dim}: "
            "use the encoder that it was made with"
        )
    if made_with and made_with["identity"] != encoder.identity:
        raise UserError(
            f"{shown(folder.path)} was made with {made_with['name']!r} ({made_with['identity']}), not with {encoder.identity}: "
            "use that encoder, or build the gallery again"
        )
    hashes, known = _unhex(folder.column("picture_hash"))
    paths = folder.column("image_path")
    named = folder.column("id", "url", "image_path")
    return Part(
        name=folder.path.name,
        vectors=folder.vectors,
        ids=[f"{slug(folder.path.name)}:{name or row}" for row, name in enumerate(named)],
        categories=folder.column("category"),
        digests=folder.column("sha256"),
        paths=paths,
        hashes=hashes,
        known=known,
        folder=folder,
        unreadable={},
    )


def _unhex(texts: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    hashes = np.zeros((len(texts), copies.BITS // 8), dtype=np.uint8)
    known = np.array([len(text) == copies.BITS // 4 for text in texts], dtype=np.bool_)
    for row in np.flatnonzero(known).tolist():
        hashes[row] = np.frombuffer(bytes.fromhex(texts[row]), dtype=np.uint8)
    return hashes, known


def part_names(gallery: str) -> list[str]:
    """The folders that a gallery's description names; one whose own name has a comma goes alone."""
    whole = gallery.strip()
    if "," not in whole or Path(whole).is_dir():
        return [whole]
    return [name.strip() for name in whole.split(",") if name.strip()]


def gallery_path(name: str) -> Path | None:
    """The clip-retrieval folder of that name, if it is one."""
    for path in (Path(name).expanduser(), project_root() / name):
        if path.is_dir() and is_gallery(path):
            return path
    return None


def open_gallery(spec: RunSpec, embedded: Embeddings, encoder: Encoder, store: EmbeddingStore, progress: bool) -> Gallery:
    """The gallery that a run names, with an index over it.

    Args:
        spec: the run.
        embedded: its data set.
        encoder: of both.
        store: where embeddings of more folders are kept.
        progress: show a bar.

    Raises:
        UserError: a folder is missing or does not fit the encoder.
    """
    own = locate(spec.dataset).resolve()
    parts: list[Part] = []

    def hashes_of(photos: Sequence[Photo]) -> NDArray[np.uint8]:
        return picture_hashes(photos, progress) if spec.duplicates >= 0 else no_hashes(len(photos))

    for name in part_names(spec.gallery) if spec.gallery else [spec.dataset]:
        if path := gallery_path(name):
            parts.append(from_folder(open_folder(path), encoder))
        elif locate(name).resolve() == own:
            parts.append(from_photos(spec.dataset_name, embedded, hashes_of(embedded.photos)))
        else:
            more = embed(load_dataset(name).photos, [CLEAN], encoder, store, progress=progress)
            parts.append(from_photos(slug(name), more, hashes_of(more.photos), f"{slug(name)}:"))
    vectors = parts[0].vectors if len(parts) == 1 else Vectors([a for part in parts for a in _arrays(part.vectors)])
    index, exact, how = _index(spec, parts, vectors)
    about = {
        "kind": "in-process",
        "parts": [{"name": p.name, "images": len(p.ids), "unreadable": p.unreadable, **_origin(p)} for p in parts],
        "images": len(vectors),
        "index": how,
    }
    if not exact:
        sample = embedded.vectors[CLEAN][:: max(1, len(embedded.photos) // indexes.SAMPLE)][: indexes.SAMPLE]
        k = min(spec.k, len(vectors))
        about["recall"] = {"k": k, "queries": len(sample), "recall": indexes.recall_at_k(index, vectors, sample, k)}

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


def _origin(part: Part) -> dict[str, Any]:
    if part.folder is None:
        return {}
    known = part.folder.about.get("encoder", {}).get("identity", "unknown: made by another program")
    return {"encoder": known, "vectors_from": part.folder.vectors_from}


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
        return indexes.build("exact", blocks(), size, dim), True, "exact"
    sha = hashlib.sha256()
    for block in blocks():
        sha.update(np.ascontiguousarray(block).tobytes())
    kept = cache_root() / "indexes" / f"{sha.hexdigest()[:24]}-{spec.index}-{spec.seed}.index"
    if not kept.is_file():
        indexes.write(indexes.build(spec.index, blocks(), size, dim, spec.seed), kept)
    return indexes.read(kept), False, spec.index


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
    rule = copies.any_of() if spec.duplicates == NOTHING_LEFT_OUT else exclusion(spec, gallery, embedded, hashes)
    rows = retrieve(gallery.index, queries, spec.k, rule, size, exact=gallery.exact)
    if spec.deduplicate:
        rows = np.stack([without_lookalikes(row, gallery.vectors) for row in rows])
    status = np.where(rows < 0, ABSENT, USABLE).astype(np.uint8)
    return Found(gallery.vectors, rows, status, gallery.ids, gallery.categories, {}, gallery.about)


def exclusion(spec: RunSpec, gallery: Gallery, embedded: Embeddings, hashes: NDArray[np.uint8]) -> copies.Excluded:
    """The rule by which a query's own image and its copies are left out of its results."""
    clean = embedded.vectors[CLEAN]
    rules = [copies.same_content(embedded.digests, gallery.digests)]
    if spec.duplicates >= 0:
        rules.append(copies.same_picture(hashes, gallery.hashes, spec.duplicates, gallery.known))
    if not gallery.known.all():
        rules.append(copies.same_vector(clean, gallery.vectors, SAME_VECTOR))
        if spec.duplicates >= 0 and any(gallery.paths):
            rules.append(copies.same_file(hashes, clean, gallery.vectors, gallery.paths, spec.duplicates, _hash_of))
    return copies.any_of(*rules)


@lru_cache(maxsize=100_000)
def _hash_of(path: str) -> NDArray[np.uint8] | None:
    try:
        return copies.picture_hash(decode(read(Path(path)), path)) if path else None
    except UnreadableImage:
        return None
