"""Data cards: what a data set holds, how large and of what shape its photographs are, and which of them are copies.

Copies are found by content (the same file), and near-copies by a perceptual hash (pHash of the `imagehash` package):
two photographs whose 64-bit hashes differ in few bits look the same.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from .._core.files import write_text
from .._core.paths import cache_root
from ..errors import DatasetError, MissingExtra, UnreadableImage
from .dataset import Dataset, Photo, fingerprint, listing_digest, load_dataset
from .images import decode, digest, read

if TYPE_CHECKING:
    pass

NEAR = 6
"""Bits of a 64-bit perceptual hash in which near-copies differ at most."""

EXAMPLES = 20

VERSION = 2
"""Raised when a card holds something else, so that a kept one is not mistaken for a new one."""


@dataclass(frozen=True)
class Card:
    """What is known of a data set.

    Attributes:
        name: of the data set.
        photographs, categories: that can be read, and hold some.
        per_category: fewest, median and most photographs of a category.
        width, height: smallest, median and largest, in pixels.
        aspect: width / height: smallest, median and largest.
        square: share of photographs whose sides are equal.
        grey: share without any colour.
        formats: suffix -> files.
        copies: files that are copies of another one, by content.
        near_copies: pairs of near-copies that are no copies.
        near_photographs: photographs that have a near-copy or a copy.
        across: pairs of copies and near-copies between different categories.
        examples: some of those pairs, by the photographs' ids.
        unreadable: files that cannot be decoded.
        fingerprint: of the photographs' names and contents.
        bins: what is measured -> edges and counts of its histogram.
    """

    name: str
    photographs: int
    categories: int
    per_category: tuple[float, float, float]
    width: tuple[float, float, float]
    height: tuple[float, float, float]
    aspect: tuple[float, float, float]
    square: float
    grey: float
    formats: dict[str, int]
    copies: int
    near_copies: int
    near_photographs: int
    across: int
    unreadable: int
    fingerprint: str
    examples: list[tuple[str, str]] = field(default_factory=list)
    bins: dict[str, tuple[list[float], list[int]]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Seen:
    photo: Photo
    digest: str
    shape: tuple[int, int]
    grey: bool
    phash: int


def card_of(dataset: str, *, progress: bool = True) -> Card:
    """The card of a data set, kept in the cache until its files change.

    Raises:
        UserError: there is no such data set.
        MissingExtra: `imagehash` is not installed.
    """
    found = load_dataset(dataset)
    kept = cache_root() / "cards" / f"{_state(found)}.json"
    if kept.is_file():
        return replace(card_from(json.loads(kept.read_text(encoding="utf-8"))), name=found.name)
    card = make_card(found, progress=progress)
    write_text(kept, json.dumps(asdict(card)) + "\n")
    return card


def card_from(record: dict[str, Any]) -> Card:
    """A card from JSON."""
    tuples = {name: tuple(record[name]) for name in ("per_category", "width", "height", "aspect")}
    bins = {what: tuple(lists) for what, lists in record["bins"].items()}
    return Card(**{**record, **tuples, "examples": [tuple(pair) for pair in record["examples"]], "bins": bins})


def _state(dataset: Dataset) -> str:
    return hashlib.sha256(f"{VERSION} {NEAR} {listing_digest(dataset.photos)}".encode()).hexdigest()[:24]


def make_card(dataset: Dataset, *, progress: bool = True) -> Card:
    """Look at every photograph of a data set."""
    try:
        import imagehash
    except ModuleNotFoundError as error:
        raise MissingExtra("finding near-copies", "datasets") from error

    def look(photo: Photo) -> _Seen | None:
        try:
            content = read(photo.path)
            image = decode(content, photo.id)
        except UnreadableImage:
            return None
        bits = imagehash.phash(Image.fromarray(image)).hash.ravel()
        grey = bool((image[:, :, 0] == image[:, :, 1]).all() and (image[:, :, 1] == image[:, :, 2]).all())
        number = int("".join("1" if bit else "0" for bit in bits), 2)
        return _Seen(photo, digest(content), image.shape[:2], grey, number)

    with ThreadPoolExecutor() as pool:
        bar = tqdm(pool.map(look, dataset.photos), total=len(dataset.photos), desc="card", unit="photo", disable=not progress)
        seen = [s for s in bar if s]
    if not seen:
        raise DatasetError(f"none of the {len(dataset.photos)} images of {dataset.name} can be read")
    pairs = near_pairs(np.array([s.phash for s in seen], dtype=np.uint64))
    copies = [(i, j) for i, j in pairs if seen[i].digest == seen[j].digest]
    near = [(i, j) for i, j in pairs if seen[i].digest != seen[j].digest]
    across = [(i, j) for i, j in [*copies, *near] if seen[i].photo.category != seen[j].photo.category]
    heights, widths = (np.array([s.shape[axis] for s in seen]) for axis in (0, 1))
    aspects = widths / heights
    counts = Counter(s.photo.category for s in seen)
    return Card(
        name=dataset.name,
        photographs=len(seen),
        categories=len(counts),
        per_category=_spread(list(counts.values())),
        width=_spread(widths),
        height=_spread(heights),
        aspect=_spread(aspects),
        square=float(np.mean(widths == heights)),
        grey=float(np.mean([s.grey for s in seen])),
        formats=dict(Counter(s.photo.path.suffix.lower() for s in seen).most_common()),
        copies=len(seen) - len({s.digest for s in seen}),
        near_copies=len(near),
        near_photographs=len({i for pair in pairs for i in pair}),
        across=len(across),
        examples=[(seen[i].photo.id, seen[j].photo.id) for i, j in across[:EXAMPLES]],
        unreadable=len(dataset.photos) - len(seen),
        fingerprint=fingerprint((s.photo.id, s.digest) for s in seen),
        bins={"short side in pixels": _histogram(np.minimum(widths, heights)), "width / height": _histogram(aspects)},
    )


def near_pairs(hashes: NDArray[np.uint64], most: int = NEAR, block: int = 512) -> list[tuple[int, int]]:
    """Pairs (i < j) of 64-bit hashes that differ in at most `most` bits; memory is bounded by block x n."""
    found: list[tuple[int, int]] = []
    for start in range(0, len(hashes), block):
        differing = np.bitwise_count(hashes[start : start + block, None] ^ hashes[None, :])
        rows, columns = np.nonzero(differing <= most)
        found += [(int(start + i), int(j)) for i, j in zip(rows, columns, strict=True) if start + i < j]
    return found


def _spread(values: Sequence[float] | NDArray[Any]) -> tuple[float, float, float]:
    array = np.asarray(values, dtype=float)
    return float(array.min()), float(np.median(array)), float(array.max())


def _histogram(values: NDArray[Any], bins: int = 24) -> tuple[list[float], list[int]]:
    counts, edges = np.histogram(values, bins=bins)
    return edges.round(4).tolist(), counts.tolist()
