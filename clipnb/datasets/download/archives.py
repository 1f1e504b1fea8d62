"""Reading archives that may be hostile: nothing is unpacked by name, links are refused, and so is what swells.

A member is handed out as its path inside the archive and its bytes; where it is written is decided elsewhere.
"""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from ...errors import UserError

MOST_FILES = 1_000_000
MOST_BYTES_A_FILE = 200 * 2**20
"""No photograph of a data set is larger."""

SWELL = 20
SLACK = 100 * 2**20
"""An archive may unpack to its own size times `SWELL`, and this more: photographs hardly compress."""


class HostileArchive(UserError):
    """An archive that would write outside its folder, hold links, or swell without bound."""


def members(archive: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Every regular file of a zip or tar archive: its path inside, and its content.

    Raises:
        HostileArchive: a path leads outside, a member is a link or a device, or too much comes out.
        UserError: it is no archive, is damaged, needs a password, or is packed in a way that Python does not know.
    """
    budget = _Budget(archive)
    try:
        if zipfile.is_zipfile(archive):
            yield from _zip(archive, budget)
        elif tarfile.is_tarfile(archive):
            yield from _tar(archive, budget)
        else:
            raise UserError(f"{archive.name} is neither a zip nor a tar archive")
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
        raise UserError(f"{archive.name} is damaged: {error}") from error
    except RuntimeError as error:  # what zipfile raises for a password, and for a way of packing that it does not know
        raise UserError(f"{archive.name} cannot be unpacked here: {error}") from error


def safe_path(name: str, archive: Path) -> PurePosixPath:
    """A member's path, if it stays inside.

    Raises:
        HostileArchive: it does not.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in name or (path.parts and path.parts[0].endswith(":")):
        raise HostileArchive(f"{archive.name} holds {name!r}, a path that leads outside: nothing of it was unpacked")
    return path


class _Budget:
    """Counts what comes out of an archive."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        self.left = archive.stat().st_size * SWELL + SLACK
        self.files = 0

    def read(self, file: IO[bytes], name: str) -> bytes:
        """The content of a member, as far as it is honest about its size: what counts is what comes out."""
        most = min(MOST_BYTES_A_FILE, self.left)
        content = file.read(most + 1)
        self.left -= len(content)
        self.files += 1
        if len(content) > most or self.files > MOST_FILES:
            raise HostileArchive(f"{self.archive.name} swells beyond any photographs at {name!r}: nothing of it was unpacked")
        return content


def _zip(archive: Path, budget: _Budget) -> Iterator[tuple[PurePosixPath, bytes]]:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            path = safe_path(member.filename, archive)
            kind = member.external_attr >> 28  # the type of a Unix mode, where there is one
            if kind not in (0, 4, 8):
                raise HostileArchive(f"{archive.name} holds a link or device, {member.filename!r}: nothing of it was unpacked")
            if not member.is_dir():
                with opened.open(member) as file:
                    yield path, budget.read(file, member.filename)


def _tar(archive: Path, budget: _Budget) -> Iterator[tuple[PurePosixPath, bytes]]:
    with tarfile.open(archive) as opened:
        for member in opened:
            path = safe_path(member.name, archive)
            if member.isfile():
                file = opened.extractfile(member)
                assert file is not None
                with file:
                    yield path, budget.read(file, member.name)
            elif not member.isdir():
                raise HostileArchive(f"{archive.name} holds a link or device, {member.name!r}: nothing of it was unpacked")
