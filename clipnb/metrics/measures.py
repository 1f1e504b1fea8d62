"""The measures of a run: one registered object each, with name, range, meaning, and the queries that have no value.

The rows of a run have a column for each measure that its gallery allows. Tables, plots, `--measure` and the glossary
follow from the registry. To add a measure, add an entry to `_ALL`.

>>> results = QueryResults(
...     clean=np.array([[1.0, 0.0]]),
...     manipulated=np.array([[0.0, 1.0]]),
...     rows=np.array([[4, 2]]),
...     distances=np.array([[0.5, 1.0]]),
...     tau=0.8,
... )
>>> MEASURES["valid"].function(results), MEASURES["shift"].function(results)
(array([0.5]), array([1.]))
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
from .zero_shot import Texts, retrieved_by_text, zero_shot


@dataclass(frozen=True)
class QueryResults:
    """The k results of each of q queries under one condition."""

    clean: Floats  #: (q, dim) unit embeddings v of the queries
    manipulated: Floats  #: (q, dim) unit embeddings v' of the queries under the condition
    rows: Integers  #: (q, k) rows of the gallery, best first, -1 where there is no result
    distances: Floats  #: (q, k) L2 distance of each result to v, NaN where there is no result
    tau: float  #: threshold on the distance
    own_kind: Bools | None = None  #: (q, k) whether a result has the query's category; None if the gallery has no categories
    hits: Bools | None = None  #: (q, k) `own_kind` without the query's own image; None unless the whole gallery is labelled
    ranked: Ranked | None = None  #: ranking of the whole gallery for each query; None unless the whole gallery is labelled
    before: Integers | None = None  #: (q, k) `rows` of the clean queries; None for a service, which gets only manipulated queries
    texts: Texts | None = None  #: texts of the categories; None if the encoder cannot embed texts


Values = NDArray[np.float64] | None
"""(q,) one value per query, NaN for a query without a value; None if the measure is not defined for the run."""


@dataclass(frozen=True)
class Measure:
    """One measure."""

    name: str  #: the name to type, and the column in a run's rows
    label: str  #: the name in figures and tables
    meaning: str  #: the definition in one sentence
    function: Callable[[QueryResults], Values]  #: computes the values
    absent: str = "none"  #: the queries that have no value
    range: tuple[float, float] = (0.0, 1.0)  #: lowest and highest value
    #: (R of each category, N) -> the expected value for a random ranking of N other images, R of them of the query's category
    chance: Callable[[Integers, int], Floats] | None = None
    aliases: tuple[str, ...] = ()  #: other spellings


MEASURES: Registry[Measure] = Registry("measure")

HEADLINES = ("found", "p1", "map", "valid")
"""Measures in tables of several runs."""

OF_TEXTS = ("zero_shot", "zero_shot_bare", "misread", "text_r_at_k")
"""Measures that need the texts of the categories."""

NO_RESULT = "a query without a usable result"
NO_RELEVANT = "a query whose category has no other image in the gallery"
NO_ORIGINAL = "a query whose original is not in the gallery"
NO_RESULT_OR_RELEVANT = f"{NO_RESULT}, or {NO_RELEVANT.removeprefix('a query ')}"
NO_RESULTS = "a query without any result, clean or edited"


def _p1(q: QueryResults) -> Values:
    if q.own_kind is None:
        return None
    usable = q.rows >= 0
    first = np.argmax(usable, axis=1)
    return _if_relevant(q, np.where(usable.any(axis=1), np.take_along_axis(q.own_kind, first[:, None], axis=1)[:, 0], np.nan))


def _if_relevant(q: QueryResults, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replace the value of a query without relevant images by NaN, if the whole gallery is labelled."""
    return values if q.ranked is None else np.where(q.ranked.relevant > 0, values, np.nan)


def _named(q: QueryResults, by: str, label: str = "own") -> Values:
    """Whether the nearest text is that of a label: `by` prompts or names, the label `own` or `written`."""
    if q.texts is None or (labels := getattr(q.texts, label)) is None:
        return None
    return zero_shot(q.manipulated, getattr(q.texts, by), labels).astype(np.float64)


def _text_r_at_k(q: QueryResults) -> Values:
    if q.texts is None or not q.texts.whole:
        return None
    return retrieved_by_text(q.manipulated, q.texts.prompts, q.texts.own, q.rows.shape[1]).astype(np.float64)


_ALL = (
    Measure(
        "found",
        "original found first",
        "Whether the unedited original, which stays in the gallery for this measure, is the first result of the edited query.",
        lambda q: None if q.ranked is None else np.where(np.isnan(q.ranked.self_rr), np.nan, q.ranked.self_rr == 1),
        absent=NO_ORIGINAL,
        chance=lambda relevant, others: np.full(len(relevant), 1 / (others + 1)),
        aliases=("self_at_1",),
    ),
    Measure(
        "found_rr",
        "reciprocal rank of the original",
        "1 / rank of the unedited original among all images of the gallery.",
        lambda q: None if q.ranked is None else q.ranked.self_rr,
        absent=NO_ORIGINAL,
        aliases=("self_rr",),
    ),
    Measure(
        "p1",
        "P@1 by category",
        "Whether the first result has the query's category.",
        _p1,
        absent=NO_RESULT_OR_RELEVANT,
        chance=lambda relevant, others: relevant / others,
        aliases=("p_at_1", "P@1"),
    ),
    Measure(
        "p_at_k",
        "P@k by category",
        "Share of the k results that have the query's category.",
        lambda q: None if q.hits is None else _if_relevant(q, ranking.precision_at_k(q.hits)),
        absent=NO_RELEVANT,
        chance=lambda relevant, others: relevant / others,
        aliases=("P@k",),
    ),
    Measure(
        "r_at_k",
        "R@k by category",
        "Share of the category's other images that are among the k results.",
        lambda q: None if q.hits is None or q.ranked is None else ranking.recall_at_k(q.hits, q.ranked.relevant),
        absent=NO_RELEVANT,
        aliases=("R@k",),
    ),
    Measure(
        "map",
        "mAP by category",
        "Average precision of the whole ranking, by category; its mean over queries is mAP.",
        lambda q: None if q.ranked is None else q.ranked.ap,
        absent=NO_RELEVANT,
        chance=ranking.expected_ap,
        aliases=("ap", "mAP"),
    ),
    Measure(
        "map_at_r",
        "mAP@R by category",
        "Average precision of the first R results, where R is the number of other images in the category.",
        lambda q: None if q.ranked is None else q.ranked.ap_at_r,
        absent=NO_RELEVANT,
        aliases=("ap_at_r", "mAP@R"),
    ),
    Measure(
        "valid",
        "valid@k (L2 threshold)",
        "Share of the k results within distance tau of the clean query; the study calls it accuracy.",
        lambda q: validity.valid_at_k(q.distances, q.tau),
        absent=NO_RESULT,
        aliases=("accuracy", "valid_at_k", "valid@k"),
    ),
    Measure(
        "overlap",
        "overlap with the clean results",
        "Share of the k results that the clean query also finds.",
        lambda q: None if q.before is None else agreement.overlap(q.rows, q.before),
        absent=NO_RESULTS,
    ),
    Measure(
        "rbo",
        "agreement with the clean results (RBO)",
        "Rank-biased overlap of the results of the edited query and of the clean query.",
        lambda q: None if q.before is None else agreement.rbo(q.rows, q.before),
        absent=NO_RESULTS,
    ),
    Measure(
        "shift",
        "shift of the embedding",
        "Distance that the manipulation moves the embedding: 1 - cos(v, v').",
        lambda q: validity.shift(q.clean, q.manipulated),
        range=(0.0, 2.0),
    ),
    Measure(
        "zero_shot",
        "named by category, zero-shot",
        "Whether the text nearest to the query, by the prompts of the run, names its category.",
        lambda q: _named(q, "prompts"),
        chance=lambda relevant, others: np.full(len(relevant), 1 / len(relevant)),
    ),
    Measure(
        "zero_shot_bare",
        "named by category, zero-shot, bare names",
        "Whether the bare name nearest to the query names its category.",
        lambda q: _named(q, "names"),
        chance=lambda relevant, others: np.full(len(relevant), 1 / len(relevant)),
    ),
    Measure(
        "misread",
        "named by the written word",
        "Whether the text nearest to the query names the category that is written on the photograph.",
        lambda q: _named(q, "prompts", "written"),
    ),
    Measure(
        "text_r_at_k",
        "R@k by text",
        "Whether the photograph is among the first k results of its category's text in a gallery of all edited "
        "photographs; the mean over a category of R photographs is the recall of its text, at most k / R.",
        _text_r_at_k,
    ),
)
for _measure in _ALL:
    MEASURES.register(_measure, _measure.name, *_measure.aliases)
