"""Data cards: the photographs of a data set by number, size and shape, and the copies (equal files) and near-copies among them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from .._core.files import read_json, write_text
from .._core.paths import cache_root
from ..errors import DatasetError, UnreadableImage
from .dataset import Dataset, Photo, fingerprint, listing_digest, load_dataset
from .images import decode, digest, read, room_for
from .picture_hash import NEAR, near_copies, picture_hash

EXAMPLES = 1000
VERSION = 6  # raised when the contents of a card change, so that a card in the cache is not mistaken for a new one


@dataclass(frozen=True)
class Card:
    """Description of a data set. Three numbers are the smallest, the median and the largest; a share is from 0 to 1."""

    name: str
    photographs: int  # number of photographs that can be read
    categories: int  # number of categories that hold such photographs
    per_category: list[float]  # photographs per category
    width: list[float]  # in pixels
    height: list[float]  # in pixels
    aspect: list[float]  # width / height
    square: float  # share of photographs whose sides are equal
    grey: float  # share of photographs without any colour
    formats: dict[str, int]  # suffix -> number of files
    copies: int  # number of files whose content equals that of an earlier file
    near_copies: int  # number of pairs of near-copies (`picture_hash`) whose files differ
    near_photographs: int  # number of photographs that have a copy or near-copy
    across: int  # number of pairs of copies or near-copies that lie in different categories
    unreadable: dict[str, str]  # id (name, without categories) of a file that cannot be decoded -> reason
    fingerprint: str
    unused: dict[str, str] = field(default_factory=dict)  # as in `Dataset`
    empty: list[str] = field(default_factory=list)  # as in `Dataset`
    examples: list[list[str]] = field(default_factory=list)  # the first `EXAMPLES` copies: id, = (equal) or ~ (near), id (or names)
    bins: dict[str, list[list[float]]] = field(default_factory=dict)  # measured quantity -> edges and counts of its histogram
    flat: bool = False  # whether the photographs have no categories


class _Seen(NamedTuple):
    photo: Photo
    digest: str
    shape: tuple[int, int]
    grey: bool
    hash: NDArray[np.uint8]


def card_of(dataset: str, *, progress: bool = True) -> Card:
    """The card of a data set; the cache keeps it until the files change. `DatasetError` if none of its images can be read."""
    found = load_dataset(dataset)
    state = digest(f"{VERSION} {NEAR} {listing_digest(found.photos)}".encode())[:24]
    kept = cache_root() / "cards" / f"{state}.json"
    if kept.is_file():
        return Card(**read_json(kept) | {"name": found.name, "unused": found.unused, "empty": list(found.empty)})
    card = _made(found, progress)
    write_text(kept, json.dumps(asdict(card)) + "\n")
    return card


def _made(dataset: Dataset, progress: bool) -> Card:
    """Read every photograph of a data set and describe the whole."""

    def named(photo: Photo) -> str:
        return photo.name if dataset.flat else photo.id

    def look(photo: Photo) -> _Seen | str:
        try:
            content = read(photo.path)
            with room_for(content):
                image = decode(content, named(photo))
                grey = bool((image[:, :, 0] == image[:, :, 1]).all() and (image[:, :, 1] == image[:, :, 2]).all())
                return _Seen(photo, digest(content), image.shape[:2], grey, picture_hash(image))
        except UnreadableImage as error:
            return str(error)

    with ThreadPoolExecutor() as pool:
        looking = pool.map(look, dataset.photos)
        looked = list(tqdm(looking, total=len(dataset.photos), desc="card", unit="photo", disable=not progress))
    seen = [s for s in looked if isinstance(s, _Seen)]
    if not seen:
        raise DatasetError(f"none of the {len(dataset.photos)} images of {dataset.name} can be read; the first: {looked[0]}")
    same: dict[str, list[int]] = {}
    for i, s in enumerate(seen):
        same.setdefault(s.digest, []).append(i)
    copies = sorted(pair for group in same.values() for pair in combinations(group, 2))
    near = [(i, j) for i, j in near_pairs(np.stack([s.hash for s in seen])) if seen[i].digest != seen[j].digest]
    listed = [(i, "=", group[0]) for group in same.values() for i in group[1:]] + [(j, "~", i) for i, j in near]
    pairs = [*copies, *near]
    across = [(i, j) for i, j in pairs if not dataset.flat and seen[i].photo.category != seen[j].photo.category]
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
        examples=[[named(seen[i].photo), sign, named(seen[j].photo)] for i, sign, j in listed[:EXAMPLES]],
        unreadable={named(p): s for p, s in zip(dataset.photos, looked, strict=True) if isinstance(s, str)},
        unused=dataset.unused,
        empty=list(dataset.empty),
        flat=dataset.flat,
        fingerprint=fingerprint((s.photo.id, s.digest) for s in seen),
        bins={"short side in pixels": _histogram(np.minimum(widths, heights)), "width / height": _histogram(aspects)},
    )


def near_pairs(hashes: NDArray[np.uint8], block: int = 512) -> list[tuple[int, int]]:
    """Pairs (i < j) of near-copies among (n, 272) picture hashes; memory grows with `block`, the rows compared at once, x n."""
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(hashes), block):
        near = near_copies(hashes[start : start + block], hashes[start:])
        pairs += [(start + i, start + j) for i, j in np.argwhere(np.triu(near, k=1)).tolist()]
    return pairs


def _spread(values: Sequence[float] | NDArray[Any]) -> list[float]:
    return [float(np.min(values)), float(np.median(values)), float(np.max(values))]


def _histogram(values: NDArray[Any]) -> list[list[float]]:
    counts, edges = np.histogram(values, bins=24)
    return [edges.round(4).tolist(), counts.tolist()]
