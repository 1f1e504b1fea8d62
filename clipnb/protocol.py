"""What is asked of which gallery, and how: the settings of a run that concern retrieval, and the study's own protocol.

`study` repeats the original protocol: 10 results asked of the gallery, its query moved towards photographs that people
rate 9 (weight 0.5), results that look alike or unsafe dropped, the query's own image not left out, a threshold of 0.8,
and a category without any result counting 0. `corrected` leaves the query alone, asks for as many results as it scores,
leaves the query's own image out, and counts nothing that was not found as 0.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from .spec import RunSpec

MODES = ("corrected", "study")
INDEXES = ("exact", "hnsw", "ivf", "stored")
"""Ways to search a gallery in-process; `stored` is the index that lies in a clip-retrieval folder."""

STUDY: dict[str, Any] = {"num_images": 10, "aesthetic_score": 9, "aesthetic_weight": 0.5, "deduplicate": True, "safety": True}
"""What the study's client asked for."""


def is_service(gallery: str) -> bool:
    """Whether a gallery is the address of a service."""
    return re.match(r"[a-z][a-z0-9+.-]*://", gallery, re.IGNORECASE) is not None


def settled(spec: RunSpec) -> dict[str, Any]:
    """The fields of a specification that follow from its others, in one spelling."""
    found: dict[str, Any] = {"gallery": spec.gallery.strip(), "index": spec.index.strip()}
    if not is_service(spec.gallery):
        found["index"] = spec.index.strip().lower() or "exact"
    if spec.mode == "study":
        found |= STUDY
    for field in ("duplicates", "aesthetic_weight"):
        found[field] = float(found.get(field, getattr(spec, field)))
    return found


def mistakes(spec: RunSpec) -> list[str]:
    """What is wrong with the settings of a run that concern retrieval."""
    said = []
    for field, kind, good, want in (
        ("gallery", str, lambda v: True, "a text"),
        ("index", str, lambda v: True, "a text"),
        ("mode", str, lambda v: v in MODES, " or ".join(MODES)),
        ("duplicates", (int, float), lambda v: v > 0, "a cosine above 0"),
        ("num_images", int, lambda v: v >= 0, "a whole number from 0 up"),
        ("aesthetic_score", int, lambda v: 0 <= v <= 9, "a whole number from 0 to 9"),
        ("aesthetic_weight", (int, float), lambda v: 0 <= v <= 1, "a number from 0 to 1"),
        ("deduplicate", bool, lambda v: True, "True or False"),
        ("safety", bool, lambda v: True, "True or False"),
        ("allow_hosts", str, lambda v: True, "a text"),
    ):
        value = getattr(spec, field)
        if isinstance(value, bool) != (kind is bool) or not isinstance(value, kind) or not good(value):
            said.append(f"{field} must be {want}, not {value!r}")
    if said:
        return said
    if is_service(spec.gallery):
        address = urlsplit(spec.gallery)
        if address.scheme not in ("http", "https") or not address.hostname:
            said.append(f"a service's address is http://host:port or https://host, not {spec.gallery!r}")
        elif not spec.index.strip():
            said.append("a service has indexes by name: pass -p index <name> (GET /indices-list lists them)")
        if 0 < spec.num_images < spec.k:
            said.append(f"num_images = {spec.num_images} cannot give k = {spec.k} results")
    elif spec.index and spec.index.strip().lower() not in INDEXES:
        said.append(f"index must be one of {', '.join(INDEXES)}, not {spec.index!r} (names are for a service's indexes)")
    if spec.mode == "study":
        usual = (("k", 10, spec.k), ("tau", 0.8, spec.tau))
        said += [f"mode study has {name} {theirs}, not {value}" for name, theirs, value in usual if value != theirs]
    return said


def name_parts(spec: RunSpec) -> list[str]:
    """What the name of a run says of its gallery and protocol: each setting that is not the usual one."""
    parts = []
    if spec.gallery:
        parts.append(f"in-{gallery_slug(spec.gallery)}")
    if spec.index not in ("", "exact"):
        parts.append(_slug(spec.index))
    if spec.mode != "corrected":
        return [*parts, spec.mode]
    if spec.duplicates != type(spec).__dataclass_fields__["duplicates"].default:
        parts.append(f"duplicates{spec.duplicates:g}")
    if spec.num_images:
        parts.append(f"of{spec.num_images}")
    if spec.aesthetic_weight:
        parts.append(f"aesthetic{spec.aesthetic_score}x{spec.aesthetic_weight:g}")
    return parts + [field for field in ("deduplicate", "safety") if getattr(spec, field)]


def gallery_slug(gallery: str) -> str:
    """A gallery's name as part of a file name: host and port of a service, else the last folders."""
    if is_service(gallery):
        return _slug(urlsplit(gallery).netloc)
    return "+".join(_slug(Path(part.strip()).name) for part in gallery.split(",") if part.strip()) or "photos"


def _slug(text: str) -> str:
    return re.sub(r"[^\w.+-]+", "-", text).strip("-.")
