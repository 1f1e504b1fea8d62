"""What an encoder is, how it is computed, and the check of the vectors that it returns: every embedding passes through here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from .._core.text import plain
from ..datasets.images import RGB
from ..errors import UserError, in_one_line, one_line
from ..metrics.validity import unit_rows

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

    Further attributes are optional: `batch_size`, the preferred number of inputs per call; `sees_whole`, True if the encoder
    squashes the whole photograph to a square instead of taking the centre square; `device`, a text, and, where it is "cuda",
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
class TextEncoder(Protocol):
    """An encoder that also embeds texts, in the same space."""

    def encode_text(self, texts: list[str]) -> NDArray[np.float32]:
        """Embed n texts as (n, dim) unit vectors."""


_METHOD = (callable, "a method")
_NUMBER = (lambda v: isinstance(v, Integral) and not isinstance(v, bool) and int(v) >= 1, "a whole number from 1 up")
_TEXT = (lambda v: isinstance(v, str) and v.strip() != "", "a text that is not empty")

ATTRIBUTES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "dim": _NUMBER,
    "input_size": _NUMBER,
    "prepare": _METHOD,
    "encode": _METHOD,
    "name": _TEXT,
    "identity": _TEXT,
    "weights_sha256": (lambda v: isinstance(v, str), 'a text, "" without weights'),
    "batch_size": _NUMBER,
    "sees_whole": (lambda v: isinstance(v, bool | np.bool_), "True or False"),
    "device": (lambda v: isinstance(v, str) and v != "", "a text, such as 'cuda'"),
}
"""Attribute of an `Encoder` -> which values it may have, and that rule in words."""

OPTIONAL = ("batch_size", "sees_whole", "device")


def require_sound(encoder: object, called: str, optional: Sequence[str] = OPTIONAL) -> None:
    """Raise a `UserError` that names the attributes that an encoder of another's code lacks, or one that is of a wrong type."""
    if isinstance(encoder, type):
        raise UserError(f"encoder {called!r} is a class: an encoder is an object of it")
    with one_line(f"encoder {called!r} failed", text=in_one_line):
        held = {name: getattr(encoder, name) for name in ATTRIBUTES if hasattr(encoder, name)}
    if missing := [name for name in ATTRIBUTES if name not in held and name not in optional]:
        raise UserError(f"encoder {called!r} is an object without {', '.join(missing)}: see clipnb.encoders.Encoder")
    for name, value in held.items():
        allows, wanted = ATTRIBUTES[name]
        if not allows(value):
            raise UserError(f"encoder {called!r}: its {name} should be {wanted}, not {plain(repr(value))[:80]}")


Loader = Callable[[str, Compute], Encoder]
"""(name, how it is computed) -> encoder; `MissingExtra` without its package, `UserError` if it is unknown or cannot be loaded."""


def typed(encoder: Encoder) -> str:
    """The name by which an encoder was loaded, which its identity begins with; its `name` may be that of several."""
    return encoder.identity.partition("|")[0]


def start(encoder: Encoder, inputs: Sequence[NDArray[Any]], names: Sequence[str] = ()) -> Callable[[], NDArray[np.float32]]:
    """Begin to embed n prepared inputs, and return a function that waits for their (n, dim) unit vectors.

    Encoders without a method `start` compute the vectors at once. `names` are n photographs, for the message of an error.

    Raises:
        UserError: the inputs differ in shape, or the encoder fails. The returned function raises it if the encoder does not
            return n finite vectors of length 1.
    """
    if len(shapes := {np.shape(pixels) for pixels in inputs}) > 1:
        two = " and ".join(map(str, sorted(shapes)[:2]))
        raise UserError(f"encoder {typed(encoder)!r} prepares inputs of different shapes: {two} of {len(shapes)}")
    with one_line(f"encoder {typed(encoder)!r} failed", text=in_one_line):
        if begin := getattr(getattr(encoder, "loaded", encoder), "start", None):
            wait = begin(inputs)
        else:
            vectors = encoder.encode(np.stack(inputs))
            wait = lambda: vectors  # noqa: E731 - as short as a function can be
    return lambda: _checked(encoder, wait(), len(inputs), names)


def encode(encoder: Encoder, inputs: Sequence[NDArray[Any]], names: Sequence[str] = ()) -> NDArray[np.float32]:
    """Embed n prepared inputs as (n, dim) unit vectors; see `start`."""
    return start(encoder, inputs, names)()


def encode_text(encoder: Any, texts: list[str]) -> NDArray[np.float32]:
    """Embed n texts by a `TextEncoder` as (n, dim) vectors; a `UserError` if it does not return n finite vectors of length 1."""
    with one_line(f"encoder {typed(encoder)!r} failed", text=in_one_line):
        vectors = encoder.encode_text(texts)
    return _checked(encoder, vectors, len(texts), texts)


def _checked(encoder: Any, given: Any, n: int, names: Sequence[str]) -> NDArray[np.float32]:
    expected = f"encoder {typed(encoder)!r} should return {n} vectors of {encoder.dim} numbers and length 1"
    return unit_rows(given, (n, encoder.dim), expected, names)
