"""What the measurements of speed share: a clock, a row of the table, encoders that are warm, data sets of a given size."""

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

STUDY = ("original", "blurred", "cropped", "grey")
"""The four conditions."""

Row = dict[str, Any]


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def row(measure: str, rounds: list[float], reach: float, detail: str, at_most: bool = False) -> Row:
    """One line of the table, the median of its rounds: `reach` is what it should be at least, or at most."""
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
    """An encoder that is really loaded, and has run once."""
    found: Any = load_encoder(name, precision, engine)
    found = getattr(found, "loaded", found)
    found.encode(np.stack([found.prepare(np.zeros((300, 300, 3), np.uint8))] * 4))
    return found


def new_store(encoder: Encoder, folder: Path) -> EmbeddingStore:
    return EmbeddingStore(Path(tempfile.mkdtemp(dir=folder)), encoder.identity, encoder.dim)


def subset(dataset: str, images: int, folder: Path) -> Path:
    """A data set of `images` photographs, the same number of each category, as links."""
    photos = load_dataset(dataset).photos
    categories = sorted({photo.category for photo in photos})
    share = -(-images // len(categories))
    chosen = [p for c in categories for p in [q for q in photos if q.category == c][:share]][:images]
    for photo in chosen:
        (folder / photo.category).mkdir(parents=True, exist_ok=True)
        (folder / photo.category / photo.path.name).symlink_to(photo.path.resolve())
    return folder
