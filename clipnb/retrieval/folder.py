"""The format of a gallery on disk. It is the format of clip-retrieval, whose back end serves a folder that is written here.

`img_emb/img_emb_<n>.npy`         (rows, dim) embeddings, float16 or float32
`metadata/metadata_<n>.parquet`   a row for each embedding; `image_path` or `url` locates the image
`image.index`                     a FAISS index of all rows
`clipnb.json`                     the encoder and the counts; only `clipnb index` writes it

The vectors of a folder without embeddings are taken from its index, as `clip-retrieval index` moves no embeddings there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._core.files import read_json
from .._core.paths import shown
from .._core.typed import misfit, refuse_bomb
from ..errors import UserError, one_line
from . import faiss_index

ABOUT = "clipnb.json"
INDEX = "image.index"
BLOCK = 65_536


class Vectors:
    """Embeddings in several memory-mapped files; rows are returned as float32 and with unit length."""

    def __init__(self, arrays: Sequence[NDArray[np.floating]]) -> None:
        self.arrays = list(arrays)
        if len(dims := sorted({array.shape[1] for array in self.arrays})) > 1:
            raise UserError(f"the gallery's embeddings have {' and '.join(map(str, dims))} values: they are of several encoders")
        self._starts = np.cumsum([0, *(len(a) for a in self.arrays)])
        self.shape = (int(self._starts[-1]), int(self.arrays[0].shape[1]))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> NDArray[np.float32]:
        """Take a slice or an integer array of rows: the array's shape + (dim,)."""
        wanted = np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else np.asarray(rows)
        flat = np.where(wanted < 0, wanted + len(self), wanted).ravel()
        out = np.empty((flat.size, self.shape[1]), dtype=np.float32)
        file = np.searchsorted(self._starts, flat, side="right") - 1
        for f in np.unique(file):
            here = file == f
            out[here] = self.arrays[f][flat[here] - self._starts[f]]
        if (wrong := ~np.isfinite(out).all(axis=1) | ~out.any(axis=1)).any():
            why = f"at least {wrong.sum()} embeddings of the gallery are zero or not finite, the first in row {flat[wrong][0]}"
            raise UserError(f"{why}: build the gallery again without them")
        return unit(out).reshape(*wanted.shape, self.shape[1])

    def blocks(self, size: int = BLOCK) -> Iterator[NDArray[np.float32]]:
        """Yield all rows in order, with one block in memory at a time."""
        for start in range(0, len(self), size):
            yield self[start : start + size]


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale (n, dim) rows to unit length, in place; a row whose length is 1 up to float32 rounding does not change at all."""
    length = np.linalg.norm(rows.astype(np.float64), axis=1)
    off = (np.abs(length - 1) > 1e-6) & (length > 0)
    rows[off] = (rows[off] / length[off, None]).astype(np.float32)
    return rows


class Maker(TypedDict):
    name: str
    precision: str
    identity: str


class About(TypedDict, total=False):
    """The content of `clipnb.json`; `encoder` is the one that the gallery was made with."""

    encoder: Maker
    colour: str
    images: int
    index: str
    unreadable: dict[str, str]
    other_files: dict[str, int]  # reason -> number of files that are not used


@dataclass(frozen=True)
class GalleryFolder:
    """An opened gallery: its folder, a row for each image, and `clipnb.json`, which is {} if another program made the gallery."""

    path: Path
    metadata: pd.DataFrame
    about: About

    @property
    def size(self) -> int:
        return len(self.metadata)

    @cached_property
    def index(self) -> faiss_index.FaissIndex | None:
        """The index in the folder, if it has one."""
        return faiss_index.read(self.path / INDEX) if (self.path / INDEX).is_file() else None

    @cached_property
    def vectors(self) -> Vectors:
        """The embeddings, from their files or, without such files, from the index."""
        if files := sorted((self.path / "img_emb").glob("*.npy")):
            return Vectors([_mapped(file) for file in files])
        if self.index is None:
            raise UserError(f"{shown(self.path)} holds neither img_emb/*.npy nor {INDEX}: it is not a gallery")
        return Vectors([self.index.stored_vectors()])

    @property
    def vectors_from(self) -> str:
        return "img_emb" if any((self.path / "img_emb").glob("*.npy")) else INDEX

    @cached_property
    def dim(self) -> int:
        return self.vectors.shape[1]

    def column(self, *names: str) -> list[str]:
        """The first of these columns that the metadata have, as strings; "" for a missing value."""
        for name in names:
            if name in self.metadata:
                return ["" if value is None or value != value else str(value) for value in self.metadata[name].tolist()]
        return [""] * self.size

    @property
    def names(self) -> list[str]:
        """Name of each image: its id, URL or path, else its row."""
        return [name or str(row) for row, name in enumerate(self.column("id", "url", "image_path"))]


def is_gallery(path: Path) -> bool:
    """Whether a folder has this format: metadata together with embeddings or an index."""
    return (path / "metadata").is_dir() and ((path / "img_emb").is_dir() or (path / INDEX).is_file())


def read_about(path: Path) -> About:
    """Read the `clipnb.json` of a gallery; {} if it has none, a `UserError` if it is damaged."""
    with one_line(f"{shown(path)} is a damaged gallery"):
        about: About = read_json(path / ABOUT) if (path / ABOUT).exists() else {}
        if said := misfit(about, About, ABOUT):
            raise ValueError(said)
    return about


def open_folder(path: Path) -> GalleryFolder:
    """Open a gallery, whose vectors and index stay on disk; a `UserError` names files that are damaged or do not fit together."""
    about = read_about(path)
    with one_line(f"{shown(path)} is a damaged gallery"):
        tables = [_table(file) for file in sorted((path / "metadata").glob("*.parquet"))]
    if not tables:
        raise UserError(f"{shown(path)} has no metadata/*.parquet: clip-retrieval index copies them with --copy_metadata True")
    opened = GalleryFolder(path, pd.concat(tables, ignore_index=True), about)
    counts = {"metadata": opened.size, opened.vectors_from: len(opened.vectors)}
    if opened.index is not None:
        counts[INDEX] = opened.index.size
        if opened.index.dim != opened.dim:
            raise UserError(f"{shown(path)}: {INDEX} holds vectors of {opened.index.dim} values, img_emb of {opened.dim}")
    if len(set(counts.values())) > 1:
        counted = ", ".join(f"{count} in {file}" for file, count in counts.items())
        raise UserError(f"{shown(path)}: the numbers of images differ ({counted}): build it again")
    return opened


def _table(file: Path) -> pd.DataFrame:
    """The columns of a metadata file that hold one value a row; a hostile file states billions of them in a kilobyte."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(file, memory_map=True) as held:
        refuse_bomb(held, file.name, file.stat().st_size)
        flat = [column.name for column in held.schema_arrow if not pa.types.is_nested(column.type)]
        table: pd.DataFrame = held.read(columns=flat).to_pandas()
        return table if flat else pd.DataFrame(index=range(held.metadata.num_rows))


def _mapped(file: Path) -> NDArray[np.floating]:
    if not file.is_file():
        raise UserError(f"{shown(file)} is not a regular file")
    with one_line(f"{shown(file)} is damaged"):
        array: NDArray[np.floating] = np.load(file, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise UserError(f"{shown(file)} holds several arrays: give each its own .npy file")
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
        raise UserError(f"{shown(file)} holds no embeddings: {array.dtype} of shape {array.shape}")
    return array
