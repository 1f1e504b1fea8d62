"""Calibrate distance thresholds for an encoder on pairs of photographs, and check them on other categories."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd

from .._core.random import drawn
from ..embedding.embed import embed, kept_embeddings
from ..encoders import load_encoder
from ..errors import UserError, left_out
from ..manipulations import CLEAN
from ..metrics.ranking import codes
from ..metrics.validity import Floats, unit_rows
from ..metrics.verification import OperatingCurve, average_precision, equal_error, recall_at_precision, roc_auc, tau_at_fpr
from ..possible import drawn_for, require_some
from ..retrieval.neighbours import require_results
from ..spec import RunSpec
from ..stats.intervals import Interval
from .pair_counts import PairCounts, jackknife, pair_counts
from .result_threshold import WANTED, ResultThreshold, result_threshold

ENOUGH = 10  # with at least this many categories, half of them calibrate and the others check; with fewer, all calibrate

STATISTICS: dict[str, Callable[[OperatingCurve], float]] = {
    "roc_auc": roc_auc,
    "uap": average_precision,
    "eer": lambda curve: equal_error(curve)[0],
    "tau_eer": lambda curve: equal_error(curve)[1],
    "tau_fpr_1": lambda curve: tau_at_fpr(curve, 0.01),
    "tau_fpr_5": lambda curve: tau_at_fpr(curve, 0.05),
    "tau_p90": lambda curve: recall_at_precision(curve, 0.9)[1],
    "recall_p90": lambda curve: recall_at_precision(curve, 0.9)[0],
}
"""Statistics of an operating curve: areas and rates in [0, 1], thresholds (`tau_*`) in [0, 2]."""

ACCEPTS = {
    "tau_fpr_1": "at most 1% of pairs of different kinds",
    "tau_fpr_5": "at most 5% of pairs of different kinds",
    "tau_eer": "equal error rates",
    "tau_p90": "nine in ten accepted pairs of one kind",
}
"""Name of a calibrated threshold -> what it accepts."""


@dataclass(frozen=True)
class Calibration:
    """Calibrated thresholds."""

    values: dict[str, Interval]  # name in `STATISTICS` -> estimate with its interval over categories
    curve: OperatingCurve  # of the calibration categories
    calibrated_on: tuple[str, ...]  # names of the calibration categories
    scored_on: tuple[str, ...]  # names of the scoring categories: the same if there are too few categories to divide
    check: OperatingCurve | None  # of the scoring categories; None if they are the calibration categories
    results: ResultThreshold  # threshold for a wanted precision among the results of a search

    @property
    def prevalence(self) -> float:
        """Share of same-kind pairs among all pairs, on which precision depends."""
        return float(self.curve.precision[-1])


def calibrate(
    vectors: Floats, categories: Sequence[str], images: Sequence[str], *, k: int = 10, wanted: float = WANTED, seed: int = 0
) -> Calibration:
    """Calibrate thresholds on a random half of the categories and check them on the others.

    With fewer than `ENOUGH` categories, all of them calibrate and nothing is checked.

    Args:
        vectors: (n, dim) vectors of clean photographs, of length 1.
        categories, images: n category names and n digests of the files.
        k: number of results of a search, from 1 to n - 1.
        wanted: precision that is wanted among accepted results, above 0 and at most 1.
        seed: seed of the division into halves.

    Raises:
        UserError: an argument is out of range, the vectors are not n finite vectors of length 1, there are fewer than two
            categories, or no category has two images.

    >>> angles = np.array([0.0, 0.1, 1.5, 1.6])  # two categories of two photographs each
    >>> vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    >>> calibrate(vectors, ["cats", "cats", "dogs", "dogs"], ["a", "b", "c", "d"], k=3).values["roc_auc"].point
    1.0
    """
    _require_share(wanted)
    if not isinstance(k, Integral) or k < 1:
        raise UserError(f"k must be a whole number from 1 up, not {k!r}")
    if len(images) != (n := len(categories)):
        raise UserError(f"{n} categories and {len(images)} images: each photograph has one of both")
    vectors = unit_rows(vectors, (n, -1), f"{n} categories need {n} vectors of length 1, one for each photograph")
    names = sorted(set(categories))
    divided = len(names) >= ENOUGH
    chosen = set(drawn(names, len(names) // 2, seed, "calibration")) if divided else set(names)
    labels = np.asarray(categories)
    content = codes(images)[0]

    def counted(names: set[str]) -> PairCounts:
        rows = np.flatnonzero(np.isin(labels, list(names)))
        return pair_counts(vectors[rows], codes(labels[rows])[0], content[rows])

    counts = counted(chosen)
    if not (counts.same.sum() and counts.different.sum()):
        raise UserError("a threshold needs at least two categories, and two photographs in one of them")
    require_results(k, n - 1)
    rest = set(names) - chosen
    return Calibration(
        values=jackknife(counts, STATISTICS),
        curve=counts.curve(),
        calibrated_on=tuple(sorted(chosen)),
        scored_on=tuple(sorted(rest or chosen)),
        check=counted(rest).curve() if rest else None,
        results=result_threshold(vectors, codes(labels)[0], content, k, wanted=wanted),
    )


def _require_share(wanted: float) -> None:
    if not 0 < wanted <= 1:
        raise UserError(f"a wanted precision must be above 0 and at most 1, not {wanted:g}")


def calibration_of(spec: RunSpec, *, wanted: float = WANTED, progress: bool = True) -> Calibration:
    """Calibrate on the clean photographs of a run with its encoder; `wanted` is the precision wanted among accepted results.

    Photographs that cannot be read are left out; a Python warning counts them. A `UserError` says what `calibrate` says, or that
    no photograph can be read.
    """
    _require_share(wanted)
    vectors, categories, digests = clean_embeddings(spec, progress)
    return calibrate(vectors, categories, digests, k=spec.k, wanted=wanted, seed=spec.seed)


def clean_embeddings(spec: RunSpec, progress: bool) -> tuple[Floats, list[str], list[str]]:
    """Embeddings, categories and digests of the clean photographs of a run."""
    encoder = load_encoder(spec.encoder, spec.precision, spec.engine, spec.device)
    options: Any = {"seed": spec.seed, "colour": spec.colour, "progress": progress}
    dataset = drawn_for(spec)
    found = embed(dataset.photos, [CLEAN], encoder, kept_embeddings(encoder), **options)
    require_some(found, dataset)
    if said := left_out(found.unreadable, len(found.photos)):
        warnings.warn(f"{spec.dataset_name}: {said}", stacklevel=3)
    return found.vectors[CLEAN], [photo.category for photo in found.photos], found.digests


def settable(tau: float) -> float:
    """A calibrated threshold with three decimals, as it is stated: rounded down, so that no more pairs are accepted.

    >>> settable(0.9146), settable(0.555)
    (0.914, 0.555)
    """
    return float(np.floor(1000 * tau + 1e-6) / 1000)


def threshold_frame(calibration: Calibration, tau: float = 0.8) -> pd.DataFrame:
    """Tabulate the calibrated thresholds (`settable`) with their intervals, then `tau`: a row for each threshold.

    `recall`, `fpr` and `precision` are computed on the calibration categories, `*_held_out` on the held-out categories.
    `precision` is that of all pairs and depends on `prevalence`, the share of same-kind pairs; `precision_of_results` is that
    of the accepted among the k results of each photograph.
    """
    results = calibration.results
    accepts = ACCEPTS | {
        "tau_results": f"{results.wanted:.0%} of accepted results of one kind",
        "tau": "the study's" if tau == 0.8 else "as given",
    }
    intervals = calibration.values | {"tau_results": results.tau, "tau": Interval(tau, math.nan, math.nan, "given", 0)}
    rows = []
    for name, wanted in accepts.items():
        value = tau if name == "tau" else settable(intervals[name].point)
        recall, fpr, precision = calibration.curve.at(value)
        row = {"threshold": name, "accepts": wanted, "tau": value, "low": intervals[name].low, "high": intervals[name].high}
        row |= {"cosine": 1 - value**2 / 2, "recall": recall, "fpr": fpr, "precision": precision}
        row |= {"prevalence": calibration.prevalence, "precision_of_results": results.curve.at(value)[2]}
        if calibration.check:
            row |= dict(zip(("recall_held_out", "fpr_held_out", "precision_held_out"), calibration.check.at(value), strict=True))
        rows.append(row)
    return pd.DataFrame(rows)
