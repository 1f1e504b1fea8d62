"""Coverage of the intervals and error rates of the tests on simulated data: `python benchmarks/intervals.py`.

The true accuracies of categories are drawn from the two lists that the study prints, so that they are equally skewed. Images
are nested in categories with the intra-class correlation of the study's images, and an image's accuracy is a share of ten
results. Each replicate has a generator of its own, whose seed derives from its purpose; the numbers depend neither on the
order nor on the number of processes nor on which cells are computed. Writes `book/clipnb_book/data/simulation.csv`.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from tqdm import tqdm

from clipnb._core.random import rng_for
from clipnb.analysis.calibration import STATISTICS
from clipnb.analysis.pair_counts import jackknife, pair_counts
from clipnb.stats.hypothesis import holm, interaction, sign_flip, tost, wilcoxon
from clipnb.stats.intervals import mean_interval
from clipnb_book.published.original import printed_log
from clipnb_book.simulation import ICC, IMAGES, RESAMPLES

SIZES = (6, 10, 28, 51, 100)
RESULTS = 10
THRESHOLDS = ("roc_auc", "tau_fpr_1", "tau_fpr_5", "tau_eer")
OUT = Path(__file__).resolve().parent.parent / "book" / "clipnb_book" / "data" / "simulation.csv"

Vector = NDArray[np.float64]


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

    def categories(self, n: int, rng: np.random.Generator) -> tuple[Vector, NDArray[np.int64]]:
        """Draw n categories: their true accuracies and their numbers of images."""
        return rng.choice(self.centres, n), rng.integers(self.images[0], self.images[1] + 1, n)

    def images_of(self, centres: Vector, sizes: NDArray[np.int64], rng: np.random.Generator) -> Vector:
        """Draw the accuracies of the images, category after category: beta-binomial shares of ten results."""
        spread = centres * (1 - centres)
        typical = float(np.mean(self.centres * (1 - self.centres)))
        overdispersion = np.clip((self.within / typical - 1 / RESULTS) / (1 - 1 / RESULTS), 1e-3, 0.99)
        both = 1 / overdispersion - 1
        certain = spread <= 0
        safe = np.where(certain, 0.5, centres)
        chance = rng.beta(*(np.repeat(side * both, sizes) for side in (safe, 1 - safe)))
        return rng.binomial(RESULTS, np.where(np.repeat(certain, sizes), np.repeat(centres, sizes), chance)) / RESULTS


def by_category(images: Vector, sizes: NDArray[np.int64]) -> Vector:
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


PLAYERS = population("players", printed_log("NBA").total, IMAGES["players"])
SCENES = population("scenes", printed_log("MiniPlaces").total, IMAGES["scenes"])
POPULATIONS = (PLAYERS, SCENES)


def _means(people: Population, n: int, rng: np.random.Generator) -> tuple[Vector, Vector]:
    """Draw n categories: the category means, and the accuracies of all images."""
    centres, sizes = people.categories(n, rng)
    images = people.images_of(centres, sizes, rng)
    return by_category(images, sizes), images


def _changes(people: Population, n: int, rng: np.random.Generator, skewed: bool) -> Vector:
    """Draw the changes d_c under a manipulation whose true mean change is zero.

    Before and after are independent draws of the same categories, so that the signs of the changes are exchangeable. With
    `skewed`, the categories also change by amounts with mean zero and the skewness of the population; then they are not.
    """
    centres, sizes = people.categories(n, rng)
    before, after = (by_category(people.images_of(centres, sizes, rng), sizes) for _ in range(2))
    moved = rng.choice(people.centres, n) - people.mean if skewed else 0.0
    return np.asarray(after - before + moved)


Row = dict[str, float]


def intervals(people: Population, n: int, replicate: int, seed: int) -> Row:
    """Whether each interval of the macro mean contains the true mean, and its width."""
    means, images = _means(people, n, rng_for(seed, "intervals", people.name, n, replicate))
    found: Row = {}
    for method in ("t", "bootstrap-t", "BCa", "percentile"):
        got = mean_interval(means, method=method, seed=replicate, resamples=RESAMPLES)  # type: ignore[arg-type]
        found[method] = people.mean in got if got.bounded else math.nan
        found[f"width, {method}"] = got.high - got.low
    low, high = stats.t.interval(0.95, len(images) - 1, images.mean(), stats.sem(images))
    found["t over images, as if independent"] = low <= people.mean <= high
    return found


def tests(people: Population, n: int, replicate: int, seed: int) -> Row:
    """Whether each test rejects a true null hypothesis at the level of 5 %."""
    rng = rng_for(seed, "tests", people.name, n, replicate)
    found: Row = {}
    for null, skewed in (("exchangeable", False), ("skewed change", True)):
        d = _changes(people, n, rng, skewed)
        found[f"sign flip, {null}"] = sign_flip(d, flips=RESAMPLES, seed=replicate) < 0.05
        found[f"Wilcoxon, {null}"] = wilcoxon(d) < 0.05
        found[f"t interval of the change excludes 0, {null}"] = 0 not in mean_interval(d, method="t")
    margin = 2 * float(people.centres.std())
    found["TOST at a true change of the margin"] = tost(d + margin, margin).p < 0.05
    family = [sign_flip(_changes(people, n, rng, False), flips=RESAMPLES, seed=replicate + i) for i in range(6)]
    found["any of six contrasts, sign flip, Holm"] = min(holm(family)) < 0.05
    found["any of six contrasts, sign flip, unadjusted"] = min(family) < 0.05
    return found


def two_sets(people: Population, n: int, replicate: int, seed: int) -> Row:
    """Test the interaction of n categories of this population and n of the other, both with a true change of zero."""
    rng = rng_for(seed, "two sets", people.name, n, replicate)
    other = next(p for p in POPULATIONS if p is not people)
    a, b = _changes(people, n, rng, True), _changes(other, n, rng, True)
    got = interaction(a, b, seed=replicate, permutations=199)
    return {
        "Welch interval of the interaction": 0 in got.difference,
        "interaction, Welch": got.p < 0.05,
        "interaction, permutation": got.p_permutation < 0.05,
    }


def _clusters(groups: int, each: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw unit vectors around centres in few dimensions, so that some categories are as hard to separate as scenes."""
    at = np.repeat(np.arange(groups), each)
    centres = np.pad(rng.normal(size=(groups, 4)), ((0, 0), (0, 12)))
    vectors = centres[at] + 0.6 * rng.normal(size=(len(at), 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), at


@cache
def _true_thresholds(seed: int) -> dict[str, float]:
    """Thresholds of the population of clusters, from 1,500 categories."""
    vectors, at = _clusters(1_500, 4, rng_for(seed, "true thresholds"))
    curve = pair_counts(vectors, at, np.arange(len(at))).curve()
    return {name: STATISTICS[name](curve) for name in THRESHOLDS}


def thresholds(people: Population, n: int, replicate: int, seed: int) -> Row:
    """Whether the interval of each calibrated threshold contains the threshold of the population of clusters."""
    vectors, at = _clusters(n, 8, rng_for(seed, "thresholds", n, replicate))
    counts, true = pair_counts(vectors, at, np.arange(len(at))), _true_thresholds(seed)
    found = jackknife(counts, {name: STATISTICS[name] for name in THRESHOLDS})
    return {f"jackknife of {name}": true[name] in interval for name, interval in found.items()}


QUESTIONS: dict[str, tuple[Callable[[Population, int, int, int], Row], float]] = {
    "intervals": (intervals, 1.0),
    "tests": (tests, 1.0),
    "two sets": (two_sets, 0.25),
    "thresholds": (thresholds, 1.0),
}
"""Name of a question -> function of a replicate, and the question's share of the replicates."""

POOLED = {"two sets": "both", "thresholds": "clusters"}
"""Questions that do not depend on the population -> name in the column `population`."""

COVERS = (
    "t",
    "bootstrap-t",
    "BCa",
    "percentile",
    "t over images, as if independent",
    "Welch interval of the interaction",
    *(f"jackknife of {name}" for name in THRESHOLDS),
)


def cell(task: tuple[str, int, int], replicates: int, seed: int) -> pd.DataFrame:
    """Simulate a question for a population and size: a row for each method; `width` is the median width relative to t."""
    question, which, n = task
    ask, share = QUESTIONS[question]
    people = POPULATIONS[which]
    table = pd.DataFrame([ask(people, n, r, seed) for r in range(max(1, int(replicates * share)))], dtype=float)
    name = POOLED.get(question, people.name)
    widths = {method: table.pop(method).median() for method in list(table) if method.startswith("width, ")}
    rates, counts = table.mean(), table.notna().sum()
    if widths:
        reference = widths["width, t"]
        widths = {name.removeprefix("width, "): width / reference for name, width in widths.items()}
    return pd.DataFrame(
        {
            "what": ["coverage" if method in COVERS else "type-I error" for method in table],
            "method": list(table),
            "population": name,
            "categories": n,
            "rate": rates.to_numpy().round(4),
            "error": np.sqrt(rates * (1 - rates) / counts).to_numpy().round(4),
            "replicates": counts.to_numpy(),
            "width": [round(widths.get(method, math.nan), 3) for method in table],
        }
    )


def simulate(
    replicates: int = 1_000,
    seed: int = 2022,
    processes: int = 0,
    sizes: Sequence[int] = SIZES,
    questions: Sequence[str] = tuple(QUESTIONS),
) -> pd.DataFrame:
    """Simulate all cells and return them as one sorted table."""
    asked = [(q, which) for q in questions for which in (0, 1) if not (which and q in POOLED)]
    tasks = [(q, which, n) for n in sorted(sizes, reverse=True) for q, which in asked]
    with ProcessPoolExecutor(processes or os.cpu_count()) as pool:
        work = pool.map(partial(cell, replicates=replicates, seed=seed), tasks)
        cells = list(tqdm(work, total=len(tasks), desc="simulating", unit="cell"))
    return pd.concat(cells).sort_values(["what", "method", "population", "categories"], ignore_index=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--replicates", type=int, default=1_000)
    options.add_argument("--seed", type=int, default=2022)
    options.add_argument(
        "--processes", type=int, default=0, help="number of processes, 0 for the number of cores; the numbers do not depend on it"
    )
    options.add_argument("--out", type=Path, default=OUT)
    given = options.parse_args()
    table = simulate(given.replicates, given.seed, given.processes)
    table.to_csv(given.out, index=False)
    print(table.pivot_table(index=["what", "method", "population"], columns="categories", values="rate").to_string())


if __name__ == "__main__":
    main()
