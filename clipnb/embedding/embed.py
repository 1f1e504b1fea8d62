"""Embed photographs (decode each once, apply every condition, embed in batches) and texts, and keep the embeddings in the store."""

from __future__ import annotations

import hashlib
import math
import mmap
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from .._core.files import writing
from .._core.paths import TERMINAL, cache_root, shown
from .._core.progress import ticking
from ..datasets.dataset import Photo, readable
from ..datasets.images import RGB, decode, digest, read, rgb_array, room_for
from ..encoders import Encoder, TextEncoder, load_encoder
from ..encoders.base import encode, encode_text, require_sound
from ..errors import FOREIGN, UnreadableImage, UserError, of_one_photograph
from ..manipulations import Condition, View, condition
from .batches import Batches, Item
from .store import EmbeddingStore, Entry, LostEmbeddings, embedding_key
from .workers import in_order

IN_MEMORY = 4 * 2**20  # bytes above which embeddings lie in a mapped file, so that memory does not grow with the photographs
RELEASE = 1024  # number of photographs after which memory-mapped pages may leave memory
TEXTS = 256  # number of texts per call of the encoder

ToInput = Callable[[RGB], NDArray[Any]]  # from a photograph to the input of a network


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of n readable photographs, under each condition."""

    photos: list[Photo]
    digests: list[str]  # of the n files
    vectors: dict[str, NDArray[np.float32]]  # condition -> (n, dim) with unit rows
    inputs: dict[str, list[bytes]]  # condition -> n digests of the network's inputs
    effects: dict[str, NDArray[np.float64]]  # condition -> (n, 2) `strength` and `difference` of each `Entry` of the store
    unreadable: dict[str, str]  # id of an unreadable photograph -> reason
    computed: int  # number of embeddings that were computed because the store did not have them


@dataclass
class _Work:
    """The work on one photograph in a worker thread."""

    photo: Photo
    digest: str = ""
    problem: str = ""
    ready: list[Item] = field(default_factory=list)


def kept_embeddings(encoder: Encoder) -> EmbeddingStore:
    """The store with the embeddings of an encoder, in the cache folder."""
    return EmbeddingStore(cache_root() / "embeddings", encoder.identity, encoder.dim)


def embed(
    photos: Sequence[Photo],
    manips: Sequence[str],
    encoder: Encoder,
    store: EmbeddingStore,
    *,
    seed: int = 0,
    words: Sequence[str] = (),
    colour: str = "srgb",
    batch_size: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> Embeddings:
    """Embed photographs under conditions, such as `blurred/3` or `cropped/3#1` (`clipnb.manipulations.Condition`).

    Embeddings that the store has are not computed again. Unreadable photographs raise no error; the result lists them. Batch
    size, number of workers and order change the result by float32 rounding alone (about 1e-7).

    Args:
        seed: seed of the run, for conditions with random choices.
        words: names of the data set's categories (`Dataset.words`), for conditions that write one.
        colour: treatment of colour profiles (`clipnb.datasets.images.COLOURS`).
        batch_size: number of images per call of the encoder; 0 for the encoder's preferred number.
        workers: number of threads that decode and manipulate; one per core by default.
    """
    if batch_size < 0:
        raise UserError(f"batch_size must be a whole number from 0 up, not {batch_size!r}")
    if workers is not None and workers < 0:
        raise UserError(f"workers must be a whole number from 0 up, not {workers!r}")
    batch_size = batch_size or getattr(encoder, "batch_size", 32)
    conditions = {name: condition(name) for name in manips}
    view = View(encoder.input_size, getattr(encoder, "sees_whole", False))

    def keyed(asked: Condition, work: _Work) -> tuple[bytes, Condition]:
        own = asked.on(words, readable(work.photo.category), seed, work.digest)
        return embedding_key(work.digest, own.key(seed), colour), own

    def items(to_input: ToInput, work: _Work, content: bytes, wanted: dict[bytes, Condition]) -> Iterator[Item]:
        image = decode(content, work.photo.place, colour)
        clean = to_input(image)
        for key, asked in wanted.items():
            try:
                made = asked(image, seed, work.digest)
            except Exception as error:
                raise UnreadableImage(of_one_photograph(f"{work.photo.place} ({asked.label})", error)) from error
            pixels = clean if made is image else to_input(made)
            difference = colour_difference(clean, pixels)
            strength = asked.at_input(image.shape, made.shape, view, difference)
            del made
            seen = hashlib.blake2b(pixels.tobytes(), digest_size=16).digest()
            yield Item(key, seen, (strength, difference), pixels, work.photo.id)

    def prepare(to_input: ToInput, photo: Photo) -> _Work:
        work = _Work(photo)
        try:
            content = read(photo.path)
            work.digest = digest(content)
            keys = dict(keyed(asked, work) for asked in conditions.values())
            if missing := store.missing(keys):
                with room_for(content):
                    work.ready = list(items(to_input, work, content, {key: keys[key] for key in missing}))
        except FOREIGN as error:  # of the decoder, a manipulation or the preparation: the others go on
            if photo.path.is_relative_to(cache_root()) and not photo.path.exists():
                raise UserError(f"{shown(photo.path)} was deleted while it was used: run the same again") from error
            work.problem = of_one_photograph(photo.place, error)
        return work

    def for_processes() -> Callable[[Photo], _Work] | None:
        """The function of the processes, if there is something to embed; only then is the encoder loaded."""
        loaded: Any = getattr(encoder, "loaded", encoder) if batches.taken else None
        return loaded and partial(prepare, loaded.preparation)

    batches, threads = Batches(encoder, store, batch_size), workers or os.cpu_count() or 1

    def worked() -> list[_Work]:
        """Go over all photographs once."""
        done: list[_Work] = []
        gpu, ahead = getattr(encoder, "device", "cpu") == "cuda", 2 * threads + batch_size
        shown_as: Any = {"desc": "embedding", "unit": "photo", "disable": not progress, "mininterval": 0.5, "leave": None}
        with _screen() as screen, tqdm(total=len(photos), file=screen, **shown_as) as bar, ticking(bar), batches:
            for work in in_order(partial(prepare, encoder.prepare), photos, threads, ahead, for_processes if gpu else None):
                batches.add(work.ready)
                work.ready = []
                done.append(work)
                bar.update()
        return done

    def collected(good: Sequence[_Work]) -> None:
        for name, asked in conditions.items():
            vectors[name], inputs[name], effects[name] = _array(len(good), encoder.dim, store), [], np.empty((len(good), 2))
            for row, entry in enumerate(store.entries(keyed(asked, work)[0] for work in good)):
                vectors[name][row], effects[name][row] = entry.vector, (entry.strength, entry.difference)
                inputs[name].append(entry.input)
                if row % RELEASE == RELEASE - 1:
                    release(vectors[name])

    vectors: dict[str, NDArray[np.float32]] = {}
    inputs: dict[str, list[bytes]] = {}
    effects: dict[str, NDArray[np.float64]] = {}
    for last in (False, False, True):
        try:
            done = worked()
            good = [work for work in done if not work.problem]
            collected(good)
            break
        except LostEmbeddings:  # pruned by another process: what is gone is embedded again
            if last:
                raise
    unreadable = {work.photo.id: work.problem for work in done if work.problem}
    photographs, digests = [work.photo for work in good], [work.digest for work in good]
    return Embeddings(photographs, digests, vectors, inputs, effects, unreadable, batches.computed)


def _screen() -> AbstractContextManager[Any]:
    """The terminal that shows the progress bar of a notebook's kernel, opened; None where there is none."""
    with suppress(KeyError, OSError):
        return open(os.environ[TERMINAL], "w", encoding="utf-8")  # noqa: PTH123 - a device, which the caller closes
    return nullcontext()


def embed_images(images: Iterable[RGB | str | Path], encoder: Encoder | str, *, batch_size: int = 32) -> NDArray[np.float32]:
    """Embed photographs as they are, without a data set and without the cache: (n, dim) float32 with unit rows, in their order.

    Args:
        images: paths of files, or RGB arrays (height, width, 3) of uint8.
        encoder: an encoder, or the name of one.
        batch_size: number of images per call of the encoder.

    Raises:
        UnreadableImage: a file cannot be read.
        UserError: `images` is one path, an array is no such image, the encoder is unknown, or `batch_size` is below 1.

    >>> import numpy as np, clipnb
    >>> grey = np.full((32, 48, 3), 128, np.uint8)
    >>> clipnb.embed_images([grey, grey], "histogram").shape
    (2, 512)
    """
    if isinstance(images, str | Path):
        of_folder = f"[photo.path for photo in clipnb.load_dataset({str(images)!r}).photos]"
        raise UserError(f"images is a list, not one path: [{str(images)!r}] for a file, {of_folder} for a folder")
    if batch_size < 1:
        raise UserError(f"batch_size must be a whole number from 1 up, not {batch_size!r}")
    encoder = load_encoder(encoder) if isinstance(encoder, str) else encoder
    require_sound(encoder, getattr(encoder, "name", type(encoder).__name__))
    rows = []
    source = iter(images)
    while chunk := list(islice(source, batch_size)):
        decoded = (decode(read(Path(i)), str(i)) if isinstance(i, str | Path) else rgb_array(i) for i in chunk)
        rows.append(encode(encoder, [encoder.prepare(image) for image in decoded]))
    return np.concatenate(rows) if rows else np.empty((0, encoder.dim), np.float32)


def embed_texts(texts: Sequence[str], encoder: TextEncoder, store: EmbeddingStore) -> NDArray[np.float32]:
    """Embed n texts as (n, dim) float32 with unit rows. Embeddings that the store has are not computed again."""
    keys = {text: hashlib.sha256(f"text|{text}".encode()).digest() for text in texts}
    lacking = set(store.missing(keys.values()))
    new = [text for text, key in keys.items() if key in lacking]
    for start in range(0, len(new), TEXTS):
        part = new[start : start + TEXTS]
        vectors = encode_text(encoder, part)
        store.add((keys[text], Entry(vector, keys[text][:16])) for text, vector in zip(part, vectors, strict=True))
    return np.stack([entry.vector for entry in store.entries(keys[text] for text in texts)])


def embed_names(names: Sequence[str], templates: Sequence[str], encoder: TextEncoder, store: EmbeddingStore) -> NDArray[np.float32]:
    """Embed n names, each in the {} of t templates: (n, dim), means over the templates, of unit length (Radford et al. 2021)."""
    texts = [template.replace("{}", name) for name in names for template in templates]
    vectors = embed_texts(texts, encoder, store).reshape(len(names), len(templates), -1).mean(axis=1)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def colour_difference(clean: NDArray[Any], pixels: NDArray[Any]) -> float:
    """Mean absolute difference of two 8-bit network inputs, where white is 1; NaN for inputs of other types or shapes."""
    if clean.dtype != np.uint8 or clean.shape != pixels.shape:
        return math.nan
    if clean is pixels:
        return 0.0
    return float(np.abs(clean.astype(np.int16) - pixels).mean() / 255)


def release(mapped: NDArray[Any]) -> None:
    """Let the pages of a mapped array leave memory; they come back from the file when they are needed."""
    if (mapping := getattr(mapped, "_mmap", None)) is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)


def _array(n: int, dim: int, store: EmbeddingStore) -> NDArray[np.float32]:
    if 4 * n * dim <= IN_MEMORY:
        return np.empty((n, dim), np.float32)
    folder = store.path.parent  # not the folder of temporary files, which may be in memory
    with (
        writing(folder),
        tempfile.TemporaryFile(dir=folder if os.access(folder, os.W_OK) else None) as file,  # it vanishes with the mapping
    ):
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, 4 * n * dim)  # writing to a mapping on a full drive would kill the process
        return np.memmap(file, np.float32, "w+", shape=(n, dim))
