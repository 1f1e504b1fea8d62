"""Tables of severities in Markdown."""

from __future__ import annotations

import json
import math
import shlex
from typing import Any

import pandas as pd

from ..analysis.severity import BASELINE, clean_value, scores
from ..manipulations import CLEAN, SEVERITIES
from ..spec import FLAGS, RunSpec
from .format import minus
from .format import table as markdown_table

SCORES = {"clean": 3, "mPC": 3, "rPC": 2, "mCE": 2}
"""Scores over all manipulations, each with its number of decimals in a table."""


def how_to(dataset: str, encoder: str, **settings: Any) -> str:
    """Name the command that makes the runs at severities of a data set under these settings.

    A setting without a flag belongs into the grid file of the command; the text names it.
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


def scores_table(table: pd.DataFrame, measure: str = "map", baseline: str = BASELINE) -> str:
    """Show `scores` with a column for each data set and encoder; a manipulation's CE is followed by its relative CE in brackets."""
    columns = scores(table, measure, baseline).to_dict("records")
    manips = dict.fromkeys(str(name).removeprefix("CE ") for row in columns for name in row if str(name).startswith("CE "))
    rows = [[name, *(f"{row[name]:.{digits}f}" for row in columns)] for name, digits in SCORES.items()]
    rows += [[f"CE {m}", *(f"{_or_dash(row[f'CE {m}'])} ({_or_dash(row[f'relative CE {m}'])})" for row in columns)] for m in manips]
    head = ["", *(f"{_plain(row['dataset'])}, {_plain(row['encoder'])}" for row in columns)]
    return markdown_table(head, rows, "l" + "r" * len(columns))


def curves_table(table: pd.DataFrame, dataset: str, encoder: str, measure: str = "valid") -> str:
    """Show manipulation x severity of a data set and encoder: performance and, below it, strength at the encoder's input."""
    graded = table[(table["dataset"] == dataset) & (table["encoder"] == encoder) & (table["severity"] > 0)]
    severities = sorted(graded["severity"].unique())
    rows = []
    for manip in dict.fromkeys(graded["manip"]):
        own = graded[graded["manip"] == manip].set_index("severity")
        rows.append([manip, *(f"{own[measure][s]:.3f}" if s in own.index else "" for s in severities)])
        unit = str(own["unit"].iloc[0])
        rows.append([f"· {unit}", *(f"{own['strength'][s]:.3g}" if s in own.index else "" for s in severities)])
    head = [f"clean {clean_value(table, dataset, encoder, measure):.3f}", *(f"severity {s}" for s in severities)]
    return markdown_table(head, rows, "l" + "r" * len(severities))


def sources_table(sources: dict[str, Any]) -> str:
    """Show the provenance of a table's numbers, with a row for each data set and encoder."""
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
    """Show the study's fixed settings: strength at the encoder's input and performance."""
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
