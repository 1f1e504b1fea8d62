"""Dependence of changes on the seed of a random manipulation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from .._core.random import rng_for
from ..manipulations import CLEAN
from ..metrics.validity import Floats
from ..result import Result
from ..stats.intervals import ALPHA, FEWEST, Interval, macro_mean, ticks
from ..stats.sign_flips import change_interval

RESAMPLES = 2_000  # resamples of `nested_interval`


def draw_changes(clean: Result, edited: Result, measure: str) -> list[Floats]:
    """Edited minus clean: for each of G categories the (m, d) changes of m images in d draws.

    Images without a value on the clean photograph or in one of the draws are left out.
    """
    before = clean.by_image(clean.column(measure))
    wide = edited.rows.assign(value=edited.column(measure)).pivot(index=["category", "image"], columns="draw", values="value")
    changes = wide.sub(before, axis=0).dropna()
    return [part.to_numpy() for _, part in changes.groupby(level="category", sort=True)]


def nested_interval(scores: Sequence[Floats], seed: int = 0) -> Interval:
    """95% hierarchical bootstrap interval of a macro mean: categories, their images and the images' draws are resampled in turn.

    It is wider than an interval that resamples categories alone. Like every percentile interval, it covers too little with few
    categories; there are no bounds for fewer than `FEWEST`, or if all scores are equal. `scores` has the (m, d) scores of m
    images in d draws for each category.
    """
    rng, groups = rng_for(seed, "nested"), len(scores)
    point = macro_mean([float(values.mean()) for values in scores])
    constant = not np.ptp(ticks(np.concatenate([values.ravel() for values in scores])))
    if groups < FEWEST or constant:
        return Interval(point, np.nan, np.nan, "percentile", groups, constant=constant)
    drawn = rng.integers(0, groups, (RESAMPLES, groups))
    means = np.empty(drawn.shape)
    for category, values in enumerate(scores):
        (images, draws), here = values.shape, drawn == category
        chosen = rng.integers(0, images, (here.sum(), images, 1))
        means[here] = values[chosen, rng.integers(0, draws, (len(chosen), images, draws))].mean(axis=(1, 2))
    low, high = np.quantile(means.mean(axis=1), [ALPHA / 2, 1 - ALPHA / 2])
    return Interval(point, float(low), float(high), "percentile", groups)


def draws_frame(results: Sequence[Result], measure: str) -> pd.DataFrame:
    """Dependence of the changes of runs with several draws on the seed: one row per run whose clean run is in `results`.

    `change` has the interval over categories (`low`, `high`). `lowest` and `highest` are the extreme changes of single
    draws, as other seeds might give. `nested_low` and `nested_high` bound `nested_interval`.
    """
    clean = {r.spec.group_id: r for r in results if r.spec.manip == CLEAN}
    rows = []
    for r in results:
        if r.spec.draws > 1 and r.spec.group_id in clean and (changes := draw_changes(clean[r.spec.group_id], r, measure)):
            by_draw = np.mean([values.mean(axis=0) for values in changes], axis=0)
            nested = nested_interval(changes, seed=r.spec.seed)
            over = change_interval([values.mean() for values in changes], seed=r.spec.seed)
            row = {"run": r.spec.run_id, "categories": len(changes), "draws": r.spec.draws, **over.columns("change")}
            rows.append(row | {"lowest": by_draw.min(), "highest": by_draw.max(), **nested.columns("nested")})
    return pd.DataFrame(rows).drop(columns="nested", errors="ignore")
