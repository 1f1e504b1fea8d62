"""Randomness that does not depend on order, batch size or number of workers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


def rng_for(seed: int, *identity: object) -> np.random.Generator:
    """Random generator that depends only on the run's seed and on `identity`, such as image digest and manipulation."""
    text = "\x1f".join(map(str, (seed, *identity)))
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def drawn(names: Sequence[str], n: int, seed: int, what: str) -> set[str]:
    """Draw n names of a kind `what`, or all if there are fewer, whatever their order; a larger n keeps what a smaller n draws."""
    return set(sorted(names, key=lambda name: (rng_for(seed, what, name).integers(2**62), name))[:n])
