"""Embed with an encoder, and check the vectors that it returns. Every embedding passes through here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError, in_one_line, one_line, text_of
from .base import Encoder, TextEncoder

TOLERANCE = 1e-3  # largest difference of a vector's length from 1, above the rounding of half precision


def start(encoder: Encoder, inputs: Sequence[NDArray[Any]], names: Sequence[str] = ()) -> Callable[[], NDArray[np.float32]]:
    """Begin to embed n prepared inputs, and return a function that waits for their (n, dim) unit vectors.

    Encoders without a method `start` compute the vectors at once. `names` are n photographs, for the message of an error.

    Raises:
        UserError: the inputs differ in shape, or the encoder fails. The returned function raises it if the encoder does not
            return n finite vectors of length 1.
    """
    if len(shapes := {np.shape(pixels) for pixels in inputs}) > 1:
        two = " and ".join(map(str, sorted(shapes)[:2]))
        raise UserError(f"encoder {encoder.name!r} prepares inputs of different shapes: {two} of {len(shapes)}")
    with one_line(f"encoder {encoder.name!r} failed", text=in_one_line):
        if begin := getattr(getattr(encoder, "loaded", encoder), "start", None):
            wait = begin(inputs)
        else:
            vectors = encoder.encode(np.stack(inputs))
            wait = lambda: vectors  # noqa: E731 - as short as a function can be
    return lambda: _checked(encoder, wait(), len(inputs), names)


def encode(encoder: Encoder, inputs: Sequence[NDArray[Any]], names: Sequence[str] = ()) -> NDArray[np.float32]:
    """Embed n prepared inputs as (n, dim) unit vectors; see `start`."""
    return start(encoder, inputs, names)()


def encode_text(encoder: TextEncoder, texts: list[str]) -> NDArray[np.float32]:
    """Embed n texts as (n, dim) unit vectors; a `UserError` if the encoder does not return n finite vectors of length 1."""
    with one_line(f"encoder {encoder.name!r} failed", text=in_one_line):
        vectors = encoder.encode_text(texts)
    return _checked(encoder, vectors, len(texts), texts)


def _checked(encoder: Any, given: Any, n: int, names: Sequence[str]) -> NDArray[np.float32]:
    expected = f"encoder {encoder.name!r} should return {n} vectors of {encoder.dim} numbers and length 1"
    try:
        vectors = np.asarray(given, dtype=np.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{expected}, not {type(given).__name__}: {text_of(error)}") from error
    if vectors.shape != (n, encoder.dim):
        raise UserError(f"{expected}, not an array of shape {vectors.shape}")
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    if (wrong := ~(np.abs(lengths - 1) <= TOLERANCE)).any():
        first = int(wrong.argmax())
        whose = f", of {names[first]}," if names else ""
        gave = f"has length {lengths[first]:.3g}" if np.isfinite(lengths[first]) else "is not finite (NaN or infinity)"
        raise UserError(f"{expected}; wrong: {wrong.sum()} of {n}; the first{whose} {gave}")
    return vectors
