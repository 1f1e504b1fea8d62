"""Write files and folders so that no reader ever sees half of one."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import platform
import re
import shutil
import stat
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from ..errors import UserError
from .paths import cache_root, data_root, results_root, shown

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # errors of a full drive, of a quota, and of a limit on the size of files


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def hashed(path: Path) -> Iterator[str]:
    """The SHA-256 of a file that the block loads; a `UserError` if the file was changed or replaced meanwhile."""
    before = path.stat()
    yield file_sha256(path)
    after = path.stat()
    if any(getattr(before, of) != getattr(after, of) for of in ("st_ino", "st_size", "st_mtime_ns", "st_ctime_ns")):
        raise UserError(f"{shown(path)} was changed while it was loaded: run the same again")


def read_text(path: Path, most: int = 64 * 2**20) -> str:
    """The UTF-8 text of a file, without a byte order mark. Errors are those of `read_bytes`, and UnicodeDecodeError."""
    return read_bytes(path, most).decode("utf-8-sig")


def read_bytes(path: Path, most: int = 2**30) -> bytes:
    """The content of a file; an OSError if it cannot be opened, is no regular file (a pipe, a device), or exceeds `most` bytes."""
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise OSError(f"{path.name} is not a regular file")
    if about.st_size > most:
        raise OSError(f"{path.name} has {about.st_size:,} bytes, more than {most:,}")
    return path.read_bytes()


def read_json(path: Path) -> Any:
    """The JSON value in a file. Errors are those of `read_bytes`, and ValueError if it is not JSON in UTF-8."""
    try:
        return json.loads(read_text(path))
    except RecursionError as error:
        raise ValueError(f"{path.name} nests too deep") from error


@contextmanager
def writing(path: Path, *errors: int) -> Iterator[None]:
    """Make a `UserError` of an error of the drive while `path` is written: of all errors, or of those with the numbers `errors`."""
    try:
        yield
    except OSError as error:
        if errors and error.errno not in errors:
            raise
        roots = {"CLIPNB_RESULTS": results_root(), "CLIPNB_CACHE": cache_root(), "CLIPNB_DATA": data_root()}
        settings = (name for name, root in roots.items() if path.is_relative_to(root))
        elsewhere = next((f", or set ${name} to a folder on another drive" for name in settings), "")
        why = os.strerror(error.errno) if error.errno else error
        raise UserError(
            f"{shown(path)} cannot be written: {why}; make room or permit writing{elsewhere}, and run the same again: what was "
            "finished is kept"
        ) from error


def require_writable(*folders: Path) -> None:
    """Raise a `UserError`, before the work, if a folder can be neither written nor made."""
    for folder in folders:
        there = next(path for path in (folder, *folder.parents) if path.exists())
        with writing(folder):
            if not os.access(there, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@cache
def _here() -> str:
    """Eight hexadecimal digits for the machine or container in which the process id of this process is valid."""
    try:
        numbers = str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # not on Linux
        numbers = ""
    return f"{zlib.crc32(f'{platform.node()} {numbers}'.encode()):08x}"


def _prefix(path: Path) -> str:
    """Prefix of the temporary name of `path`: hidden, with the id of the writing process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _clean(path.parent)
    return f".{path.name}.{_here()}-{os.getpid()}."


@cache
def _clean(folder: Path) -> None:
    """Delete temporary files of killed processes in a folder, once per process; a folder that they had moved aside is restored."""
    for path in folder.iterdir():
        made = re.fullmatch(rf"\.(.+)\.{_here()}-(\d+)\.\w+(\.part|\.old)?", path.name)
        if not made or _runs(int(made[2])):
            continue
        with suppress(OSError):  # another process cleans too
            if path.suffix == ".old" and not (folder / made[1]).exists():
                path.rename(folder / made[1])
            elif path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _runs(process: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(process).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


@contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path`; it replaces `path` if the block succeeds and is deleted otherwise."""
    with writing(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_prefix(path), suffix=".part")
    try:
        with writing(path, *FULL), os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic(path) as file:
        file.write(text.encode("utf-8"))


@contextmanager
def replaced_folder(folder: Path, *, keep: bool = False) -> Iterator[Path]:
    """Create an empty folder that replaces `folder` (unless one is there, if `keep`), or is deleted after an error in the block."""
    with writing(folder):
        partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=_prefix(folder)))
    try:
        with writing(folder, *FULL):
            yield partial
        partial.chmod(0o755)
        old = partial.with_name(partial.name + ".old")
        if folder.exists() and not keep:
            folder.rename(old)
        try:
            partial.rename(folder)
        except BaseException as error:
            if old.exists():
                old.replace(folder)
            if not (keep and isinstance(error, OSError) and folder.is_dir()):
                raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder that is being built, by a lock beside it; a `UserError` if one builds it already."""
    folder = folder.resolve()
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"another process builds {folder.name}: wait until it ends, or name another folder") from None
    try:
        yield
    finally:
        with suppress(OSError):  # open on Windows, where filelock deletes it
            Path(lock.lock_file).unlink()
        lock.release()  # after the deletion: a process that opened the deleted file in between notices it and opens a new one


def rounded(value: Any) -> Any:
    """Prepare a value or a nested list for JSON: floats are rounded to six decimals, and NaN becomes None."""
    if isinstance(value, list):
        return [rounded(item) for item in value]
    if not isinstance(value, float):
        return value
    return None if math.isnan(value) else round(value, 6)
