"""Figures made of photographs: what a manipulation does, and what a query finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .datasets import Dataset, Photo, load_dataset
from .errors import UnreadableImage
from .figures import INK, new_figure
from .images import RGB, decode, digest, read
from .manipulations import MANIPULATIONS
from .results import Result
from .spec import RunSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def _show(ax: Axes, image: RGB, title: str = "", **options: Any) -> None:
    ax.imshow(image)
    ax.set_title(title, fontsize=7, loc="center", pad=3, **options)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def _spread(dataset: Dataset, n: int) -> list[Photo]:
    """n readable photographs, from as many categories as there are."""
    chosen: list[Photo] = []
    by_category = {c: [p for p in dataset.photos if p.category == c] for c in dataset.categories}
    while len(chosen) < n and any(by_category.values()):
        for waiting in by_category.values():
            while waiting and len(chosen) < n:
                photo = waiting.pop(0)
                try:
                    decode(read(photo.path), photo.id)
                except UnreadableImage:
                    continue
                chosen.append(photo)
                break
    return chosen


def before_after(spec: RunSpec, columns: int = 6) -> Figure:
    """Photographs of the data set as they are (top) and under the run's manipulation (bottom).

    Raises:
        UserError: the data set is missing, or holds no readable image.
    """
    photos = _spread(load_dataset(spec.dataset), columns)
    if not photos:
        raise UnreadableImage(f"no image of {spec.dataset!r} can be read")
    manipulation = MANIPULATIONS[spec.manip]
    figure, axes = new_figure(1.25 * len(photos) + 0.3, 2.9, 2, len(photos))
    for column, photo in zip(axes.T, photos, strict=True):
        content = read(photo.path)
        image = decode(content, photo.id)
        _show(column[0], image, photo.category)
        _show(column[1], manipulation(image, spec.seed, digest(content)))
    axes[0, 0].set_ylabel("original", fontsize=8)
    axes[1, 0].set_ylabel(manipulation.label, fontsize=8)
    return figure


def query_results(result: Result, queries: int = 3, columns: int = 6) -> Figure:
    """Queries with their nearest results: the clean query, what was asked instead, and each result with its distance.

    The queries shown are those of lowest, middle and highest accuracy (evenly spaced ranks). A result within the
    threshold has a solid frame and "valid" over it, another a dotted frame.
    """
    dataset = load_dataset(result.spec.dataset)
    by_id = {photo.id: photo for photo in dataset.photos}
    rows = result.rows[result.rows["n_results"] > 0].sort_values(["accuracy", "category", "image"], kind="stable")
    shown = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, min(queries, len(rows))).round().astype(int))]
    top = min(columns, result.spec.k)
    figure, axes = new_figure(1.08 * (top + 2), 1.45 * len(shown) + 0.1, len(shown), top + 2)
    manipulation = MANIPULATIONS[result.spec.manip]
    for line, (_, row) in zip(axes, shown.iterrows(), strict=True):
        content = read(by_id[f"{row['category']}/{row['image']}"].path)
        image = decode(content, row["image"])
        _show(line[0], image, f"{row['category']}\naccuracy {row['accuracy']:.0%}", color=INK)
        _show(line[1], manipulation(image, result.spec.seed, digest(content)), f"query:\n{manipulation.label}", color=INK)
        for ax, found, distance in zip(line[2:], row["results"], row["distances"], strict=False):
            photo = by_id[found]
            valid = distance < result.spec.tau
            _show(ax, decode(read(photo.path), photo.id), f"{photo.category}\n{distance:.2f}{' valid' if valid else ''}")
            for spine in ax.spines.values():
                spine.set(visible=True, linewidth=2.0 if valid else 1.2, linestyle="-" if valid else ":", color=INK)
    return figure
