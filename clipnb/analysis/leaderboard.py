"""Encoders side by side on one data set: clean retrieval, breaking points, corruption errors, speed and size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from ..comparable import same_photographs
from ..manipulations import SEVERITIES
from ..metrics.corruption import mean_corruption_error
from ..result import Result
from ..runs import saved_or_new
from ..spec import RunSpec
from .contrasts import contrast
from .scores import of_result
from .severity import BASELINE
from .tolerance import FRACTION, Tolerance, measured

Table = Mapping[str, Mapping[str, Tolerance]]  # encoder -> manipulation -> breaking point


def leaderboard(
    dataset: str,
    encoders: Sequence[str],
    manips: Sequence[str],
    measure: str = "found",
    fraction: float = FRACTION,
    *,
    width: float = math.inf,
    make: Callable[[RunSpec], Result] = saved_or_new,
    **settings: Any,
) -> tuple[pd.DataFrame, Table]:
    """Compare encoders on one data set; runs that are not saved are made.

    The manipulations have severities, `settings` are further fields of `RunSpec`, and `measure`, `fraction`, `width` and `make` are
    those of `clipnb.analysis.tolerance.measured`.

    Returns:
        One row per encoder, the best first, and the breaking points. `images` is the number of photographs that the encoder can
        read, `left_out` says how many it cannot, and `photographs` is the digest of those that it can. There is no `p1_change`
        where that digest is not the one of the encoder with the most photographs, or where the photographs have no kinds, and no
        `mCE` where it is not the baseline's.
        `p1` and `map` are macro means on clean photographs with their intervals; `p1_change` is the difference of P@1 from the
        best encoder, paired by photograph, with its interval; `mCE` is the mean corruption error of mAP
        against the baseline encoder, NaN without the baseline's runs; `images_per_second` is the speed of the run that embedded
        the clean photographs, NaN if any was cached.
    """
    clean = {name: make(RunSpec(dataset, encoder=name, **settings)) for name in encoders}
    best = max(clean.values(), key=lambda r: (r.provenance["images"], r.mean("p1")))
    points = {
        name: {m: measured(result.spec, m, measure, fraction, width, make=make) for m in manips} for name, result in clean.items()
    }
    errors = _corruption_errors(clean, manips, make)
    rows = [
        _row(result, best) | {"mCE": errors[name]} | {f"breaks: {m}": t.point.strength for m, t in points[name].items()}
        for name, result in clean.items()
    ]
    return pd.DataFrame(rows).sort_values("p1", ascending=False, kind="stable", ignore_index=True), points


def _row(result: Result, best: Result) -> dict[str, Any]:
    about = result.provenance
    row: dict[str, Any] = {"encoder": result.spec.encoder, "images": about["images"], "left_out": result.left_out}
    row |= {"photographs": about["data_fingerprint"], **result.macro("p1").columns("p1"), **result.macro("map").columns("map")}
    if result is not best and same_photographs(result, best) and result.scored("p1") and best.scored("p1"):
        row |= contrast(of_result(best, "p1"), of_result(result, "p1")).interval.columns("p1_change")
    fresh = about["embedded_now"] >= result.rows["sha256"].nunique() and about["seconds"] > 0  # a copy is embedded once
    speed = about["embedded_now"] / about["seconds"] if fresh else math.nan
    return row | {"dim": about["encoder"]["dim"], "images_per_second": speed, "identity": about["encoder"]["identity"]}


def _corruption_errors(clean: Mapping[str, Result], manips: Iterable[str], make: Callable[[RunSpec], Result]) -> dict[str, float]:
    """mCE of mAP over the manipulations, against the baseline if it is one of the encoders and has the same photographs."""
    if BASELINE not in clean:
        return dict.fromkeys(clean, math.nan)
    grids = {
        name: {m: {s: make(result.spec.under(m, s)).mean("map") for s in SEVERITIES} for m in manips}
        for name, result in clean.items()
    }
    alike = {name for name, result in clean.items() if same_photographs(result, clean[BASELINE])}
    return {name: mean_corruption_error(grid, grids[BASELINE]) if name in alike else math.nan for name, grid in grids.items()}
