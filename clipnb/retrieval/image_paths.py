"""Locate the image files of results on this machine, for figures that show them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from .._core.paths import cache_root
from .._core.text import is_service
from ..datasets.dataset import is_same, load_dataset
from ..errors import UserError
from ..spec import RunSpec
from .folder import open_folder
from .image_fetcher import ImageCache
from .knn_client import key_of_sent
from .sources import gallery_path, source_names


def image_finder(spec: RunSpec) -> Callable[[str], Path | None]:
    """Return a function from the name of a result of this run to its image file, or to None if the file is gone."""
    known = {photo.id: photo.path for photo in load_dataset(spec.dataset).photos}
    if is_service(spec.gallery):
        cache = ImageCache(cache_root() / "fetched")

        def fetched(name: str) -> Path | None:
            kept = cache.get(key_of_sent(spec.gallery, spec.index, name)) or cache.get(name)
            return kept.path if kept else None  # a service names files of its own machine, never of this one

        return fetched
    for name, prefix in source_names(spec.gallery).items() if spec.gallery else ():
        try:
            if path := gallery_path(name):
                folder = open_folder(path)
                files = zip(folder.column("id", "url", "image_path"), folder.column("image_path"), strict=True)
                known |= {f"{prefix}{named or row}": Path(file) for row, (named, file) in enumerate(files)}
            elif not is_same(name, spec.dataset):
                known |= {f"{prefix}{photo.id}": photo.path for photo in load_dataset(name).photos}
        except UserError:
            continue  # the folder was moved since the run
    return lambda name: _there(str(known[name])) if name in known else None


def _there(path: str) -> Path | None:
    with suppress(OSError, ValueError):  # a name that no file can have
        return Path(path) if Path(path).is_file() else None
    return None


def gallery_files(gallery: str) -> list[Path]:
    """List the files of a gallery. The list is empty for the data set itself and for a service.

    Raises:
        UserError: a folder of the gallery is missing.
    """
    if not gallery or is_service(gallery):
        return []
    found: list[Path] = []
    for name in source_names(gallery):
        if path := gallery_path(name):
            found += sorted(p for folder in ("img_emb", "metadata", ".") for p in (path / folder).glob("*.*") if p.is_file())
        else:
            found += [photo.path for photo in load_dataset(name).photos]
    return found
