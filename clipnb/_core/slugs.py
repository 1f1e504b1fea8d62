"""Names of galleries and other things as parts of file names."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit


def is_service(gallery: str) -> bool:
    """Whether a gallery is the address of a service."""
    return re.match(r"[a-z][a-z0-9+.-]*://", gallery, re.IGNORECASE) is not None


def gallery_slug(gallery: str) -> str:
    """Name of a gallery as part of a file name: host and port of a service, or the last part of each folder."""
    if is_service(gallery):
        return file_slug(urlsplit(gallery).netloc)
    return "+".join(file_slug(Path(part.strip()).name) for part in gallery.split(",") if part.strip()) or "photos"


def file_slug(text: str) -> str:
    """A text with dashes for characters that file names should not have."""
    return re.sub(r"[^\w.+-]+", "-", text).strip("-.")
