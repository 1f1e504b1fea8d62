"""`clipnb cache`: list and delete the parts of the cache. Everything in it can be computed again."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate
from tqdm import tqdm

from .._core.paths import cache_root
from .._core.registry import nearest
from ..errors import UserError
from .store import connect, store_file

DAY = 86400.0


@dataclass(frozen=True)
class CacheEntry:
    """One part of the cache."""

    path: Path  # a folder, or the database of an encoder's embeddings
    kind: str  # `embeddings` of one encoder, or the name of another folder of the cache
    size: int  # bytes on disk
    used: float  # seconds since the epoch of its youngest file; a run marks the embeddings that it opens
    holds: str  # number of embeddings or files, in words
    name: str = ""  # name of the encoder; "" for other kinds
    unread: str = ""  # why no run reads the embeddings; "" if runs do

    @property
    def names(self) -> set[str]:
        """Names by which `clipnb cache prune` knows it."""
        return {self.kind, self.name, self.name.split(" ")[0], self.path.stem}


def contents() -> list[CacheEntry]:
    """What the cache holds, largest first."""
    root = cache_root()
    paths = [*root.glob("*"), *(root / "embeddings").glob("*")]
    kept = [_kept(path) for path in paths if path.suffix == ".sqlite" or (path.is_dir() and path != root / "embeddings")]
    return sorted(kept, key=lambda part: -part.size)


def _files(path: Path) -> list[Path]:
    """The files of a part: a database first, because its logs must not be deleted before it."""
    return [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path, *path.parent.glob(f"{path.name}-*")]


def _kept(path: Path) -> CacheEntry:
    stats = [file.stat() for file in _files(path) if file.exists()]  # a log vanishes when it is no longer used
    size, used = sum(stat.st_size for stat in stats), max((stat.st_mtime for stat in stats), default=0.0)
    if path.is_dir():
        old = {"name": path.name, "unread": "of version 0.1"} if path.parent.name == "embeddings" else {}
        holds = "1 file" if len(stats) == 1 else f"{len(stats)} files"
        return CacheEntry(path, "embeddings" if old else path.name, size, used, holds, **old)
    try:
        with closing(connect(path)) as db:
            ((identity,),) = db.execute("SELECT CAST(identity AS BLOB) FROM encoder")
            ((count,),) = db.execute("SELECT count(DISTINCT key) FROM embeddings")
            name, *about = identity.decode().split("|")
    except (sqlite3.Error, UnicodeError, ValueError):
        return CacheEntry(path, "embeddings", size, used, "?", path.stem, "damaged")
    name = " ".join([name, *(part for part in about if part in ("bf16", "fp16", "compile", "openvino"))])
    unread = "of an older layout" if store_file(path.parent, identity.decode()) != path else "" if count else "empty"
    return CacheEntry(path, "embeddings", size, used, f"{count} embedding{'s' * (count != 1)}", name, unread)


def choose(kept: Sequence[CacheEntry], names: Sequence[str], older_than: float | None, everything: bool) -> list[CacheEntry]:
    """Select the parts of the cache that a person asked to delete: those with one of the names, or all.

    Args:
        older_than: days since the last use; embeddings that no run reads always count as that old.
        everything: delete whatever its age.

    Raises:
        UserError: the days are below 0, nothing in the cache goes by one of the names, or nothing says what to delete.
    """
    if older_than is not None and not older_than >= 0:
        raise UserError(f"--older-than takes a number of days from 0 up, not {older_than:g}")
    if not names and older_than is None and not everything:
        if unread := [part for part in kept if part.unread]:
            return unread
        raise UserError("say what to prune: an encoder or a kind that `clipnb cache` lists, --older-than DAYS, or --all")
    known = set[str]().union(*(part.names for part in kept))
    if unknown := sorted(set(names) - known):
        meant = nearest(unknown[0], known)
        raise UserError(f"the cache holds nothing called {', '.join(unknown)}{meant}: `clipnb cache` lists what it holds")
    limit = float("inf") if older_than is None else time.time() - older_than * DAY
    return [part for part in kept if (not names or part.names & set(names)) and (part.unread or part.used < limit)]


def prune(chosen: Sequence[CacheEntry]) -> int:
    """Delete parts of the cache, and return the bytes freed. A process that uses one finishes or ends with a `UserError`."""
    for part in chosen:
        if part.path.is_dir() or _emptied(part.path):
            for file in _files(part.path):
                with suppress(OSError):  # another system's lock, a drive that cannot be written
                    file.unlink()
        shutil.rmtree(part.path, ignore_errors=True)
    return sum(max(0, part.size - sum(file.stat().st_size for file in _files(part.path) if file.exists())) for part in chosen)


def _emptied(path: Path) -> bool:
    """Delete the rows of a database, and return whether its files can go: if no process uses it, or if it is damaged."""
    try:
        with closing(connect(path)) as db:
            db.execute("PRAGMA busy_timeout = 5000")
            db.execute("DELETE FROM embeddings")
            db.execute("VACUUM")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return bool(db.execute("PRAGMA journal_mode = DELETE").fetchone()[0] == b"delete")
    except sqlite3.OperationalError as error:
        return error.sqlite_errorcode not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    except sqlite3.Error:
        return True


def readable(size: int) -> str:
    """A size in bytes, in words."""
    return str(tqdm.format_sizeof(size, "B"))


def table(kept: Sequence[CacheEntry]) -> str:
    """Lines for the terminal."""
    rows = []
    for part in kept:
        used = f"{max(0.0, time.time() - part.used) / DAY:.0f} days ago" if part.used else "never"
        rows.append((part.kind, part.name + f" ({part.unread}, unused)" * bool(part.unread), part.holds, readable(part.size), used))
    return str(tabulate(rows, ("kind", "encoder", "holds", "size", "last used"), "plain", disable_numparse=True))
