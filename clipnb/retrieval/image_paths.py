"""Where the image of a result is on this machine, for pictures of results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .._core.paths import cache_root
from ..datasets.dataset import load_dataset, locate
from ..errors import UserError
from ..spec import RunSpec, is_service
from .folder import open_folder
from .image_fetcher import ImageCache
from .sources import gallery_path, part_names


def image_finder(spec: RunSpec) -> Callable[[str], Path | None]:
    """For the name of a result of this run, its image file; None where there is none any more."""
    known = {photo.id: photo.path for photo in load_dataset(spec.dataset).photos}
    if is_service(spec.gallery):
        cache = ImageCache(cache_root() / "fetched")

        def fetched(name: str) -> Path | None:
            kept = cache.get(name)
            return kept.path if kept else _there(name)

        return fetched
    for name, prefix in part_names(spec.gallery).items() if spec.gallery else ():
        try:
            if path := gallery_path(name):
                folder = open_folder(path)
                files = zip(folder.column("id", "url", "image_path"), folder.column("image_path"), strict=True)
                known |= {f"{prefix}{named or row}": Path(file) for row, (named, file) in enumerate(files)}
            elif locate(name).resolve() != locate(spec.dataset).resolve():
                known |= {f"{prefix}{photo.id}": photo.path for photo in load_dataset(name).photos}
        except UserError:
            continue  # moved away since the run
    return lambda name: _there(str(known[name])) if name in known else None


def _there(path: str) -> Path | None:
    return Path(path) if Path(path).is_file() else None


def gallery_files(gallery: str) -> list[Path]:
    """The files that a gallery consists of; none of the data set itself, or of a service, whose files are elsewhere.

    Raises:
        UserError: a folder of it is missing.
    """
    if not gallery or is_service(gallery):
        return []
    found: list[Path] = []
    for name in part_names(gallery):
        if path := gallery_path(name):
            found += sorted(p for folder in ("img_emb", "metadata", ".") for p in (path / folder).glob("*.*") if p.is_file())
        else:
            found += [photo.path for photo in load_dataset(name).photos]
    return found
