"""What an encoder is, and how it is computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..datasets.images import RGB

STUDY = "ViT-L/14"  #: encoder of the study
OFFLINE = "efficientnet-lite2"  #: encoder that needs no network; the samples and the book use it

INSTEAD = f"use the encoder {OFFLINE}, which needs no network (-p encoder {OFFLINE}, or CLIPNB_ENCODER={OFFLINE})"
"""End of an error message about missing weights."""

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
ENGINES = ("torch", "compile", "openvino")
DEVICES = ("auto", "cpu", "cuda", "mps")


class Compute(NamedTuple):
    """How a network is computed: a precision other than "auto", an engine, and a device, where "auto" is the fastest."""

    precision: str = "fp32"
    engine: str = "torch"
    device: str = "auto"


DEFAULT = Compute()


class Encoder(Protocol):
    """Interface of an encoder.

    Further attributes are optional: `batch_size`, the preferred number of inputs per call; `sees_whole`, true if the encoder
    squashes the whole photograph to a square instead of taking the centre square; `device`, and, where it is "cuda",
    `preparation`, a function that does what `prepare` does and can be sent to another process.
    """

    name: str  #: name that selects the encoder
    dim: int  #: length of an embedding
    input_size: int  #: side in pixels of the network's square input
    weights_sha256: str  #: digest of the weights, "" without weights
    identity: str  #: text with everything that determines an embedding: name, weights, preprocessing and precision

    def prepare(self, image: RGB) -> NDArray[Any]:
        """Convert a photograph to the network's input. It runs on the CPU in a worker thread."""

    def encode(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Embed n prepared inputs, stacked to (n, ...), as (n, dim) unit vectors."""


@runtime_checkable
class TextEncoder(Encoder, Protocol):
    """An encoder that also embeds texts, in the same space."""

    def encode_text(self, texts: list[str]) -> NDArray[np.float32]:
        """Embed n texts as (n, dim) unit vectors."""


Loader = Callable[[str, Compute], Encoder]
"""(name, how it is computed) -> encoder.

It raises `MissingExtra` if a package is not installed, and `UserError` if the model is unknown, or its weights are missing,
damaged or cannot be fetched.
"""
