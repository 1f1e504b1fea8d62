"""How far found, P@k and valid@k depend on the size of the gallery, on real photographs that may not be shown.

`python -m clipnb_book.measured.gallery_size` measures it again where $CLIPNB_DATA holds the photographs.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from clipnb._core.files import read_json, write_text
from clipnb._core.random import rng_for
from clipnb.embedding.embed import embed, kept_embeddings
from clipnb.encoders import OFFLINE, load_encoder
from clipnb.errors import UserError
from clipnb.manipulations import CLEAN
from clipnb.metrics.ranking import Integers, codes, in_steps, similarity_blocks
from clipnb.metrics.validity import Floats
from clipnb.possible import drawn_for
from clipnb.report.plots import INK, MID, WIDTH, new_figure
from clipnb.runs import run
from clipnb.spec import RunSpec
from clipnb.stats.intervals import Interval, category_means, mean_interval

from .findings import DATA, FIGURES, SCENES, describe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILE = DATA / "gallery_size.json"

CURVES = {"valid": "valid@k", "p_at_k": "P@k by category", "found": "original found first"}
"""Measures of a curve -> their labels."""

SPECS = (
    RunSpec(SCENES, "blurred", OFFLINE, severity=3, per_category=20, engine="openvino"),
    RunSpec(FIGURES, "blurred", OFFLINE, severity=3, engine="openvino"),
)
"""The runs whose gallery is reduced."""

REPEATS = 5
"""Random orders of the photographs, over which a query's values are averaged."""

SIZES = {SCENES: (20, 50, 100, 200, 500, 1000, 2000), FIGURES: (20, 50, 100, 200, 350)}


def curve(dataset: str) -> pd.DataFrame:
    """The table of `gallery_curve` for a data set."""
    return pd.read_csv(io.StringIO("\n".join(read_json(FILE)["sets"][dataset])))


def reading() -> str:
    """What a larger gallery costs, in a sentence."""
    rows = curve(SCENES).set_index(["measure", "size"])["value"]
    first, last = SIZES[SCENES][0], SIZES[SCENES][-1]
    found, kind = ([rows[name, size] for size in (first, last)] for name in ("found", "p_at_k"))
    return (
        f"With {first} and with {last:,} scenes in the gallery, {100 * found[0]:.0f}% and {100 * found[1]:.0f}% of the blurred "
        f"queries find their original first, and {100 * kind[0]:.0f}% and {100 * kind[1]:.0f}% of the results show the "
        "query's kind."
    )


def asked(dataset: str) -> str:
    """The number of blurred queries, which is that of all photographs: `2,000`."""
    return f"{SIZES[dataset][-1]:,}"


def gallery_curve(
    queries: Floats,
    clean: Floats,
    categories: Integers,
    images: Integers,
    sizes: Sequence[int],
    *,
    k: int,
    tau: float = 0.8,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure the queries of a data set in random parts of it.

    A part is the beginning of a random order of the photographs, so larger parts contain smaller ones. The query's own content is
    left out of the results, except for `found`, for which the original is always in the gallery.

    Args:
        queries, clean: (n, dim) unit embeddings of the manipulated and of the clean photographs; the clean ones are the gallery.
        categories, images: (n,) codes of category and content.
        sizes: sizes of the parts, above k and at most n.
        k, tau, seed: number of results, threshold of valid@k, and seed of the orders.

    Returns:
        A row for each measure in `CURVES` and size: measure, size, value, low, high, categories. `value` is the macro mean, with
        its 95% interval over categories. P@k leaves out queries without another photograph of their category in the part.

    Raises:
        UserError: a size is out of range.
    """
    if wrong := [size for size in sizes if not k < size <= len(clean)]:
        raise UserError(f"a gallery must have more than k = {k} and at most all {len(clean)} photographs, not {wrong[0]}")
    by_content = np.argsort(images, kind="stable")
    orders = [by_content[rng_for(seed, "gallery", repeat).permutation(len(clean))] for repeat in range(REPEATS)]
    values = {name: np.full((len(sizes), REPEATS, len(clean)), np.nan) for name in CURVES}
    for rows, cosine in similarity_blocks(queries, clean):
        same, own = (codes_[rows, None] == codes_ for codes_ in (categories, images))
        near = 2 - 2 * (np.asarray(clean[rows], dtype=np.float64) @ np.asarray(clean, dtype=np.float64).T) < tau**2
        steps = in_steps(cosine)
        original = np.where(own, steps, -np.inf).max(axis=1)
        others = np.where(own, -np.inf, steps)
        for repeat, order in enumerate(orders):
            for at, size in enumerate(sizes):
                part = order[:size]
                top = part[np.argpartition(-2 * others[:, part] + same[:, part], k - 1, axis=1)[:, :k]]
                hits, valid, usable = (np.take_along_axis(m, top, axis=1) for m in (same & ~own, near & ~own, ~own))
                some = (same & ~own)[:, part].any(axis=1)
                values["p_at_k"][at, repeat, rows] = np.where(some, hits.mean(axis=1), np.nan)
                values["valid"][at, repeat, rows] = valid.sum(axis=1) / usable.sum(axis=1)
                values["found"][at, repeat, rows] = original > others[:, part].max(axis=1)
    table = []
    for name, cube in values.items():
        for size, column in zip(sizes, cube, strict=True):
            by_category = pd.DataFrame(column.T).mean(axis=1).groupby(categories)
            means = list(category_means({str(c): list(part) for c, part in by_category}).values())
            found = mean_interval(means, bounds=(0.0, 1.0)) if means else Interval(np.nan, np.nan, np.nan, "t", 0)
            table.append((name, size, found.point, found.low, found.high, found.n))
    return pd.DataFrame(table, columns=["measure", "size", "value", "low", "high", "categories"])


def gallery_curve_of(spec: RunSpec, sizes: Sequence[int], *, progress: bool = True) -> pd.DataFrame:
    """Compute `gallery_curve` for the photographs, the first draw of the condition, k, tau and seed of a run.

    Raises:
        UserError: the data set is missing, or a size is out of range.
    """
    encoder = load_encoder(spec.encoder, spec.precision, spec.engine)
    condition = spec.conditions[0]
    options: Any = {"seed": spec.seed, "colour": spec.colour, "progress": progress}
    found = embed(drawn_for(spec).photos, [CLEAN, condition], encoder, kept_embeddings(encoder), **options)
    labels = codes([photo.category for photo in found.photos])[0], codes(found.digests)[0]
    vectors = found.vectors[condition], found.vectors[CLEAN]
    return gallery_curve(*vectors, *labels, sizes, k=spec.k, tau=spec.tau, seed=spec.seed)


def figure(curve: pd.DataFrame) -> Figure:
    """Draw the table of `gallery_curve`: a panel for each measure, with 95% intervals over categories."""
    drawn, axes = new_figure(WIDTH, 2.6, 1, len(CURVES), sharey=True)
    for ax, (name, label) in zip(axes[0], CURVES.items(), strict=True):
        part = curve[curve["measure"] == name]
        ax.fill_between(part["size"], part["low"], part["high"], color=MID, alpha=0.25, lw=0)
        ax.plot(part["size"], part["value"], "o-", color=INK, ms=3, lw=1.2)
        ax.set(xscale="log", xlabel="photographs in the gallery", title=label, ylim=(0, 1.02))
        sizes = part["size"].tolist()
        ax.set_xticks(ticks := [sizes[0], sizes[len(sizes) // 2], sizes[-1]], [f"{size:,}" for size in ticks])
        ax.minorticks_off()
    axes[0, 0].set_ylabel("mean over categories")
    return drawn


def measure() -> None:
    """Measure and write the file.

    Raises:
        UserError: the photographs are not in $CLIPNB_DATA.
    """
    sets = {spec.dataset: gallery_curve_of(spec, SIZES[spec.dataset]).round(4) for spec in SPECS}
    said = describe([run(spec) for spec in SPECS])
    lines = {name: table.to_csv(index=False).split() for name, table in sets.items()}
    write_text(FILE, json.dumps({"about": said, "sets": lines}, indent=1) + "\n")


if __name__ == "__main__":
    measure()
