"""Tables and sentences on the committed results of `benchmarks/intervals.py` (Markdown)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from clipnb.report import coverage
from clipnb.report.coverage import LOW
from clipnb.report.format import NB, table
from clipnb.stats.intervals import TICK
from clipnb.stats.sign_flips import FLIPS

NOMINAL = 0.95
"""Nominal coverage. Errors of a test up to 1 - LOW count as 5%."""

ICC = 0.10
"""Intra-class correlation of the simulated images; the study has 0.07 to 0.14."""

IMAGES = {"players": (20, 100), "scenes": (5, 13)}
"""Fewest and most images of a simulated category."""

RESAMPLES = 999
"""Resamples, flips or random weights behind an interval or a test in the simulation."""

GALLERIES = 500
"""Galleries behind the true mean change where all categories share one."""

CHOSEN = {"mean": "Gaffke", "change": "sign flip", "difference": "Welch interval, against 100"}
"""Question -> the interval that clipnb gives."""


@cache
def simulation() -> pd.DataFrame:
    """The rows of the first seed."""
    table = coverage.simulation()
    first: pd.DataFrame = table[table["seed"] == table["seed"].min()].drop(columns="seed")
    return first


def worst_table(question: str, *, by: Sequence[str] = ("method",)) -> str:
    """A row for each interval: its lowest coverage over the populations and, in brackets, its median width over that of t."""
    part = simulation()[(simulation()["question"] == question) & (simulation()["what"] == "coverage")]
    return _table(part, by, widths=True)


def breaking_table() -> str:
    """Coverage of the intervals of breaking points: the lowest and the highest over populations, by number of categories."""
    rates = coverage.breaking_points()
    spans = rates[rates["method"] != "open ends"].groupby(["method", "categories"])["rate"].agg(["min", "max"]).T
    sizes = sorted(rates["categories"].unique())
    names = {"inverted t": "t test (used here)", "bootstrap": "percentile bootstrap"}

    def cell(method: str, size: int) -> str:
        least, most = spans[method, size]
        return f"{least:.0%} to {most:.0%}" if most else "no interval"

    rows = [[said, *(cell(method, size) for size in sizes)] for method, said in names.items()]
    return table(["interval", *(f"{g} categories" for g in sizes)], rows, "l" + "r" * len(sizes))


def coverage_table(question: str) -> str:
    """Coverage of the chosen interval: a row for each population, a column for each number of categories; bold below 93%."""
    part = simulation()[(simulation()["question"] == question) & (simulation()["method"] == CHOSEN[question])]
    return _table(part, ["population"])


def error_table() -> str:
    """Share of true nulls that the tests reject at 5%: the highest over the populations; bold above 7%."""
    part = simulation()[simulation()["what"] == "type-I error"]
    return _table(part, ["method"], errors=True)


def _table(part: pd.DataFrame, by: Sequence[str], *, widths: bool = False, errors: bool = False) -> str:
    """The worst rate of each group and number of categories: the lowest coverage, or the highest share of false rejections."""
    sizes, rows = sorted(part["categories"].unique()), []
    for names, group in part.groupby(list(by)):
        cells = []
        for g in sizes:
            cell = group[group["categories"] == g]
            rate = 1 - cell["rate"].max() if errors else cell["rate"].min()
            shown = f"{1 - rate if errors else rate:.1%}"
            wide = f" ({cell['width'].median():.2f})" if widths and cell["width"].notna().any() else ""
            none = cell["none"].min() == 1 or cell.empty
            cells.append("none" if none else f"**{shown}**{wide}" if rate < LOW else f"{shown}{wide}")
        rows.append([", ".join(map(str, names)), *cells])
    return table(["", *(f"G{NB}={NB}{g}" for g in sizes)], rows, "l" + "r" * len(sizes))


def reading() -> str:
    """The coverage of the chosen intervals, in words."""
    found, lines = simulation(), []
    for question, method in CHOSEN.items():
        part = found[(found["question"] == question) & (found["method"] == method) & (found["none"] < 1)]
        low, rest = part[part["rate"] < LOW], part[part["rate"] >= LOW]
        named = "; ".join(
            f"{name} {' to '.join(dict.fromkeys(f'{r:.0%}' for r in (rows['rate'].min(), rows['rate'].max())))} "
            f"(G = {', '.join(map(str, rows['categories']))})"
            for name, rows in low.groupby("population")
        )
        short = f" It covers less in {len(low)} cells: {named}." if len(low) else ""
        lines.append(
            f"- *{method}* ({question}) covers {rest['rate'].min():.1%} to {rest['rate'].max():.1%} "
            f"in {len(rest)} of {len(part)} cells.{short}"
        )
    return "\n".join(lines)


def replicates() -> str:
    """The number of simulated data sets behind a cell, and the Monte Carlo error of a rate of 95%."""
    said = []
    for number, part in simulation().groupby("replicates", sort=False):
        error = 2 * math.sqrt(NOMINAL * (1 - NOMINAL) / part["replicates"].iloc[0])
        said.append(f"{number} ({', '.join(part['question'].unique())}; a rate of {NOMINAL:.0%} is known to within {error:.1%})")
    return " or ".join(said)


def agreement() -> str:
    """How far the rates of the second seed are from those of the first."""
    by = ["question", "method", "population", "categories"]
    first, second = (part.set_index(by)[["rate", "error"]] for _, part in coverage.simulation().groupby("seed"))
    gap = (first["rate"] - second["rate"]).abs()
    _, method, population, categories = gap.index.to_list()[int(np.argmax(gap.to_numpy()))]
    beyond = (gap > 2 * np.hypot(first["error"], second["error"]) + TICK).mean()
    return (
        f"Everything was simulated again with a second seed. Of {len(gap):,} rates, the largest difference is "
        f"{100 * gap.max():.1f} points (*{method}*, {population}, G{NB}={NB}{categories}); the mean difference is "
        f"{100 * gap.mean():.1f} points, and {beyond:.1%} of the differences are above twice their Monte Carlo error."
    )


def sharing() -> str:
    """The coverage of the interval of a change if all categories share one gallery, in words."""
    part = simulation()[(simulation()["question"] == "shared gallery") & (simulation()["method"] == CHOSEN["change"])]
    rates = part.loc[part["none"] < 1, "rate"]
    return f"The interval of a change covers {rates.min():.1%} to {rates.max():.1%}"


def models(question: str) -> str:
    """Coverage of the intervals of the models of statsmodels, and of Student's t on the same data sets, in words."""
    part = simulation()[simulation()["question"] == question]
    said = [
        f"*{method}* covers {rows['rate'].min():.1%} to {rows['rate'].max():.1%}, at least {LOW:.0%} in "
        f"{(rows['rate'] >= LOW).sum()} of {len(rows)} cells"
        for method, rows in part.groupby("method")
    ]
    return "; ".join(said) + "."


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
        "galleries": GALLERIES,
        "agreement": agreement(),
        "sharing": sharing(),
        "populations": simulation().groupby("question")["population"].nunique().to_dict(),
        "worst": {question: worst_table(question) for question in CHOSEN},
        "each": {
            name: worst_table(question, by=("method", "population"))
            for name, question in (("threshold", "threshold"), ("results", "results"), ("sharing", "shared gallery"))
        },
        "models": {
            name: {"said": models(f"model of {name}"), "table": worst_table(f"model of {name}")} for name in ("means", "changes")
        },
        "coverage": {question: coverage_table(question) for question in CHOSEN},
        "errors": error_table(),
    }
