"""Encoders turn photographs into unit vectors. One file an encoder family; heavy imports stay inside it.

A name selects an encoder: `efficientnet-lite2`, `histogram`, OpenAI's spelling of a CLIP model (`ViT-L/14`) or the path
of a checkpoint of one, `open_clip:<model>/<pretrained tag or path>`, or `<package.module>:<function>` for one's own.
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
"""The study's encoder."""

OFFLINE = "efficientnet-lite2"
"""The encoder that needs no network: what the samples and the book use."""

INSTEAD = f"use the encoder {OFFLINE}, which needs no network (-p encoder {OFFLINE}, or CLIPNB_ENCODER={OFFLINE})"
"""The way round weights that cannot be had, as an error message ends."""

PRECISIONS = ("fp32", "bf16", "fp16")


ENGINES = ("torch", "compile", "openvino")


class Encoder(Protocol):
    """What the pipeline asks of an encoder.

    Attributes:
        name: the spelling that selects it.
        dim: length of an embedding.
        input_size: side in pixels of the square that the network sees.
        weights_sha256: digest of the weights, "" where there are none.
        identity: everything that decides what an embedding is: name, weights, preprocessing and precision.

    An encoder may say in `batch_size` how many inputs it likes at once, and in `sees_whole` that it squashes the whole
    photograph to a square, where others take the centre square of the short side.
    """

    name: str
    dim: int
    input_size: int
    weights_sha256: str
    identity: str

    def prepare(self, image: RGB) -> NDArray[Any]:
        """One photograph to the network's input, on the CPU, in a worker thread."""
        ...

    def encode(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Prepared inputs stacked to (n, ...) to unit vectors (n, dim)."""
        ...


@runtime_checkable
class TextEncoder(Protocol):
    """An encoder that embeds texts too, in the same space."""

    def encode_text(self, texts: list[str]) -> NDArray[np.float32]:
        """n texts to (n, dim) unit vectors."""
        ...


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
    """The name to use when none is given: $CLIPNB_ENCODER, else the study's."""
    return os.environ.get("CLIPNB_ENCODER") or STUDY


def resolve(name: str) -> tuple[str, Loader]:
    """The settled spelling of an encoder's name, and what loads it; nothing is imported yet.

    Raises:
        UserError: nothing goes by that name.
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
    """Build an encoder by name; one whose weights were loaded before is loaded again when it has something to embed.

    Args:
        precision: of the weights, for encoders on PyTorch: fp32, bf16 or fp16.
        engine: what runs the network, for encoders on PyTorch: torch, compile or openvino.

    Raises:
        UserError: unknown name, or weights that are not here and cannot be fetched.
        MissingExtra: its packages are not installed.
    """
    from .lazy import recall

    settled, loader = resolve(name)
    # torch's idle threads otherwise spin, and take the cores from the workers that decode; read when torch is loaded
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if loader is _own:  # its code may change under the same name
        return loader(settled, precision, engine)
    return recall(settled, f"{precision}|{engine}", lambda: loader(settled, precision, engine))
