"""List the files of a folder: the photographs, by suffix, and the other files, with the reason why each is not used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from .._core.paths import shown
from ..errors import DatasetError, one_line
from .images import SUFFIXES

HIDDEN = "hidden"
LOOSE = "outside the category folders"
DEEPER = "in a subfolder of a category"


def listing(root: Path, nested: bool) -> Iterator[tuple[str, str, str]]:
    """Category, name in its folder, and why it is not used ("" for an image) of each file in a folder <root>/<category>/<image>.

    The category is "" outside the folders of categories, and the name "" for such a folder itself. If `nested`, images in
    subfolders are of the category too. No file is opened. `DatasetError` if a folder cannot be read.
    """
    for entry in _entries(root):
        if entry.name.startswith(".") or _kind(entry) != "folder":
            yield "", entry.name, _why_unused(entry)
        else:
            yield entry.name, "", ""
            for name, why in _files(Path(entry.path)):
                yield entry.name, name, why or (DEEPER if "/" in name and not nested else "")


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with one_line(f"{shown(folder)} cannot be read", kind=DatasetError), os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _files(folder: Path, inside: str = "") -> Iterator[tuple[str, str]]:
    """Path inside the folder and why it is no image ("" for an image), for each file at any depth; links to folders end there."""
    for entry in _entries(folder / inside):
        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
            yield from _files(folder, f"{inside}{entry.name}/")
        else:
            yield f"{inside}{entry.name}", _why_unused(entry)


def _why_unused(entry: os.DirEntry[str]) -> str:
    """Why an entry of a folder is not used: mostly its suffix; "" for an image."""
    if entry.name.startswith("."):
        return HIDDEN
    if _kind(entry) != "file":
        return "link to a folder" if _kind(entry) == "folder" else "broken link or device"
    suffix = PurePosixPath(entry.name).suffix.lower()
    return "" if suffix in SUFFIXES else suffix or "no suffix"


def _kind(entry: os.DirEntry[str]) -> str:
    try:
        return "folder" if entry.is_dir() else "file" if entry.is_file() else ""
    except OSError:  # a link to itself
        return ""


def unicode(name: str) -> str:
    """The name of a file; a `DatasetError` if it is not Unicode."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        said = f"the name {os.fsencode(name)!r} is not Unicode, but results are written in Unicode: rename it"
        raise DatasetError(said) from None
    return name
