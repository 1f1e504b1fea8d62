"""Helpers of the measurements of speed: a clock, a row of the table, warm encoders, data sets of a given size."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from clipnb.datasets.dataset import load_dataset
from clipnb.embedding.store import EmbeddingStore
from clipnb.encoders import Encoder, load_encoder

Row = dict[str, Any]


def seconds(action: Callable[[], object]) -> float:
    """Time an action."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def row(measure: str, rounds: list[float], reach: float, detail: str, at_most: bool = False) -> Row:
    """Make a row of the table with the median of its rounds; `reach` is the target, a lower or an upper bound."""
    ratio = statistics.median(rounds)
    tqdm.write(f"{measure}: {ratio:.2f} ({'at most' if at_most else 'at least'} {reach:g}); {detail}")
    return {
        "measure": measure,
        "ratio": round(ratio, 3),
        "rounds": [round(each, 3) for each in rounds],
        "reach": reach,
        "at_most": at_most,
        "detail": detail,
    }


def network(name: str, precision: str = "fp32", engine: str = "torch") -> Encoder:
    """Load an encoder completely and run it once."""
    found: Any = load_encoder(name, precision, engine)
    found = getattr(found, "loaded", found)
    found.encode(np.stack([found.prepare(np.zeros((300, 300, 3), np.uint8))] * 4))
    return found


def new_store(encoder: Encoder, folder: Path) -> EmbeddingStore:
    """Make an empty store in a new folder."""
    return EmbeddingStore(Path(tempfile.mkdtemp(dir=folder)), encoder.identity, encoder.dim)


def subset(dataset: str, images: int, folder: Path) -> Path:
    """Make a data set of links to `images` photographs, with equally many in each category."""
    photos = load_dataset(dataset).photos
    categories = sorted({photo.category for photo in photos})
    share = -(-images // len(categories))
    chosen = [p for c in categories for p in [q for q in photos if q.category == c][:share]][:images]
    for photo in chosen:
        (folder / photo.category).mkdir(parents=True, exist_ok=True)
        (folder / photo.category / photo.path.name).symlink_to(photo.path.resolve())
    return folder
