"""Tables of performance and strength at the encoder's input by severity, and JSON files of them.

A table has a row for each data set, encoder, manipulation and severity or strength; severity 0 of `original` is the clean row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypedDict

import pandas as pd

from .._core.files import read_json, rounded, write_text
from .._core.typed import misfit
from ..errors import one_line
from ..manipulations import CLEAN, MANIPULATIONS
from ..metrics.measures import HEADLINES
from ..result import Result

BASELINE = "histogram"  # the weak encoder to which corruption errors are relative

SETTINGS = ("k", "tau", "seed", "precision", "engine", "categories", "per_category")
"""Settings of the runs that a file of `write_table` records."""

ORIGIN = ("images", "categories", "unreadable", "data_fingerprint", "encoder", "versions", "code_sha256", "created")
"""Parts of their provenance; of unreadable photographs the number."""


def tabulate(results: Iterable[Result]) -> pd.DataFrame:
    """Tabulate results: a row for each run, identified by dataset, encoder, manip and severity.

    The other columns are `value` (of the manipulation's parameter; 0 at a fixed setting), `strength` (mean at the encoder's
    input, in `unit`), `difference` (mean colour difference in [0, 1]), `untouched` (share of pixel-identical queries),
    `categories`, `sizes` (images of each category), `queries`, `shift`, `hub` (`hub_share`), and each
    measure in `HEADLINES` with its 95% interval over categories (`_low`, `_high`, NaN if unbounded) and its category means
    (`_points`, a list).
    """
    rows = []
    for r in results:
        manip, sizes = r.spec.manip, r.rows.groupby("category", sort=True)["image"].nunique().tolist()
        row: dict[str, Any] = {"dataset": r.spec.dataset_name, "encoder": r.spec.encoder, "manip": manip}
        row |= {"severity": r.spec.severity, "value": r.spec.condition.value}
        row |= {"strength": float(r.rows["strength"].mean()), "unit": MANIPULATIONS[manip].unit}
        row |= {"difference": float(r.rows["difference"].mean()), "untouched": 0.0 if manip == CLEAN else r.noop_share}
        row |= {"categories": len(sizes), "sizes": sizes, "queries": len(r.rows), "shift": r.mean("shift"), "hub": hub_share(r)}
        for name in (name for name in HEADLINES if name in r.rows):
            row |= r.macro(name).columns(name)
            row[f"{name}_points"] = [round(mean, 4) for mean in r.means(name).values()]
        rows.append(row)
    return pd.DataFrame(rows)


def hub_share(result: Result) -> float:
    """Largest share of first results that belong to one category, in (0, 1]; NaN without results.

    If it is far above the share of photographs in the largest category, one category takes most first places (hubness).
    """
    first = pd.Series([kinds[0] for kinds in result.rows["result_categories"] if len(kinds)], dtype=object)
    return float(first.value_counts(normalize=True).max())


class Row(TypedDict):
    """The fields of a row of a table besides its numbers."""

    dataset: str
    encoder: str


class Table(TypedDict):
    """A file of `write_table`."""

    sources: dict[str, Any]
    rows: list[Row]


def require_table(path: Path) -> Table:
    """The table in a file; a `UserError` if `write_table` did not write it."""
    with one_line(f"{path.name} is not a table of severities"):
        kept: Table = read_json(path)
        if said := misfit(kept, Table, path.name):
            raise ValueError(said)
    return kept


def write_table(results: Sequence[Result], path: Path) -> None:
    """Add the table of some runs and the provenance of its numbers to a JSON file.

    The rows replace the file's rows for the same data set and encoder; other rows stay.
    """
    kept: Table = require_table(path) if path.exists() else {"sources": {}, "rows": []}
    sources: dict[str, Any] = {}
    for r in results:
        p: Any = r.provenance | {"unreadable": len(r.provenance["unreadable"])}
        sources[f"{r.spec.dataset_name}, {r.spec.encoder}"] = {
            "settings": {name: getattr(r.spec, name) for name in SETTINGS},
            **{name: p[name] for name in ORIGIN},
        }
    rows = [{str(name): rounded(value) for name, value in row.items()} for row in tabulate(results).to_dict("records")]
    others: list[Any] = [row for row in kept["rows"] if f"{row['dataset']}, {row['encoder']}" not in sources]
    found = {**kept["sources"], **sources}
    sources_text = json.dumps({name: found[name] for name in sorted(found)}, indent=1, ensure_ascii=False)
    ordered = sorted(others + rows, key=lambda row: (row["dataset"], row["encoder"]))
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in ordered)  # one row per line, because a row has many points
    write_text(path, f'{{"sources": {sources_text},\n"rows": [\n{lines}\n]}}\n')
