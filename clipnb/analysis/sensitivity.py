"""Dependence of measures on the size of the gallery, and on the seed of a random manipulation.

`threshold_sweep` has the dependence on the threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._core.random import rng_for
from ..embedding.embed import embed, kept_embeddings
from ..encoders import load_encoder
from ..errors import UserError
from ..manipulations import CLEAN
from ..metrics.ranking import Integers, codes, in_steps, similarity_blocks
from ..metrics.validity import Floats
from ..result import Result
from ..runs import drawn_for
from ..spec import RunSpec
from ..stats.intervals import ALPHA, FEWEST, Interval, category_means, macro_mean, mean_interval
from ..stats.sign_flips import change_interval

CURVES = {"valid": "valid@k", "p_at_k": "P@k by category", "found": "original found first"}
"""Measures of a curve -> their labels."""

RESAMPLES = 2_000
"""Resamples of `nested_interval`."""


def gallery_curve(
    queries: Floats,
    clean: Floats,
    categories: Integers,
    images: Integers,
    sizes: Sequence[int],
    *,
    k: int = 10,
    tau: float = 0.8,
    repeats: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure the queries of a data set in random parts of it.

    A part is the beginning of a random order of the photographs, so larger parts contain smaller ones. The query's own content is
    left out of the results, except for `found`, for which the original is always in the gallery.

    Args:
        queries, clean: (n, dim) unit embeddings of the manipulated and of the clean photographs; the clean ones are the gallery.
        categories, images: (n,) codes of category and content.
        sizes: sizes of the parts, above k and at most n.
        k: number of results.
        tau: threshold of valid@k.
        repeats: number of random orders, over which a query's values are averaged.
        seed: seed of the orders.

    Returns:
        A row for each measure in `CURVES` and size: measure, size, value, low, high, categories. `value` is the macro mean, with
        its 95% interval over categories. P@k leaves out queries without another photograph of their category in the part.

    Raises:
        UserError: a size is out of range.
    """
    if wrong := [size for size in sizes if not k < size <= len(clean)]:
        raise UserError(f"a gallery must have more than k = {k} and at most all {len(clean)} photographs, not {wrong[0]}")
    by_content = np.argsort(images, kind="stable")
    orders = [by_content[rng_for(seed, "gallery", repeat).permutation(len(clean))] for repeat in range(repeats)]
    values = {name: np.full((len(sizes), repeats, len(clean)), np.nan) for name in CURVES}
    for rows, cosine in similarity_blocks(queries, clean):
        same, own = (codes_[rows, None] == codes_ for codes_ in (categories, images))
        near = 2 - 2 * (np.asarray(clean[rows], dtype=np.float64) @ np.asarray(clean, dtype=np.float64).T) < tau**2
        steps = in_steps(cosine)
        original = np.where(own, steps, -np.inf).max(axis=1)
        others = np.where(own, -np.inf, steps)
        for repeat, order in enumerate(orders):
            for at, size in enumerate(sizes):
                part = order[:size]
                top = part[np.argpartition(-2 * others[:, part] + same[:, part], k - 1, axis=1)[:, :k]]
                hits, valid, usable = (np.take_along_axis(m, top, axis=1) for m in (same & ~own, near & ~own, ~own))
                some = (same & ~own)[:, part].any(axis=1)
                values["p_at_k"][at, repeat, rows] = np.where(some, hits.mean(axis=1), np.nan)
                values["valid"][at, repeat, rows] = valid.sum(axis=1) / usable.sum(axis=1)
                values["found"][at, repeat, rows] = original > others[:, part].max(axis=1)
    table = []
    for name, cube in values.items():
        for size, column in zip(sizes, cube, strict=True):
            means = _by_category(column, categories)
            found = mean_interval(means, bounds=(0.0, 1.0)) if means else Interval(np.nan, np.nan, np.nan, "t", 0)
            table.append((name, size, found.point, found.low, found.high, found.n))
    return pd.DataFrame(table, columns=["measure", "size", "value", "low", "high", "categories"])


def _by_category(values: NDArray[np.float64], categories: Integers) -> list[float]:
    """Category means of (repeats, n) values, over the queries and repeats that have one."""
    images = pd.DataFrame(values.T).mean(axis=1)
    return list(category_means({str(c): list(part) for c, part in images.groupby(categories)}).values())


def gallery_curve_of(spec: RunSpec, sizes: Sequence[int], *, progress: bool = True) -> pd.DataFrame:
    """Compute `gallery_curve` for the photographs, the first draw of the condition, k, tau and seed of a run.

    Raises:
        UserError: the data set is missing, or a size is out of range.
    """
    encoder = load_encoder(spec.encoder, spec.precision, spec.engine)
    condition = spec.conditions[0]
    asked = list(dict.fromkeys((CLEAN, condition)))
    options: Any = {"seed": spec.seed, "colour": spec.colour, "progress": progress}
    found = embed(drawn_for(spec).photos, asked, encoder, kept_embeddings(encoder), **options)
    labels = codes([photo.category for photo in found.photos])[0], codes(found.digests)[0]
    vectors = found.vectors[condition], found.vectors[CLEAN]
    return gallery_curve(*vectors, *labels, sizes, k=spec.k, tau=spec.tau, seed=spec.seed)


def draw_changes(clean: Result, edited: Result, measure: str = "valid") -> list[Floats]:
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
    categories. There are no bounds for fewer than `FEWEST`.

    Args:
        scores: the (m, d) scores of m images in d draws, for each of G categories.
    """
    rng, groups = rng_for(seed, "nested"), len(scores)
    point = macro_mean([float(values.mean()) for values in scores])
    if groups < FEWEST:
        return Interval(point, np.nan, np.nan, "percentile", groups)
    drawn = rng.integers(0, groups, (RESAMPLES, groups))
    means = np.empty(drawn.shape)
    for category, values in enumerate(scores):
        (images, draws), here = values.shape, drawn == category
        chosen = rng.integers(0, images, (here.sum(), images, 1))
        means[here] = values[chosen, rng.integers(0, draws, (len(chosen), images, draws))].mean(axis=(1, 2))
    low, high = np.quantile(means.mean(axis=1), [ALPHA / 2, 1 - ALPHA / 2])
    return Interval(point, float(low), float(high), "percentile", groups)


def draws_frame(results: Sequence[Result], measure: str = "valid") -> pd.DataFrame:
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
