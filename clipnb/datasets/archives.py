"""Read archives that may be hostile: paths that lead outside, links, and content that expands without bound are refused."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, cast

from ..errors import UserError, one_line

MOST_FILES = 1_000_000
MOST_BYTES_A_FILE = 200 * 2**20  # largest size of one file; no photograph of a data set is larger

EXPANSION = 20
SLACK = 100 * 2**20  # an archive may expand to `EXPANSION` times its size plus `SLACK`, because photographs hardly compress


class HostileArchive(UserError):
    """An archive with paths that lead outside, with links, or with content that expands without bound."""


def members(archive: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield the path and the content of every regular file in a zip or tar archive.

    Raises:
        HostileArchive: a path leads outside, a member is a link or a device, or the content is too large.
        UserError: the file is not an archive, is damaged, needs a password, or uses a compression that Python lacks.
    """
    with one_line(f"{archive.name} cannot be unpacked here"):
        yield from (_zip if zipfile.is_zipfile(archive) else _tar)(archive, _Budget(archive))


def safe_path(name: str, archive: Path) -> PurePosixPath:
    """The path of a member within its archive; `HostileArchive` if it leads outside."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in name or (path.parts and path.parts[0].endswith(":")):
        raise HostileArchive(f"{archive.name} holds {name!r}, a path that leads outside: nothing was unpacked")
    return path


class _Budget:
    """Limits the number of members of an archive and the number of unpacked bytes."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        self.left = archive.stat().st_size * EXPANSION + SLACK
        self.members = 0

    def member(self, name: str, size: int = 0) -> None:
        """Count a member, and refuse one that states a negative size or one above `MOST_BYTES_A_FILE`."""
        self.members += 1
        if self.members > MOST_FILES or not 0 <= size <= MOST_BYTES_A_FILE:
            raise self.exceeded(name)

    def read(self, file: IO[bytes], size: int, name: str = "a header") -> bytes:
        """Read at most `size` bytes, or refuse to. The limit applies to the unpacked bytes, because a stated size may be false."""
        if not 0 <= size <= MOST_BYTES_A_FILE:
            raise self.exceeded(name)
        content = file.read(min(size, self.left + 1))
        self.left -= len(content)
        if self.left < 0:
            raise self.exceeded(name)
        return content

    def exceeded(self, name: str) -> HostileArchive:
        return HostileArchive(f"{self.archive.name} expands to more than photographs would at {name!r:.80}: nothing was unpacked")


class _Metered:
    """A stream whose every byte counts in the budget, as tarfile reads it: long names and headers as well as content."""

    def __init__(self, stream: IO[bytes], budget: _Budget) -> None:
        self.stream, self.budget, self.seek, self.tell = stream, budget, stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        return self.budget.read(self.stream, size)


def _zip(archive: Path, budget: _Budget) -> Iterator[tuple[PurePosixPath, bytes]]:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            if not member.filename:
                raise zipfile.BadZipFile("a member has no name")
            path = safe_path(member.filename, archive)
            kind = member.external_attr >> 28  # file type of the Unix mode, 0 if there is none
            if kind not in (0, 4, 8):
                raise HostileArchive(f"{archive.name} holds a link or device, {member.filename!r}: nothing was unpacked")
            budget.member(member.filename, member.file_size)
            if not member.is_dir():
                with opened.open(member) as file:
                    yield path, budget.read(file, MOST_BYTES_A_FILE, member.filename)


def _tar(archive: Path, budget: _Budget) -> Iterator[tuple[PurePosixPath, bytes]]:
    with _decompressed(archive) as stream, tarfile.open(fileobj=_Metered(stream, budget), mode="r:") as opened:  # type: ignore[call-overload]
        for member in opened:
            path = safe_path(member.name, archive)
            budget.member(member.name, member.size)
            if member.issparse() or not (member.isfile() or member.isdir()):
                kind = "sparse file" if member.issparse() else "link or device"
                raise HostileArchive(f"{archive.name} holds a {kind}, {member.name!r:.80}: nothing was unpacked")
            if member.isfile():
                file = opened.extractfile(member)
                assert file is not None
                yield path, file.read()


def _decompressed(archive: Path) -> IO[bytes]:
    """The bytes of a file, decompressed if they are compressed by gzip, bzip2 or xz."""
    with archive.open("rb") as file:
        start = file.read(6)
    if start.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.open(archive))
    if start.startswith(b"BZh"):
        return cast(IO[bytes], bz2.open(archive))
    return cast(IO[bytes], lzma.open(archive)) if start == b"\xfd7zXZ\0" else archive.open("rb")
