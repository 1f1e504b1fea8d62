"""Download a data set to `$CLIPNB_DATA`, completely or not at all, and compare its checksum with that of the first download."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from ..._core.files import file_sha256, replaced_folder, write_text, writing
from ..._core.paths import cache_root, data_root, shown
from ...errors import UserError
from ..images import destination
from .archives import members
from .layout import labelled
from .sources import SOURCES

ABOUT = ".clipnb.json"
"""File in a fetched data set that records its origin."""


def fetch(name: str, *, again: bool = False) -> Path:
    """Download a data set of the study to `$CLIPNB_DATA`.

    An interrupted download is resumed. The folder, which is returned, appears when it is complete.

    Args:
        again: replace an existing folder, and accept a checksum that differs from that of the first download.

    Raises:
        UserError: the data set cannot be downloaded, its checksum differs from that of the first download, or the archive
            is hostile.
    """
    if name not in SOURCES:
        raise UserError(f"cannot fetch {name!r}; choose from {', '.join(SOURCES)}")
    source, folder = SOURCES[name], data_root() / name
    if folder.exists() and not again:
        raise UserError(f"{shown(folder)} exists already: pass --again to replace it")
    archive = source.download(cache_root() / "downloads" / name)
    checksum = file_sha256(archive)
    first = _checksums().get(name)
    if first and first != checksum and not again:
        raise UserError(
            f"the download of {name} differs from the first one (SHA-256 now {checksum[:16]}, first {first[:16]}): "
            "pass --again to accept it"
        )
    try:
        paths = [path for path, _ in members(archive)]
        categories = dict(labelled(paths))
    except UserError:  # damaged or hostile: the next try must not resume this file
        archive.unlink()
        raise
    with replaced_folder(folder) as partial, writing(folder):
        about = {"source": source.origin, "sha256": checksum, "fetched": datetime.now(UTC).isoformat(timespec="seconds")}
        written = _lay_out(archive, categories, partial)
        counts = {"photographs": written, "categories": len(set(categories.values())), "other_files": len(paths) - len(categories)}
        write_text(partial / ABOUT, json.dumps(about | counts, indent=1) + "\n")
    write_text(_known(), json.dumps({**_checksums(), name: checksum}, indent=1) + "\n")
    archive.unlink()
    return folder


def _lay_out(archive: Path, categories: Mapping[PurePosixPath, str], root: Path) -> int:
    """Write every photograph to <category>/<image>, and count those that are no copies."""
    written = 0
    with tqdm(total=len(categories), desc="unpacking", unit="photo") as bar:
        for path, content in members(archive):
            if (kind := categories.get(path)) is None:
                continue
            target = destination(root / kind / path.name, content)
            target.parent.mkdir(exist_ok=True)
            written += not target.exists()
            target.write_bytes(content)
            bar.update()
    return written


def _known() -> Path:
    return cache_root() / "downloads" / "checksums.json"


def _checksums() -> dict[str, str]:
    """Data set -> checksum of its first download."""
    try:
        return dict(json.loads(_known().read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}
