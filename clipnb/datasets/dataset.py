"""Data sets: a folder with one folder per category, wherever it lies."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from .._core.paths import data_root, project_root, shown
from ..errors import DatasetError
from . import importers, samples
from .images import SUFFIXES

KNOWN = {
    "nba": "players, one folder each; Kaggle set djjerrish/nba-player-image-dataset-201920",
    "miniplaces": "scenes, one folder each; the MiniPlaces course archive",
}
"""The study's own data sets, and what they are; `clipnb fetch` gets them."""


@dataclass(frozen=True)
class Photo:
    """One image file of a data set."""

    category: str
    path: Path

    @property
    def id(self) -> str:
        """`<category>/<file name>`: unique within a data set, the same on every machine."""
        return f"{self.category}/{self.path.name}"


@dataclass(frozen=True)
class Dataset:
    """The photographs of one data set, sorted by category and file name.

    Attributes:
        name: short name, fit for a file name.
        root: its folder.
        photos: every image file.
        empty: folders in it that hold no image.
        passed_over: suffix (or "folder") -> how many things inside the category folders are no image files.
    """

    name: str
    root: Path
    photos: tuple[Photo, ...]
    empty: tuple[str, ...] = ()
    passed_over: dict[str, int] = field(default_factory=dict)

    @property
    def categories(self) -> list[str]:
        return list(dict.fromkeys(photo.category for photo in self.photos))


def slug(text: str) -> str:
    """A data set's name as part of a file name: the last folder of a path, odd characters as dashes."""
    named = re.split(r"[/\\]", text.rstrip("/\\"))[-1]
    return re.sub(r"[^\w.+-]+", "-", named).strip("-.") or "photos"


def locate(dataset: str) -> Path:
    """The folder that a data set's name or path stands for; sample sets are written on first use.

    Raises:
        DatasetError: nothing there; the message says how to get it.
    """
    if dataset in samples.SAMPLES:
        return samples.ensure(dataset)
    if importers.is_imported(dataset):
        return importers.ensure(dataset)
    for folder in (data_root() / dataset, Path(dataset), project_root() / dataset):
        if dataset and folder.is_dir():
            return folder
    if dataset.startswith("~"):  # a shell would have expanded it
        with suppress(RuntimeError):  # no such user
            if (folder := Path(dataset).expanduser()).is_dir():
                return folder
    choices = list(samples.SAMPLES)
    offline = f"without them, try -p dataset {choices[0]}"
    if dataset in KNOWN:
        raise DatasetError(
            f"data set {dataset!r} ({KNOWN[dataset]}) is not in {shown(data_root())}: "
            f"clipnb fetch {dataset} gets it, or set CLIPNB_DATA to the folder that holds {dataset}/<category>/<image>; {offline}"
        )
    close = difflib.get_close_matches(dataset, [*choices, *KNOWN], n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise DatasetError(
        f"no data set {dataset!r}{hint}: give a folder with one folder per category, "
        f"a name in {shown(data_root())}, or one of {', '.join([*choices, *KNOWN])}"
    )


def listing_digest(photos: Sequence[Photo]) -> str:
    """SHA-256 over what the file system says of image files, without reading them: id, size and time of change of each."""
    sha = hashlib.sha256()
    for photo in photos:
        stat = photo.path.stat()
        sha.update(f"{photo.id}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return sha.hexdigest()


def load_dataset(dataset: str) -> Dataset:
    """List a data set's image files; nothing is decoded yet.

    A folder for torchvision's `ImageFolder` is one for this too, with the same categories and files, except that here

    - a category's folder is not searched for folders inside it: they are counted in `passed_over`;
    - a folder without an image is named in `empty` and no error;
    - what is hidden (`.git`, `._1.jpg`) is never an image nor a category;
    - `.gif` and `.jfif` are images as well.

    Raises:
        DatasetError: no such folder, or no images in the layout <root>/<category>/<image>.
    """
    root = locate(dataset)
    photos: list[Photo] = []
    empty: list[str] = []
    passed_over: Counter[str] = Counter()
    for folder in sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")):
        _require_unicode(folder.name)
        passed_over.update(_others(folder))
        found = [Photo(folder.name, path) for path in _images(folder)]
        photos += found
        if not found:
            empty.append(folder.name)
    if not photos:
        flat = len(_images(root))
        why = f"{flat} images lie in it directly" if flat else "no images were found"
        raise DatasetError(
            f"{shown(root)} is not laid out as <category>/<image> ({why}): make one folder per kind of photograph in it"
        )
    return Dataset(slug(dataset), root, tuple(photos), tuple(empty), dict(sorted(passed_over.items())))


def _images(folder: Path) -> Sequence[Path]:
    images = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file() and not p.name.startswith("."))
    for path in images:
        _require_unicode(path.name)
    return images


def _others(folder: Path) -> list[str]:
    """The kinds of what lies in a category's folder and is not taken for an image; hidden files do not count."""
    inside = [p for p in folder.iterdir() if not p.name.startswith(".")]
    return [
        ("folder" if p.is_dir() else p.suffix.lower() or "no suffix")
        for p in inside
        if p.is_dir() or p.suffix.lower() not in SUFFIXES
    ]


def _require_unicode(name: str) -> None:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise DatasetError(f"the name {os.fsencode(name)!r} is not Unicode, which results are written in: rename it") from None


def fingerprint(items: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over (image id, content digest) pairs: two data sets agree on it if and only if they hold the same files."""
    sha = hashlib.sha256()
    for name, content in sorted(items):
        sha.update(f"{name}\0{content}\n".encode())
    return sha.hexdigest()
