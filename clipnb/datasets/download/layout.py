"""Map the folders of a published data set to one folder per category."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import takewhile
from pathlib import PurePosixPath

from ...errors import DatasetError
from ..images import SUFFIXES

SPLITS = ("train", "training")
OTHER_SPLITS = ("val", "valid", "validation", "test", "testing")
"""Splits that are left out, because their photographs have no labels or would count twice."""


def is_photograph(path: PurePosixPath) -> bool:
    """Whether the name of a file is that of an image; hidden files do not count."""
    return path.suffix.lower() in SUFFIXES and not any(part.startswith((".", "__MACOSX")) for part in path.parts)


def category(path: PurePosixPath) -> str:
    """The category that the folders of an image name, or "" if there is none.

    Folders of a split and of a first letter are dropped, and sub-scenes are joined.

    >>> category(PurePosixPath("train/c/church/outdoor/1.jpg"))
    'church_outdoor'
    """
    parts = [part for part in path.parts[:-1] if part.lower() not in SPLITS]
    kept = []
    for part, following in zip(parts, [*parts[1:], ""], strict=False):
        if len(part) > 1 or not following.lower().startswith(part.lower()):  # else a first letter
            kept.append(re.sub(r"\s+", " ", part).strip(". "))
    return "_".join(part for part in kept if part)


def labelled(paths: Iterable[PurePosixPath]) -> Iterator[tuple[PurePosixPath, str]]:
    """Yield photographs and their categories. If there is a training split, only its photographs are used.

    Raises:
        DatasetError: no photograph lies in a category's folder.
    """
    photographs = sorted({path for path in paths if is_photograph(path)})
    trained = [p for p in photographs if any(part.lower() in SPLITS for part in p.parts[:-1])]
    photographs = trained or [p for p in photographs if not any(part.lower() in OTHER_SPLITS for part in p.parts[:-1])]
    folders = zip(*(path.parts[:-2] for path in photographs), strict=False)  # without the folder of a category
    shared = len(list(takewhile(lambda names: len(set(names)) == 1, folders)))
    found = [(path, category(PurePosixPath(*path.parts[shared:]))) for path in photographs]
    if not any(name for _, name in found):
        raise DatasetError("the archive holds no photographs in category folders")
    yield from ((path, name) for path, name in found if name)
