"""One run, from specification to result: the line that everything else extends.

data set -> photographs -> embeddings (clean, manipulated) -> neighbours -> distances -> rows
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .agreement import overlap, rbo
from .embed import Embeddings, embed, embed_texts, kept_embeddings
from .encoders import TextEncoder, load_encoder
from .errors import DatasetError, UserError
from .galleries import Answer, LookUp, opened
from .galleries.found import DEAD, UNREADABLE, USABLE
from .manipulations import CLEAN
from .measures import result_distances, shift, valid_at_k, zero_shot
from .paths import results_root, shown
from .provenance import describe
from .ranking import codes, precision_at_k, rank_all, recall_at_k
from .results import Result
from .retrieval import require_results
from .sampling import batch, drawn_for
from .spec import RunSpec
from .store import EmbeddingStore


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
    rows = score(spec, asked, searched.look_up)
    if not rows["n_results"].any():
        reason = next(iter(searched.about["unusable"].values()), "nothing was returned")
        raise UserError(f"not one result of {spec.gallery or spec.dataset} can be scored; the first: {reason}")
    if isinstance(encoder, TextEncoder):
        rows["zero_shot"] = name_categories(encoder, asked, gallery, spec.conditions, store)
    computed = asked.computed + (gallery.computed if gallery is not asked else 0)
    about = describe(dataset, encoder, gallery, computed, time.monotonic() - started)
    return Result(spec, about | {"gallery": searched.about}, rows)


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


def score(spec: RunSpec, asked: Embeddings, look_up: LookUp) -> pd.DataFrame:
    """Retrieve and score every query under the run's manipulation: one row a query and draw.

    Args:
        asked: the queries, clean and under each of the run's conditions.
        look_up: gives what they find under a condition.
    """
    return pd.concat(
        [_score(spec, asked, look_up(name), name, draw) for draw, name in enumerate(spec.conditions)], ignore_index=True
    )


def _score(spec: RunSpec, asked: Embeddings, answer: Answer, condition: str, draw: int) -> pd.DataFrame:
    clean, found = asked.vectors[CLEAN], answer.found
    distances = result_distances(clean, found.vectors, found.rows)
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
            "shift": shift(clean, asked.vectors[condition]),
            "n_asked": found.status.shape[1],
            "n_returned": found.count(USABLE, DEAD, UNREADABLE),
            "n_dead": found.count(DEAD),
            "n_unreadable": found.count(UNREADABLE),
            "n_results": found.count(USABLE),
            "n_valid": (distances < spec.tau).sum(axis=1),
            "accuracy": valid_at_k(distances, spec.tau),
            "results": [[found.ids[i] for i in row if i >= 0] for row in found.rows],
            "result_categories": [[found.categories[i] for i in row if i >= 0] for row in found.rows],
            "distances": [row[~np.isnan(row)] for row in distances],
            **ranking_columns(asked, condition, answer),
        }
    )


def ranking_columns(asked: Embeddings, condition: str, answer: Answer) -> dict[str, np.ndarray]:
    """What labels, and the query as it was, say of each ranking: columns of (q,), none of what the gallery cannot tell.

    Args:
        asked: the queries.
        condition: what was done to them.
        answer: what they found.
    """
    columns: dict[str, np.ndarray] = {}
    found = answer.found.rows
    if answer.labels is not None:
        labels = answer.labels
        own, kinds = codes([photo.category for photo in asked.photos], labels.categories)
        image, images = codes(asked.digests, labels.digests)
        queries = asked.vectors[condition]
        ranked = rank_all(queries, labels.vectors, (own, kinds), (image, images), labels.pictures, labels.bits)
        hits = (kinds[found] == own[:, None]) & (images[found] != image[:, None]) & (found >= 0)
        columns |= {
            "p_at_k": precision_at_k(hits),
            "r_at_k": recall_at_k(hits, ranked.precisions.relevant),
            "ap": ranked.precisions.ap,
            "ap_at_r": ranked.precisions.ap_at_r,
            "self_rr": ranked.self_rr,
        }
    if answer.before is not None:
        columns |= {"overlap": overlap(found, answer.before), "rbo": rbo(found, answer.before)}
    return columns


def name_categories(
    encoder: TextEncoder, asked: Embeddings, gallery: Embeddings, conditions: Sequence[str], store: EmbeddingStore
) -> np.ndarray:
    """Whether each query's nearest category name, as a text, is its own, draw by draw. The prompt is the bare name."""
    labels = sorted({photo.category for photo in gallery.photos})
    prompts = embed_texts([label.replace("_", " ") for label in labels], encoder, store)
    at = np.searchsorted(labels, [photo.category for photo in asked.photos])
    return np.concatenate([zero_shot(asked.vectors[name], prompts, at) for name in conditions])
