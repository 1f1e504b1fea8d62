"""Which photographs of a data set take part: the study's sampling, seeded and stable, and batches of categories.

A category or photograph is drawn by its rank under a hash of the seed and its own name. So asking for more keeps those
that were drawn before, and neither other settings, nor other photographs, nor their order change who comes first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .._core.random import drawn
from ..errors import DatasetError
from .dataset import Dataset, Photo


def sample(dataset: Dataset, categories: int = 0, per_category: int = 0, seed: int = 0) -> Dataset:
    """A data set of fewer categories and photographs, in the same order.

    Args:
        dataset: the whole.
        categories: how many to draw, 0 for all.
        per_category: photographs to draw of each, 0 for all; one that has fewer keeps them all.
        seed: decides both draws.

    Raises:
        DatasetError: it has fewer categories than asked for.
    """
    names = dataset.categories
    if categories > len(names):
        raise DatasetError(f"{dataset.name} has {len(names)} categories with photographs, fewer than -p categories {categories}")
    if not categories and not per_category:
        return dataset
    chosen = drawn(names, categories or len(names), seed, "categories")
    photos = [photo for photo in dataset.photos if photo.category in chosen]
    if per_category:
        groups = {name: [photo for photo in photos if photo.category == name] for name in chosen}
        ids = {name: drawn([p.id for p in group], per_category, seed, "photographs") for name, group in groups.items()}
        photos = [photo for photo in photos if photo.id in ids[photo.category]]
    return replace(dataset, photos=tuple(photos), empty=dataset.empty if not categories else ())


def batch(photos: Iterable[Photo], start: int = 0, step: int = 0) -> list[Photo]:
    """The photographs of `step` categories from number `start` (by name, from 0) on; step 0 for all that follow.

    Raises:
        DatasetError: there is no category of that number.
    """
    everything = list(photos)
    names = sorted({photo.category for photo in everything})
    if start >= len(names) > 0:
        raise DatasetError(f"there are {len(names)} categories, numbered from 0: -p start {start} is past the last")
    mine = set(names[start : start + step if step else None])
    return [photo for photo in everything if photo.category in mine]
