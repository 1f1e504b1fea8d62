"""List the files of a folder: the photographs, by suffix, and the other files, with the reason why each is not used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from .._core.paths import shown
from ..errors import DatasetError
from .images import SUFFIXES

HIDDEN = "hidden"
LOOSE = "outside the category folders"
DEEPER = "in a subfolder of a category"


@dataclass
class Listing:
    """The files of a data set's folder, sorted."""

    images: dict[str, list[str]] = field(default_factory=dict)  # category -> names of its images inside its folder, perhaps none
    loose: list[str] = field(default_factory=list)  # images that lie in no category folder
    unused: dict[str, str] = field(default_factory=dict)  # path inside the folder -> reason, for every file that is not used


def listing(root: Path, nested: bool) -> Listing:
    """List a folder <root>/<category>/<image>; no file is opened. If `nested`, images in subfolders are of the category too.

    `DatasetError` if a folder cannot be read, or the name of a category or an image is not Unicode.
    """
    found = Listing()
    for entry in _entries(root):
        if entry.name.startswith(".") or _kind(entry) != "folder":
            if reason := _why_unused(entry):
                found.unused[entry.name] = reason
            else:
                found.loose.append(_unicode(entry.name))
            continue
        names = found.images[_unicode(entry.name)] = []
        for name, why in _files(Path(entry.path)):
            if reason := why or (DEEPER if "/" in name and not nested else ""):
                found.unused[f"{entry.name}/{name}"] = reason
            else:
                names.append(_unicode(name))
    return found


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DatasetError(f"{shown(folder)}: {error.strerror or error}") from error


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


def _unicode(name: str) -> str:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        said = f"the name {os.fsencode(name)!r} is not Unicode, but results are written in Unicode: rename it"
        raise DatasetError(said) from None
    return name
