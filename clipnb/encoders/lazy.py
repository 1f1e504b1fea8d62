"""Encoders that were loaded before and are loaded again only when there is something to embed.

A note in the cache holds the attributes of an encoder (name, dimension, digest of the weights, identity), with the size and
time of the weights file and the versions of the packages that load it. While these do not change, a run whose embeddings
are all in the store starts without PyTorch and without reading the weights.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .._core.files import write_text
from .._core.paths import cache_root
from ..datasets.images import RGB
from ..errors import UserError
from .base import Encoder, TextEncoder

NOTED = ("name", "dim", "input_size", "weights_sha256", "identity", "batch_size", "device", "sees_whole")
PACKAGES = ("clip-anytorch", "efficientnet_lite_pytorch", "open-clip-torch", "onnxruntime", "timm", "torch", "transformers")


class KnownEncoder:
    """An encoder with the attributes from its note; see `clipnb.encoders.Encoder`."""

    name: str
    dim: int
    input_size: int
    weights_sha256: str
    identity: str

    def __init__(self, about: dict[str, Any], load: Callable[[], Encoder]) -> None:
        vars(self).update({field: about[field] for field in NOTED})
        self._load, self._lock = load, threading.Lock()

    @cached_property
    def loaded(self) -> Encoder:
        """The encoder itself, loaded on first use; a `UserError` if its weights were replaced since its note was read."""
        encoder = self._load()
        if encoder.identity != self.identity:
            raise UserError(f"the weights of {self.name!r} were changed during the run: run the same again")
        return encoder

    def prepare(self, image: RGB) -> NDArray[Any]:
        with self._lock:  # only the first of several workers loads it
            encoder = self.loaded
        return encoder.prepare(image)

    def encode(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        return self.loaded.encode(batch)


class KnownTextEncoder(KnownEncoder):
    """A known encoder that also embeds texts."""

    def encode_text(self, texts: list[str]) -> NDArray[np.float32]:
        return cast(TextEncoder, self.loaded).encode_text(texts)


def _note(name: str, settings: str) -> Path:
    """Path of the note. It changes with the code and the packages that compute embeddings."""
    sha = hashlib.sha256(f"{name}|{settings}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        sha.update(path.read_bytes())
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            sha.update(f"{package} {metadata.version(package)}".encode())
    return cache_root() / "encoders" / f"{sha.hexdigest()[:24]}.json"


def _stat(weights: Path) -> list[int]:
    stat = weights.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]  # a copy may keep the time of the last write


def recall(name: str, settings: str, load: Callable[[], Encoder]) -> Encoder:
    """Return an encoder with these settings from its note, if the weights file has not changed; else load it and write a note."""
    note = _note(name, settings)
    with suppress(OSError, ValueError, KeyError):
        about = json.loads(note.read_text(encoding="utf-8"))
        if _stat(Path(about["weights"])) == about["stat"]:
            return (KnownTextEncoder if about["reads_text"] else KnownEncoder)(about, load)
    encoder = load()
    if isinstance(weights := getattr(encoder, "weights", None), Path):
        about = {field: getattr(encoder, field) for field in NOTED}
        about |= {"reads_text": isinstance(encoder, TextEncoder), "weights": str(weights.resolve()), "stat": _stat(weights)}
        write_text(note, json.dumps(about, indent=1) + "\n")
    return encoder
