"""Choose a threshold for a data set and an encoder: its calibration on the clean photographs."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from ..embedding.embed import embed, kept_embeddings
from ..encoders import load_encoder
from ..manipulations import CLEAN
from ..metrics.validity import Floats
from ..runs import drawn_for
from ..spec import RunSpec
from .calibration import Calibration, calibrate
from .result_threshold import WANTED

ACCEPTS = {
    "tau_fpr_1": "at most 1% of pairs of different kinds",
    "tau_fpr_5": "at most 5% of pairs of different kinds",
    "tau_eer": "equal error rates",
    "tau_p90": "nine in ten accepted pairs of one kind",
}
"""Name of a calibrated threshold -> what it accepts."""


def calibration_of(spec: RunSpec, *, wanted: float = WANTED, progress: bool = True) -> Calibration:
    """Calibrate on the clean photographs of a run with its encoder; `wanted` is the precision wanted among accepted results.

    Raises:
        UserError: the data set is missing, or has too few photographs.
    """
    vectors, categories, digests = clean_embeddings(spec, progress)
    return calibrate(vectors, categories, digests, k=spec.k, wanted=wanted, seed=spec.seed)


def clean_embeddings(spec: RunSpec, progress: bool) -> tuple[Floats, list[str], list[str]]:
    """Embeddings, categories and digests of the clean photographs of a run."""
    encoder = load_encoder(spec.encoder, spec.precision, spec.engine, spec.device)
    options: Any = {"seed": spec.seed, "colour": spec.colour, "progress": progress}
    found = embed(drawn_for(spec).photos, [CLEAN], encoder, kept_embeddings(encoder), **options)
    return found.vectors[CLEAN], [photo.category for photo in found.photos], found.digests


def threshold_frame(calibration: Calibration, tau: float = 0.8) -> pd.DataFrame:
    """Tabulate the calibrated thresholds with their intervals, then `tau`: a row for each threshold.

    `recall`, `fpr` and `precision` are computed on the calibration categories, `*_held_out` on the held-out categories.
    `precision` is that of all pairs and depends on `prevalence`, the share of same-kind pairs; `precision_of_results` is that
    of the accepted among the k results of each photograph.
    """
    rows, results = [], calibration.results
    last = [
        ("tau_results", f"{results.wanted:.0%} of accepted results of one kind"),
        ("tau", "the study's" if tau == 0.8 else "as given"),
    ]
    for name, wanted in [*ACCEPTS.items(), *last]:
        interval = results.tau if name == "tau_results" else calibration.values.get(name)
        value = interval.point if interval else tau
        recall, fpr, precision = calibration.curve.at(value)
        row = {
            "threshold": name,
            "accepts": wanted,
            "tau": value,
            "low": interval.low if interval else math.nan,
            "high": interval.high if interval else math.nan,
            "cosine": 1 - value**2 / 2,
            "recall": recall,
            "fpr": fpr,
            "precision": precision,
            "prevalence": calibration.prevalence,
            "precision_of_results": results.curve.at(value)[2],
        }
        if calibration.check:
            row |= dict(zip(("recall_held_out", "fpr_held_out", "precision_held_out"), calibration.check.at(value), strict=True))
        rows.append(row)
    return pd.DataFrame(rows)
