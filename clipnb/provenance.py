"""Where numbers come from: versions, weights, machine and counts, recorded with every run."""

from __future__ import annotations

import hashlib
import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from ._core.code_state import digest_of, needed_by
from .datasets.dataset import Dataset, fingerprint
from .embedding.embed import Embeddings
from .encoders import Encoder

PACKAGES = ("clipnb", "faiss-cpu", "imagehash", "numpy", "opencv-python-headless", "pandas", "pillow", "scipy", "torch")


def code_sha256() -> str:
    """SHA-256 over the source files that the numbers of a run depend on: those of `clipnb.runs` and all that it imports."""
    return digest_of(needed_by("runs"))


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def describe(dataset: Dataset, encoder: Encoder, embedded: Embeddings, computed: int, seconds: float) -> dict[str, Any]:
    """The provenance of a run, as plain JSON values.

    Args:
        dataset: what was drawn from.
        embedded: its readable photographs.
        computed: embeddings that were not in the store yet.
        seconds: that the run took.
    """
    readable = {photo.category for photo in embedded.photos}
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "versions": _versions(),
        "code_sha256": code_sha256(),
        "device": getattr(encoder, "device", "cpu"),
        "machine": f"{platform.system()} {platform.machine()}",
        "encoder": {"identity": encoder.identity, "weights_sha256": encoder.weights_sha256, "dim": encoder.dim},
        "root_sha256": hashlib.sha256(os.fsencode(dataset.root.resolve())).hexdigest(),
        "data_fingerprint": fingerprint((p.id, d) for p, d in zip(embedded.photos, embedded.digests, strict=True)),
        "categories": len(readable),
        "images": len(embedded.photos),
        "embedded_now": computed,
        "unreadable": embedded.unreadable,
        "passed_over": dataset.passed_over,
        "empty_categories": sorted({*dataset.empty, *(c for c in dataset.categories if c not in readable)}),
    }
