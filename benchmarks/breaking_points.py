"""Coverage of the interval of breaking points on simulated categories: `python benchmarks/breaking_points.py`.

A category has a strength at which half of its queries are lost; the strengths of categories follow a population. A query
is found or lost at random, by a logistic curve around the strength of its category. The true breaking point is computed
from the mean curve over a large number of categories, at the measured strengths and linear between them. Each replicate has a
seed of its own, so that the numbers depend neither on the order nor on the number of processes. Two seeds are simulated;
the second confirms the first. Writes `clipnb/report/data/breaking_points.csv`.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from clipnb._core.random import rng_for
from clipnb.stats.breaking_point import breaking_point

SIZES = (5, 6, 10, 28, 100)
STRENGTHS = np.array([1.0, 2.0, 3.0, 4.0, 6.0])
IMAGES = (5, 40)
"""Fewest and most images of a category."""

WIDTH = 0.7
"""Scale of the logistic curve of a category, in the unit of the strengths."""

RESAMPLES = 999
OUT = Path(__file__).resolve().parent.parent / "clipnb" / "report" / "data" / "breaking_points.csv"

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], tuple[Floats, Floats]]
"""(generator, n) -> for n categories, the strength at which half is lost, and the share found when clean."""

POPULATIONS: dict[str, Draw] = {
    "alike": lambda rng, n: (rng.normal(3.0, 0.5, n), np.ones(n)),
    "spread": lambda rng, n: (rng.normal(3.0, 1.5, n), np.ones(n)),
    "skewed": lambda rng, n: (1.2 + rng.exponential(1.8, n), np.ones(n)),
    "two kinds": lambda rng, n: (np.where(rng.random(n) < 0.3, 1.0, 4.0), np.ones(n)),
    "clean varies": lambda rng, n: (rng.normal(3.0, 1.0, n), rng.beta(2.0, 2.0, n)),
    "clean mostly low": lambda rng, n: (rng.normal(3.0, 1.0, n), rng.beta(0.5, 1.5, n)),
    "near the end": lambda rng, n: (rng.normal(5.8, 1.5, n), np.ones(n)),
    "beyond the end": lambda rng, n: (rng.normal(7.0, 1.5, n), np.ones(n)),
    "before the start": lambda rng, n: (rng.normal(0.5, 0.5, n), np.ones(n)),
}


def curves(middles: Floats, whole: Floats) -> tuple[Floats, Floats]:
    """(n,) and (S, n): the chance that a query of each category is found, clean and at each strength."""
    return whole, whole / (1 + np.exp((STRENGTHS[:, None] - middles) / WIDTH))


def truth(population: str) -> float:
    """The breaking point of the mean curve."""
    clean, edited = curves(*POPULATIONS[population](rng_for(0, "truth", population), 400_000))
    return breaking_point([clean.mean()], edited.mean(axis=1)[:, None], STRENGTHS).strength


def drawn(population: str, n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Category means of one data set: images are shared by all strengths and found independently at each."""
    clean, edited = curves(*POPULATIONS[population](rng, n))
    images = rng.integers(IMAGES[0], IMAGES[1] + 1, n)
    return rng.binomial(images, clean) / images, rng.binomial(images, edited) / images


def bootstrap(clean: Floats, edited: Floats, rng: np.random.Generator) -> tuple[float, float]:
    """Percentile interval over resampled categories; breaking points outside the measured strengths are infinite."""
    n = len(clean)
    chosen = rng.integers(0, n, (RESAMPLES, n))
    after, target = edited[:, chosen].mean(axis=2), 0.5 * clean[chosen].mean(axis=1)
    excess = np.minimum.accumulate(after - target, axis=0)
    points = np.full(RESAMPLES, math.inf)
    for j in reversed(range(1, len(STRENGTHS))):
        here = (excess[j] <= 0) & (excess[j - 1] > 0)
        share = excess[j - 1][here] / (excess[j - 1][here] - excess[j][here])
        points[here] = STRENGTHS[j - 1] + share * (STRENGTHS[j] - STRENGTHS[j - 1])
    points[excess[0] <= 0] = -math.inf
    ordered = np.sort(points)
    return float(ordered[int(0.025 * RESAMPLES)]), float(ordered[int(0.975 * RESAMPLES)])


def replicate(population: str, n: int, number: int, seed: int, true: float) -> dict[str, float]:
    """Whether each interval holds the true breaking point. A data set without an interval counts as not covered."""
    rng = rng_for(seed, "breaking", population, n, number)
    clean, edited = drawn(population, n, rng)
    found = breaking_point(clean, edited, STRENGTHS)
    low, high = bootstrap(clean, edited, rng)
    ends = (found.low == -math.inf) + (found.high == math.inf)
    return {"inverted t": found.low <= true <= found.high, "bootstrap": low <= true <= high, "open ends": ends / 2}


def cell(population: str, n: int, replicates: int, seed: int) -> list[dict[str, object]]:
    """The rates of one population and number of categories."""
    true = truth(population)
    rows = pd.DataFrame([replicate(population, n, number, seed, true) for number in range(replicates)])
    return [
        {
            "seed": seed,
            "population": population,
            "true": true,
            "categories": n,
            "method": name,
            "rate": rows[name].mean(),
            "error": float(np.sqrt(rows[name].mean() * (1 - rows[name].mean()) / replicates)),
            "replicates": replicates,
        }
        for name in rows
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--replicates", type=int, default=2000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    cells = [(population, n, seed) for seed in options.seeds for population in POPULATIONS for n in SIZES]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        work = [pool.submit(partial(cell, p, n, options.replicates, seed)) for p, n, seed in cells]
        rows = [row for future in tqdm(work) for row in future.result()]
    pd.DataFrame(rows).round({"true": 4, "rate": 4, "error": 4}).to_csv(options.out, index=False, lineterminator="\n")


if __name__ == "__main__":
    main()
