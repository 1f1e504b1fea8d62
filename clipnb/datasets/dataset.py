"""Data sets: folders that hold one folder per category."""

from __future__ import annotations

import difflib
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .._core.paths import data_root, project_root, shown
from ..errors import DatasetError
from . import importers, samples
from .images import SUFFIXES, digest

KNOWN = {
    "nba": "players, one folder each; Kaggle set djjerrish/nba-player-image-dataset-201920",
    "miniplaces": "scenes, one folder each; the MiniPlaces course archive",
}
"""The data sets of the study, with a description; `clipnb fetch` downloads them."""


@dataclass(frozen=True)
class Photo:
    """One image file of a data set."""

    category: str
    path: Path

    @property
    def id(self) -> str:
        """`<category>/<file name>`: unique within a data set and equal on every machine."""
        return f"{self.category}/{self.path.name}"


@dataclass(frozen=True)
class Dataset:
    """The photographs of one data set, sorted by category and file name.

    Attributes:
        name: short name that is valid in a file name.
        root: folder of the data set.
        photos: every image file.
        empty: names of category folders without an image.
        other_files: suffix (or what else it is) -> number of entries in the category folders that are not image files.
    """

    name: str
    root: Path
    photos: tuple[Photo, ...]
    empty: tuple[str, ...] = ()
    other_files: dict[str, int] = field(default_factory=dict)

    @property
    def categories(self) -> list[str]:
        """Names of the categories with photographs, in order."""
        return list(dict.fromkeys(photo.category for photo in self.photos))

    @property
    def words(self) -> list[str]:
        """Names of the categories as text (`readable`), sorted, each once."""
        return sorted({readable(category) for category in self.categories})


def slug(text: str) -> str:
    """Short name of a data set for file names: the last folder of a path, with dashes for special characters.

    >>> slug("~/my photos/")
    'my-photos'
    """
    named = re.split(r"[/\\]", text.rstrip("/\\"))[-1]
    return re.sub(r"[^\w.+-]+", "-", named).strip("-.") or "photos"


def readable(category: str) -> str:
    """The name of a category as a person writes it: what zero-shot prompts and the typographic edit use.

    >>> [readable(name) for name in ("amusement_park", "Federer, Roger", "n02123045_tabby", "T-shirt")]
    ['amusement park', 'Roger Federer', 'tabby', 'T-shirt']
    """
    named = " ".join(re.sub(r"^n\d{8}\b|^n\d{8}(?=_)", "", category).replace("_", " ").split()) or category
    last, comma, first = (part.strip() for part in named.partition(","))
    return f"{first} {last}" if comma and last[:1].isupper() and first[:1].isupper() and "," not in first else named


def locate(dataset: str) -> Path:
    """Find the folder of a data set, by name or path. Sample and imported sets are written to the cache on first use.

    Raises:
        DatasetError: there is no such folder; the message says how to get the data set.
    """
    if dataset in samples.SAMPLES:
        return samples.ensure(dataset)
    if importers.is_imported(dataset):
        return importers.ensure(dataset)
    home = Path(os.path.expanduser(dataset))  # noqa: PTH111 - unlike `Path.expanduser`, no error for an unknown user
    places = [Path(dataset), project_root() / dataset, home]
    if os.path.basename(dataset) == dataset:  # noqa: PTH119 - of a path that ends with a slash this is ""
        places.insert(0, data_root() / dataset)
    else:
        places.append(data_root() / dataset)
    for folder in places:
        if dataset and folder.is_dir():
            return folder
    choices = list(samples.SAMPLES)
    if dataset in KNOWN:
        raise DatasetError(
            f"data set {dataset!r} ({KNOWN[dataset]}) is not in {shown(data_root())}: "
            f"run clipnb fetch {dataset}, or set CLIPNB_DATA to the folder that holds {dataset}/<category>/<image>; "
            f"to work without it, use -p dataset {choices[0]}"
        )
    close = difflib.get_close_matches(dataset, [*choices, *KNOWN], n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise DatasetError(
        f"no data set {dataset!r}{hint}: give a folder with one folder per category, "
        f"a name in {shown(data_root())}, or one of {', '.join([*choices, *KNOWN])}"
    )


def listing_digest(photos: Sequence[Photo]) -> str:
    """SHA-256 over the id, size and modification time of image files. The files are not read."""
    listed = [(photo.id, photo.path.stat()) for photo in photos]
    return digest("".join(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n" for name, stat in listed).encode())


def load_dataset(dataset: str) -> Dataset:
    """List the image files of a data set, without decoding them.

    A folder for torchvision's `ImageFolder` works here too and gives the same categories and files, except that

    - folders inside a category's folder are not searched; `other_files` counts them;
    - a folder without an image is not an error; `empty` lists it;
    - hidden files and folders (`.git`, `._1.jpg`) are never images or categories;
    - `.gif` and `.jfif` files are images.

    Args:
        dataset: a sample set, a name in the data folder, the path of a folder, or an `hf:` or `wds:` set (see
            `clipnb.datasets.importers`).

    Raises:
        DatasetError: there is no such folder, or it holds no images in the layout <root>/<category>/<image>.

    >>> figures = load_dataset("sample-figures")
    >>> figures.categories
    ['astronaut', 'cat', 'coffee', 'flower', 'motorcycle', 'officer']
    >>> len(figures.photos), figures.photos[0].id
    (96, 'astronaut/000.jpg')
    """
    root = locate(dataset)
    photos: list[Photo] = []
    empty: list[str] = []
    other_files: Counter[str] = Counter()
    for folder in sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")):
        _require_unicode(folder.name)
        other_files.update(_others(folder))
        found = [Photo(folder.name, path) for path in _images(folder)]
        photos += found
        if not found:
            empty.append(folder.name)
    if not photos:
        flat = len(_images(root))
        why = f"{flat} images lie in it directly" if flat else "no images were found"
        raise DatasetError(
            f"{shown(root)} is not laid out as <category>/<image> ({why}): put the images into one folder per category"
        )
    return Dataset(slug(dataset), root, tuple(photos), tuple(empty), dict(sorted(other_files.items())))


def _images(folder: Path) -> Sequence[Path]:
    """The image files in a folder, sorted, without hidden files."""
    images = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file() and not p.name.startswith("."))
    for path in images:
        _require_unicode(path.name)
    return images


def _others(folder: Path) -> list[str]:
    """What each entry in a category's folder is that is not an image, mostly its suffix; hidden files do not count."""
    inside = [p for p in folder.iterdir() if not p.name.startswith(".")]
    others = [p for p in inside if not p.is_file() or p.suffix.lower() not in SUFFIXES]
    return [
        "folder" if p.is_dir() else (p.suffix.lower() or "no suffix") if p.is_file() else "broken link or device" for p in others
    ]


def _require_unicode(name: str) -> None:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise DatasetError(
            f"the name {os.fsencode(name)!r} is not Unicode, but results are written in Unicode: rename it"
        ) from None


def fingerprint(items: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over (image id, content digest) pairs. It is equal for two data sets if and only if they hold the same files."""
    return digest("".join(f"{name}\0{content}\n" for name, content in sorted(items)).encode())
