"""`clipnb embed`: fill the store of embeddings for many runs, on this machine or on Ray, so that the runs only score.

The work is cut into tasks: some photographs of a data set, under all conditions of the runs that share an encoder. A task
whose embeddings are in the store costs next to nothing, so the same command continues a fill that was stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

from tqdm import tqdm

from .._core.ray_pool import RayPool
from ..datasets.dataset import Photo
from ..embedding.embed import embed, kept_embeddings
from ..encoders import load_encoder
from ..errors import UserError
from ..manipulations import CLEAN
from ..possible import drawn_for
from ..retrieval.sources import hashes_for
from ..spec import RunSpec

PHOTOS = 50  # number of photographs in a task


class Task(NamedTuple):
    """Photographs to embed under conditions."""

    spec: RunSpec  # names encoder, precision, engine, device, colour and seed
    conditions: tuple[str, ...]  # as text
    photos: tuple[Photo, ...]
    words: tuple[str, ...]  # names of the data set's categories


class Filled(NamedTuple):
    """The outcome of a task or of a fill."""

    wanted: int  # number of embeddings that the runs use, of readable photographs
    computed: int  # number of images that the encoders embedded; equal inputs are embedded once
    unreadable: dict[str, str]  # photograph -> reason


def tasks_of(specs: Sequence[RunSpec], photos: int = PHOTOS) -> list[Task]:
    """Cut the embeddings of runs into tasks of at most `photos` photographs; a `UserError` if a data set is missing."""
    groups: dict[RunSpec, list[RunSpec]] = {}
    for spec in specs:
        groups.setdefault(replace(spec.clean, start=0, step=0), []).append(spec)
    tasks = []
    for clean, members in groups.items():
        conditions = tuple(dict.fromkeys((CLEAN, *(name for spec in members for name in spec.conditions))))
        data = drawn_for(clean)
        found = [Photo(photo.category, photo.path.resolve()) for photo in data.photos]
        parts = (tuple(found[start : start + photos]) for start in range(0, len(found), photos))
        tasks += [Task(clean, conditions, part, tuple(data.words)) for part in parts]
    return tasks


def do(task: Task) -> Filled:
    """Embed the photographs of a task; the store keeps the embeddings, and picture hashes if the runs leave out near-copies."""
    spec = task.spec
    encoder = _encoder(spec.encoder, spec.precision, spec.engine, spec.device)
    store = kept_embeddings(encoder)
    options: Any = {"seed": spec.seed, "words": task.words, "colour": spec.colour, "progress": False}
    done = embed(task.photos, task.conditions, encoder, store, **options)
    hashes_for(spec, done.photos, progress=False)
    return Filled(len(done.photos) * len(task.conditions), done.computed, done.unreadable)


_encoder = lru_cache(maxsize=1)(load_encoder)


def fill(specs: Sequence[RunSpec], pool: RayPool | None = None, *, photos: int = PHOTOS) -> Filled:
    """Embed the photographs of runs under their conditions, by tasks of at most `photos` photographs, in this process or on Ray.

    All processes of Ray write to one cache, so a cluster needs a file system that it shares. A `UserError` says that a data set or
    an encoder is missing, or that no photograph can be read.
    """
    tasks = tasks_of(specs, photos)
    outcomes = pool.work(lambda: do, tasks) if pool else map(do, tasks)
    done = list(tqdm(outcomes, total=len(tasks), desc="embedding", unit="task"))
    unreadable = {photo: why for part in done for photo, why in part.unreadable.items()}
    if not (wanted := sum(part.wanted for part in done)):
        raise UserError(f"no photograph can be read; the first: {next(iter(unreadable.values()))}")
    return Filled(wanted, sum(part.computed for part in done), unreadable)
