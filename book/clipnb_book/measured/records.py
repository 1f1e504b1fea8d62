"""Thresholds, corrections, severities and data cards of real photographs that may not be shown, as committed numbers.

`python -m clipnb_book.measured.records` measures thresholds and corrections again where $CLIPNB_DATA holds the photographs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clipnb._core.files import read_json, rounded, write_text
from clipnb.analysis.calibration import Calibration, settable
from clipnb.analysis.result_threshold import ResultThreshold
from clipnb.analysis.tolerance import Tolerance
from clipnb.datasets.card import Card
from clipnb.encoders import OFFLINE
from clipnb.manipulations import EVERYDAY, STUDY
from clipnb.metrics.verification import OperatingCurve
from clipnb.runs import run
from clipnb.spec import RunSpec
from clipnb.stats.intervals import Interval

from ..severities import from_table, read_table
from ..threshold_sweep import Sweep, sweeps_of
from . import findings
from .findings import DATA, FIGURES, SCENES, describe

SETS = (SCENES, FIGURES)
ENGINE = "openvino"
"""A faster engine for the same network; its numbers agree with those of torch up to rounding."""

STEP = 0.01
"""Step between the kept points of an operating curve; points at a threshold are kept too."""


@cache
def _record(name: str) -> dict[str, Any]:
    found: dict[str, Any] = read_json(DATA / f"{name}.json")
    return found


def calibration(dataset: str) -> Calibration:
    """The calibration on a set of real photographs, its curves thinned."""
    kept = _record("thresholds")["sets"][dataset]["calibration"]
    return Calibration(
        values={name: _interval(values) for name, values in kept["values"].items()},
        curve=_curve(kept["curve"]),
        calibrated_on=tuple(kept["calibrated_on"]),
        scored_on=tuple(kept["scored_on"]),
        check=_curve(kept["check"]) if kept["check"] else None,
        results=ResultThreshold(
            k=(results := kept["results"])["k"],
            wanted=results["wanted"],
            tau=_interval(results["tau"]),
            precision=results["precision"],
            accepted=results["accepted"],
            curve=_curve(results["curve"]),
        ),
    )


def sweeps(dataset: str) -> list[Sweep]:
    """Each manipulation against the clean photographs, at every threshold."""
    return [
        Sweep(
            condition=kept["condition"],
            taus=np.asarray(kept["taus"]),
            changes=tuple(_interval(values) for values in kept["changes"]),
            tau=kept["tau"],
        )
        for kept in _record("thresholds")["sets"][dataset]["sweeps"]
    ]


def corrections(dataset: str) -> pd.DataFrame:
    """The effect of each correction, as `clipnb_book.corrections.measured` gives it."""
    frame = pd.DataFrame(_record("corrections")["sets"][dataset])
    return frame.astype(dict.fromkeys(("value", "change", "low", "high", "lost", "tau"), float))


def cards() -> list[Card]:
    """Cards of the real photographs."""
    return [Card(**record) for record in read_json(DATA / "cards.json")]


@cache
def severities() -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table of severities on real photographs, and where its numbers come from."""
    return read_table(DATA / "severity.json")


def encoders() -> tuple[pd.DataFrame, dict[str, Any]]:
    """More encoders on a part of the scenes, without an edit, as a table of severities, and where its numbers come from."""
    return read_table(DATA / "encoders.json")


def abouts() -> dict[str, dict[str, Any]]:
    """What was measured -> its settings, versions and fingerprints, for the records beside the table of severities."""
    return {
        "the study's settings": findings.about(),
        "thresholds": _record("thresholds")["about"],
        "corrections": _record("corrections")["about"],
    }


def tolerances(dataset: str, encoder: str, measure: str, manips: Sequence[str] = (*STUDY, *EVERYDAY)) -> list[Tolerance]:
    """The breaking points on real photographs, of those of the manipulations that were measured."""
    table, _ = severities()
    return [t for t in from_table(table, dataset, encoder, measure) if t.manip in manips]


def _interval(values: list[Any]) -> Interval:
    point, low, high = (math.nan if v is None else float(v) for v in values[:3])
    constant = bool(values[5]) if len(values) > 5 else math.isnan(low)  # older records had no bounds only without spread
    method, n = values[3:5]
    return Interval(point, low, high, method, n, constant=constant)


def _of_interval(i: Interval) -> list[Any]:
    return [*rounded([i.point, i.low, i.high]), i.method, i.n, i.constant]


def _curve(columns: dict[str, list[float | None]]) -> OperatingCurve:
    return OperatingCurve(**{name: np.asarray(values, dtype=float) for name, values in columns.items()})


def _thinned(curve: OperatingCurve, thresholds: list[float]) -> dict[str, list[float | None]]:
    """The points of a curve at the thresholds and at even steps."""
    wanted = np.concatenate([np.arange(0, 2 + STEP, STEP), thresholds])
    at = np.unique(np.searchsorted(curve.tau, wanted + 1e-9, side="right") - 1)
    at = at[at >= 0]
    return {name: rounded(getattr(curve, name)[at].tolist()) for name in ("tau", "recall", "fpr", "precision")}


def _of_calibration(found: Calibration, tau: float) -> dict[str, Any]:
    results = found.results
    calibrated = [results.tau, *(interval for name, interval in found.values.items() if name.startswith("tau_"))]
    thresholds = [tau, *(settable(interval.point) for interval in calibrated if not math.isnan(interval.point))]
    return {
        "values": {name: _of_interval(interval) for name, interval in found.values.items()},
        "curve": _thinned(found.curve, thresholds),
        "check": _thinned(found.check, thresholds) if found.check else None,
        "calibrated_on": found.calibrated_on,
        "scored_on": found.scored_on,
        "results": {
            **{name: rounded(getattr(results, name)) for name in ("k", "wanted", "precision", "accepted")},
            "tau": _of_interval(results.tau),
            "curve": _thinned(results.curve, thresholds),
        },
    }


def _of_sweep(found: Sweep) -> dict[str, Any]:
    return {
        "condition": found.condition,
        "taus": rounded(found.taus.tolist()),
        "changes": [_of_interval(change) for change in found.changes],
        "tau": found.tau,
    }


def write(folder: Path) -> None:
    """Measure and write the two files.

    Raises:
        UserError: the photographs are not in $CLIPNB_DATA.
    """
    from clipnb.analysis.calibration import calibration_of

    from ..corrections import measured

    usual = {name: [run(RunSpec(name, manip, OFFLINE, engine=ENGINE)) for manip in STUDY] for name in SETS}
    about = describe([result for group in usual.values() for result in group])
    thresholds, corrected = {}, {}
    for name, results in usual.items():
        spec = results[0].spec
        thresholds[name] = {
            "calibration": _of_calibration(calibration_of(spec), spec.tau),
            "sweeps": [_of_sweep(found) for found in sweeps_of(results)],
        }
        frame, _ = measured(name, OFFLINE, engine=ENGINE)
        corrected[name] = [{key: rounded(value) for key, value in row.items()} for row in frame.to_dict("records")]
    for file, sets in (("thresholds", thresholds), ("corrections", corrected)):
        lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(found, ensure_ascii=False)}" for name, found in sets.items())
        write_text(folder / f"{file}.json", f'{{"about": {json.dumps(about, indent=1)},\n"sets": {{\n{lines}\n}}}}\n')


if __name__ == "__main__":
    write(DATA)
