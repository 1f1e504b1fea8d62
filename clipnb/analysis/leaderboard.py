"""Encoders side by side on one data set: clean retrieval, breaking points, corruption errors, speed and size."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pandas as pd

from ..comparable import same_photographs
from ..datasets.dataset import load_dataset
from ..datasets.images import decode, read
from ..encoders import load_encoder
from ..encoders.base import encode
from ..errors import UserError
from ..manipulations import SEVERITIES
from ..metrics.corruption import mean_corruption_error
from ..result import Result
from ..runs import saved_or_new
from ..spec import RunSpec
from .contrasts import contrast
from .scores import of_result
from .severity import BASELINE
from .tolerance import FRACTION, Tolerance, measured

TIMED = 16  # number of photographs for the speed of an encoder
Table = Mapping[str, Mapping[str, Tolerance]]  # encoder -> manipulation -> breaking point


def speed_of(spec: RunSpec) -> float:
    """Photographs per second that one thread prepares and an encoder embeds: the second of two rounds over the first `TIMED`.

    It is NaN if the encoder cannot be loaded, or can read none of these photographs.
    """
    images = []
    with suppress(UserError):
        encoder = load_encoder(spec.encoder, spec.precision, spec.engine, spec.device)
        for photo in load_dataset(spec.dataset).photos[:TIMED]:
            with suppress(Exception):  # of the decoder or of the encoder's own code
                image = decode(read(photo.path), colour=spec.colour)
                encoder.prepare(image)
                images.append(image)
    seconds = math.nan
    for _ in range(2) if images else ():
        started = time.perf_counter()
        encode(encoder, [encoder.prepare(image) for image in images])
        seconds = time.perf_counter() - started
    return len(images) / seconds


def leaderboard(
    dataset: str,
    encoders: Sequence[str],
    manips: Sequence[str],
    measure: str = "found",
    fraction: float = FRACTION,
    *,
    width: float = math.inf,
    make: Callable[[RunSpec], Result] = saved_or_new,
    speed: Callable[[RunSpec], float] = speed_of,
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
        against the baseline encoder, NaN without the baseline's runs; `images_per_second` is the `speed_of` the encoder.
    """
    clean = {name: make(RunSpec(dataset, encoder=name, **settings)) for name in encoders}
    best = max(clean.values(), key=lambda r: (r.provenance["images"], r.mean("p1")))
    points = {
        name: {m: measured(result.spec, m, measure, fraction, width, make=make) for m in manips} for name, result in clean.items()
    }
    errors = _corruption_errors(clean, manips, make)
    rows = [
        _row(result, best)
        | {"images_per_second": speed(result.spec), "mCE": errors[name]}
        | {f"breaks: {m}": t.point.strength for m, t in points[name].items()}
        for name, result in clean.items()
    ]
    return pd.DataFrame(rows).sort_values("p1", ascending=False, kind="stable", ignore_index=True), points


def _row(result: Result, best: Result) -> dict[str, Any]:
    about = result.provenance
    row: dict[str, Any] = {"encoder": result.spec.encoder, "images": about["images"], "left_out": result.left_out}
    row |= {"photographs": about["data_fingerprint"], **result.macro("p1").columns("p1"), **result.macro("map").columns("map")}
    if result is not best and same_photographs(result, best) and result.scored("p1") and best.scored("p1"):
        row |= contrast(of_result(best, "p1"), of_result(result, "p1")).interval.columns("p1_change")
    return row | {"dim": about["encoder"]["dim"], "identity": about["encoder"]["identity"]}


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
