"""`clipnb index`: build a gallery on disk from a folder of photographs, shard by shard, on this machine or on a cluster.

A shard is a fixed range of the image files in sorted order. Its embeddings and its metadata are two files. A build that is
stopped keeps its finished shards; the same command makes the rest. One function makes all shards, in fixed batches on a fixed
number of threads, so that every engine writes the same bytes.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from .._core.files import alone_in, atomic, read_json, write_text
from .._core.paths import shown
from .._core.progress import ticking
from .._core.ray_pool import RayPool
from ..datasets.dataset import Photo, listing_digest, load_dataset
from ..datasets.images import decode, digest, read, room_for
from ..datasets.picture_hash import picture_hash
from ..encoders import Encoder, default_encoder, load_encoder, resolve, settled_precision
from ..encoders.base import encode
from ..errors import FOREIGN, UserError, of_one_photograph
from . import faiss_index
from .duplicates import COLUMN
from .faiss_index import APPROXIMATE_FROM
from .folder import ABOUT, INDEX, GalleryFolder, is_gallery, open_folder

SHARD = 1_000  # number of images in a shard: the unit of work, and the most that a killed worker loses
BATCH = 32  # number of images in a batch of the encoder; it is fixed because rounding may depend on it
METADATA = ["image_path", "id", "category", "caption", "sha256", COLUMN]  # columns of the metadata
PLAN = "build.json"  # name of the file, in the gallery's folder, that holds the plan of the build

DIFFERENCES = {
    "encoder": "encoder",
    "precision": "precision",
    "identity": "the code or weights of the encoder",
    "dim": "the code or weights of the encoder",
    "images": "photographs",
    "listing": "photographs",
    "shard": "--shard-size",
    "threads": "--threads",
    "colour": "--colour",
}
"""Field of a `Plan` -> what differs if it does, in a message."""


@dataclass(frozen=True)
class Plan:
    """Everything that determines the bytes of a gallery."""

    encoder: str
    precision: str
    identity: str  # identity of the encoder, which includes its weights
    dim: int
    images: int  # number of image files
    listing: str  # SHA-256 of their names, sizes and times
    shard: int  # number of images in a shard
    threads: int  # number of threads that the encoder computes with
    colour: str = "srgb"  # treatment of colour profiles (`clipnb.datasets.images.COLOURS`)


@dataclass(frozen=True)
class Shard:
    """One unit of work: its image files, its number among `of` shards, from 0, and the folder of the gallery."""

    number: int
    of: int
    photos: tuple[Photo, ...]
    out: Path

    def file(self, kind: str) -> Path:
        """Path of the embeddings ("img_emb"), of the metadata, or of the names and reasons of the "unreadable" images."""
        suffix = {"img_emb": ".npy", "metadata": ".parquet", "unreadable": ".json"}[kind]
        return self.out / kind / f"{kind}_{self.number:0{max(4, len(str(self.of - 1)))}d}{suffix}"

    @property
    def done(self) -> bool:
        """Whether both files exist and are complete, with a row for each embedding."""
        import pyarrow as pa
        from pyarrow import parquet

        try:
            rows = parquet.ParquetFile(self.file("metadata")).metadata.num_rows
            return bool(len(np.load(self.file("img_emb"), mmap_mode="r")) == rows)
        except (OSError, ValueError, pa.ArrowInvalid):  # missing, cut short or damaged
            return False


def _make(plan: Plan, encoder: Encoder, pool: ThreadPoolExecutor, shard: Shard) -> int:
    """Embed the images of a shard and write its files; one in `unreadable/` names the images that are left out, with reasons."""
    vectors: list[NDArray[np.float32]] = []
    rows: list[dict[str, str]] = []
    unreadable: dict[str, str] = {}

    def prepare(photo: Photo) -> tuple[dict[str, str], NDArray[Any]] | str:
        try:
            content = read(photo.path)
            with room_for(content):
                image = decode(content, photo.place, plan.colour)
                hashed, pixels = picture_hash(image).tobytes().hex(), encoder.prepare(image)
        except FOREIGN as error:  # of the decoder or the preparation: the others go on
            return of_one_photograph(photo.place, error)
        told = (str(photo.path), photo.id, photo.category, photo.category.replace("_", " "), digest(content), hashed)
        return dict(zip(METADATA, told, strict=True)), pixels

    for photos in _chunks(shard.photos, BATCH):
        prepared = list(pool.map(prepare, photos))
        unreadable |= {photo.id: why for photo, why in zip(photos, prepared, strict=True) if isinstance(why, str)}
        if good := [found for found in prepared if not isinstance(found, str)]:
            rows += [about for about, _ in good]
            vectors.append(encode(encoder, [pixels for _, pixels in good], [about["id"] for about, _ in good]))
    if unreadable:
        write_text(shard.file("unreadable"), json.dumps(unreadable, indent=1, ensure_ascii=False) + "\n")
    with atomic(shard.file("img_emb")) as file:
        file.write(array_bytes(np.concatenate([*vectors, np.empty((0, encoder.dim), dtype=np.float32)])))
    table = pd.DataFrame(rows, columns=METADATA)
    with atomic(shard.file("metadata")) as file:
        file.write(table.to_parquet(index=False))
    return shard.number


def load_worker(plan: Plan) -> Encoder:
    """Load the plan's encoder and make it compute with the plan's threads; a `UserError` if this machine has other weights."""
    encoder = load_encoder(plan.encoder, plan.precision)
    if encoder.identity != plan.identity:
        raise UserError(f"the encoder {plan.encoder!r} has other code or weights on this machine than where the build began")
    encoder = getattr(encoder, "loaded", encoder)  # a lazy encoder would load torch after the threads are set
    if fix := getattr(encoder, "fix_batch_size", None):
        fix(BATCH)  # the last bit of an embedding may depend on it
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(plan.threads)
    return encoder


def _worker(plan: Plan) -> Callable[[Shard], int]:
    return partial(_make, plan, load_worker(plan), ThreadPoolExecutor(os.cpu_count() or 1))


def build_gallery(
    folder: str,
    out: Path,
    *,
    encoder: str = "",
    precision: str = "auto",
    colour: str = "srgb",
    index: str = "",
    pool: RayPool | None = None,
    shard_size: int = SHARD,
    threads: int = 0,
) -> GalleryFolder:
    """Embed and index a folder of photographs; a `UserError` if there are none, or `out` holds another gallery.

    Args:
        folder: name of a data set, or path of a folder of photographs, with or without a folder per category.
        out: folder of the gallery; an unfinished gallery with the same plan is continued.
        colour: srgb or stored, as `colour` of the runs that will search the gallery.
        index: exact, hnsw or ivf; "" stands for exact below a million images and for hnsw from there on.
        pool: processes on Ray, in place of this one. They write to one folder, so a cluster needs a file system that it shares.
        threads: number of threads of the encoder, on which the last bit of an embedding may depend; 0 for the number of cores.
    """
    if shard_size < 1 or threads < 0:
        raise UserError("shard_size must be a whole number of at least 1, threads one of at least 0")
    dataset = load_dataset(folder)
    name = resolve(encoder or default_encoder())[0]
    name = str(Path(name).resolve()) if Path(name).is_file() else name
    precision = settled_precision(precision, name)
    found = load_encoder(name, precision)
    photos = [replace(photo, path=photo.path.resolve()) for photo in dataset.photos]
    listing = listing_digest(photos)
    threads = threads or os.cpu_count() or 1
    plan = Plan(name, precision, found.identity, int(found.dim), len(photos), listing, shard_size, threads, colour)
    with alone_in(out):
        return _build(out, plan, photos, index, pool, dataset.other_files)


def _build(
    out: Path, plan: Plan, photos: Sequence[Photo], index: str, pool: RayPool | None, other_files: dict[str, int]
) -> GalleryFolder:
    _begin(out, plan)
    count = -(-len(photos) // plan.shard)
    shards = [Shard(n, count, part, out.resolve()) for n, part in enumerate(_chunks(photos, plan.shard))]
    if due := [shard for shard in shards if not shard.done]:
        made = pool.work(partial(_worker, plan), due) if pool else map(_worker(plan), due)
        begun = len(photos) - sum(len(shard.photos) for shard in due)
        with tqdm(total=len(photos), initial=begun, desc="embedding", unit="photo") as bar, ticking(bar):
            for number in made:
                bar.update(len(shards[number].photos))
    if left := sum(not shard.done for shard in shards):
        raise UserError(f"{left} of {count} shards are not finished; type the same command to continue")
    return _finish(out, plan, shards, index, other_files)


def _chunks(photos: Sequence[Photo], size: int) -> list[tuple[Photo, ...]]:
    return [tuple(photos[start : start + size]) for start in range(0, len(photos), size)]


def _begin(out: Path, plan: Plan) -> None:
    """Check that the folder is empty or holds a build with the same plan."""
    begun = out / PLAN
    if begun.is_file():
        try:
            held = dict(read_json(begun))
        except (OSError, TypeError, ValueError):
            held = {}
        if held != asdict(plan):
            differ = {name for name, value in asdict(plan).items() if held.get(name) != value}
            if differ & {"encoder", "precision"}:
                differ -= {"identity", "dim"}  # they follow from the encoder
            words = dict.fromkeys(DIFFERENCES[name] for name in asdict(plan) if name in differ)
            what = f"{shown(out)} holds a gallery that differs in {', '.join(words)}"
            raise UserError(f"{what}: remove that folder to build the gallery again, or name another one")
    elif out.is_dir() and any(out.iterdir()):
        what = "a gallery that another program made" if is_gallery(out) else "other files"
        raise UserError(f"{shown(out)} holds {what}: name an empty folder")
    else:
        write_text(begun, json.dumps(asdict(plan), indent=1) + "\n")


def _finish(out: Path, plan: Plan, shards: Sequence[Shard], index: str, other_files: dict[str, int]) -> GalleryFolder:
    """Index all shards and describe the gallery in `clipnb.json`."""
    unreadable: dict[str, str] = {}
    for shard in shards:
        if shard.file("unreadable").is_file():
            unreadable |= read_json(shard.file("unreadable"))
    for left in [*out.glob("*/.*.part"), *out.glob(".*.part")]:  # left by workers that were killed while they wrote
        left.unlink(missing_ok=True)
    (out / INDEX).unlink(missing_ok=True)
    opened = open_folder(out)
    if not opened.size:
        raise UserError(f"none of the {plan.images} images can be read; the first: {next(iter(unreadable.values()))}")
    kind = index or ("exact" if opened.size < APPROXIMATE_FROM else "hnsw")
    faiss_index.write(faiss_index.build(kind, opened.vectors.blocks(), opened.size, plan.dim), out / INDEX)
    made_with = {"name": plan.encoder, "precision": plan.precision, "identity": plan.identity, "dim": plan.dim}
    counts = {"images": opened.size, "index": kind, "unreadable": unreadable, "other_files": other_files}
    about = {"format": 1, "encoder": made_with, "colour": plan.colour, **counts}
    write_text(out / ABOUT, json.dumps(about, indent=1, ensure_ascii=False) + "\n")
    return open_folder(out)


def array_bytes(array: NDArray[Any]) -> bytes:
    """The content of a .npy file. `np.save` into a file does not notice that a full drive cuts a small array short."""
    np.save(content := io.BytesIO(), array)
    return content.getvalue()
