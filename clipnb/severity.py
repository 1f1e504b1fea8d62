"""Severity curves: performance as a manipulation grows, its strength at the encoder's input, and scores over all of them.

A table has a row for each data set, encoder, manipulation and severity; severity 0 of `original` is the clean row. It is
made from results, or read from a file of numbers that a sweep wrote elsewhere.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .errors import UserError
from .files import rounded, write_text
from .flags import SETTINGS as FLAGS
from .manipulations import CLEAN, MANIPULATIONS, SEVERITIES, STUDY
from .results import Result, comparable_with_clean
from .robustness import (
    Grid,
    corruption_error,
    mean_corruption_error,
    mean_performance,
    relative_corruption_error,
    relative_performance,
)
from .runs import run, saved_result
from .spec import RunSpec
from .statistics import Interval, mean_interval
from .wording import minus
from .wording import table as markdown_table

BASELINE = "histogram"
"""The weak encoder that corruption errors are relative to."""

GRADED = tuple(name for name in STUDY if name != CLEAN)
"""The study's manipulations."""

MEASURES = {"valid": "valid@k (L2 threshold)", "map": "mAP by category", "p1": "P@1 by category"}
"""Columns of a table that are performances, and how a figure names them."""

HARM = 0.01
"""Mean loss of the baseline below which a relative corruption error would divide by next to nothing, and is left out."""

SCORES = {"clean": 3, "mPC": 3, "rPC": 2, "mCE": 2}
"""Scores over all manipulations, and the decimals that a table gives of each."""

SETTINGS = ("k", "tau", "seed", "precision", "engine", "categories", "per_category")
"""Settings of a run that a table of numbers names."""

MEASURED = Path(__file__).parent / "data" / "measured" / "severity.json"
"""Numbers from real photographs that are not distributed with the project."""


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


def how_to(dataset: str, encoder: str, **settings: Any) -> str:
    """What to type for a data set that has no runs at severities, so that they are under the same settings.

    A setting that the command has no flag for goes into its grid file, and is named.
    """
    spec, usual = RunSpec(dataset, CLEAN, encoder, **settings).to_dict(), RunSpec(dataset, CLEAN, encoder).to_dict()
    own = {name: value for name, value in spec.items() if value != usual[name]}
    levels = [str(severity) for severity in SEVERITIES]
    command = ["clipnb", "sweep", "--datasets", spec["dataset"], "--severities", *levels, "--encoders", spec["encoder"]]
    for name in FLAGS:
        if name in own:
            command += [f"--{name.replace('_', '-')}", str(own.pop(name))]
    rest = f", with `settings: {json.dumps(own)}` in its grid file," if own else ""
    return f"No runs at severities yet: `{shlex.join(command)}`{rest} makes them."


def tabulate(results: Iterable[Result]) -> pd.DataFrame:
    """A row a run: dataset, encoder, manip, severity, what it was and what came of it.

    Columns: `strength` (mean at the encoder's input, in `unit`), `difference` (mean colour difference), `untouched` (share of
    queries left pixel-identical), `categories`, `queries`, `shift`, and each of `MEASURES` with its 95% interval over
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
            "shift": float(r.rows["shift"].mean()),
        }
        for name, values in _performances(r).items():
            means = r.by_image(values).groupby(level="category").mean().dropna().to_numpy()
            nothing = Interval(math.nan, math.nan, math.nan, "t", 0)
            interval = mean_interval(means, seed=r.spec.seed, bounds=(0.0, 1.0)) if len(means) else nothing
            row |= {name: interval.point, f"{name}_low": interval.low, f"{name}_high": interval.high}
            row[f"{name}_points"] = means.round(4).tolist()
        rows.append(row)
    return pd.DataFrame(rows)


def _performances(result: Result) -> dict[str, pd.Series[float]]:
    """Each of `MEASURES` for each query that has it."""
    rows = result.rows
    return {"valid": rows["accuracy"], "p1": result.first_own, **({"map": rows["ap"]} if "ap" in rows else {})}


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


def read_table(path: Path = MEASURED) -> tuple[pd.DataFrame, dict[str, Any]]:
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


def scores_table(table: pd.DataFrame, measure: str = "map", baseline: str = BASELINE) -> str:
    """`scores` as Markdown: a column a data set and encoder; of a manipulation the CE, and in brackets the relative CE."""
    columns = scores(table, measure, baseline).to_dict("records")
    manips = dict.fromkeys(str(name).removeprefix("CE ") for row in columns for name in row if str(name).startswith("CE "))
    rows = [[name, *(f"{row[name]:.{digits}f}" for row in columns)] for name, digits in SCORES.items()]
    rows += [[f"CE {m}", *(f"{_or_dash(row[f'CE {m}'])} ({_or_dash(row[f'relative CE {m}'])})" for row in columns)] for m in manips]
    head = ["", *(f"{_plain(row['dataset'])}, {_plain(row['encoder'])}" for row in columns)]
    return markdown_table(head, rows, "l" + "r" * len(columns))


def curves_table(table: pd.DataFrame, dataset: str, encoder: str, measure: str = "valid") -> str:
    """Manipulation x severity of one data set and encoder as Markdown: performance and, below, strength at the input."""
    part = table[(table["dataset"] == dataset) & (table["encoder"] == encoder) & (table["severity"] > 0)]
    severities = sorted(part["severity"].unique())
    rows = []
    for manip in dict.fromkeys(part["manip"]):
        own = part[part["manip"] == manip].set_index("severity")
        rows.append([manip, *(f"{own[measure][s]:.3f}" if s in own.index else "" for s in severities)])
        unit = str(own["unit"].iloc[0])
        rows.append([f"· {unit}", *(f"{own['strength'][s]:.3g}" if s in own.index else "" for s in severities)])
    head = [f"clean {clean_value(table, dataset, encoder, measure):.3f}", *(f"severity {s}" for s in severities)]
    return markdown_table(head, rows, "l" + "r" * len(severities))


def sources_table(sources: dict[str, Any]) -> str:
    """Where a table's numbers come from, as Markdown: a row a data set and encoder."""
    rows = []
    for name, about in sources.items():
        kept = about["settings"]
        drawn = f"{kept['per_category']} a category, drawn (seed {kept['seed']})" if kept["per_category"] else "all"
        photographs = f"{about['images']} of {about['categories']} categories, {drawn}"
        code = ", ".join(about["encoder"]["identity"].split("|")[:1])
        versions = ", ".join(
            f"{p} {about['versions'][p]}" for p in ("clipnb", "torch", "numpy", "pillow") if p in about["versions"]
        )
        unusual = [kept[name] for name, usual in (("precision", "fp32"), ("engine", "torch")) if kept.get(name, usual) != usual]
        settings = ", ".join([f"k {kept['k']}, tau {kept['tau']:g}", *unusual])
        marks = f"photographs `{about['data_fingerprint'][:12]}`, code `{about['code_sha256'][:12]}`"
        rows.append([_plain(name), photographs, settings, marks, f"{code}; {versions}; {about['created'][:10]}"])
    return markdown_table(["set and encoder", "photographs", "settings", "fingerprints", "made with"], rows, "lllll")


def fixed_table(table: pd.DataFrame) -> str:
    """The study's fixed settings as Markdown: strength at the encoder's input and what came of it."""
    rows = []
    fixed = table[(table["severity"] == 0) & (table["manip"] != CLEAN)]
    for row in fixed.to_dict("records"):
        clean = clean_value(table, str(row["dataset"]), str(row["encoder"]), "valid")
        strength, valid = f"{row['strength']:.3g} ({row['unit']})", f"{row['valid']:.3f} ({clean:.3f})"
        whose = f"{_plain(str(row['dataset']))}, {_plain(str(row['encoder']))}"
        rows.append([whose, str(row["manip"]), strength, f"{row['untouched']:.0%}", valid, f"{row['map']:.3f}"])
    head = ["set and encoder", "condition", "strength at the input", "untouched", "valid@k (clean)", "mAP"]
    return markdown_table(head, rows, "lllrrr")


def _or_dash(value: float) -> str:
    return "–" if math.isnan(value) else minus(value)


def _plain(name: str) -> str:
    return name.replace("-", "\u2011")
