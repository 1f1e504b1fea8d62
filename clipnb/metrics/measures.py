"""The measures of a run, each one registered object: its name, range, meaning, and what a query without a value scores.

A run has a column for each measure that its gallery allows; tables, plots, `--measure` and the glossary follow from the
registry. To add a measure is to add a function here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._core.registry import Registry
from . import agreement, ranking, validity
from .ranking import Bools, Integers, Ranked
from .validity import Floats


@dataclass(frozen=True)
class QueryResults:
    """What q queries of one condition found, k results each.

    Attributes:
        clean, manipulated: (q, dim) unit embeddings v and v'.
        rows: (q, k) results as rows of the gallery, best first, -1 where there is none.
        distances: (q, k) L2 distance of each result to v, NaN where there is none.
        tau: the threshold.
        own_kind: (q, k) which results have the query's category; None where the gallery names no categories.
        hits: (q, k) those of `own_kind` that are not the query's own image; None where not all of the gallery is labelled.
        ranked: the whole gallery ranked for each query; None where not all of it is labelled.
        before: (q, k) results of the clean queries, as `rows`; None of a service, which is asked once.
        named: (q,) whether the nearest category name is the query's own; None where the encoder reads no texts.
    """

    clean: Floats
    manipulated: Floats
    rows: Integers
    distances: Floats
    tau: float
    own_kind: Bools | None = None
    hits: Bools | None = None
    ranked: Ranked | None = None
    before: Integers | None = None
    named: Bools | None = None


Values = NDArray[np.float64] | None
"""(q,) a value a query, NaN where it has none; None where nothing can be said of any query."""


@dataclass(frozen=True)
class Measure:
    """One measure.

    Attributes:
        name: how it is typed, and its column in a run's rows.
        label: how figures and tables call it.
        range: lowest and highest value.
        meaning: what it says, in one sentence.
        absent: which queries have no value.
        function: its values.
    """

    name: str
    label: str
    range: tuple[float, float]
    meaning: str
    absent: str
    function: Callable[[QueryResults], Values]


MEASURES: Registry[Measure] = Registry("measure")

NO_RESULT = "a query without a usable result"
NO_RELEVANT = "a query whose category has no other image in the gallery"


def _register(
    name: str, *aliases: str, label: str, meaning: str, absent: str, range: tuple[float, float] = (0.0, 1.0)
) -> Callable[[Callable[[QueryResults], Values]], Callable[[QueryResults], Values]]:
    def add(function: Callable[[QueryResults], Values]) -> Callable[[QueryResults], Values]:
        MEASURES.register(name, *aliases)(Measure(name, label, range, meaning, absent, function))
        return function

    return add


@_register(
    "valid",
    "accuracy",
    "valid_at_k",
    label="valid@k (L2 threshold)",
    meaning="Share of the k results that lie within tau of the query before manipulation: the study's accuracy.",
    absent=NO_RESULT,
)
def _valid(q: QueryResults) -> Values:
    return validity.valid_at_k(q.distances, q.tau)


@_register(
    "found",
    "self_at_1",
    label="original found first",
    meaning="Whether the unedited original, kept in the gallery for this, is the first result of the edited query.",
    absent="a query whose original is not in the gallery",
)
def _found(q: QueryResults) -> Values:
    if q.ranked is None:
        return None
    return np.where(np.isnan(q.ranked.self_rr), np.nan, q.ranked.self_rr == 1)


@_register(
    "found_rr",
    "self_rr",
    label="reciprocal rank of the original",
    meaning="1 / rank of the unedited original among all images of the gallery.",
    absent="a query whose original is not in the gallery",
)
def _found_rr(q: QueryResults) -> Values:
    return None if q.ranked is None else q.ranked.self_rr


@_register(
    "p1",
    "p_at_1",
    label="P@1 by category",
    meaning="Whether the first result is of the query's category.",
    absent=NO_RESULT,
)
def _p1(q: QueryResults) -> Values:
    if q.own_kind is None:
        return None
    usable = q.rows >= 0
    first = np.argmax(usable, axis=1)
    return np.where(usable.any(axis=1), np.take_along_axis(q.own_kind, first[:, None], axis=1)[:, 0], np.nan)


@_register("p_at_k", label="P@k by category", meaning="Share of the k results that are of the query's category.", absent=NO_RESULT)
def _p_at_k(q: QueryResults) -> Values:
    return None if q.hits is None else ranking.precision_at_k(q.hits)


@_register(
    "r_at_k",
    label="R@k by category",
    meaning="Share of the category's other images that are among the k results.",
    absent=NO_RELEVANT,
)
def _r_at_k(q: QueryResults) -> Values:
    return None if q.hits is None or q.ranked is None else ranking.recall_at_k(q.hits, q.ranked.precisions.relevant)


@_register(
    "map",
    "ap",
    label="mAP by category",
    meaning="Average precision of the whole ranking, by category; its mean over queries is mAP.",
    absent=NO_RELEVANT,
)
def _map(q: QueryResults) -> Values:
    return None if q.ranked is None else q.ranked.precisions.ap


@_register(
    "map_at_r",
    "ap_at_r",
    label="mAP@R by category",
    meaning="Average precision of the first R results, R being the number of the category's other images.",
    absent=NO_RELEVANT,
)
def _map_at_r(q: QueryResults) -> Values:
    return None if q.ranked is None else q.ranked.precisions.ap_at_r


@_register(
    "overlap",
    label="overlap with the clean results",
    meaning="Share of the k results that the clean query finds too.",
    absent="a query without any result, clean or edited",
)
def _overlap(q: QueryResults) -> Values:
    return None if q.before is None else agreement.overlap(q.rows, q.before)


@_register(
    "rbo",
    label="agreement with the clean results (RBO)",
    meaning="Rank-biased overlap of the results with those of the clean query.",
    absent="a query without any result, clean or edited",
)
def _rbo(q: QueryResults) -> Values:
    return None if q.before is None else agreement.rbo(q.rows, q.before)


@_register(
    "shift",
    label="shift of the embedding",
    meaning="How far the manipulation moved the embedding: 1 - cos(v, v').",
    absent="none",
    range=(0.0, 2.0),
)
def _shift(q: QueryResults) -> Values:
    return validity.shift(q.clean, q.manipulated)


@_register(
    "zero_shot",
    label="named by category, zero-shot",
    meaning="Whether the category name nearest to the query, as a text, is its own.",
    absent="none",
)
def _zero_shot(q: QueryResults) -> Values:
    return None if q.named is None else q.named.astype(np.float64)
