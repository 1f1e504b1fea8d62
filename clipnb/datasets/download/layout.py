"""From the folders of a published data set to one folder per category."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from ...errors import DatasetError
from ..images import SUFFIXES

SPLITS = ("train", "training")
OTHER_SPLITS = ("val", "valid", "validation", "test", "testing")
"""Parts of a data set whose photographs lie unlabelled beside the labelled ones, or would be counted double."""


def is_photograph(path: PurePosixPath) -> bool:
    """Whether a file counts as an image of a data set, by its name."""
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


def category(path: PurePosixPath) -> str:
    """The category that an image's folders name, "" if none does.

    Splits and sorting by first letter are no part of a name; sub-scenes are: `images/train/c/church/outdoor/1.jpg` is of
    `church_outdoor` once `images` is known to be above all categories.
    """
    parts = [part for part in path.parts[:-1] if part.lower() not in SPLITS]
    kept = []
    for part, following in zip(parts, [*parts[1:], ""], strict=False):
        letter = len(part) == 1 and following.lower().startswith(part.lower())
        if not letter:
            kept.append(re.sub(r"\s+", " ", part).strip(". "))
    return "_".join(part for part in kept if part)


def below_common_folder(paths: Iterable[PurePosixPath]) -> int:
    """How many leading folders all paths share, a category's own not among them."""
    folders = [path.parts[:-1] for path in paths]
    shared = 0
    while folders and all(len(f) > shared + 1 for f in folders) and len({f[shared] for f in folders}) == 1:
        shared += 1
    return shared


def labelled(paths: Iterable[PurePosixPath]) -> Iterator[tuple[PurePosixPath, str]]:
    """Photographs with their categories; where there is a training split, of that one alone.

    Raises:
        DatasetError: no photograph lies in a category's folder.
    """
    photographs = sorted({path for path in paths if is_photograph(path)})
    if any(part.lower() in SPLITS for path in photographs for part in path.parts[:-1]):
        photographs = [p for p in photographs if any(part.lower() in SPLITS for part in p.parts[:-1])]
    else:
        photographs = [p for p in photographs if not any(part.lower() in OTHER_SPLITS for part in p.parts[:-1])]
    shared = below_common_folder(photographs)
    found = [(path, category(PurePosixPath(*path.parts[shared:]))) for path in photographs]
    if not any(name for _, name in found):
        raise DatasetError("it holds no photographs in folders: nothing says what they are of")
    yield from ((path, name) for path, name in found if name)


def destination(root: Path, name: str, path: PurePosixPath, content: bytes) -> Path:
    """Where a photograph goes; two of one name in a category are told apart by content, and a copy is written once."""
    plain = root / name / path.name
    if not plain.exists() or plain.read_bytes() == content:
        return plain
    return plain.with_name(f"{plain.stem}-{hashlib.sha256(content).hexdigest()[:8]}{plain.suffix}")
