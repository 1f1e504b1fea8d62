"""Embed prepared inputs in batches and store the embeddings, so that a GPU does not wait for the work around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ..encoders import Encoder
from ..encoders.base import start
from .store import EmbeddingStore, Entry

AHEAD = 1  # number of batches that the encoder has begun while the next one is collected


class Item(NamedTuple):
    """One input of the encoder."""

    key: bytes  # of the embedding in the store
    input: bytes  # digest of the pixels
    effect: tuple[float, float]  # strength of the manipulation, and mean colour difference
    pixels: NDArray[Any]  # prepared for the network
    photo: str  # id of the photograph


class Batches:
    """In a `with` block, collect items, embed each distinct input once, `size` at a time, and store the embedding of each item.

    Encoders on a GPU compute one batch while the next one is collected and the one before is stored. `taken` counts the items
    that were added, and `computed` the inputs that were embedded.
    """

    def __init__(self, encoder: Encoder, store: EmbeddingStore, size: int) -> None:
        self._encoder, self._store, self._size = encoder, store, size
        self._waiting: dict[bytes, Item] = {}
        # batches in the encoder: the items of each distinct input, and the function that waits for the vectors
        self._begun: list[tuple[dict[bytes, list[Item]], Callable[[], NDArray[np.float32]]]] = []
        self.taken = self.computed = 0

    def add(self, items: Iterable[Item]) -> None:
        """Take items, and begin a batch when enough of them wait."""
        for item in items:
            self._waiting[item.key] = item
            self.taken += 1
        while len(self._waiting) >= self._size:
            self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Store what the encoder has begun, and unless an error or an interrupt ends the block, embed what waits."""
        if self._waiting and kind is None:
            self._begin()
        while self._begun:
            self._store_first()

    def _begin(self) -> None:
        keys = list(self._waiting)[: self._size]
        missing = set(self._store.missing(keys))
        items = [item for key in keys if (item := self._waiting.pop(key)).key in missing]
        known = self._store.seen({item.input for item in items})
        self._store.add(
            (item.key, Entry(known[item.input].vector, item.input, *item.effect)) for item in items if item.input in known
        )
        groups: dict[bytes, list[Item]] = {}
        for item in items:
            if item.input not in known:
                begun = (inputs for inputs, _ in self._begun if item.input in inputs)
                next(begun, groups).setdefault(item.input, []).append(item)
        if groups:
            first = [same[0] for same in groups.values()]
            vectors = start(self._encoder, [item.pixels for item in first], [item.photo for item in first])
            self._begun.append((groups, vectors))
            self.computed += len(groups)
        while len(self._begun) > AHEAD:
            self._store_first()

    def _store_first(self) -> None:
        groups, vectors = self._begun.pop(0)
        embedded = zip(vectors(), groups.values(), strict=True)
        self._store.add((item.key, Entry(vector, item.input, *item.effect)) for vector, same in embedded for item in same)
