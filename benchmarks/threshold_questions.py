"""Questions of the simulation in `intervals.py` on calibrated thresholds: does the interval contain the true one?"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from populations import clusters

from clipnb._core.random import rng_for
from clipnb.analysis.calibration import STATISTICS
from clipnb.analysis.pair_counts import jackknife, pair_counts
from clipnb.analysis.result_threshold import result_threshold
from clipnb.stats.intervals import Interval
from clipnb_book.simulation import GALLERIES

THRESHOLDS = ("roc_auc", "tau_fpr_1", "tau_fpr_5", "tau_eer")


@cache
def _true_thresholds(unequal: float, seed: int) -> dict[str, float]:
    """Thresholds of the population of clusters, from 1,500 categories."""
    vectors, at = clusters(1_500, 4, rng_for(seed, "true thresholds", unequal), unequal)
    curve = pair_counts(vectors, at, np.arange(len(at))).curve()
    return {name: STATISTICS[name](curve) for name in THRESHOLDS}


def thresholds(unequal: float, n: int, replicate: int, seed: int) -> dict[str, float]:
    """Whether the interval of each calibrated threshold contains the threshold of the population of clusters."""
    vectors, at = clusters(n, 4 if unequal else 8, rng_for(seed, "thresholds", unequal, n, replicate), unequal)
    counts, true = pair_counts(vectors, at, np.arange(len(at))), _true_thresholds(unequal, seed)
    found: dict[str, float] = {}
    for name, interval in jackknife(counts, {name: STATISTICS[name] for name in THRESHOLDS}).items():
        found[f"jackknife of {name}"] = float(true[name] in interval)
        found[f"none, jackknife of {name}"] = float(not interval.bounded)
    return found


def _threshold_of_results(unequal: float, n: int, replicate: int, seed: int) -> Interval:
    vectors, at = clusters(n, 4 if unequal else 8, rng_for(seed, "results", unequal, n, replicate), unequal)
    return result_threshold(vectors, at, np.arange(len(at)), k=10).tau


@cache
def _mean_threshold_of_results(unequal: float, n: int, seed: int) -> float:
    """The mean over `GALLERIES` galleries of n categories."""
    return float(np.nanmean([_threshold_of_results(unequal, n, -1 - gallery, seed).point for gallery in range(GALLERIES)]))


def results(unequal: float, n: int, replicate: int, seed: int) -> dict[str, float]:
    """Whether the interval of the threshold for results, if there is one, contains the mean over galleries."""
    found, method = _threshold_of_results(unequal, n, replicate, seed), "jackknife of tau_results"
    covered = float(_mean_threshold_of_results(unequal, n, seed) in found) if found.bounded else math.nan
    return {method: covered, f"none, {method}": float(not found.bounded)}
