"""Numbers from real photographs that may not be shown: committed category means, and their provenance.

The photographs of `athletes` and `miniplaces` are not part of the project; their category means are, so that the book
shows them on any machine. `python -m clipnb_book.measured.findings` measures them again where $CLIPNB_DATA holds the
photographs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from clipnb._core.files import read_json, write_text
from clipnb.manipulations import CLEAN, MANIPULATIONS, STUDY
from clipnb.report.format import points, share, span, table
from clipnb.result import Result
from clipnb.spec import RunSpec
from clipnb.stats.hypothesis import holm
from clipnb.stats.intervals import direction, mean_interval
from clipnb.stats.sign_flips import change_interval, sign_flip

ENCODERS = ("efficientnet-lite2", "histogram")
FIGURES, SCENES = "athletes", "miniplaces"

DATA = Path(__file__).parent / "data"
"""Numbers from photographs that are not distributed with the project."""


def paired_differences(clean: Mapping[str, float], manipulated: Mapping[str, float]) -> list[float]:
    """d_c, manipulated minus clean, of each category that both contain, in the order of `clean`.

    >>> paired_differences({"cat": 0.75, "dog": 1.0}, {"cat": 0.5})
    [-0.25]
    """
    return [manipulated[c] - clean[c] for c in clean if c in manipulated]


@cache
def rows() -> pd.DataFrame:
    """The committed numbers: one row per data set, encoder, condition and category.

    The columns are images, valid (valid@k,tau), shift, noop (share of images left as they were) and p1 (P@1 by category).
    """
    return pd.read_csv(DATA / "findings.csv")


def about() -> dict[str, Any]:
    """Settings, versions and fingerprints of the measurement."""
    found: dict[str, Any] = read_json(DATA / "findings.json")
    return found


@cache
def _parts() -> dict[Any, pd.DataFrame]:
    """(data set, encoder, condition) -> its rows."""
    return dict(iter(rows().groupby(["dataset", "encoder", "manip"])))


def _part(dataset: str, encoder: str, manip: str) -> pd.DataFrame:
    return _parts().get((dataset, encoder, manip), rows().head(0))


def categories(dataset: str, encoder: str, manip: str) -> dict[str, float]:
    """Category -> mean of valid@k; empty where that was not measured."""
    part = _part(dataset, encoder, manip)
    return {str(c): float(v) for c, v in zip(part["category"], part["valid"], strict=True)}


def changes(dataset: str, encoder: str, manip: str) -> list[float]:
    """Manipulated minus clean valid@k, category by category."""
    return paired_differences(categories(dataset, encoder, CLEAN), categories(dataset, encoder, manip))


def summarise(results: Sequence[Result]) -> pd.DataFrame:
    """`rows` for some runs."""
    parts = []
    for result in results:
        groups = result.rows.groupby("category", sort=True)
        part = groups[["valid", "shift", "noop", "p1"]].mean().round(6).reset_index()
        part.insert(0, "manip", result.spec.manip)
        part.insert(0, "encoder", result.spec.encoder)
        part.insert(0, "dataset", result.spec.dataset_name)
        part.insert(4, "images", groups.size().to_numpy())
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def specs() -> list[RunSpec]:
    """The runs to measure: both data sets, whole, under the study's conditions."""
    return [RunSpec(dataset, manip, encoder) for encoder in ENCODERS for dataset in (FIGURES, SCENES) for manip in STUDY]


def describe(results: Sequence[Result]) -> dict[str, Any]:
    """Provenance of findings, without a path or the name of a machine."""
    first = results[0]
    return {
        "k": first.spec.k,
        "tau": first.spec.tau,
        "seed": first.spec.seed,
        "engine": first.spec.engine,
        "created": max(r.provenance["created"] for r in results),
        "code_sha256": first.provenance["code_sha256"],
        "versions": first.provenance["versions"],
        "photographs": {r.spec.dataset_name: r.provenance["data_fingerprint"] for r in results},
        "weights": {r.spec.encoder: r.provenance["encoder"]["weights_sha256"] for r in results},
    }


def table_of(encoder: str) -> str:
    """A Markdown table with a row for each data set and condition; the verdict is adjusted over all changes."""
    lines = []
    edited = {(d, m): changes(d, encoder, m) for d in (FIGURES, SCENES) for m in STUDY if m != CLEAN}
    adjusted = dict(zip(edited, holm([sign_flip(d) for d in edited.values()]), strict=True))
    for dataset in (FIGURES, SCENES):
        for manip in STUDY:
            part, change, untouched = _part(dataset, encoder, manip), ["", "", ""], ""
            interval = mean_interval(part["valid"], bounds=(0.0, 1.0))
            if manip != CLEAN:
                d = change_interval(edited[dataset, manip])
                change = [points(d.point), span(d, points), direction(d, adjusted[dataset, manip])]
                untouched = share((part["noop"] * part["images"]).sum() / part["images"].sum())
            lines.append([dataset, MANIPULATIONS[manip].label, f"{interval.point:.4f}", span(interval), *change, untouched])
    head = ["data set", "condition", "valid@k", "95% interval", "change, points", "95% interval", "verdict", "untouched"]
    return table(head, lines, "llrlrllr")


def counts() -> dict[str, dict[str, int]]:
    """Data set -> number of categories and of images."""
    clean = rows().query("manip == @CLEAN and encoder == @ENCODERS[0]")
    return {str(name): {"categories": len(part), "images": int(part["images"].sum())} for name, part in clean.groupby("dataset")}


def write(folder: Path) -> None:
    """Measure and write the two files.

    Raises:
        UserError: the photographs are not in $CLIPNB_DATA.
    """
    from clipnb.runs import run

    results = [run(spec) for spec in specs()]
    write_text(folder / "findings.csv", summarise(results).to_csv(index=False))
    write_text(folder / "findings.json", json.dumps(describe(results), indent=1) + "\n")


if __name__ == "__main__":
    write(DATA)
