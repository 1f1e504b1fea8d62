"""`clipnb fetch`: download the data sets of the study, and lay their photographs out as <category>/<image>."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tqdm import tqdm

from .._core.files import FULL, file_sha256, read_json, replaced_folder, write_text, writing
from .._core.paths import cache_root, data_root, shown
from ..errors import DatasetError, UserError, needs, one_line
from .archives import members
from .images import SUFFIXES, destination

TIMEOUT = 60.0  # seconds to wait for the next bytes
RETRIES = 3
AGAIN = "run this again to resume a download that broke off"
ABOUT = ".clipnb.json"  # file in a fetched data set that records its origin
SPLITS = ("train", "training")
OTHER_SPLITS = ("val", "valid", "validation", "test", "testing")  # left out: without labels, or counted twice


class Source(NamedTuple):
    """Where a data set is published, and the function that downloads its archive to a folder; it resumes a stopped download."""

    origin: str
    download: Callable[[Path], Path]


def fetch(name: str, *, again: bool = False) -> Path:
    """Download a data set of the study, or resume its download, to a folder in `$CLIPNB_DATA` that appears when it is complete.

    If `again`, the download replaces an existing folder, and its checksum may differ from the checksum of the first one. A
    `UserError` says why the data set cannot be downloaded or is refused.
    """
    if name not in SOURCES:
        raise UserError(f"cannot fetch {name!r}; choose from {', '.join(SOURCES)}")
    source, folder = SOURCES[name], data_root() / name
    if folder.exists() and not again:
        raise UserError(f"{shown(folder)} exists already: pass --again to replace it")
    archive = source.download(cache_root() / "downloads" / name)
    checksum = file_sha256(archive)
    known, checksums = cache_root() / "downloads" / "checksums.json", dict[str, str]()  # data set -> checksum of its first download
    with suppress(OSError, ValueError):
        checksums.update(read_json(known))
    first = checksums.get(name, checksum)
    if first != checksum and not again:
        differs = f"differs from the first one (SHA-256 now {checksum[:16]}, first {first[:16]})"
        raise UserError(f"the download of {name} {differs}: pass --again to accept it")
    try:
        paths = [path for path, _ in members(archive)]
        categories = dict(labelled(paths))
    except UserError:  # damaged or hostile: the next try must not resume this file
        archive.unlink()
        raise
    with replaced_folder(folder) as unfinished, writing(folder):
        about = {"source": source.origin, "sha256": checksum, "fetched": datetime.now(UTC).isoformat(timespec="seconds")}
        written = _lay_out(archive, categories, unfinished)
        counts = {"photographs": written, "categories": len(set(categories.values())), "other_files": len(paths) - len(categories)}
        write_text(unfinished / ABOUT, json.dumps(about | counts, indent=1) + "\n")
    write_text(known, json.dumps({**checksums, name: checksum}, indent=1) + "\n")
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


def category(path: PurePosixPath) -> str:
    """The category that the folders of an image name, or "" if there is none.

    Folders of a split and of a first letter are dropped, and sub-scenes are joined.

    >>> category(PurePosixPath("train/c/church/outdoor/1.jpg"))
    'church_outdoor'
    """
    parts = [part for part in path.parts[:-1] if part.lower() not in SPLITS]
    kept = []
    for part, following in zip(parts, [*parts[1:], ""], strict=False):
        if len(part) > 1 or not following.lower().startswith(part.lower()):  # else a first letter
            kept.append(re.sub(r"\s+", " ", part).strip(". "))
    return "_".join(part for part in kept if part)


def labelled(paths: Iterable[PurePosixPath]) -> Iterator[tuple[PurePosixPath, str]]:
    """Yield photographs and their categories: those of the training split, if there is one. `DatasetError` if there are none."""
    images = {path for path in paths if path.suffix.lower() in SUFFIXES}
    photographs = sorted(path for path in images if not any(part.startswith((".", "__MACOSX")) for part in path.parts))
    trained = [p for p in photographs if any(part.lower() in SPLITS for part in p.parts[:-1])]
    photographs = trained or [p for p in photographs if not any(part.lower() in OTHER_SPLITS for part in p.parts[:-1])]
    folders = zip(*(path.parts[:-2] for path in photographs), strict=False)  # without the folder of a category
    shared = len(list(takewhile(lambda names: len(set(names)) == 1, folders)))
    found = [(path, category(PurePosixPath(*path.parts[shared:]))) for path in photographs]
    if not any(name for _, name in found):
        raise DatasetError("the archive holds no photographs in category folders")
    yield from ((path, name) for path, name in found if name)


def _kaggle(name: str, folder: Path) -> Path:
    """Download the packed archive; `kagglehub.dataset_download` would unpack it without checks."""
    with needs("fetching from Kaggle", "download"):
        from kagglehub.clients import build_kaggle_client, download_file
        from kagglehub.exceptions import KaggleApiHTTPError, UnauthenticatedError, handle_call
        from kagglehub.handle import parse_dataset_handle
        from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest, ApiGetDatasetRequest

    handle = parse_dataset_handle(name)
    folder.mkdir(parents=True, exist_ok=True)
    with one_line(f"{name} could not be fetched", AGAIN), writing(folder, *FULL), build_kaggle_client() as client:
        kaggle, about, wanted = client.datasets.dataset_api_client, ApiGetDatasetRequest(), ApiDownloadDatasetRequest()
        about.owner_slug = wanted.owner_slug = handle.owner
        about.dataset_slug = wanted.dataset_slug = handle.dataset
        try:
            newest = handle_call(lambda: kaggle.get_dataset(about), handle).current_version_number
            wanted.dataset_version_number = newest
            target = folder / f"{handle.dataset}-{newest}.archive"
            for other in set(folder.glob("*.archive")) - {target}:  # a partial download of an older version
                other.unlink()
            download_file(handle_call(lambda: kaggle.download_dataset(wanted), handle), str(target), handle)
        except (UnauthenticatedError, KaggleApiHTTPError) as error:
            response = getattr(error, "response", None)
            if response is not None and response.status_code not in (401, 403):
                raise
            keys = "put a token from your Kaggle account's settings in ~/.kaggle/kaggle.json, or set KAGGLE_USERNAME and KAGGLE_KEY"
            raise UserError(f"Kaggle requires a login with access to {name}: {keys}") from error
    return target


def _drive(file_id: str, name: str, folder: Path) -> Path:
    """Download a file on Google Drive."""
    with needs("fetching from Google Drive", "download"):
        import gdown

    folder.mkdir(parents=True, exist_ok=True)
    target = folder / name
    with one_line(f"the file {file_id} of Google Drive could not be fetched", AGAIN), writing(folder, *FULL):
        gdown.download(id=file_id, output=str(target), resume=True, use_cookies=False, timeout=TIMEOUT, retries=RETRIES)
    return target


_NBA = "djjerrish/nba-player-image-dataset-201920"
_MINIPLACES = "1CyIQOJienhNITwGcQ9h-nv8z6GOjV2HX"

SOURCES = {
    "nba": Source(f"kaggle:{_NBA}", partial(_kaggle, _NBA)),
    "miniplaces": Source(f"drive:{_MINIPLACES}", partial(_drive, _MINIPLACES, "miniplaces.archive")),
}
"""The data sets of the study, by name."""
