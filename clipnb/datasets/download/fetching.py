"""From a source to a data set in `$CLIPNB_DATA`: all of it or nothing, its checksum recorded at first use."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from tqdm import tqdm

from ..._core.files import file_sha256, replaced_folder, write_text
from ..._core.paths import cache_root, data_root, shown
from ...errors import UserError
from .archives import members
from .layout import destination, labelled
from .sources import SOURCES

ABOUT = ".clipnb.json"
"""In a fetched data set: where it came from."""


def fetch(name: str, *, again: bool = False, progress: bool = True) -> Path:
    """Fetch a data set of the study into `$CLIPNB_DATA` and return its folder.

    What was fetched before is gone on with; the folder appears when everything is in it.

    Args:
        name: of `SOURCES`.
        again: replace a folder that is there, and accept another checksum than the first one.
        progress: show bars.

    Raises:
        UserError: it cannot be had, is not what it was at first use, or is hostile.
    """
    if name not in SOURCES:
        raise UserError(f"nothing is known of how to fetch {name!r}; choose from {', '.join(SOURCES)}")
    source, folder = SOURCES[name], data_root() / name
    if folder.exists() and not again:
        raise UserError(f"{shown(folder)} is there already: pass --again to replace it")
    came = source.bring(cache_root() / "downloads" / name)
    checksum = file_sha256(came)
    _compare(name, checksum, again)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with replaced_folder(folder) as partial:
            counts = _lay_out(came, partial, progress)
            fetched = datetime.now(UTC).isoformat(timespec="seconds")
            about = {"source": source.origin, "sha256": checksum, "fetched": fetched, **counts}
            write_text(partial / ABOUT, json.dumps(about, indent=1) + "\n")
    except UserError:  # damaged or hostile: the next try must not go on with it
        came.unlink()
        raise
    _record(name, checksum)
    came.unlink()
    return folder


def _lay_out(came: Path, root: Path, progress: bool) -> dict[str, int]:
    """Write every photograph to <category>/<image>; how many of what there were."""
    paths = [path for path, _ in members(came)]
    categories = dict(labelled(paths))
    bar = tqdm(total=len(categories), desc="unpacking", unit="photo", disable=not progress)
    written = 0
    with bar:
        for path, content in members(came):
            if (kind := categories.get(path)) is None:
                continue
            target = destination(root, kind, path, content)
            target.parent.mkdir(exist_ok=True)
            written += not target.exists()
            target.write_bytes(content)
            bar.update()
    return {"photographs": written, "categories": len(set(categories.values())), "passed_over": len(paths) - len(categories)}


def _known() -> Path:
    return cache_root() / "downloads" / "checksums.json"


def _compare(name: str, checksum: str, again: bool) -> None:
    """See that what came is what came at first use."""
    first = _checksums().get(name)
    if first and first != checksum and not again:
        raise UserError(
            f"what was fetched as {name} is not what it was at first use (SHA-256 {checksum[:16]}, then {first[:16]}): "
            "pass --again to take it all the same"
        )


def _record(name: str, checksum: str) -> None:
    write_text(_known(), json.dumps({**_checksums(), name: checksum}, indent=1) + "\n")


def _checksums() -> dict[str, str]:
    try:
        return dict(json.loads(_known().read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}
