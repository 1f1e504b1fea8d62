"""Simulated coverage of 95% intervals, which is given beside an interval if it is low."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import pandas as pd

DATA = Path(__file__).parent / "data"

LOW = 0.93  # lowest simulated coverage that counts as the nominal 95%
INVERTED = "inverted t"  # the interval of a breaking point

SIMULATED = {
    "Gaffke": ("mean", "Gaffke"),
    "t": ("mean", "t"),
    "sign flip": ("change", "sign flip"),
    "percentile": ("change", "percentile"),
    "Welch": ("difference", "Welch interval, against (as many|100)"),
    "jackknife": ("threshold", "jackknife of .*"),
    "jackknife of results": ("results", "jackknife of .*"),
    INVERTED: ("breaking point", INVERTED),
}
"""Method of an interval -> its question and, as a regular expression, its name in the simulation."""


@cache
def simulation() -> pd.DataFrame:
    """The rows of `benchmarks/intervals.py`: one per seed, question, method, population and number of categories.

    `rate` is the coverage or the share of false rejections, `none` the share of data sets without an interval, `error` the
    Monte Carlo error of the rate, `width` the median width over that of Student's t.
    """
    return pd.read_csv(DATA / "simulation.csv")


@cache
def breaking_points() -> pd.DataFrame:
    """The rows of `benchmarks/breaking_points.py`."""
    return pd.read_csv(DATA / "breaking_points.csv")


@cache
def _lowest() -> dict[tuple[str, int], float]:
    """(method, simulated number of categories) -> lowest coverage over populations, each the mean of both seeds."""
    both = pd.concat([simulation(), breaking_points().assign(question="breaking point")])
    found: dict[tuple[str, int], float] = {}
    for name, (question, pattern) in SIMULATED.items():
        part = both[(both["question"] == question) & both["method"].str.fullmatch(pattern)]
        means = part.groupby(["categories", "method", "population"])["rate"].mean()
        found |= {(name, int(g)): float(means[g].min()) for g in part["categories"].unique()}
    return found


def lowest(method: str, categories: int) -> float:
    """Lowest coverage over the simulated populations, at the largest simulated number of categories that is not above this one.

    NaN for an interval that was not simulated.

    >>> lowest("Gaffke", 100) > LOW > lowest("sign flip", 9), lowest("given", 9)
    (True, nan)
    """
    sizes = [g for name, g in _lowest() if name == method and g <= categories]
    return _lowest()[method, max(sizes)] if sizes else math.nan


COVERS = "covers ≥: the lowest share of such intervals that held the true value in simulations"
"""Line below a table or a text with notes."""


def note(method: str, categories: int, level: float = 0.95) -> str:
    """Text after the bounds of an interval: its lowest simulated coverage, if that is below `LOW`; else "".

    >>> note("Gaffke", 100), note("sign flip", 6)[:9]
    ('', '; covers ')
    """
    rate = lowest(method, categories)
    return f"; covers ≥\u00a0{math.floor(100 * rate + 1e-9)}%" if level == 0.95 and rate < LOW else ""
