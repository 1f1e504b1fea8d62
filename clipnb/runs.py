"""One run, from its specification to its result.

data set -> photographs -> embeddings (clean, manipulated) -> neighbours -> distances -> rows
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from . import checks
from ._core.files import require_writable
from ._core.paths import normalized_dataset, results_root
from ._core.text import is_service
from .comparable import comparable
from .datasets.dataset import Dataset, batch, fingerprint_now, readable
from .datasets.importers import is_imported
from .embedding.embed import Embeddings, embed, embed_names, kept_embeddings
from .embedding.store import EmbeddingStore
from .encoders import Encoder, TextEncoder, imports_code, load_encoder, names_file
from .encoders.base import require_sound
from .encoders.prompts import BARE, templates
from .errors import DatasetError, UserError
from .manipulations import CLEAN, STUDY, condition
from .metrics.measures import MEASURES, QueryResults
from .metrics.ranking import codes, rank_all
from .metrics.validity import result_distances
from .metrics.zero_shot import Texts
from .possible import drawn_for, require_k, require_some
from .provenance import describe
from .result import Result, load_results
from .retrieval.results import DEAD, UNREADABLE, USABLE, LookUp, SearchResults
from .spec import NOTHING_LEFT_OUT, RunSpec


def run(
    spec: RunSpec, *, encoder: Encoder | None = None, batch_size: int = 0, workers: int | None = None, progress: bool = True
) -> Result:
    """Measure one data set under one manipulation.

    Each query is a photograph of the data set under the manipulation. The gallery is the clean data set, or a random part
    of it, unless the specification names another. Results exclude the query's own image and its copies. The cache keeps
    every embedding, so that an interrupted run continues where it stopped. Nothing is written to `results/` before
    `Result.save`.

    Args:
        spec: what to measure.
        encoder: an encoder in place of the specification's, such as one of `clipnb.encoders.wrap`; the result names it.
        batch_size: number of images per call of the encoder, 0 for the encoder's preferred number.
        workers: number of threads that decode, manipulate and hash; one per core by default.
        progress: show a progress bar.

    Raises:
        UserError: an argument is wrong, the data set is missing or too small, a package is missing, or no result can be scored.

    >>> spec = RunSpec("sample-figures", "grey", "histogram", per_category=4, k=3)
    >>> run(spec, progress=False).noop_share
    0.0
    """
    started = time.monotonic()
    if not isinstance(spec, RunSpec):
        raise UserError(f"run takes a specification, not {spec!r:.80}: clipnb.run(clipnb.RunSpec(<data set>, <manipulation>))")
    if isinstance(encoder, str):
        raise UserError(f"encoder is an encoder, not a name: clipnb.load_encoder({encoder!r}), or a specification that names it")
    if encoder is not None:
        require_sound(encoder, getattr(encoder, "name", type(encoder).__name__))
        spec = replace(spec, encoder=encoder.name, precision=getattr(encoder, "precision", "fp32"), engine="torch")
    dataset = drawn_for(spec)
    require_k(spec, dataset)
    asked_for = batch(dataset.photos, spec.start, spec.step)
    templates(spec.prompts)  # fails before the work
    encoder = encoder or load_encoder(spec.encoder, spec.precision, spec.engine, spec.device)
    if is_service(spec.gallery):
        from .retrieval.knn_client import KnnClient

        KnnClient(spec.gallery, spec.index).check(encoder.dim)  # before the work
    store = kept_embeddings(encoder)
    options: Any = {"seed": spec.seed, "words": dataset.words, "colour": spec.colour}
    options |= {"batch_size": batch_size, "workers": workers, "progress": progress}
    conditions = list(dict.fromkeys((CLEAN, *spec.conditions)))
    asked = embed(asked_for, conditions, encoder, store, **options)
    gallery = asked if len(asked_for) == len(dataset.photos) else embed(dataset.photos, [CLEAN], encoder, store, **options)
    require_some(asked, dataset)
    if is_service(spec.gallery):
        from .retrieval.service import open_search
    else:
        from .retrieval.in_process import open_search
    look_up, searched = open_search(spec, asked, gallery, encoder, store, workers=workers, progress=progress)
    texts = texts_of(spec, dataset, asked, encoder, store) if isinstance(encoder, TextEncoder) and not dataset.flat else {}
    rows = score(spec, asked, look_up, texts)
    if not rows["n_results"].any():
        reason = next(iter(searched["unusable"].values()), "nothing was returned")
        raise UserError(f"not one result of {spec.gallery or spec.dataset} can be scored; the first: {reason}")
    computed = asked.computed + (gallery.computed if gallery is not asked else 0)
    about = describe(dataset, encoder, gallery, searched, computed, time.monotonic() - started)
    result = Result(spec, about, rows)
    result.provenance["warnings"] = checks.warnings(result)
    return result


def saved_result(spec: RunSpec) -> Result | None:
    """The saved result of this specification; None if there is none, with a warning if it is damaged."""
    folder = results_root() / spec.run_id
    if not (folder / "run.json").is_file():
        return None
    try:
        saved = Result.load(folder)
    except UserError as error:
        warnings.warn(str(error), stacklevel=2)
        return None
    return saved if saved.is_of(spec) else None


def custom_identity(spec: RunSpec) -> str:
    """Identity of an encoder whose code or weights file may have changed since a run; "" for other encoders."""
    if not imports_code(spec.encoder) and not names_file(spec.encoder):
        return ""
    return load_encoder(spec.encoder, spec.precision, spec.engine, spec.device).identity


def current_result(spec: RunSpec) -> Result | None:
    """The saved result of this specification, if no batch of it is missing, and its photographs and encoder are as they were."""
    if (result := saved_result(spec)) is None:
        return None
    about = result.provenance
    if about.get("categories_missing") or custom_identity(spec) not in ("", about["encoder"]["identity"]):
        return None
    with suppress(DatasetError, OSError):  # without its photographs, the result can still be used
        if not is_imported(spec.dataset) and fingerprint_now(drawn_for(spec), about["unreadable"]) != about["data_fingerprint"]:
            return None
    return result


def saved_or_new(spec: RunSpec) -> Result:
    """The current result of a specification; if there is none, that of a new run, which is saved."""
    if (result := current_result(spec)) is None:
        require_writable(results_root())
        result = run(spec, progress=sys.stderr.isatty())
        result.save()
    return result


def score(spec: RunSpec, asked: Embeddings, look_up: LookUp, texts: Mapping[str, Texts] = MappingProxyType({})) -> pd.DataFrame:
    """Search the gallery for every query and score its results; `texts` (condition -> texts) are of an encoder that reads text."""
    parts = [_score(spec, asked, look_up(name), draw, texts.get(name)) for draw, name in enumerate(spec.conditions)]
    return pd.concat(parts, ignore_index=True)


def _score(spec: RunSpec, asked: Embeddings, found: SearchResults, draw: int, texts: Texts | None) -> pd.DataFrame:
    """Score the results of each query under the condition of one draw: one row per query."""
    condition = spec.conditions[draw]
    query_results = _query_results(spec, asked, found, condition, texts)
    distances = query_results.distances
    values = {name: MEASURES[name].function(query_results) for name in MEASURES}
    copies = query_results.ranked.copies if query_results.ranked else found.copies
    return pd.DataFrame(
        {
            "category": [photo.category for photo in asked.photos],
            "image": [photo.name for photo in asked.photos],
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
            **({} if copies is None or spec.duplicates == NOTHING_LEFT_OUT else {"n_copies": copies}),
            "results": [[found.ids[i] for i in row if i >= 0] for row in found.rows],
            "result_categories": [[found.categories[i] for i in row if i >= 0] for row in found.rows],
            "distances": [row[~np.isnan(row)] for row in distances],
            **{name: column for name, column in values.items() if column is not None},
        }
    )


def _query_results(spec: RunSpec, asked: Embeddings, found: SearchResults, condition: str, texts: Texts | None) -> QueryResults:
    """The results of the queries in the form that the measures take."""
    clean, manipulated = asked.vectors[CLEAN], asked.vectors[condition]
    rows, categories = found.rows, [photo.category for photo in asked.photos]
    own_kind = hits = ranked = None
    if any(found.categories):
        own_kind = (np.asarray(found.categories)[rows] == np.asarray(categories)[:, None]) & (rows >= 0)
    if (labels := found.labels) is not None:
        own, kinds = codes(categories, labels.categories)
        image, images = codes(asked.digests, labels.digests)
        ranked = rank_all(manipulated, labels.vectors, (own, kinds), (image, images), labels.copies)
        hits = (kinds[rows] == own[:, None]) & (images[rows] != image[:, None]) & (rows >= 0)
    distances = result_distances(clean, found.vectors, rows)
    return QueryResults(clean, manipulated, rows, distances, spec.tau, own_kind, hits, ranked, found.before, texts)


def texts_of(spec: RunSpec, dataset: Dataset, asked: Embeddings, encoder: TextEncoder, store: EmbeddingStore) -> dict[str, Texts]:
    """Condition -> the texts of the data set's categories, with what is written on each query under it."""
    words, seed = dataset.words, spec.seed
    prompts, bare = (embed_names(words, by, encoder, store) for by in (templates(spec.prompts), BARE))
    names = [readable(photo.category) for photo in asked.photos]
    found = {}
    for name in spec.conditions:
        written = [condition(name).on(words, own, seed, key).word for own, key in zip(names, asked.digests, strict=True)]
        rows = np.searchsorted(words, written) if all(written) else None
        found[name] = Texts(prompts, bare, np.searchsorted(words, names), rows, not (spec.start or spec.step))
    return found


def study_runs(dataset: str, encoder: str = "", *, only_saved: bool = False, **settings: object) -> list[Result]:
    """Results of the study's four conditions, in the study's order: original, blurred, cropped, grey.

    If the clean run is saved, these are the saved runs with the same photographs and weights. Otherwise, as in Colab, all four are
    run now and not saved. With `only_saved` nothing is run, so that a page of the book loads no encoder that a result names;
    without a saved run there is then a `UserError`. `dataset`, `encoder` and `settings` are fields of `RunSpec`.

    >>> [result.spec.manip for result in study_runs("sample-figures", "histogram", per_category=4, k=3)]
    ['original', 'blurred', 'cropped', 'grey']
    """
    clean = RunSpec(dataset, CLEAN, encoder, **settings)  # type: ignore[arg-type]
    specs = [clean.under(manip) for manip in STUDY]
    if only_saved:
        saved = {result.spec: result for result in load_results()}
        if clean not in saved:
            raise UserError(f"there is no saved run {clean.run_id}")
        return [saved[spec] for spec in specs if spec in saved and comparable(saved[spec], saved[clean])]
    if (kept := saved_result(clean)) is None:
        return [run(spec) for spec in specs]
    return [result for spec in specs if (result := saved_result(spec)) and comparable(result, kept)]


def saved_runs(name: str, **settings: object) -> list[Result]:
    """The saved runs that a name stands for and that have these settings (fields of `RunSpec`).

    The name is a run's id or folder, the common part of the ids of a group, a data set, by name or by folder, or a folder of runs.
    """
    root = name if any(Path(name).glob("[!.]*/run.json")) else None
    results = [r for r in load_results(root) if all(getattr(r.spec, field) == value for field, value in settings.items())]
    folder = Path(name).resolve()
    named = [r for r in results if name in (r.spec.run_id, r.spec.group_id) or folder == (results_root() / r.spec.run_id).resolve()]
    return named or (results if root else [r for r in results if r.is_on(normalized_dataset(name))])
