"""Randomness that never depends on order, batch size or workers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


def rng_for(seed: int, *identity: object) -> np.random.Generator:
    """A generator that is a function of the run's seed and of what the draw is for.

    Args:
        seed: the run's seed.
        identity: what names the draw, such as image digest, manipulation and draw number.
    """
    text = "\x1f".join(str(part) for part in (seed, *identity))
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def drawn(names: Sequence[str], n: int, seed: int, what: str) -> set[str]:
    """n of the names, or all where there are fewer."""
    return set(sorted(names, key=lambda name: (rng_for(seed, what, name).integers(2**62), name))[:n])
