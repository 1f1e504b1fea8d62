"""Whether a run is possible: what is checked before a photograph is embedded."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from ._core.paths import results_root, shown
from .datasets.dataset import Dataset, batch, fingerprint_now, load_dataset, readable, sample
from .datasets.images import decode, digest, read
from .datasets.importers import is_imported
from .datasets.picture_hash import near_copies, picture_hash
from .embedding.embed import Embeddings
from .encoders import require_loadable, require_packages
from .errors import DatasetError, UserError
from .manipulations import MANIPULATIONS
from .provenance import folder_sha256
from .result import require_own_folder
from .retrieval.neighbours import require_results
from .retrieval.sources import require_fitting, require_gallery
from .spec import NOTHING_LEFT_OUT, RunSpec


def drawn_for(spec: RunSpec) -> Dataset:
    """The photographs of a run: its data set, or the random part that `categories` and `per_category` ask for."""
    return sample(load_dataset(spec.dataset), spec.categories, spec.per_category, spec.seed)


def require_some(found: Embeddings, dataset: Dataset) -> None:
    """Raise a `DatasetError` with the first reason if not one photograph could be embedded."""
    if not found.photos:
        reason = next(iter(found.unreadable.values()))
        raise DatasetError(f"none of the {len(found.unreadable)} images in {shown(dataset.root)} can be used; the first: {reason}")


def require_possible(spec: RunSpec) -> None:
    """Check a run before a photograph is embedded: its packages, its data set, batch and k, its gallery, and the run's folder."""
    found: list[UserError] = []
    for check in (partial(require_packages, spec.encoder), partial(_require_photographs, spec)):
        try:
            check()
        except UserError as error:
            found.append(error)
    if found:
        raise found[0] if len(found) == 1 else UserError("; ".join(map(str, found)))
    require_loadable(spec.encoder, spec.precision, spec.engine, spec.device)
    if spec.gallery:
        require_fitting(spec.gallery, spec.encoder, spec.precision, spec.engine, spec.device, spec.colour, spec.k)


def require_k(spec: RunSpec, dataset: Dataset) -> None:
    """Raise a `UserError` if a data set that is its own gallery is too small; only then are unreadable files and copies counted."""
    others = len(dataset.photos) - 1
    if spec.gallery or spec.k <= others:
        return
    broken, digests, hashes = 0, [], []
    for photo in dataset.photos[:100]:
        try:
            content = read(photo.path)
            hashes.append(picture_hash(decode(content)))
            digests.append(digest(content))
        except UserError:
            broken += 1
    alike = np.array(digests)[:, None] == np.array(digests)
    if hashes:
        alike |= near_copies(np.stack(hashes), np.stack(hashes), spec.duplicates)
    copies = max(int(alike.sum(axis=1).max(initial=1)) - 1, 0) if spec.duplicates != NOTHING_LEFT_OUT else 0
    left_out = [part for part in (dataset.left_out, f"{broken} unreadable" * (broken > 0)) if part]
    require_results(spec.k, others - broken - copies, copies, ", ".join(left_out))


def _require_photographs(spec: RunSpec) -> None:
    if spec.gallery:
        require_gallery(spec.gallery)
    if is_imported(spec.dataset):
        return  # writing it takes long and belongs to the run
    dataset = drawn_for(spec)
    require_k(spec, dataset)
    spec.condition.on(dataset.words, readable(dataset.photos[0].category), spec.seed, "")  # a category whose name it can write
    for word in dataset.words if MANIPULATIONS[spec.manip].writes else ():
        replace(spec.condition, word=word)(np.zeros((32, 32, 3), np.uint8), spec.seed, "")  # its letters are in a font
    batch(dataset.photos, spec.start, spec.step)
    require_own_folder(results_root() / spec.run_id, spec, folder_sha256(dataset.root), partial(fingerprint_now, dataset))
