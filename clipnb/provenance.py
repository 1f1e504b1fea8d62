"""Provenance of a run: versions, weights, machine and counts."""

from __future__ import annotations

import hashlib
import os
import platform
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, TypedDict, cast

from PIL import features

from ._core.code_state import digest_of, needed_by
from ._core.typed import misfit
from .datasets.dataset import Dataset, fingerprint
from .embedding.embed import Embeddings
from .encoders import Encoder


class EncoderRecord(TypedDict):
    """The encoder of a run: its identity, the digest of its weights ("" without weights), and the length of an embedding."""

    identity: str
    weights_sha256: str
    dim: int


class GalleryRecord(TypedDict, total=False):
    """What a run searched: a service with its address and the options of a query, or a number of images, with index."""

    kind: str
    address: str
    images: int
    index: str
    sources: list[dict[str, Any]]  # folders of the gallery: name, images, what is left out, and the origin of vectors
    options: dict[str, Any]
    recall: dict[str, float]
    unusable: dict[str, str]  # result -> reason why it cannot be scored


class _OfEveryRun(TypedDict):
    created: str  # time at which the run ended, ISO 8601, UTC
    seconds: float  # duration of the run
    versions: dict[str, str]  # package -> version, with Python's under `python`
    code_sha256: str  # digest of the code that the numbers depend on
    device: str  # device of the encoder, such as `cpu`
    machine: str  # operating system and processor
    encoder: EncoderRecord
    gallery: GalleryRecord
    root_sha256: str  # digest of the path of the data set's folder; the path itself is private
    data_fingerprint: str  # digest of the ids and contents of the photographs
    categories: int  # number of categories with a readable photograph
    images: int  # number of readable photographs
    embedded_now: int  # number of embeddings that the cache did not have
    unreadable: dict[str, str]  # id of an unreadable photograph -> reason
    other_files: dict[str, int]  # reason (mostly the suffix) -> number of files that are not used
    empty_categories: list[str]  # categories without a readable photograph
    warnings: list[str]  # warnings about the numbers (`clipnb.checks.warnings`)


class Provenance(_OfEveryRun, total=False):
    """The origin of a run's numbers, as plain JSON values."""

    batches: list[str]  # run ids of the batches, in a merged run
    categories_missing: int  # number of categories that no batch covers, in a merged run that lacks some


def checked(record: dict[str, Any]) -> Provenance:
    """A stored provenance; a `ValueError` if version 0.1 wrote it, a key is absent, or a value has another type."""
    if "passed_over" in record:
        raise ValueError("version 0.1 saved it, and later versions do not read it: run the same again")
    if said := misfit(record, Provenance, "provenance"):
        raise ValueError(said)
    datetime.fromisoformat(record["created"])
    return cast(Provenance, record)


PACKAGES = ("clipnb", "faiss-cpu", "numpy", "opencv-python-headless", "pandas", "pillow", "scipy", "torch")


def code_sha256() -> str:
    """SHA-256 over the source code that the numbers of a run depend on: `clipnb.runs` and all modules that it imports."""
    return digest_of(needed_by("runs"))


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    versions["littlecms"] = features.version("littlecms2") or ""  # converts colours
    return versions


def folder_sha256(folder: Path) -> str:
    """SHA-256 of the resolved path of a folder, which identifies the folder without showing its path."""
    return hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()


def describe(
    dataset: Dataset, encoder: Encoder, embedded: Embeddings, gallery: dict[str, Any], computed: int, seconds: float
) -> Provenance:
    """The provenance of a run as plain JSON values, without its warnings; the store lacked `computed` embeddings."""
    readable = {photo.category for photo in embedded.photos}
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "versions": _versions(),
        "code_sha256": code_sha256(),
        "device": getattr(encoder, "device", "cpu"),
        "machine": f"{platform.system()} {platform.machine()}",
        "encoder": {"identity": encoder.identity, "weights_sha256": encoder.weights_sha256, "dim": int(encoder.dim)},
        "gallery": cast(GalleryRecord, gallery),
        "root_sha256": folder_sha256(dataset.root),
        "data_fingerprint": fingerprint((p.id, d) for p, d in zip(embedded.photos, embedded.digests, strict=True)),
        "categories": len(readable),
        "images": len(embedded.photos),
        "embedded_now": computed,
        "unreadable": embedded.unreadable,
        "other_files": dataset.other_files,
        "empty_categories": [] if dataset.flat else sorted({*dataset.empty, *dataset.categories} - {*readable}),
        "warnings": [],
    }
