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

import numpy as np
from numpy.typing import NDArray

from .paths import data_root
from .seeds import rng_for

if TYPE_CHECKING:
    from .spec import RunSpec

MODES = ("corrected", "study")
INDEXES = ("exact", "hnsw", "ivf", "stored")
"""Ways to search a gallery in-process; `stored` is the index that lies in a clip-retrieval folder."""

NOTHING_LEFT_OUT = -2
"""As `duplicates`: a query may find itself."""

AS_STUDY: dict[str, Any] = {
    "num_images": 10,
    "aesthetic_score": 9,
    "aesthetic_weight": 0.5,
    "deduplicate": True,
    "safety": True,
    "duplicates": NOTHING_LEFT_OUT,
}
"""What the study's client asked for: `mode study`, but for the rule of empty categories."""


def is_service(gallery: str) -> bool:
    """Whether a gallery is the address of a service."""
    return re.match(r"[a-z][a-z0-9+.-]*://", gallery, re.IGNORECASE) is not None


def settled(spec: RunSpec) -> dict[str, Any]:
    """The fields of a specification that follow from its others, in one spelling."""
    found: dict[str, Any] = {"gallery": spec.gallery.strip(), "index": spec.index.strip()}
    if not is_service(spec.gallery):
        found["index"] = spec.index.strip().lower() or "exact"
    if spec.mode == "study":
        found |= AS_STUDY
    return found | {"aesthetic_weight": float(found.get("aesthetic_weight", spec.aesthetic_weight))}


def mistakes(spec: RunSpec) -> list[str]:
    """What is wrong with the settings of a run that concern retrieval."""
    said = []
    for field, kind, good, want in (
        ("gallery", str, lambda v: True, "a text"),
        ("index", str, lambda v: True, "a text"),
        ("mode", str, lambda v: v in MODES, " or ".join(MODES)),
        ("duplicates", int, lambda v: NOTHING_LEFT_OUT <= v < 256, "a number of bits from 0 to 255, -1 or -2"),
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
        usual = (("k", 10, spec.k), ("tau", 0.8, spec.tau), ("severity", 0, spec.severity), ("draws", 1, spec.draws))
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
        parts.append(f"duplicates{spec.duplicates}")
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


def moved(queries: NDArray[np.float32], direction: NDArray[np.float32], weight: float) -> NDArray[np.float32]:
    """The study's aesthetic option: (q + w a) / ‖q + w a‖, as clip-retrieval's back end computes it.

    With a of unit length and orthogonal to q, and w = 0.5, the query moves by 0.46 in L2.

    Args:
        queries: (q, dim) unit vectors.
        direction: (dim,) the mean embedding of photographs of one rating.
        weight: w.
    """
    if not weight:
        return queries
    towards = queries.astype(np.float64) + weight * direction.astype(np.float64)
    return np.asarray(towards / np.linalg.norm(towards, axis=1, keepdims=True), dtype=np.float32)


def aesthetic_direction(encoder: str, dim: int, score: int, seed: int) -> tuple[NDArray[np.float32], str]:
    """What `moved` moves towards: (direction (dim,), where it is from).

    The published vectors are for ViT-L/14 and ViT-B/32, as `rating<score>.npy` of LAION's aesthetic predictor; they are
    looked for in `aesthetic/<model>/` in $CLIPNB_DATA. For want of them a random direction stands in, which is all but
    orthogonal to every photograph: it moves a query as far as any vector could, and towards nothing.
    """
    folder = {"ViT-L/14": "vit_l_14_embeddings", "ViT-B/32": "vit_b_32_embeddings"}.get(encoder, "")
    path = data_root() / "aesthetic" / folder / f"rating{score}.npy"
    if folder and path.is_file():
        return np.load(path, allow_pickle=False).astype(np.float32).reshape(dim), f"rating {score} of the aesthetic predictor"
    drawn = rng_for(seed, "aesthetic", score, dim).normal(size=dim)
    return (drawn / np.linalg.norm(drawn)).astype(np.float32), "a random direction that stands in for the aesthetic vector"


def without_lookalikes(rows: NDArray[np.int64], vectors: Any, cosine: float = 0.94) -> NDArray[np.int64]:
    """One query's results with those dropped that look like a better one, as clip-retrieval's `deduplicate` does.

    Results are linked when their cosine is above 0.94; of each connected group only the first is kept.

    Args:
        rows: (k,) rows of `vectors`, best first, -1 where there is none.
        vectors: (n, dim) unit rows.
        cosine: of a link.

    Returns:
        (k,) what is kept, in its order, then -1.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    there = rows[rows >= 0]
    held = vectors[there].astype(np.float64)
    _, group = connected_components(csr_array(held @ held.T > cosine), directed=False)
    _, first = np.unique(group, return_index=True)
    kept = there[np.sort(first)]
    return np.concatenate([kept, np.full(len(rows) - len(kept), -1, dtype=rows.dtype)])
