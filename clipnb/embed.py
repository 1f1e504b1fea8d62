"""From photographs to embeddings: decode once, apply every condition asked for, embed in batches, keep in the store."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from .datasets import Photo
from .encoders import Encoder
from .errors import UnreadableImage, UserError
from .images import decode, digest, read
from .manipulations import MANIPULATIONS
from .store import EmbeddingStore, Entry, embedding_key

FLUSH_SECONDS = 5.0
"""Time between two writes to the store: what a killed process can lose."""


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of the readable photographs, under each condition.

    Attributes:
        photos: n photographs.
        digests: n content digests, the photographs' identity.
        vectors: condition -> (n, dim) float32, unit rows.
        inputs: condition -> n digests of the pixels that the network saw.
        unreadable: photograph id -> reason, for the others.
        computed: how many embeddings were not in the store yet.
    """

    photos: list[Photo]
    digests: list[str]
    vectors: dict[str, NDArray[np.float32]]
    inputs: dict[str, list[bytes]]
    unreadable: dict[str, str]
    computed: int


@dataclass
class _Work:
    """One photograph on its way through a worker."""

    photo: Photo
    digest: str = ""
    problem: str = ""
    ready: list[tuple[bytes, bytes, NDArray[Any]]] = field(default_factory=list)


def embed(
    photos: Sequence[Photo],
    manips: Sequence[str],
    encoder: Encoder,
    store: EmbeddingStore,
    *,
    seed: int = 0,
    batch_size: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> Embeddings:
    """Embed photographs under conditions, taking from the store what it has.

    The result does not depend on batch size, workers or order beyond float32 rounding (about 1e-7).

    Args:
        photos: what to embed; an unreadable one is reported in the result, not raised.
        manips: registered manipulations.
        encoder: turns prepared images into unit vectors.
        store: of that encoder.
        seed: the run's seed, for conditions that draw.
        batch_size: prepared images that the encoder gets at once; 0 for what it likes best.
        workers: threads that decode and manipulate; all cores by default.
        progress: show a bar.
    """
    if batch_size < 0:
        raise UserError(f"batch_size must be a whole number from 0 up, not {batch_size!r}")
    batch_size = batch_size or getattr(encoder, "batch_size", 32)
    conditions = [MANIPULATIONS[name] for name in manips]

    def prepare(photo: Photo) -> _Work:
        work = _Work(photo)
        try:
            content = read(photo.path)
            work.digest = digest(content)
            keys = [embedding_key(work.digest, condition.key(seed)) for condition in conditions]
            missing = [(key, condition) for key, condition in zip(keys, conditions, strict=True) if key not in store]
            if missing:
                image = decode(content, photo.id)
                for key, condition in missing:
                    pixels = encoder.prepare(condition(image, seed, work.digest))
                    work.ready.append((key, hashlib.blake2b(pixels.tobytes(), digest_size=16).digest(), pixels))
        except UnreadableImage as error:
            work.problem = str(error)
        return work

    done: list[_Work] = []
    batch: list[tuple[bytes, bytes, NDArray[Any]]] = []
    computed, flushed = 0, time.monotonic()
    threads = workers or os.cpu_count() or 1
    bar = tqdm(total=len(photos), desc="embedding", unit="photo", disable=not progress, mininterval=0.5)
    try:
        with bar, ThreadPoolExecutor(threads) as pool:
            for work in _in_order(pool, prepare, photos, ahead=2 * threads + batch_size):
                batch += [item for item in work.ready if item[0] not in store]
                work.ready = []
                done.append(work)
                bar.update()
                if len(batch) >= batch_size:
                    computed += _encode(batch, encoder, store, batch_size)
                    batch = []
                if time.monotonic() - flushed > FLUSH_SECONDS:
                    store.flush()
                    flushed = time.monotonic()
            computed += _encode(batch, encoder, store, batch_size)
    finally:
        store.flush()  # Ctrl-C keeps what is done

    good = [work for work in done if not work.problem]
    entries = {
        condition.name: [store.get(embedding_key(work.digest, condition.key(seed))) for work in good] for condition in conditions
    }
    return Embeddings(
        photos=[work.photo for work in good],
        digests=[work.digest for work in good],
        vectors={
            name: np.array([e.vector for e in row], dtype=np.float32).reshape(-1, encoder.dim) for name, row in entries.items()
        },
        inputs={name: [e.input for e in row] for name, row in entries.items()},
        unreadable={work.photo.id: work.problem for work in done if work.problem},
        computed=computed,
    )


def _encode(items: Iterable[tuple[bytes, bytes, NDArray[Any]]], encoder: Encoder, store: EmbeddingStore, batch_size: int) -> int:
    """File each item's embedding under its key, embedding each network input once ever; how many inputs were new."""
    distinct: dict[bytes, tuple[NDArray[Any], list[bytes]]] = {}
    for key, seen, pixels in items:
        if known := store.seen(seen):
            store.add([(key, known)])
        else:
            distinct.setdefault(seen, (pixels, []))[1].append(key)
    pairs = iter(distinct.items())
    while chunk := list(islice(pairs, batch_size)):
        vectors = encoder.encode(np.stack([pixels for _, (pixels, _) in chunk]))
        store.add((key, Entry(vector, seen)) for vector, (seen, (_, keys)) in zip(vectors, chunk, strict=True) for key in keys)
    return len(distinct)


def _in_order(pool: ThreadPoolExecutor, function: Any, items: Iterable[Any], ahead: int) -> Iterator[Any]:
    """`pool.map` that works at most `ahead` items ahead, so that memory stays flat."""
    source = iter(items)
    queue: list[Future[Any]] = [pool.submit(function, item) for item in islice(source, ahead)]
    try:
        while queue:
            yield queue.pop(0).result()
            queue += [pool.submit(function, item) for item in islice(source, 1)]
    finally:
        for future in queue:
            future.cancel()
