"""The populations of the simulation in `intervals.py`: categories whose mean accuracy, or mean change, is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from clipnb_book.measured import findings
from clipnb_book.published.original import printed_log
from clipnb_book.simulation import ICC, IMAGES

RESULTS = 10

Vector = NDArray[np.float64]
Embeddings = NDArray[np.float32]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Population:
    """A population of categories.

    Attributes:
        name: name in the table.
        centres: true accuracies of categories, which are equally likely.
        images: smallest and largest number of images in a category.
        within: variance of image accuracies in a category.
    """

    name: str
    centres: Vector
    images: tuple[int, int]
    within: float

    @property
    def mean(self) -> float:
        return float(self.centres.mean())

    def categories(self, n: int, rng: np.random.Generator) -> tuple[Vector, Codes]:
        """Draw n categories: their true accuracies and their numbers of images."""
        return rng.choice(self.centres, n), rng.integers(self.images[0], self.images[1] + 1, n)

    def images_of(self, centres: Vector, sizes: Codes, rng: np.random.Generator) -> Vector:
        """Draw the accuracies of the images, category after category: beta-binomial shares of ten results."""
        spread = centres * (1 - centres)
        typical = float(np.mean(self.centres * (1 - self.centres)))
        overdispersion = np.clip((self.within / typical - 1 / RESULTS) / (1 - 1 / RESULTS), 1e-3, 0.99)
        both = 1 / overdispersion - 1
        certain = spread <= 0
        safe = np.where(certain, 0.5, centres)
        chance = rng.beta(*(np.repeat(side * both, sizes) for side in (safe, 1 - safe)))
        return rng.binomial(RESULTS, np.where(np.repeat(certain, sizes), np.repeat(centres, sizes), chance)) / RESULTS


def by_category(images: Vector, sizes: Codes) -> Vector:
    """Means of consecutive groups of the given sizes."""
    return np.add.reduceat(images, np.cumsum(sizes) - sizes) / sizes


def population(name: str, printed: list[float], images: tuple[int, int]) -> Population:
    """Make a population whose observed category means have the variance of the printed list.

    The variance of a list is the variance between categories plus the noise of few images; ICC determines their ratio.
    """
    values = np.asarray(printed)
    inverse = float(np.mean(1 / np.arange(images[0], images[1] + 1)))
    between = values.var() / (1 + (1 - ICC) / ICC * inverse)
    centres = values.mean() + (values - values.mean()) * math.sqrt(between / values.var())
    return Population(name, centres, images, between * (1 - ICC) / ICC)


def _theory(name: str, centres: Vector, images: tuple[int, int] = IMAGES["scenes"]) -> Population:
    return Population(name, centres, images, float(centres.var()) * (1 - ICC) / ICC)


def _measured(manip: str, encoder: str) -> list[float]:
    return list(findings.categories(findings.SCENES, encoder, manip).values())


_AT = (np.arange(2_000) + 0.5) / 2_000
PLAYERS = population("players", printed_log("NBA").total, IMAGES["players"])
SCENES = population("scenes", printed_log("MiniPlaces").total, IMAGES["scenes"])
POPULATIONS = (
    PLAYERS,
    SCENES,
    population("blurred scenes", _measured("blurred", "efficientnet-lite2"), (20, 100)),
    population("scenes by histogram", _measured("original", "histogram"), (20, 100)),
    _theory("ceiling", stats.beta.ppf(_AT, 6, 0.2), (1, 60)),
    _theory("60% zeros", np.where(_AT < 0.6, 0.0, stats.beta.ppf(np.clip((_AT - 0.6) / 0.4, 0, 1), 2, 2))),
    _theory("middle", stats.beta.ppf(_AT, 4, 4)),
    _theory("two kinds", np.where(_AT < 0.5, 0.1, 0.9)),
    _theory("rare collapse", np.where(_AT < 0.05, 0.1, 0.95)),
)
CEILING = POPULATIONS[4]


def means_of(people: Population, n: int, rng: np.random.Generator) -> tuple[Vector, Vector]:
    """Draw n categories: the category means, and the accuracies of all images."""
    centres, sizes = people.categories(n, rng)
    images = people.images_of(centres, sizes, rng)
    return by_category(images, sizes), images


def redrawn(people: Population, n: int, rng: np.random.Generator, skewed: bool = False) -> Vector:
    """Draw changes with mean zero: before and after are independent draws of the same categories.

    With `skewed`, the categories also move by amounts with mean zero and the skewness of the population.
    """
    centres, sizes = people.categories(n, rng)
    before, after = (by_category(people.images_of(centres, sizes, rng), sizes) for _ in range(2))
    return np.asarray(after - before + (rng.choice(people.centres, n) - people.mean if skewed else 0.0))


def _listed(manip: str, encoder: str) -> Callable[[int, np.random.Generator], Vector]:
    values = np.array(findings.changes(findings.SCENES, encoder, manip))
    return lambda n, rng: rng.choice(values - values.mean(), n)


CHANGES: dict[str, Callable[[int, np.random.Generator], Vector]] = {
    "players, drawn again": partial(redrawn, PLAYERS),
    "scenes, drawn again": partial(redrawn, SCENES),
    "ceiling, drawn again": partial(redrawn, CEILING),
    "skewed change of scenes": partial(redrawn, SCENES, skewed=True),
    "blurred scenes, measured": _listed("blurred", "efficientnet-lite2"),
    "grey scenes by histogram, measured": _listed("grey", "histogram"),
    "normal": lambda n, rng: rng.normal(0, 0.1, n),
    "exponential": lambda n, rng: 0.1 - rng.exponential(0.1, n),
    "15% of categories change": lambda n, rng: 0.045 - np.where(rng.random(n) < 0.15, rng.uniform(0.1, 0.5, n), 0.0),
    "5% of categories collapse": lambda n, rng: 0.04 - np.where(rng.random(n) < 0.05, 0.8, rng.normal(0, 0.02, n)),
}
"""Name -> draw of n changes whose true mean is zero."""

PAIRS = (
    ("players, drawn again", "skewed change of scenes"),
    ("blurred scenes, measured", "grey scenes by histogram, measured"),
    ("normal", "exponential"),
    ("exponential", "exponential"),
    ("5% of categories collapse", "5% of categories collapse"),
    ("ceiling, drawn again", "scenes, drawn again"),
    ("15% of categories change", "15% of categories change"),
    ("normal", "5% of categories collapse"),
)
"""Changes of two data sets."""

EDITS = {"noise": 0.0, "one direction": 1.2}
"""Name -> how far the edit moves all embeddings in one direction, besides noise."""


def clusters(groups: int, each: int, rng: np.random.Generator, unequal: float = 0.0) -> tuple[Embeddings, Codes]:
    """Draw unit vectors around centres in few dimensions, so that some categories are as hard to separate as scenes.

    A category has `each` vectors, or at least two of a log-normal distribution with this median and sigma `unequal`.
    """
    sizes = np.maximum(2, np.rint(each * np.exp(unequal * rng.normal(size=groups)))).astype(np.int64)
    at = np.repeat(np.arange(groups), sizes)
    centres = np.pad(rng.normal(size=(groups, 4)), ((0, 0), (0, 12)))
    return _unit(centres[at] + 0.6 * rng.normal(size=(len(at), 16))), at


def searched(edit: str, groups: int, rng: np.random.Generator) -> tuple[Vector, Vector]:
    """Compute the mean P@5 of each category, clean and edited. All queries search the gallery of clean images."""
    vectors, at = clusters(groups, 8, rng)
    edited = vectors + 0.25 * rng.normal(size=vectors.shape)
    edited[:, :1] += EDITS[edit]
    means = []
    for queries in (vectors, _unit(edited)):
        cosine = queries @ vectors.T
        np.fill_diagonal(cosine, -np.inf)
        results = np.argpartition(-cosine, 5, axis=1)[:, :5]
        means.append((at[results] == at[:, None]).mean(axis=1).reshape(groups, 8).mean(axis=1))
    return means[0], means[1]


def _unit(vectors: Vector) -> Embeddings:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
