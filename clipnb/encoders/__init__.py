"""Encoders turn photographs into unit vectors. Each family has one file, which contains its heavy imports.

A name selects an encoder: `efficientnet-lite2`, `histogram`, OpenAI's name of a CLIP model (`ViT-L/14`), the path of a CLIP
checkpoint, `open_clip:<model>/<pretrained tag or path>`, or `<package.module>:<function>` for a custom encoder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from .._core.registry import Registry
from ..datasets.images import RGB
from ..errors import UserError

STUDY = "ViT-L/14"
"""Encoder of the study."""

OFFLINE = "efficientnet-lite2"
"""Encoder that needs no network; the samples and the book use it."""

INSTEAD = f"use the encoder {OFFLINE}, which needs no network (-p encoder {OFFLINE}, or CLIPNB_ENCODER={OFFLINE})"
"""End of an error message about missing weights."""

PRECISIONS = ("fp32", "bf16", "fp16")
ENGINES = ("torch", "compile", "openvino")


class Encoder(Protocol):
    """Interface of an encoder.

    Two further attributes are optional: `batch_size`, the preferred number of inputs per call, and `sees_whole`, true if
    the encoder squashes the whole photograph to a square instead of taking the centre square.

    Attributes:
        name: name that selects the encoder.
        dim: length of an embedding.
        input_size: side in pixels of the network's square input.
        weights_sha256: digest of the weights, "" without weights.
        identity: text with everything that determines an embedding: name, weights, preprocessing and precision.
    """

    name: str
    dim: int
    input_size: int
    weights_sha256: str
    identity: str

    def prepare(self, image: RGB) -> NDArray[Any]:
        """Convert a photograph to the network's input. It runs on the CPU in a worker thread."""

    def encode(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Embed n prepared inputs, stacked to (n, ...), as (n, dim) unit vectors."""


@runtime_checkable
class TextEncoder(Protocol):
    """An encoder that also embeds texts, in the same space."""

    def encode_text(self, texts: list[str]) -> NDArray[np.float32]:
        """Embed n texts as (n, dim) unit vectors."""


Loader = Callable[[str, str, str], Encoder]
"""(name, precision, engine) -> encoder."""

ENCODERS: Registry[Loader] = Registry("encoder")

OPENAI = ("RN50", "RN101", "RN50x4", "RN50x16", "RN50x64", "ViT-B/32", "ViT-B/16", "ViT-L/14", "ViT-L/14@336px")


@ENCODERS.register(OFFLINE)
def _efficientnet(name: str, precision: str, engine: str) -> Encoder:
    from . import efficientnet

    return efficientnet.load(precision, engine)


@ENCODERS.register("histogram")
def _histogram(name: str, precision: str, engine: str) -> Encoder:
    from .histogram import Histogram

    return Histogram()


def _openai_clip(name: str, precision: str, engine: str) -> Encoder:
    from . import openai_clip

    return openai_clip.load(name, precision, engine)


for _name in OPENAI:
    ENCODERS.register(_name, _name.replace("/", "-"))(_openai_clip)


def _open_clip(name: str, precision: str, engine: str) -> Encoder:
    from . import open_clip_models

    return open_clip_models.load(name, precision, engine)


def _own(name: str, precision: str, engine: str) -> Encoder:
    from . import custom

    return custom.load(name, precision)


def default_encoder() -> str:
    """Name of the default encoder: $CLIPNB_ENCODER, else the study's encoder."""
    return os.environ.get("CLIPNB_ENCODER") or STUDY


def resolve(name: str) -> tuple[str, Loader]:
    """The canonical name of an encoder and the function that loads it. Nothing is imported yet.

    Raises:
        UserError: the name is unknown.
    """
    if name.startswith("open_clip:"):
        return name, _open_clip
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", name):
        return name, _own
    if Path(name).suffix in (".pt", ".pth") or Path(name).is_file():
        return name, _openai_clip
    try:
        settled = ENCODERS.canonical(name)
    except UserError as error:
        more = "open_clip:<model>/<tag or path>, the path of a CLIP checkpoint, or <package.module>:<function>"
        raise UserError(f"{error}; or {more}") from None
    return settled, ENCODERS[settled]


def load_encoder(name: str, precision: str = "fp32", engine: str = "torch") -> Encoder:
    """Load an encoder by name. Weights that were loaded before are read only when there is something to embed.

    Args:
        name: name of the encoder; see `clipnb.encoders`.
        precision: precision of the weights of PyTorch encoders: fp32, bf16 or fp16.
        engine: engine that runs PyTorch encoders: torch, compile or openvino.

    Raises:
        UserError: the name is unknown, or the weights are missing and cannot be downloaded.
        MissingExtra: the packages of the encoder are not installed.

    >>> encoder = load_encoder("histogram")
    >>> encoder.name, encoder.dim, encoder.input_size
    ('histogram', 512, 64)
    """
    from .lazy import recall

    settled, loader = resolve(name)
    # Otherwise torch's idle threads spin and take the cores from the decoding workers. torch reads this when it is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if loader is _own:  # never cached: its code may change under the same name
        return loader(settled, precision, engine)
    return recall(settled, f"{precision}|{engine}", lambda: loader(settled, precision, engine))
