"""An encoder that was loaded before, and is loaded again only if something is to be embedded.

What an encoder is (its name, dimension, weights' digest, identity) is noted in the cache with the size and time of the
weights file and the versions of what loads it. As long as these stand, a run whose embeddings are all kept starts
without PyTorch and without reading the weights.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.files import write_text
from .._core.paths import cache_root
from ..datasets.images import RGB
from . import Encoder, TextEncoder

NOTED = ("name", "dim", "input_size", "weights_sha256", "identity", "batch_size", "device", "sees_whole")
PACKAGES = ("clip-anytorch", "efficientnet_lite_pytorch", "open-clip-torch", "torch")


class KnownEncoder:
    """An encoder by its note; see `clipnb.encoders.Encoder` for the attributes."""

    def __init__(self, about: dict[str, Any], load: Callable[[], Encoder]) -> None:
        self.name: str = about["name"]
        self.dim: int = about["dim"]
        self.input_size: int = about["input_size"]
        self.weights_sha256: str = about["weights_sha256"]
        self.identity: str = about["identity"]
        self.batch_size: int = about["batch_size"]
        self.device: str = about["device"]
        self.sees_whole: bool = about["sees_whole"]
        self._load = load
        self._lock = threading.Lock()

    @cached_property
    def loaded(self) -> Any:
        """The encoder itself."""
        return self._load()

    def prepare(self, image: RGB) -> NDArray[Any]:
        """One photograph to the network's input."""
        with self._lock:  # the first of several workers loads it
            encoder: Encoder = self.loaded
        return encoder.prepare(image)

    def encode(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Prepared inputs stacked to (n, ...) to unit vectors (n, dim)."""
        encoder: Encoder = self.loaded
        return encoder.encode(batch)


class KnownTextEncoder(KnownEncoder):
    """The same with a text tower."""

    def encode_text(self, texts: list[str]) -> NDArray[np.float32]:
        """n texts to (n, dim) unit vectors."""
        encoder: TextEncoder = self.loaded
        return encoder.encode_text(texts)


def _note(name: str, settings: str) -> Path:
    """The note's file; its name changes with the code and the packages that make an embedding."""
    sha = hashlib.sha256(f"{name}|{settings}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        sha.update(path.read_bytes())
    for package in PACKAGES:
        try:
            sha.update(f"{package} {metadata.version(package)}".encode())
        except metadata.PackageNotFoundError:
            continue
    return cache_root() / "encoders" / f"{sha.hexdigest()[:24]}.json"


def _stat(weights: Path) -> list[int]:
    stat = weights.stat()
    return [stat.st_size, stat.st_mtime_ns]


def recall(name: str, settings: str, load: Callable[[], Encoder]) -> Encoder:
    """The encoder as noted, if its weights file is as it was; else loaded now, and noted if it has a weights file."""
    note = _note(name, settings)
    try:
        about = json.loads(note.read_text(encoding="utf-8"))
        if _stat(Path(about["weights"])) == about["stat"]:
            return (KnownTextEncoder if about["reads_text"] else KnownEncoder)(about, load)
    except (OSError, ValueError, KeyError):
        pass
    encoder = load()
    weights = getattr(encoder, "weights", None)
    if isinstance(weights, Path):
        about = {field: getattr(encoder, field) for field in NOTED}
        about |= {"reads_text": isinstance(encoder, TextEncoder), "weights": str(weights.resolve()), "stat": _stat(weights)}
        write_text(note, json.dumps(about, indent=1) + "\n")
    return encoder
