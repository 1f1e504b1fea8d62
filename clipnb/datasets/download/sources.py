"""The data sets of the study: where each is published, and how to download it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ...errors import MissingExtra, UserError, needs, text_of

TIMEOUT = 60.0
"""Seconds to wait for the next bytes."""

RETRIES = 3


@dataclass(frozen=True)
class Source:
    """One published data set.

    Attributes:
        origin: where the data set is published.
        download: downloads the archive to a folder and returns its path; an interrupted download is resumed.
    """

    origin: str
    download: Callable[[Path], Path]


def _kaggle(name: str, folder: Path) -> Path:
    """Download the packed archive; `kagglehub.dataset_download` would unpack it without checks."""
    try:
        from kagglehub.clients import build_kaggle_client, download_file
        from kagglehub.exceptions import KaggleApiHTTPError, UnauthenticatedError, handle_call
        from kagglehub.handle import parse_dataset_handle
        from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest, ApiGetDatasetRequest
    except ImportError as error:
        raise MissingExtra("fetching from Kaggle", "download") from error
    from requests.exceptions import RequestException

    keys = "put a token from your Kaggle account's settings in ~/.kaggle/kaggle.json, or set KAGGLE_USERNAME and KAGGLE_KEY"
    handle = parse_dataset_handle(name)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with build_kaggle_client() as client:
            kaggle, about, wanted = client.datasets.dataset_api_client, ApiGetDatasetRequest(), ApiDownloadDatasetRequest()
            about.owner_slug = wanted.owner_slug = handle.owner
            about.dataset_slug = wanted.dataset_slug = handle.dataset
            newest = handle_call(lambda: kaggle.get_dataset(about), handle).current_version_number
            wanted.dataset_version_number = newest
            target = folder / f"{handle.dataset}-{newest}.archive"
            for other in set(folder.glob("*.archive")) - {target}:  # a partial download of an older version
                other.unlink()
            download_file(handle_call(lambda: kaggle.download_dataset(wanted), handle), str(target), handle)
    except UnauthenticatedError as error:
        raise UserError(f"Kaggle requires a login: {keys}") from error
    except KaggleApiHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status in (401, 403):
            raise UserError(f"Kaggle refuses access to {name}: {keys}") from error
        raise UserError(f"Kaggle does not deliver {name}: {text_of(error)}") from error
    except RequestException as error:
        raise UserError(f"{name} could not be fetched completely, run this again to resume: {text_of(error)}") from error
    except Exception as error:
        if type(error).__module__.startswith("kagglehub"):
            raise UserError(f"{name} could not be fetched: {text_of(error)}") from error
        raise
    return target


def _drive(file_id: str, name: str, folder: Path) -> Path:
    """Download a file on Google Drive."""
    with needs("fetching from Google Drive", "download"):
        import gdown
    from gdown.exceptions import DownloadError, FileURLRetrievalError
    from requests.exceptions import RequestException

    folder.mkdir(parents=True, exist_ok=True)
    target = folder / name
    try:
        gdown.download(id=file_id, output=str(target), resume=True, use_cookies=False, timeout=TIMEOUT, retries=RETRIES)
    except FileURLRetrievalError as error:
        raise UserError(
            f"Google Drive does not deliver the file {file_id} (moved, or requested too often?): {text_of(error)}"
        ) from error
    except (DownloadError, RequestException) as error:
        raise UserError(
            f"the file {file_id} could not be fetched completely, run this again to resume: {text_of(error)}"
        ) from error
    return target


_NBA = "djjerrish/nba-player-image-dataset-201920"
_MINIPLACES = "1CyIQOJienhNITwGcQ9h-nv8z6GOjV2HX"

SOURCES = {
    "nba": Source(f"kaggle:{_NBA}", partial(_kaggle, _NBA)),
    "miniplaces": Source(f"drive:{_MINIPLACES}", partial(_drive, _MINIPLACES, "miniplaces.archive")),
}
"""The data sets of the study, by name."""
