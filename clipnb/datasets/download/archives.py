"""Read archives that may be hostile: paths that lead outside, links, and content that expands without bound are refused.

A member is returned as its path inside the archive and its bytes. Other modules decide where it is written.
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
"""Largest size of one file; no photograph of a data set is larger."""

SWELL = 20
SLACK = 100 * 2**20
"""An archive may expand to `SWELL` times its size plus `SLACK`, because photographs hardly compress."""


class HostileArchive(UserError):
    """An archive with paths that lead outside, with links, or with content that expands without bound."""


def members(archive: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield the path and the content of every regular file in a zip or tar archive.

    Raises:
        HostileArchive: a path leads outside, a member is a link or a device, or the content is too large.
        UserError: the file is not an archive, is damaged, needs a password, or uses a compression that Python lacks.
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
    except RuntimeError as error:  # zipfile raises it for a password or an unknown compression
        raise UserError(f"{archive.name} cannot be unpacked here: {error}") from error


def safe_path(name: str, archive: Path) -> PurePosixPath:
    """The path of a member within its archive.

    Raises:
        HostileArchive: the path leads outside.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in name or (path.parts and path.parts[0].endswith(":")):
        raise HostileArchive(f"{archive.name} holds {name!r}, a path that leads outside: nothing was unpacked")
    return path


class _Budget:
    """Limits the number and the size of the files that an archive yields."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        self.left = archive.stat().st_size * SWELL + SLACK
        self.files = 0

    def read(self, file: IO[bytes], name: str) -> bytes:
        """Read a member. The limit applies to the bytes that come out, because the stated size may be false."""
        most = min(MOST_BYTES_A_FILE, self.left)
        content = file.read(most + 1)
        self.left -= len(content)
        self.files += 1
        if len(content) > most or self.files > MOST_FILES:
            raise HostileArchive(f"{self.archive.name} expands to more than photographs would at {name!r}: nothing was unpacked")
        return content


def _zip(archive: Path, budget: _Budget) -> Iterator[tuple[PurePosixPath, bytes]]:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            path = safe_path(member.filename, archive)
            kind = member.external_attr >> 28  # file type of the Unix mode, 0 if there is none
            if kind not in (0, 4, 8):
                raise HostileArchive(f"{archive.name} holds a link or device, {member.filename!r}: nothing was unpacked")
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
                raise HostileArchive(f"{archive.name} holds a link or device, {member.name!r}: nothing was unpacked")
