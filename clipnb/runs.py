"""One run, from specification to result: the line that everything else extends.

data set -> photographs -> embeddings (clean, manipulated) -> neighbours -> distances -> rows
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ._core.paths import results_root, shown
from .checks import checked
from .datasets.dataset import Dataset, load_dataset
from .datasets.sampling import batch, sample
from .embedding.embed import Embeddings, embed, embed_texts, kept_embeddings
from .embedding.store import EmbeddingStore
from .encoders import TextEncoder, load_encoder
from .errors import DatasetError, UserError
from .manipulations import CLEAN, STUDY
from .metrics.measures import MEASURES, QueryResults
from .metrics.ranking import Bools, codes, rank_all
from .metrics.validity import result_distances, zero_shot
from .provenance import describe
from .result import Result, comparable
from .retrieval.neighbours import require_results
from .retrieval.results import DEAD, UNREADABLE, USABLE
from .retrieval.search import LookUp, SearchResults, opened
from .spec import RunSpec


def run(spec: RunSpec, *, batch_size: int = 0, workers: int | None = None, progress: bool = True) -> Result:
    """Measure one data set under one manipulation.

    The gallery is the data set (what was drawn of it), clean, unless the specification names another; each query is an image
    of the data set under the manipulation, its own image and copies of it excluded from the results. Embeddings are kept in
    the cache as they are made: an interrupted run goes on from there.

    Args:
        spec: what to measure.
        batch_size: images embedded at once, 0 for what suits the encoder; does not change the numbers.
        workers: threads that decode and manipulate; does not change the numbers.
        progress: show a bar.

    Raises:
        UserError: the data set is missing or too small, or a package is missing.

    >>> spec = RunSpec("sample-figures", "grey", "histogram", per_category=4, k=3)
    >>> run(spec, progress=False).noop_share
    0.0
    """
    started = time.monotonic()
    dataset = drawn_for(spec)
    if not spec.gallery:
        require_results(spec.k, len(dataset.photos) - 1)
    asked_for = batch(dataset.photos, spec.start, spec.step)
    encoder = load_encoder(spec.encoder, spec.precision, spec.engine)
    store = kept_embeddings(encoder)
    options: Any = {"seed": spec.seed, "batch_size": batch_size, "workers": workers, "progress": progress}
    conditions = list(dict.fromkeys((CLEAN, *spec.conditions)))
    asked = embed(asked_for, conditions, encoder, store, **options)
    gallery = asked if len(asked_for) == len(dataset.photos) else embed(dataset.photos, [CLEAN], encoder, store, **options)
    if not asked.photos:
        reason = next(iter(asked.unreadable.values()))
        raise DatasetError(f"none of the {len(asked_for)} images in {shown(dataset.root)} can be read; the first: {reason}")
    searched = opened(spec, asked, gallery, encoder, store, progress)
    named = name_categories(encoder, asked, gallery, spec.conditions, store) if isinstance(encoder, TextEncoder) else None
    rows = score(spec, asked, searched.look_up, named)
    if not rows["n_results"].any():
        reason = next(iter(searched.about["unusable"].values()), "nothing was returned")
        raise UserError(f"not one result of {spec.gallery or spec.dataset} can be scored; the first: {reason}")
    computed = asked.computed + (gallery.computed if gallery is not asked else 0)
    about = describe(dataset, encoder, gallery, computed, time.monotonic() - started)
    return checked(Result(spec, about | {"gallery": searched.about}, rows))


def saved_result(spec: RunSpec, root: Path | None = None) -> Result | None:
    """The result of exactly this specification, if a finished one was saved; a damaged one is warned of."""
    folder = (root or results_root()) / spec.run_id
    if not (folder / "run.json").is_file():
        return None
    try:
        saved = Result.load(folder)
    except UserError as error:
        warnings.warn(str(error), stacklevel=2)
        return None
    return saved if saved.spec == spec else None


def score(spec: RunSpec, asked: Embeddings, look_up: LookUp, named: Mapping[str, Bools] | None = None) -> pd.DataFrame:
    """Retrieve and score every query under the run's manipulation: one row a query and draw.

    Args:
        asked: the queries, clean and under each of the run's conditions.
        look_up: gives what they find under a condition.
        named: condition -> whether the category name nearest to each query is its own, where the encoder reads texts.
    """
    parts = [_score(spec, asked, look_up(name), name, draw, named) for draw, name in enumerate(spec.conditions)]
    return pd.concat(parts, ignore_index=True)


def _score(
    spec: RunSpec, asked: Embeddings, answer: SearchResults, condition: str, draw: int, named: Mapping[str, Bools] | None
) -> pd.DataFrame:
    found = answer.found
    query_results = _query_results(spec, asked, answer, condition, named)
    distances = query_results.distances
    values = {name: MEASURES[name].function(query_results) for name in MEASURES}
    return pd.DataFrame(
        {
            "category": [photo.category for photo in asked.photos],
            "image": [photo.path.name for photo in asked.photos],
            "draw": draw,
            "sha256": asked.digests,
            "input": [seen.hex() for seen in asked.inputs[condition]],
            "noop": [a == b for a, b in zip(asked.inputs[CLEAN], asked.inputs[condition], strict=True)],
            "strength": asked.effects[condition][:, 0],
            "difference": asked.effects[condition][:, 1],
            "n_asked": found.status.shape[1],
            "n_returned": found.count(USABLE, DEAD, UNREADABLE),
            "n_dead": found.count(DEAD),
            "n_unreadable": found.count(UNREADABLE),
            "n_results": found.count(USABLE),
            "n_valid": (distances < spec.tau).sum(axis=1),
            "results": [[found.ids[i] for i in row if i >= 0] for row in found.rows],
            "result_categories": [[found.categories[i] for i in row if i >= 0] for row in found.rows],
            "distances": [row[~np.isnan(row)] for row in distances],
            **{name: column for name, column in values.items() if column is not None},
        }
    )


def _query_results(
    spec: RunSpec, asked: Embeddings, answer: SearchResults, condition: str, named: Mapping[str, Bools] | None
) -> QueryResults:
    """What the queries found, as the measures take it."""
    found, clean = answer.found, asked.vectors[CLEAN]
    rows, categories = found.rows, [photo.category for photo in asked.photos]
    own_kind = hits = ranked = None
    if any(found.categories):
        own_kind = (np.asarray(found.categories)[rows] == np.asarray(categories)[:, None]) & (rows >= 0)
    if (labels := answer.labels) is not None:
        own, kinds = codes(categories, labels.categories)
        image, images = codes(asked.digests, labels.digests)
        ranked = rank_all(asked.vectors[condition], labels.vectors, (own, kinds), (image, images), labels.pictures, labels.bits)
        hits = (kinds[rows] == own[:, None]) & (images[rows] != image[:, None]) & (rows >= 0)
    return QueryResults(
        clean=clean,
        manipulated=asked.vectors[condition],
        rows=rows,
        distances=result_distances(clean, found.vectors, rows),
        tau=spec.tau,
        own_kind=own_kind,
        hits=hits,
        ranked=ranked,
        before=answer.before,
        named=named[condition] if named is not None else None,
    )


def name_categories(
    encoder: TextEncoder, asked: Embeddings, gallery: Embeddings, conditions: Sequence[str], store: EmbeddingStore
) -> dict[str, Bools]:
    """Condition -> whether each query's nearest category name, as a text, is its own. The prompt is the bare name."""
    labels = sorted({photo.category for photo in gallery.photos})
    prompts = embed_texts([label.replace("_", " ") for label in labels], encoder, store)
    at = np.searchsorted(labels, [photo.category for photo in asked.photos])
    return {name: zero_shot(asked.vectors[name], prompts, at) for name in conditions}


def drawn_for(spec: RunSpec) -> Dataset:
    """The photographs that take part in a run.

    Raises:
        DatasetError: its data set is missing, or has fewer categories than asked for.
    """
    return sample(load_dataset(spec.dataset), spec.categories, spec.per_category, spec.seed)


def study_runs(dataset: str, encoder: str = "", **settings: object) -> list[Result]:
    """The saved runs of the study's conditions that can be compared with the clean one, in the study's order.

    Where the clean run was never saved (in Colab, say), all of them are run now.

    >>> [result.spec.manip for result in study_runs("sample-figures", "histogram", per_category=4, k=3)]
    ['original', 'blurred', 'cropped', 'grey']
    """
    clean = RunSpec(dataset, CLEAN, encoder, **settings)  # type: ignore[arg-type]
    specs = [clean.under(manip) for manip in STUDY]
    if (kept := saved_result(clean)) is None:
        return [run(spec) for spec in specs]
    return [result for spec in specs if (result := saved_result(spec)) and comparable(result, kept)]


def saved_group(dataset: str, encoder: str = "", **settings: object) -> list[Result]:
    """All saved runs of `study_runs`, those that cannot be compared too."""
    clean = RunSpec(dataset, CLEAN, encoder, **settings)  # type: ignore[arg-type]
    return [result for manip in STUDY if (result := saved_result(clean.under(manip)))]
