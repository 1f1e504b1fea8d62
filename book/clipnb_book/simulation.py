"""Tables and sentences on the committed results of `benchmarks/intervals.py` (Markdown)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any

import pandas as pd

from clipnb.report.format import NB, table
from clipnb.stats.sign_flips import FLIPS

NOMINAL, LOW = 0.95, 0.93
"""Nominal coverage, and the least that counts as such in a simulation; errors of a test up to 1 - LOW count as 5%."""

ICC = 0.10
"""Intra-class correlation of the simulated images; the study has 0.07 to 0.14."""

IMAGES = {"players": (20, 100), "scenes": (5, 13)}
"""Fewest and most images of a simulated category."""

RESAMPLES = 999
"""Resamples, flips or random weights behind an interval or a test in the simulation."""

CHOSEN = {"mean": "Gaffke", "change": "sign flip", "difference": "Welch interval, against 100"}
"""Question -> the interval that clipnb gives."""


@cache
def simulation() -> pd.DataFrame:
    """A row a question, method, population and number of categories.

    `rate` is the coverage or the share of false rejections, `none` the share of data sets without an interval, `error` the
    Monte Carlo error of the rate, `width` the median width over that of Student's t.
    """
    text = resources.files(__package__) / "data" / "simulation.csv"
    with text.open(encoding="utf-8") as file:
        return pd.read_csv(file)


def worst_table(question: str) -> str:
    """A row for each interval: its lowest coverage over the populations and, in brackets, its mean width over that of t."""
    part = simulation()[(simulation()["question"] == question) & (simulation()["what"] == "coverage")]
    return _table(part.groupby(["method"]), part["categories"].unique(), lambda cell: (cell["rate"].min(), cell["width"].mean()))


def breaking_table() -> str:
    """Coverage of the intervals of breaking points: the lowest and the highest over populations, by number of categories."""
    with (resources.files(__package__) / "data" / "breaking_points.csv").open(encoding="utf-8") as file:
        rates = pd.read_csv(file)
    spans = rates[rates["method"] != "open ends"].groupby(["method", "categories"])["rate"].agg(["min", "max"])
    sizes = sorted(rates["categories"].unique())
    names = {"inverted t": "inverted t (ours)", "bootstrap": "percentile bootstrap"}
    rows = [
        [said, *(f"{spans.loc[(m, g), 'min']:.0%} to {spans.loc[(m, g), 'max']:.0%}" for g in sizes)] for m, said in names.items()
    ]
    return table(["interval", *(f"G{NB}={NB}{g}" for g in sizes)], rows, "l" + "r" * len(sizes))


def coverage_table(question: str) -> str:
    """Coverage of the chosen interval: a row for each population, a column for each number of categories; bold below 93%."""
    part = simulation()[(simulation()["question"] == question) & (simulation()["method"] == CHOSEN[question])]
    return _table(part.groupby(["population"]), part["categories"].unique(), lambda cell: (cell["rate"].min(), math.nan))


def error_table() -> str:
    """Share of true nulls that the tests reject at 5%: the highest over the populations; bold above 7%."""
    part = simulation()[simulation()["what"] == "type-I error"]
    return _table(
        part.groupby(["method"]), part["categories"].unique(), lambda cell: (1 - cell["rate"].max(), math.nan), errors=True
    )


def _table(groups: Any, sizes: Any, worst: Callable[[pd.DataFrame], tuple[float, float]], errors: bool = False) -> str:
    rows = []
    for (name,), part in groups:
        cells = []
        for g in sorted(sizes):
            cell = part[part["categories"] == g]
            rate, width = worst(cell)
            shown = f"{1 - rate if errors else rate:.1%}"
            wide = "" if math.isnan(width) else f" ({width:.2f})"
            none = cell["none"].min() == 1 or cell.empty
            cells.append("none" if none else f"**{shown}**{wide}" if rate < LOW else f"{shown}{wide}")
        rows.append([str(name), *cells])
    return table(["", *(f"G{NB}={NB}{g}" for g in sorted(sizes))], rows, "l" + "r" * len(sizes))


def reading() -> str:
    """What the chosen intervals cover, from the committed numbers."""
    found, lines = simulation(), []
    for question, method in CHOSEN.items():
        part = found[(found["question"] == question) & (found["method"] == method) & (found["none"] < 1)]
        low, rest = part[part["rate"] < LOW], part[part["rate"] >= LOW]
        named = "; ".join(
            f"{name} {rows['rate'].min():.0%} to {rows['rate'].max():.0%} (G = {', '.join(map(str, rows['categories']))})"
            for name, rows in low.groupby("population")
        )
        short = f" It covers less in {len(low)} cells: {named}." if len(low) else ""
        lines.append(
            f"- *{method}* ({question}) covers {rest['rate'].min():.1%} to {rest['rate'].max():.1%} "
            f"in {len(rest)} of {len(part)} cells.{short}"
        )
    return "\n".join(lines)


def replicates() -> str:
    """The number of simulated data sets behind a cell, and the largest Monte Carlo error of a rate of 95%."""
    fewest = simulation()["replicates"].min()
    error = 2 * math.sqrt(NOMINAL * (1 - NOMINAL) / fewest)
    return f"{fewest:,} to {simulation()['replicates'].max():,} (a rate of 95% is then known to within {error:.1%})"


def values() -> dict[str, Any]:
    """The values for the page."""
    return {
        "level": f"{NOMINAL:.0%}",
        "low": f"{LOW:.0%}",
        "alpha": f"{1 - NOMINAL:.0%}",
        "tolerated": f"{1 - LOW:.0%}",
        "icc": f"{ICC:.2f}",
        **{name: f"{fewest} to {most}" for name, (fewest, most) in IMAGES.items()},
        "resamples": f"{RESAMPLES:,}",
        "usual_resamples": f"{FLIPS:,}",
        "replicates": replicates(),
        "reading": reading(),
        "worst": {question: worst_table(question) for question in ("mean", "change", "difference", "threshold")},
        "coverage": {question: coverage_table(question) for question in CHOSEN},
        "errors": error_table(),
    }
