"""`clipnb cache`: what is kept between runs, how large it is, and how to be rid of it. Everything here can be made again."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .._core.paths import cache_root
from ..errors import UserError
from .store import KEYS, LAYOUT, store_folder

DAY = 86400.0


@dataclass(frozen=True)
class Kept:
    """One folder of the cache.

    Attributes:
        folder: what would be deleted.
        kind: `embeddings` of one encoder, or the name of another folder of the cache.
        name: of the encoder; "" for the others.
        count: embeddings in it, or files.
        size: bytes on disk.
        used: seconds since the epoch of its youngest file: embeddings are marked as used by the runs that open them.
        outdated: embeddings of an older layout, which no run reads any more.
    """

    folder: Path
    kind: str
    name: str
    count: int
    size: int
    used: float
    outdated: bool = False


def contents(root: Path | None = None) -> list[Kept]:
    """What the cache holds, largest first."""
    root = root or cache_root()
    folders = [folder for folder in root.iterdir() if folder.is_dir()] if root.is_dir() else []
    stores = [store for folder in folders if folder.name == "embeddings" for store in folder.iterdir() if store.is_dir()]
    kept = [_store(folder) for folder in stores]
    kept += [_other(folder) for folder in folders if folder.name != "embeddings"]
    return sorted(kept, key=lambda part: -part.size)


def _store(folder: Path) -> Kept:
    files = [path for path in folder.iterdir() if path.is_file()]
    try:
        identity = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))["identity"]
    except (OSError, ValueError, KeyError):
        identity = folder.name
    count = sum(path.stat().st_size // KEYS.itemsize for path in files if path.suffix == ".keys")
    size, used = _size(files)
    outdated = store_folder(folder.parent, identity).name != folder.name
    return Kept(folder, "embeddings", identity.split("|")[0] + _precision(identity), count, size, used, outdated)


def _precision(identity: str) -> str:
    return "".join(f" {part}" for part in identity.split("|")[1:] if part in ("bf16", "fp16", "compile", "openvino"))


def _other(folder: Path) -> Kept:
    files = [path for path in folder.rglob("*") if path.is_file()]
    size, used = _size(files)
    return Kept(folder, folder.name, "", len(files), size, used)


def _size(files: Sequence[Path]) -> tuple[int, float]:
    stats = [path.stat() for path in files]
    return sum(stat.st_size for stat in stats), max((stat.st_mtime for stat in stats), default=0.0)


def choose(kept: Sequence[Kept], names: Sequence[str], older_than: float | None, everything: bool) -> list[Kept]:
    """Which parts of the cache a person asked to delete.

    Args:
        names: encoders, or kinds such as `samples`; of all if empty.
        older_than: days since the last use; embeddings of an older layout always count as that old.
        everything: delete without such a limit.

    Raises:
        UserError: nothing in the cache goes by one of the names, or nothing says what to delete.
    """
    if not names and older_than is None and not everything:
        outdated = [part for part in kept if part.outdated]
        if outdated:
            return outdated
        raise UserError("say what to prune: an encoder or a kind that `clipnb cache` lists, --older-than DAYS, or --all")
    known = {part.name.split(" ")[0] for part in kept} | {part.name for part in kept} | {part.kind for part in kept}
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"the cache holds nothing called {', '.join(unknown)}: `clipnb cache` lists what it holds")
    chosen = [part for part in kept if not names or {part.name, part.name.split(" ")[0], part.kind} & set(names)]
    if older_than is None:
        return chosen
    return [part for part in chosen if part.outdated or time.time() - part.used > older_than * DAY]


def prune(chosen: Sequence[Kept]) -> int:
    """Delete parts of the cache; how many bytes that freed. A part that another process is using goes on working there."""
    for part in chosen:
        shutil.rmtree(part.folder, ignore_errors=True)
    return sum(part.size for part in chosen)


def readable(size: int) -> str:
    """Bytes as a person reads them."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000  # type: ignore[assignment]
    return f"{size:.1f} GB"


def table(kept: Sequence[Kept]) -> list[str]:
    """Lines for the terminal."""
    rows = [
        (
            part.kind,
            part.name + (f" (layout before {LAYOUT}, unused)" if part.outdated else ""),
            f"{part.count} {'embeddings' if part.kind == 'embeddings' else 'files'}",
            readable(part.size),
            f"{max(0.0, time.time() - part.used) / DAY:.0f} days ago" if part.used else "never",
        )
        for part in kept
    ]
    rows.insert(0, ("kind", "encoder", "holds", "size", "last used"))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
