"""Tables and sentences on the committed results of `benchmarks/intervals.py` (Markdown)."""

from __future__ import annotations

from functools import cache
from importlib import resources

import pandas as pd

from clipnb.report.format import NB, table
from clipnb.stats.hypothesis import FLIPS
from clipnb.stats.intervals import SMALL_G

NOMINAL, LOW, HIGH = 0.95, 0.93, 0.97
"""Coverage within which an interval counts as a 95% interval."""

ICC = 0.10
"""Intra-class correlation of the simulated images; the study has 0.07 to 0.14."""


IMAGES = {"players": (20, 100), "scenes": (5, 13)}
"""Fewest and most images of a simulated category."""

RESAMPLES = 999
"""Resamples of a bootstrap or permutation test in the simulation."""


@cache
def simulation() -> pd.DataFrame:
    """A row a method, population and number of categories: rate, its Monte Carlo error, replicates, width over that of t."""
    text = resources.files(__package__) / "data" / "simulation.csv"
    with text.open(encoding="utf-8") as file:
        return pd.read_csv(file)


def chosen(categories: int) -> str:
    """The interval that clipnb chooses for so many categories."""
    return "t" if categories < SMALL_G else "BCa"


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


def coverage_table() -> str:
    """Coverage: a row for each interval and population, a column for each number of categories; bold outside 93% to 97%."""
    return _table("coverage", lambda rate: LOW <= rate <= HIGH)


def error_table() -> str:
    """Type-I error of the tests at 5%, in the form of the coverage table; bold above 7%."""
    return _table("type-I error", lambda rate: rate <= 1 - LOW)


def width_table() -> str:
    """Median width of each interval over that of Student's t."""
    wide = simulation().dropna(subset=["width"]).pivot(index=["method", "population"], columns="categories", values="width")
    rows = [[str(m), str(p), *(f"{v:.2f}" for v in row)] for (m, p), row in zip(wide.index, wide.to_numpy(), strict=True)]
    return table(["interval", "population", *(f"G{NB}={NB}{g}" for g in wide.columns)], rows, "ll" + "r" * len(wide.columns))


def _table(what: str, good: object) -> str:
    part = simulation()[simulation()["what"] == what]
    wide = part.pivot(index=["method", "population"], columns="categories", values="rate")
    rows = [
        [str(m), str(p), *(f"{r:.1%}" if good(r) else f"**{r:.1%}**" for r in row)]  # type: ignore[operator]
        for (m, p), row in zip(wide.index, wide.to_numpy(), strict=True)
    ]
    return table([what, "population", *(f"G{NB}={NB}{g}" for g in wide.columns)], rows, "ll" + "r" * len(wide.columns))


def reading() -> str:
    """The coverage and error of the intervals and tests that clipnb uses, and the other methods that miss their nominal level."""
    found = simulation()
    own = found[(found["what"] == "coverage") & (found["method"] == found["categories"].map(chosen))]
    low, high = own["rate"].min(), own["rate"].max()
    kept = "all rates are" if low >= LOW and high <= HIGH else "not all rates are"
    lines = [
        f"- The book's intervals of a mean, Student's t below {SMALL_G} categories and BCa otherwise, contain the true value in "
        f"{low:.1%} to {high:.1%} of data sets: {kept} within 93% to 97%, the range required here of a 95% interval."
    ]
    others = found[(found["what"] == "coverage") & ((found["rate"] < LOW) | (found["rate"] > HIGH))]
    for method, part in others.groupby("method", sort=True):
        cells = ", ".join(f"{r.rate:.1%} at G = {r.categories} ({r.population})" for r in part.itertuples())
        if len(part) > 4:
            cells = f"{part['rate'].min():.1%} to {part['rate'].max():.1%}, at every G"
        lines.append(f"- *{method}* misses that range: it covers {cells}.")
    tests = found[found["what"] == "type-I error"]
    family = tests[tests["method"] == "any of six contrasts, sign flip, unadjusted"]
    rest = tests.drop(index=family.index)
    worst = rest.sort_values("rate").to_dict("records")[-1]
    lines.append(
        f"- At a level of 5%, the tests reject a true null hypothesis in {rest['rate'].min():.1%} to {rest['rate'].max():.1%} of data sets; "
        f"the highest rate is that of *{worst['method']}* at G = {worst['categories']}. With six categories the p of a sign-flip test "
        "cannot fall below 2⁻⁵, so the test is conservative."
    )
    lines.append(
        f"- Without Holm's adjustment, at least one of six contrasts is significant in {family['rate'].min():.0%} to "
        f"{family['rate'].max():.0%} of data sets where nothing changed."
    )
    return "\n".join(lines)


def replicates() -> str:
    """The number of simulated data sets behind a cell, and its Monte Carlo error."""
    part = simulation()
    return f"{part['replicates'].min():,} to {part['replicates'].max():,} (a rate of 95% is known to within {200 * part['error'].max():.1f} points)"


def values() -> dict[str, str]:
    """The values for the page."""
    return {
        "level": f"{NOMINAL:.0%}",
        "low": f"{LOW:.0%}",
        "high": f"{HIGH:.0%}",
        "alpha": f"{1 - NOMINAL:.0%}",
        "tolerated": f"{1 - LOW:.0%}",
        "icc": f"{ICC:.2f}",
        **{name: f"{fewest} to {most}" for name, (fewest, most) in IMAGES.items()},
        "resamples": f"{RESAMPLES:,}",
        "usual_resamples": f"{FLIPS:,}",
        "replicates": replicates(),
        "reading": reading(),
        "coverage": coverage_table(),
        "errors": error_table(),
        "widths": width_table(),
    }
