"""One run, from specification to result: the line that everything else extends.

data set -> photographs -> embeddings (clean, manipulated) -> neighbours -> distances -> rows
"""

from __future__ import annotations

import time

import numpy as np
import pandas as pd

from .agreement import overlap, rbo
from .datasets import load_dataset
from .embed import Embeddings, embed
from .encoders import TextEncoder, load_encoder
from .errors import DatasetError
from .manipulations import CLEAN
from .measures import result_distances, shift, valid_at_k, zero_shot
from .paths import cache_root, results_root, shown
from .provenance import describe
from .ranking import codes, precision_at_k, rank_all, recall_at_k
from .results import Result
from .retrieval import ExactIndex, require_results, retrieve
from .spec import RunSpec
from .store import EmbeddingStore


def run(spec: RunSpec, *, batch_size: int = 0, workers: int | None = None, progress: bool = True) -> Result:
    """Measure one data set under one manipulation.

    The gallery is the data set itself, clean; each query is an image of it under the manipulation, its own image
    excluded from the results. Embeddings are kept in the cache as they are made: an interrupted run goes on from there.

    Args:
        spec: what to measure.
        batch_size: images embedded at once, 0 for what suits the encoder; does not change the numbers.
        workers: threads that decode and manipulate; does not change the numbers.
        progress: show a bar.

    Raises:
        UserError: the data set is missing or too small, or a package is missing.
    """
    started = time.monotonic()
    dataset = load_dataset(spec.dataset)
    require_results(spec.k, len(dataset.photos) - 1)
    encoder = load_encoder(spec.encoder, spec.precision)
    store = EmbeddingStore(cache_root() / "embeddings", encoder.identity, encoder.dim)
    manips = list(dict.fromkeys((CLEAN, spec.manip)))
    embedded = embed(
        dataset.photos, manips, encoder, store, seed=spec.seed, batch_size=batch_size, workers=workers, progress=progress
    )
    if not embedded.photos:
        reason = next(iter(embedded.unreadable.values()))
        raise DatasetError(f"none of the {len(dataset.photos)} images in {shown(dataset.root)} can be read; the first: {reason}")
    rows = score(spec, embedded)
    if isinstance(encoder, TextEncoder):
        rows["zero_shot"] = name_categories(encoder, embedded, spec.manip)
    return Result(spec, describe(dataset, encoder, embedded, time.monotonic() - started), rows)


def saved_result(spec: RunSpec) -> Result | None:
    """The result of exactly this specification, if a finished one was saved."""
    folder = results_root() / spec.run_id
    if not (folder / "run.json").is_file():
        return None
    saved = Result.load(folder)
    return saved if saved.spec == spec else None


def score(spec: RunSpec, embedded: Embeddings) -> pd.DataFrame:
    """Retrieve and score every photograph under the run's manipulation: one row a query."""
    clean, queries = embedded.vectors[CLEAN], embedded.vectors[spec.manip]
    index = ExactIndex(clean)
    found, before = (retrieve(index, vectors, spec.k, embedded.digests, embedded.digests) for vectors in (queries, clean))
    distances = result_distances(clean, clean, found)
    ids = [photo.id for photo in embedded.photos]
    kinds = [photo.category for photo in embedded.photos]
    return pd.DataFrame(
        {
            "category": kinds,
            "image": [photo.path.name for photo in embedded.photos],
            "sha256": embedded.digests,
            "noop": [a == b for a, b in zip(embedded.inputs[CLEAN], embedded.inputs[spec.manip], strict=True)],
            "shift": shift(clean, queries),
            "n_results": (~np.isnan(distances)).sum(axis=1),
            "n_valid": (distances < spec.tau).sum(axis=1),
            "accuracy": valid_at_k(distances, spec.tau),
            "results": [[ids[i] for i in row if i >= 0] for row in found],
            "result_categories": [[kinds[i] for i in row if i >= 0] for row in found],
            "distances": [row[~np.isnan(row)] for row in distances],
            **ranking_columns(embedded, spec.manip, found, before),
        }
    )


def ranking_columns(embedded: Embeddings, manip: str, found: np.ndarray, before: np.ndarray) -> dict[str, np.ndarray]:
    """What labels, and the query as it was, say of each ranking: columns of (q,).

    Args:
        embedded: the photographs; clean, they are the gallery.
        manip: what was done to the queries.
        found, before: (q, k) results of the manipulated and of the clean queries.
    """
    kinds, images = codes([photo.category for photo in embedded.photos])[0], codes(embedded.digests)[0]
    ranked = rank_all(embedded.vectors[manip], embedded.vectors[CLEAN], (kinds, kinds), (images, images))
    hits = (kinds[found] == kinds[:, None]) & (found >= 0)
    return {
        "p_at_k": precision_at_k(hits),
        "r_at_k": recall_at_k(hits, ranked.precisions.relevant),
        "ap": ranked.precisions.ap,
        "ap_at_r": ranked.precisions.ap_at_r,
        "self_rr": ranked.self_rr,
        "overlap": overlap(found, before),
        "rbo": rbo(found, before),
    }


def name_categories(encoder: TextEncoder, embedded: Embeddings, manip: str) -> np.ndarray:
    """Whether each query's nearest category name, as a text, is its own: (q,) bool. The prompt is the bare name."""
    labels, at = np.unique([photo.category for photo in embedded.photos], return_inverse=True)
    prompts = encoder.encode_text([str(label).replace("_", " ") for label in labels])
    return zero_shot(embedded.vectors[manip], prompts, at)
