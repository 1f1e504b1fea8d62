"""Severity curves: performance as a manipulation grows, its strength at the encoder's input, and scores over all of them.

A table has a row for each data set, encoder, manipulation and severity; severity 0 of `original` is the clean row. It is
made from results, or read from a file of numbers that a sweep wrote elsewhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .._core.files import rounded, write_text
from ..errors import UserError
from ..manipulations import CLEAN, MANIPULATIONS, SEVERITIES, STUDY
from ..metrics.corruption import (
    Grid,
    corruption_error,
    mean_corruption_error,
    mean_performance,
    relative_corruption_error,
    relative_performance,
)
from ..result import Result, comparable_with_clean
from ..runs import run, saved_result
from ..spec import RunSpec

BASELINE = "histogram"
"""The weak encoder that corruption errors are relative to."""

GRADED = tuple(name for name in STUDY if name != CLEAN)
"""The study's manipulations."""

SHOWN = ("valid", "map", "p1")
"""Measures in a table."""

HARM = 0.01
"""Mean loss of the baseline below which a relative corruption error would divide by next to nothing, and is left out."""


SETTINGS = ("k", "tau", "seed", "precision", "engine", "categories", "per_category")
"""Settings of a run that a table of numbers names."""


def results_for(
    dataset: str, encoder: str, manips: Sequence[str] = GRADED, severities: Iterable[int] = SEVERITIES, **settings: Any
) -> list[Result]:
    """Clean and manipulated runs of one data set and encoder at each severity: the saved ones, the others made now."""
    specs = [RunSpec(dataset, CLEAN, encoder, **settings)]
    specs += [RunSpec(dataset, manip, encoder, severity=severity, **settings) for manip in manips for severity in severities]
    return [saved_result(spec) or run(spec, progress=False) for spec in dict.fromkeys(specs)]


def saved_table(dataset: str, encoder: str, **settings: Any) -> pd.DataFrame:
    """The table of all saved runs at severities, and of their clean one, under the same settings; empty if there are none."""
    clean = RunSpec(dataset, CLEAN, encoder, **settings)
    specs = [clean.under(m, s) for m in MANIPULATIONS if MANIPULATIONS[m].levels for s in SEVERITIES]
    found = comparable_with_clean([result for spec in (clean, *specs) if (result := saved_result(spec))])
    return tabulate(found) if len(found) > 1 and found[0].spec == clean else pd.DataFrame()


def names(table: pd.DataFrame) -> tuple[str, str]:
    """Data set and encoder of a table that holds one of each."""
    return str(table["dataset"].iloc[0]), str(table["encoder"].iloc[0])


def tabulate(results: Iterable[Result]) -> pd.DataFrame:
    """A row a run: dataset, encoder, manip, severity, what it was and what came of it.

    Columns: `strength` (mean at the encoder's input, in `unit`), `difference` (mean colour difference), `untouched` (share of
    queries left pixel-identical), `categories`, `queries`, `shift`, and each of `SHOWN` with its 95% interval over
    categories (`_low`, `_high`, NaN where there is none) and the category means behind it (`_points`, a list).
    """
    rows = []
    for r in results:
        row: dict[str, Any] = {
            "dataset": r.spec.dataset_name,
            "encoder": r.spec.encoder,
            "manip": r.spec.manip,
            "severity": r.spec.severity,
            "strength": float(r.rows["strength"].mean()),
            "unit": MANIPULATIONS[r.spec.manip].unit,
            "difference": float(r.rows["difference"].mean()),
            "untouched": 0.0 if r.spec.manip == CLEAN else r.noop_share,
            "categories": int(r.rows["category"].nunique()),
            "queries": len(r.rows),
            "shift": r.mean("shift"),
        }
        for name in (name for name in SHOWN if name in r.rows):
            interval = r.macro(name)
            row |= {name: interval.point, f"{name}_low": interval.low, f"{name}_high": interval.high}
            row[f"{name}_points"] = [round(mean, 4) for mean in r.means(name).values()]
        rows.append(row)
    return pd.DataFrame(rows)


def write_table(results: Sequence[Result], path: Path) -> None:
    """Add the table of some runs, with where they come from, to a JSON file: numbers and names only.

    Rows of the same data sets and encoders that the file holds already are replaced, others are kept.
    """
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"sources": {}, "rows": []}
    sources: dict[str, Any] = {}
    for r in results:
        p = r.provenance
        sources[f"{r.spec.dataset_name}, {r.spec.encoder}"] = {
            "settings": {name: getattr(r.spec, name) for name in SETTINGS},
            "images": p["images"],
            "categories": p["categories"],
            "unreadable": len(p["unreadable"]),
            "data_fingerprint": p["data_fingerprint"],
            "encoder": p["encoder"],
            "versions": p["versions"],
            "code_sha256": p["code_sha256"],
            "created": p["created"],
        }
    rows = [{name: rounded(value) for name, value in row.items()} for row in tabulate(results).to_dict("records")]
    others = [row for row in kept["rows"] if f"{row['dataset']}, {row['encoder']}" not in sources]
    found = {**kept["sources"], **sources}
    sources_text = json.dumps({name: found[name] for name in sorted(found)}, indent=1, ensure_ascii=False)
    ordered = sorted(others + rows, key=lambda row: (row["dataset"], row["encoder"]))
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in ordered)  # a line a row: points are many
    write_text(path, f'{{"sources": {sources_text},\n"rows": [\n{lines}\n]}}\n')


def read_table(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A table that `write_table` wrote, and where its numbers come from.

    Raises:
        UserError: there is none, or the file holds something else.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        rows = pd.DataFrame(record["rows"])
        others = ("dataset", "encoder", "manip", "unit", "severity", "categories", "queries")
        numbers = [c for c in rows if c not in others and not str(c).endswith("_points")]
        return rows.astype({"severity": int, **dict.fromkeys(numbers, float)}), dict(record["sources"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path.name} is no table of severities: {error}") from error


def clean_value(table: pd.DataFrame, dataset: str, encoder: str, measure: str) -> float:
    """Performance on the photographs as they are.

    Raises:
        UserError: the table has no such row.
    """
    rows = table[(table["dataset"] == dataset) & (table["encoder"] == encoder) & (table["manip"] == CLEAN)]
    if rows.empty:
        raise UserError(f"there is no clean run of {dataset} with {encoder}")
    return float(rows[measure].iloc[0])


def grid(table: pd.DataFrame, dataset: str, encoder: str, measure: str) -> Grid:
    """Manipulation -> severity -> performance, fixed settings left out."""
    rows = table[(table["dataset"] == dataset) & (table["encoder"] == encoder) & (table["severity"] > 0)]
    found: dict[str, dict[int, float]] = {}
    for row in rows.to_dict("records"):
        found.setdefault(str(row["manip"]), {})[int(row["severity"])] = float(row[measure])
    return found


def scores(table: pd.DataFrame, measure: str = "map", baseline: str = BASELINE) -> pd.DataFrame:
    """CE and relative CE by manipulation, mCE, mPC and rPC, of each data set and encoder that has severities.

    The error is 1 - `measure`, which must mean the same for both encoders: a label's, not the study's threshold.

    Raises:
        UserError: the baseline lacks a run that is compared with it.
    """
    rows = []
    pairs = dict.fromkeys(table.loc[table["severity"] > 0, ["dataset", "encoder"]].itertuples(index=False, name=None))
    for dataset, encoder in pairs:
        own, base = grid(table, dataset, encoder, measure), grid(table, dataset, baseline, measure)
        clean, base_clean = (clean_value(table, dataset, name, measure) for name in (encoder, baseline))
        row: dict[str, Any] = {"dataset": dataset, "encoder": encoder, "clean": clean}
        row |= {"mPC": mean_performance(own), "rPC": relative_performance(own, clean), "mCE": mean_corruption_error(own, base)}
        for manip, levels in own.items():
            row[f"CE {manip}"] = corruption_error(levels, base[manip])
            harmed = abs(base_clean - float(np.mean([base[manip][s] for s in levels]))) >= HARM
            relative = relative_corruption_error(levels, clean, base[manip], base_clean)
            row[f"relative CE {manip}"] = relative if harmed else math.nan
        rows.append(row)
    return pd.DataFrame(rows)
