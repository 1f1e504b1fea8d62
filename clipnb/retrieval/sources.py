"""The sources of a gallery: data sets and clip-retrieval folders, with the labels and the files of their images."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._core.paths import cache_root, expanded, gallery_parts, project_root, shown
from .._core.text import is_service, word
from ..datasets.dataset import NESTED, Photo, is_same, load_dataset, locate, slug
from ..datasets.importers import is_imported
from ..datasets.picture_hash import CELLS
from ..embedding.embed import Embeddings, embed, kept_embeddings
from ..embedding.store import EmbeddingStore
from ..encoders import Encoder, load_encoder
from ..encoders.base import typed
from ..errors import UserError
from ..manipulations import CLEAN
from ..spec import RunSpec
from . import duplicates
from .folder import GalleryFolder, Vectors, is_gallery, open_folder, read_about
from .image_fetcher import ImageCache
from .knn_client import key_of_sent
from .neighbours import require_results


@dataclass(frozen=True)
class Images:
    """n images with their labels. A text is "" where it is unknown."""

    vectors: Any  # (n, dim) unit rows, in memory or memory-mapped
    ids: list[str]
    categories: list[str]
    digests: list[str]
    paths: list[str]
    hashes: NDArray[np.uint8]  # (n, 272) picture hashes, zero where unknown
    known: NDArray[np.bool_]  # (n,) whether each hash is known


@dataclass(frozen=True)
class Source(Images):
    """The images of a data set, or of a clip-retrieval `folder`."""

    name: str
    folder: GalleryFolder | None = None
    unreadable: dict[str, str] = field(default_factory=dict)  # id -> reason, for images that cannot be read
    other_files: dict[str, int] = field(default_factory=dict)  # reason -> number of files that are not used

    def origin(self) -> dict[str, Any]:
        """Origin of the vectors of a clip-retrieval folder in plain JSON values; {} for a data set, which this run embeds."""
        if self.folder is None:
            return {}
        made_with = self.folder.about.get("encoder")
        known = made_with["identity"] if made_with else "unknown: made by another program"
        return {"encoder": known, "vectors_from": self.folder.vectors_from}


def picture_hashes(photos: Sequence[Photo], **options: Any) -> NDArray[np.uint8]:
    """Compute or look up the picture hashes of readable photographs, with options of `embed`: (n, 272) uint8."""
    hasher = duplicates.PictureHash()
    return duplicates.hashes_in(embed(photos, [CLEAN], hasher, kept_embeddings(hasher), **options).vectors[CLEAN])


def hashes_for(spec: RunSpec, photos: Sequence[Photo], **options: Any) -> NDArray[np.uint8]:
    """Compute picture hashes if the run excludes near-copies, else return zeros: (n, 272) uint8."""
    if spec.duplicates < 0:
        return np.zeros((len(photos), CELLS), dtype=np.uint8)
    return picture_hashes(photos, **options)


def from_photos(
    name: str, embedded: Embeddings, hashes: NDArray[np.uint8], prefix: str = "", other_files: Mapping[str, int] | None = None
) -> Source:
    """Make a source from clean embeddings of a data set."""
    return Source(
        name=name,
        vectors=embedded.vectors[CLEAN],
        ids=[prefix + photo.id for photo in embedded.photos],
        categories=[photo.category for photo in embedded.photos],
        digests=list(embedded.digests),
        paths=[str(photo.path) for photo in embedded.photos],
        hashes=hashes,
        known=np.ones(len(hashes), dtype=np.bool_),
        unreadable={prefix + photo: why for photo, why in embedded.unreadable.items()},
        other_files=dict(other_files or {}),
    )


def from_folder(folder: GalleryFolder, encoder: Encoder, prefix: str, spec: RunSpec) -> Source:
    """Make a source from a folder in clip-retrieval's format; a `UserError` if it was made with another encoder or colour."""
    _require_made_with(folder, encoder, spec.precision, spec.engine, spec.colour)
    texts = folder.column(duplicates.COLUMN)
    hashes = np.zeros((len(texts), CELLS), dtype=np.uint8)
    known = np.array([len(text) == 2 * CELLS for text in texts], dtype=np.bool_)
    for row in np.flatnonzero(known).tolist():
        hashes[row] = np.frombuffer(bytes.fromhex(texts[row]), dtype=np.uint8)
    return Source(
        name=folder.path.name,
        vectors=folder.vectors,
        ids=[prefix + name for name in folder.names],
        categories=folder.column("category"),
        digests=folder.column("sha256"),
        paths=folder.column("image_path"),
        hashes=hashes,
        known=known,
        folder=folder,
        unreadable={prefix + photo: why for photo, why in folder.about.get("unreadable", {}).items()},
        other_files=folder.about.get("other_files", {}),
    )


@cache  # a sweep asks for each of its runs
def require_fitting(gallery: str, encoder: str, precision: str, engine: str, device: str, colour: str, k: int) -> None:
    """Raise a `UserError` if a folder of embeddings that a run's gallery names was made with another encoder or colour.

    So it does if the gallery has fewer than k images.
    """
    held: list[float] = []
    for name in source_names(gallery):
        if (path := gallery_path(name)) and any((path / "img_emb").glob("*.npy")):
            folder = GalleryFolder(path, pd.DataFrame(), read_about(path))
            _require_made_with(folder, load_encoder(encoder, precision, engine, device), precision, engine, colour)
            held.append(folder.vectors.shape[0])
        else:
            held.append(math.inf if path or is_imported(name) else len(load_dataset(name).photos))
    if held:
        require_results(k, sum(held))


def _require_made_with(folder: GalleryFolder, encoder: Encoder, precision: str, engine: str, colour: str) -> None:
    made_with = folder.about.get("encoder")
    if folder.dim != encoder.dim:
        raise UserError(
            f"{shown(folder.path)} holds vectors of {folder.dim} values, the encoder {encoder.name!r} makes {encoder.dim}: "
            "use the encoder that the gallery was made with"
        )
    if made_with and made_with["identity"] != encoder.identity:
        name, held_at, asked = made_with["name"], f"{made_with['precision']} on torch", f"{precision} on {engine}"
        made, again = f"{shown(folder.path)} was made with {name!r}", "build the gallery again"
        if made_with["identity"].partition("|")[0] != typed(encoder):
            raise UserError(f"{made}, not with {typed(encoder)!r}: use that encoder (-p encoder {word(name)}), or {again}")
        if held_at != asked:
            how = f"-p precision {made_with['precision']} -p engine torch"
            raise UserError(f"{made} in {held_at}, and the run is in {asked}: pass {how}, or {again}")
        raise UserError(f"{made}, whose code or weights have changed since: {again} (remove the folder, then clipnb index)")
    if made_with and (held := folder.about.get("colour", "srgb")) != colour:
        raise UserError(
            f"{shown(folder.path)} was indexed with colour {held}, and the run has {colour}: pass -p colour {held}, or build a "
            f"gallery with `clipnb index <photographs> <folder> --colour {colour}`"
        )


def source_names(gallery: str) -> dict[str, str]:
    """Map each source that the field `gallery` of a run names to the prefix of its images' names; {} for none or a service.

    Commas separate sources, unless the whole text is the path of a folder. Sources whose paths end in the same name get
    different prefixes: `more:`, `more-2:`.
    """
    if is_service(gallery.strip()):
        return {}
    named: dict[str, str] = {}
    for name in gallery_parts(gallery):
        short = slug(name)
        prefixes = (f"{short}-{n}:" if n > 1 else f"{short}:" for n in count(1))
        named[name] = next(prefix for prefix in prefixes if prefix not in named.values())
    return named


def gallery_path(name: str) -> Path | None:
    """Find the clip-retrieval folder of this name; None if there is none."""
    return next((path for path in (expanded(name), project_root() / name) if is_gallery(path)), None)


def is_same_gallery(one: str, other: str) -> bool:
    """Whether two spellings of the field `gallery` of a run name the same sources."""
    return one == other or (not is_service(one) and not is_service(other) and _places(one) == _places(other))


def _places(gallery: str) -> list[tuple[str, Path | None]]:
    """Each source that a gallery names: its folder and `nested:`, if the folder holds subfolders; else the name of the source."""
    found: list[tuple[str, Path | None]] = []
    for name in source_names(gallery):
        place = gallery_path(name)
        if place is None and not is_imported(name):
            with suppress(UserError):  # it was moved since the run
                place = locate(name)
        kind = NESTED if name.startswith(NESTED) else ""
        found.append((kind, place.resolve()) if place else (name, None))
    return found


def open_sources(spec: RunSpec, own: Source, encoder: Encoder, store: EmbeddingStore, **options: Any) -> list[Source]:
    """Open the sources that a run's gallery names; without one, the data set itself, `own`. `UserError` if one does not fit."""

    def opened(name: str, prefix: str) -> Source:
        if path := gallery_path(name):
            return from_folder(open_folder(path), encoder, prefix, spec)
        if is_same(name, spec.dataset):
            return own
        dataset = load_dataset(name)
        more = embed(dataset.photos, [CLEAN], encoder, store, colour=spec.colour, **options)
        return from_photos(slug(name), more, hashes_for(spec, more.photos, **options), prefix, dataset.other_files)

    named = source_names(spec.gallery) or {spec.dataset: ""}
    return [opened(name, prefix) for name, prefix in named.items()]


def joined(sources: Sequence[Source]) -> Images:
    """The images of all sources, in their order."""

    def texts(of: str) -> list[str]:
        return [text for source in sources for text in getattr(source, of)]

    vectors = sources[0].vectors
    if len(sources) > 1:
        vectors = Vectors([array for source in sources for array in getattr(source.vectors, "arrays", [source.vectors])])
    hashes, known = (np.concatenate([getattr(source, of) for source in sources]) for of in ("hashes", "known"))
    return Images(vectors, texts("ids"), texts("categories"), texts("digests"), texts("paths"), hashes, known)


def image_finder(spec: RunSpec) -> Callable[[str], Path | None]:
    """Return a function from the name of a result of this run to its image file, or to None if the file is gone."""
    known = {photo.id: photo.path for photo in load_dataset(spec.dataset).photos}
    if is_service(spec.gallery):
        cache = ImageCache(cache_root() / "fetched")

        def fetched(name: str) -> Path | None:
            kept = cache.get(key_of_sent(spec.gallery, spec.index, name)) or cache.get(name)
            return kept.path if kept else None  # a service names files of its own machine, never of this one

        return fetched
    for name, prefix in source_names(spec.gallery).items():
        with suppress(UserError):  # the folder was moved since the run
            if path := gallery_path(name):
                folder = open_folder(path)
                files = zip(folder.names, folder.column("image_path"), strict=True)
                known |= {prefix + named: Path(file) for named, file in files}
            elif not is_same(name, spec.dataset):
                known |= {f"{prefix}{photo.id}": photo.path for photo in load_dataset(name).photos}

    def there(name: str) -> Path | None:
        with suppress(KeyError, OSError, ValueError):  # a name that no file can have
            return known[name] if known[name].is_file() else None
        return None

    return there


def require_gallery(gallery: str) -> None:
    """Raise a `UserError` if a source that the field `gallery` of a run names is missing."""
    for name in source_names(gallery):
        if gallery_path(name) is None and not is_imported(name):
            try:
                locate(name)
            except UserError as error:
                raise UserError(f"gallery {name!r}: no folder that clipnb index wrote, and {error}") from None


def gallery_files(gallery: str) -> list[Path]:
    """List the files of a gallery; there are none for the data set itself and for a service. `UserError` if a folder is missing."""
    found: list[Path] = []
    for name in source_names(gallery):
        if path := gallery_path(name):
            found += sorted(p for folder in ("img_emb", "metadata", ".") for p in (path / folder).glob("*.*") if p.is_file())
        else:
            found += [photo.path for photo in load_dataset(name).photos]
    return found
