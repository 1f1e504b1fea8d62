"""Figures of photographs: the effect of a manipulation, and the results of queries."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._core.paths import shown
from ..datasets.dataset import Dataset, Photo, load_dataset, readable
from ..datasets.images import RGB, decode, digest, read
from ..errors import DatasetError, UnreadableImage
from ..manipulations import CLEAN
from ..possible import drawn_for
from ..result import Result
from ..retrieval.sources import image_finder
from ..spec import RunSpec
from .format import share
from .plots import INK, WIDTH, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def show(ax: Axes, image: RGB, title: str = "", **options: Any) -> None:
    """Draw a photograph without axes and with a centred title."""
    ax.imshow(image)
    ax.set_title(plain(title), fontsize=8, loc="center", pad=3, **options)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def show_result(ax: Axes, path: Path | None, category: str, distance: float, spec: RunSpec) -> None:
    """Draw a result with its distance and its category; it is blank if its file is missing.

    The frame is solid, and the title says "valid", if the distance is below the threshold; else the frame is dotted.
    """
    valid = distance < spec.tau
    image = np.full((1, 1, 3), 255, np.uint8) if path is None else decode(read(path), path.name, spec.colour)
    show(ax, image, f"{category}\n{distance:.2f}{' valid' if valid else ''}")
    for spine in ax.spines.values():
        spine.set(visible=True, linewidth=2.0 if valid else 1.2, linestyle="-" if valid else ":", color=INK)


def _spread(dataset: Dataset, n: int) -> list[Photo]:
    """Choose n readable photographs from as many categories as possible."""
    categories = pd.Series([photo.category for photo in dataset.photos], dtype=str)
    turns = categories.groupby(categories).cumcount().sort_values(kind="stable")
    return list(islice(filter(_is_readable, (dataset.photos[at] for at in turns.index)), n))


def _is_readable(photo: Photo) -> bool:
    with suppress(UnreadableImage):
        decode(read(photo.path), photo.id)
        return True
    return False


def _edited(image: RGB, content: bytes, category: str, spec: RunSpec, words: list[str], draw: int = 0) -> RGB:
    """A photograph under the run's manipulation."""
    key = digest(content)
    return replace(spec.condition, draw=draw).on(words, readable(category), spec.seed, key)(image, spec.seed, key)


def before_after(spec: RunSpec, columns: int = 6) -> Figure:
    """Draw photographs of the data set and, below them, the same photographs under the run's manipulation."""
    dataset = drawn_for(spec)
    photos = _spread(dataset, columns)
    if not photos:
        raise DatasetError(f"none of the {len(dataset.photos)} images in {shown(dataset.root)} can be read")
    rows = 1 if spec.manip == CLEAN else 2
    figure, axes = new_figure(WIDTH, 1.3 * rows, rows, len(photos))
    for column, photo in zip(axes.T, photos, strict=True):
        content = read(photo.path)
        image = decode(content, photo.id, spec.colour)
        show(column[0], image, photo.category)
        if rows == 2:
            show(column[1], _edited(image, content, photo.category, spec, dataset.words))
    axes[0, 0].set_ylabel("original", fontsize=8)
    axes[-1, 0].set_ylabel(spec.condition.label.replace(", ", "\n"), fontsize=8)
    return figure


def query_results(result: Result, queries: int = 3) -> Figure:
    """Draw queries with their nearest results: the clean photograph, the manipulated query, and each result with its distance.

    The queries have evenly spaced ranks of valid@k, from the lowest to the highest. A result within the threshold has a
    solid frame and the title "valid"; any other has a dotted frame.
    """
    dataset = load_dataset(result.spec.dataset)
    by_id = {photo.id: photo for photo in dataset.photos}
    rows = result.rows[result.rows["n_results"] > 0].sort_values(["valid", "category", "image"], kind="stable")
    picked = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, min(queries, len(rows))).round().astype(int))]
    top = min(4, result.spec.k)
    where, words = image_finder(result.spec), drawn_for(result.spec).words
    figure, axes = new_figure(WIDTH, 1.4 * len(picked) + 0.1, len(picked), top + 2)
    for line, (_, row) in zip(axes, picked.iterrows(), strict=True):
        content = read(by_id[f"{row['category']}/{row['image']}"].path)
        image = decode(content, row["image"], result.spec.colour)
        show(line[0], image, f"{row['category']}\n{share(row['valid'])} valid", color=INK)
        asked = _edited(image, content, row["category"], result.spec, words, int(row["draw"]))
        show(line[1], asked, f"query:\n{result.label}", color=INK)
        for ax, found, kind, distance in zip(line[2:], row["results"], row["result_categories"], row["distances"], strict=False):
            show_result(ax, where(found), kind, distance, result.spec)
    return figure
