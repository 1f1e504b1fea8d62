"""Choose photographs of a data set: seeded, stable sampling, and batches of categories.

Categories and photographs are ranked by a hash of the seed and their own name. A larger sample therefore contains every
smaller one, and the ranking does not depend on other settings, on other photographs or on their order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .._core.random import drawn
from ..errors import DatasetError
from .dataset import Dataset, Photo


def sample(dataset: Dataset, categories: int = 0, per_category: int = 0, seed: int = 0) -> Dataset:
    """Draw categories and photographs of each (0: all), and keep their order; a category with fewer photographs keeps them all.

    `DatasetError` if the data set has fewer categories than requested.

    >>> from clipnb import load_dataset
    >>> len(sample(load_dataset("sample-figures"), categories=2, per_category=4).photos)
    8
    """
    names = dataset.categories
    if categories > len(names):
        raise DatasetError(f"{dataset.name} has {len(names)} categories with photographs, fewer than -p categories {categories}")
    chosen = drawn(names, categories or len(names), seed, "categories")
    photos = [photo for photo in dataset.photos if photo.category in chosen]
    if per_category:
        groups = {name: [photo for photo in photos if photo.category == name] for name in chosen}
        ids = {name: drawn([p.id for p in group], per_category, seed, "photographs") for name, group in groups.items()}
        photos = [photo for photo in photos if photo.id in ids[photo.category]]
    return replace(dataset, photos=tuple(photos), empty=dataset.empty if not categories else ())


def batch(photos: Iterable[Photo], start: int = 0, step: int = 0) -> list[Photo]:
    """Photographs of `step` categories (0: all that follow) from number `start` on; categories are numbered from 0, by name.

    `DatasetError` if there is no category with number `start`.
    """
    everything = list(photos)
    names = sorted({photo.category for photo in everything})
    if start >= len(names) > 0:
        raise DatasetError(f"there are {len(names)} categories, numbered from 0: -p start {start} is past the last")
    mine = set(names[start : start + step if step else None])
    return [photo for photo in everything if photo.category in mine]
