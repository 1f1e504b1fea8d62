"""Data sets: folders that hold one folder per category, and random parts of them."""

from __future__ import annotations

import glob
import os
import re
import shlex
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from .._core.paths import data_root, expanded, project_root, shown, typed_as_path
from .._core.random import drawn
from .._core.registry import nearest
from .._core.text import file_slug
from ..errors import DatasetError
from . import importers, samples
from .images import digest
from .listing import DEEPER, HIDDEN, LOOSE, listing, unicode

KNOWN = {
    "nba": "players, one folder each; Kaggle set djjerrish/nba-player-image-dataset-201920",
    "miniplaces": "scenes, one folder each; the MiniPlaces course archive",
}
"""The data sets of the study, with a description; `clipnb fetch` downloads them."""

UNREAD = frozenset([".arw", ".cr2", ".cr3", ".dng", ".jxl", ".nef", ".orf", ".raf", ".raw", ".rw2"])
"""Suffixes of photographs in formats that are not read."""

NESTED = "nested:"  #: prefix of a data set whose categories include the photographs in their subfolders


@dataclass(frozen=True)
class Photo:
    """One image file of a data set."""

    category: str  #: name of the category; in a flat data set, the name of the file
    path: Path
    inside: str = ""  #: path inside the folder of the category if the file lies in a subfolder, else ""

    @property
    def name(self) -> str:
        """Name of the file inside the folder of its category; unique there."""
        return self.inside or self.path.name

    @property
    def id(self) -> str:
        """`<category>/<name>`: unique within a data set and equal on every machine."""
        return f"{self.category}/{self.name}"

    @property
    def place(self) -> str:
        """Where the file lies in the folder of the data set."""
        return self.name if self.category == self.name else self.id


@dataclass(frozen=True)
class Dataset:
    """The photographs of one data set, sorted by category and file name."""

    name: str  #: short name that is valid in a file name
    root: Path
    photos: tuple[Photo, ...]
    empty: tuple[str, ...] = ()  #: names of category folders without an image
    unused: dict[str, str] = field(default_factory=dict)  #: path inside the folder -> reason, for every file that is not used
    flat: bool = False  #: whether no image lies in a category folder; each photograph is then a category of its own

    @property
    def categories(self) -> list[str]:
        """Names of the categories with photographs, in order."""
        return list(dict.fromkeys(photo.category for photo in self.photos))

    @property
    def words(self) -> list[str]:
        """Names of the categories as text (`readable`), sorted, each once; none for a flat data set."""
        return [] if self.flat else sorted({readable(category) for category in self.categories})

    @property
    def other_files(self) -> dict[str, int]:
        """Reason -> number of files that are not used."""
        return dict(sorted(Counter(self.unused.values()).items()))

    @property
    def left_out(self) -> str:
        """`other_files` as text, without hidden files."""
        return ", ".join(f"{count} {reason}" for reason, count in self.other_files.items() if reason != HIDDEN)


def slug(text: str) -> str:
    """Short name of a data set for file names: the last folder of a path, with dashes for special characters.

    >>> slug("~/my photos/"), slug("nested:~/my photos")
    ('my-photos', 'nested-my-photos')
    """
    if text.startswith(NESTED):
        return f"nested-{slug(text.removeprefix(NESTED))}"
    return file_slug(re.split(r"[/\\]", text.rstrip("/\\"))[-1]) or "photos"


def readable(category: str) -> str:
    """The name of a category as a person writes it: what zero-shot prompts and the typographic edit use.

    >>> [readable(name) for name in ("amusement_park", "Federer, Roger", "n02123045_tabby", "T-shirt")]
    ['amusement park', 'Roger Federer', 'tabby', 'T-shirt']
    """
    named = " ".join(re.sub(r"^n\d{8}\b|^n\d{8}(?=_)", "", category).replace("_", " ").split()) or category
    last, comma, first = (part.strip() for part in named.partition(","))
    return f"{first} {last}" if comma and last[:1].isupper() and first[:1].isupper() and "," not in first else named


def locate(dataset: str) -> Path:
    """Find the folder of a data set, by name or path; a `DatasetError` says how to get one that is missing.

    Sample and imported sets are written to the cache on first use.
    """
    dataset = dataset.removeprefix(NESTED)
    if dataset in samples.SAMPLES:
        return samples.ensure(dataset)
    if importers.is_imported(dataset):
        return importers.ensure(dataset)
    home = expanded(dataset)
    places = [Path(dataset), project_root() / dataset, home]
    if os.path.basename(dataset) == dataset:  # noqa: PTH119 - of a path that ends with a slash this is ""
        places.insert(0, data_root() / dataset)
    elif not typed_as_path(dataset):
        places.append(data_root() / dataset)
    for folder in places:
        if dataset and os.path.isdir(folder):  # noqa: PTH112 - unlike `Path.is_dir`, no error for a name that is too long
            return folder
    names, here = [*samples.SAMPLES, *KNOWN], shown(data_root())
    if dataset in KNOWN:
        raise DatasetError(
            f"data set {dataset!r} ({KNOWN[dataset]}) is not in {here}: run clipnb fetch {dataset}, or set CLIPNB_DATA to the "
            f"folder that holds {dataset}/<category>/<image>; to work without it, use -p dataset {names[0]}"
        )
    if os.path.isfile(dataset):  # noqa: PTH113 - no errors for odd paths
        raise DatasetError(f"{dataset!r} is a file: a data set is the folder of its photographs")
    if spaced := with_spaces(dataset):
        raise DatasetError(f"no data set {dataset!r}: put a name with spaces in quotes: {spaced}")
    hint = nearest(dataset, [*names, *_folders(data_root()), *_folders(Path())])
    advice = f"give a folder of photographs, a name in {here}, or one of {', '.join(names)}"
    raise DatasetError(f"no data set {dataset!r}{hint}: {advice}")


def with_spaces(typed: str) -> str:
    """The folder of which a shell passed only the first word, in quotes; "" if there is none."""
    with suppress(OSError, ValueError):  # a name that cannot be one of a file
        found = sorted(Path(typed).parent.glob(f"{glob.escape(Path(typed).name)} *")) if Path(typed).name else []
        return next((shlex.quote(str(folder)) for folder in found if folder.is_dir()), "")
    return ""


def cut_by_shell(words: Sequence[str], longest: int = 9) -> str:
    """The folder whose name a shell cut into up to `longest` of the words, in quotes; "" if there is none."""
    for start in range(len(words)):
        for end in range(start + 2, min(start + longest, len(words)) + 1):
            name = " ".join(words[start:end])
            if any(os.path.isdir(root / name) for root in (Path(), data_root())):  # noqa: PTH112 - no errors for odd names
                return shlex.quote(name)
    return ""


def _folders(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")] if folder.is_dir() else []


def is_same(one: str, other: str) -> bool:
    """Whether two spellings name the same data set; a `DatasetError` if there is no such folder."""
    return one.startswith(NESTED) == other.startswith(NESTED) and locate(one).resolve() == locate(other).resolve()


def listing_digest(photos: Sequence[Photo]) -> str:
    """SHA-256 over the id, size and modification time of image files. The files are not read."""
    listed = [(photo.id, photo.path.stat()) for photo in photos]
    return digest("".join(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n" for name, stat in listed).encode())


def load_dataset(dataset: str | Path) -> Dataset:
    """List the image files of a data set, without decoding them; a `DatasetError` if there is no such folder, or no image in it.

    A folder for torchvision's `ImageFolder` gives the same categories and files, except that images in subfolders of a category
    are used only if the name starts with `nested:`, that a folder without an image is no error (`empty` lists it), that hidden
    files and folders (`.git`, `._1.jpg`) are never used, and that `.gif` and `.jfif` files are images.

    If no category folder holds an image, the images in the folder itself are a flat data set. `unused` names all other files.

    Args:
        dataset: a sample set, a name in the data folder, the path of a folder, `nested:<folder>`, or an `hf:` or `wds:` set (see
            `clipnb.datasets.importers`).

    >>> figures = load_dataset("sample-figures")
    >>> figures.categories
    ['astronaut', 'cat', 'coffee', 'flower', 'motorcycle', 'officer']
    >>> len(figures.photos), figures.photos[0].id
    (96, 'astronaut/000.jpg')
    """
    root = locate(dataset := str(dataset))
    images: dict[str, list[str]] = {"": []}
    unused: dict[str, str] = {}
    for category, name, why in listing(root, nested=dataset.startswith(NESTED)):
        if why:
            unused[f"{category}/{name}" if category else name] = why
        else:
            images.setdefault(unicode(category), []).extend([unicode(name)] if name else [])
    loose = images.pop("")
    inside = [(category, name) for category, names in images.items() for name in names]
    photos = [Photo(category, root / category / name, name if "/" in name else "") for category, name in inside]
    flat = not photos
    if flat:
        photos = [Photo(name, root / name) for name in loose]
    else:
        unused |= dict.fromkeys(loose, LOOSE)
    empty = [] if flat else [category for category, names in images.items() if not names]
    made = Dataset(slug(dataset), root, tuple(photos), tuple(empty), unused, flat)
    if DEEPER in made.other_files and flat:
        top, *others = {path.partition("/")[0] for path, why in unused.items() if why == DEEPER}
        advice = f"{NESTED}{dataset} uses the images in subfolders of categories"
        if not others and not dataset.startswith(NESTED):  # as an archive is unpacked
            advice = f"{dataset.rstrip('/')}/{top} has its subfolders as categories"
        raise DatasetError(f"{_no_photographs(made)}: -p dataset {advice}")
    if not photos:
        advice = "convert them to JPEG" if UNREAD & set(made.other_files) else "put images into it, one folder per category"
        raise DatasetError(f"{_no_photographs(made)}: {advice}")
    spelled = [] if flat else [unicodedata.normalize("NFC", category) for category in made.categories]
    for name in [name for name, n in Counter(spelled).items() if n > 1]:
        warnings.warn(f"{shown(root)}: {name!r} has two Unicode spellings, as two categories: rename one", stacklevel=2)
    return made


def _no_photographs(dataset: Dataset) -> str:
    return f"{shown(dataset.root)} holds no photographs that are used ({dataset.left_out or 'no images were found'})"


def fingerprint(items: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over (image id, content digest) pairs. It is equal for two data sets if and only if they hold the same files."""
    return digest("".join(f"{name}\0{content}\n" for name, content in sorted(items)).encode())


def fingerprint_now(dataset: Dataset, unreadable: Iterable[str] = ()) -> str:
    """The `fingerprint` of a data set's files as they are, without those that are `unreadable` (ids)."""
    return _fingerprint_of(dataset.photos, frozenset(unreadable), listing_digest(dataset.photos))


@lru_cache(maxsize=16)
def _fingerprint_of(photos: tuple[Photo, ...], unreadable: frozenset[str], listed: str) -> str:
    return fingerprint((photo.id, digest(photo.path.read_bytes())) for photo in photos if photo.id not in unreadable)


def sample(dataset: Dataset, categories: int = 0, per_category: int = 0, seed: int = 0) -> Dataset:
    """Draw categories and photographs of each (0: all), and keep their order; a `DatasetError` if there are too few.

    They are ranked by a hash of the seed and their own name. A larger sample therefore contains every smaller one, and the
    ranking does not depend on other settings, on other photographs or on their order. A category that is smaller than others
    keeps all photographs.

    >>> len(sample(load_dataset("sample-figures"), categories=2, per_category=4).photos)
    8
    """
    names = dataset.categories
    if categories > len(names):
        raise DatasetError(f"{dataset.name} has {len(names)} categories with photographs, fewer than -p categories {categories}")
    chosen = drawn(names, categories or len(names), seed, "categories")
    photos = [photo for photo in dataset.photos if photo.category in chosen]
    most = max(Counter(photo.category for photo in dataset.photos).values(), default=0)
    if per_category and dataset.flat:
        raise DatasetError(f"{dataset.name} has no category folders, which per_category needs: -p categories draws photographs")
    if per_category > most:
        raise DatasetError(
            f"{dataset.name} has at most {most} photographs in a category, fewer than -p per_category {per_category}"
        )
    if per_category:
        groups = {name: [photo.id for photo in photos if photo.category == name] for name in chosen}
        kept = set[str]().union(*(drawn(ids, per_category, seed, "photographs") for ids in groups.values()))
        photos = [photo for photo in photos if photo.id in kept]
    return replace(dataset, photos=tuple(photos), empty=dataset.empty if not categories else ())


def batch(photos: Sequence[Photo], start: int = 0, step: int = 0) -> list[Photo]:
    """Photographs of `step` categories (0: all that follow), by name, from number `start` (from 0) on, or a `DatasetError`."""
    names = sorted({photo.category for photo in photos})
    if start >= len(names) > 0:
        raise DatasetError(f"there are {len(names)} categories, numbered from 0: -p start {start} is past the last")
    mine = set(names[start : start + step if step else None])
    return [photo for photo in photos if photo.category in mine]
