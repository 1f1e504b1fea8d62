"""How far an edit moves embeddings: the loss against the shift, a map of embeddings, and the results of a query."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy
from numpy.typing import NDArray

from clipnb.datasets.dataset import Photo, load_dataset
from clipnb.datasets.images import decode, digest, read
from clipnb.embedding.embed import embed, kept_embeddings
from clipnb.encoders import OFFLINE, load_encoder
from clipnb.manipulations import CLEAN, MANIPULATIONS, Condition
from clipnb.report.format import NB
from clipnb.report.photos import show
from clipnb.report.plots import INK, MID, WIDTH, new_figure

from . import slider
from .first_page import SETS
from .measured import records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EDIT = Condition("blurred", 5)
"""The edit of the map."""

ASKED = (Condition(CLEAN), Condition("blurred", 3), EDIT)
"""The conditions of the strip."""

RESULTS = 6
"""Results of a query in the strip."""


def measured() -> pd.DataFrame:
    """The rows of edits with the offline encoder on real photographs: dataset, manip, shift, found."""
    table, _ = records.severities()
    return table[(table["encoder"] == OFFLINE) & (table["manip"] != CLEAN) & table["dataset"].isin(list(SETS))]


def reading() -> str:
    """How closely the shift of the embedding predicts the loss, in a sentence."""
    parts = []
    for name, who in SETS.items():
        own = measured()[measured()["dataset"] == name]
        parts.append(f"{scipy.stats.spearmanr(own['shift'], own['found']).statistic:.2f} on {who}".replace("-", "−"))
    return f"The farther an edit moves the embedding, the fewer originals are found: rank correlation {' and '.join(parts)}."


def scatter() -> Figure:
    """Mean shift of the embedding against the share found first, a mark for each edit and strength, one panel per data set."""
    figure, axes = new_figure(WIDTH, 3.0, 1, len(SETS), sharex=True, sharey=True)
    marks = {"blurred": ("o", INK), "cropped": ("s", INK), "grey": ("D", INK)}
    for ax, (name, who) in zip(axes[0], SETS.items(), strict=True):
        own = measured()[measured()["dataset"] == name]
        others = own[~own["manip"].isin(list(marks))]
        for manip, (mark, colour) in marks.items():
            part = own[own["manip"] == manip]
            ax.plot(part["shift"], part["found"], mark, color=colour, mfc="white", ms=5, label=MANIPULATIONS[manip].label)
        ax.plot(others["shift"], others["found"], "^", color=MID, ms=4.5, label="other edits")
        ax.set(xlabel="mean shift of the embedding, 1 − cosine", ylim=(-0.03, 1.05))
        ax.text(0.98, 0.97, who, transform=ax.transAxes, ha="right", va="top", fontsize=9)
    axes[0, 0].set_ylabel("original found first", fontsize=9)
    axes[0, 0].legend(frameon=False, fontsize=8, loc="lower left")
    return figure


@cache
def sample() -> tuple[list[Photo], dict[str, NDArray[np.float32]]]:
    """The photographs of the first sample set, and condition -> their embeddings, (images, dim)."""
    encoder = load_encoder(OFFLINE)
    found = embed(load_dataset(slider.DATASET).photos, list(map(str, ASKED)), encoder, kept_embeddings(encoder), progress=False)
    return list(found.photos), {name: np.asarray(vectors) for name, vectors in found.vectors.items()}


def _between(vectors: NDArray[np.float32], kinds: list[str]) -> float:
    """Mean distance between the centres of the kinds."""
    centres = np.array([vectors[[k == kind for k in kinds]].mean(axis=0) for kind in dict.fromkeys(kinds)])
    distances = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    return float(distances[np.triu_indices(len(centres), 1)].mean())


def map_reading() -> str:
    """What the map shows, in a sentence."""
    photos, vectors = sample()
    before, after = (_between(vectors[str(c)], [p.category for p in photos]) for c in (ASKED[0], EDIT))
    strength = EDIT.manipulation.parameter.in_words(EDIT.value)
    return (
        f"Under {strength} the kinds move together: the L2 distance of their centres falls from {before:.2f} to {after:.2f} (mean)."
    )


def embedding_map() -> Figure:
    """The sample photographs, as they are and blurred, in the plane of the two largest principal components."""
    photos, vectors = sample()
    clean, edited = vectors[str(ASKED[0])], vectors[str(EDIT)]
    both = np.concatenate([clean, edited])
    centre = both.mean(axis=0)
    _, sizes, axes_of = np.linalg.svd(both - centre, full_matrices=False)
    axes_of = axes_of[:2] * np.sign(axes_of[:2].sum(axis=1, keepdims=True))  # the sign of a component is arbitrary
    a, b = ((v - centre) @ axes_of.T for v in (clean, edited))
    figure, axes = new_figure(WIDTH, 3.9)
    ax = axes[0, 0]
    ax.plot([a[:, 0], b[:, 0]], [a[:, 1], b[:, 1]], color="0.8", lw=0.6, zorder=1)
    for i, kind in enumerate(dict.fromkeys(p.category for p in photos)):
        own = [p.category == kind for p in photos]
        mark, colour = "osD^vP"[i % 6], (INK, MID)[i % 2]
        ax.plot(*a[own].T, mark, color=colour, ms=5, label=kind, zorder=3)
        ax.plot(*b[own].T, mark, color=colour, mfc="white", ms=5, zorder=2)
    part = sizes[:2] ** 2 / (sizes**2).sum()
    ax.set(xlabel=f"first principal component ({part[0]:.0%} of the variance)", ylabel=f"second ({part[1]:.0%})")
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def strip() -> Figure:
    """One photograph under stronger and stronger blur, a row each, with its nearest results; the original has a thick frame."""
    photos, vectors = sample()
    at = next(i for i, photo in enumerate(photos) if photo.id == slider.PHOTOGRAPH)
    content = read(photos[at].path)
    image = decode(content, photos[at].id)
    figure, axes = new_figure(WIDTH, 1.25 * len(ASKED), len(ASKED), RESULTS + 1)
    for line, condition in zip(axes, ASKED, strict=True):
        order = np.argsort(-(vectors[str(ASKED[0])] @ vectors[str(condition)][at]), kind="stable")
        words = condition.manipulation.parameter.in_words(condition.value) if condition.severity else "as it is"
        show(line[0], condition(image, 0, digest(content)), words.removeprefix("a ").replace(" ", NB).replace(f"{NB}of{NB}", "\n"))
        for ax, found in zip(line[1:], order, strict=False):
            photo = photos[found]
            show(ax, decode(read(photo.path), photo.id), "original" if found == at else photo.category)
            own = photo.category == photos[at].category
            for spine in ax.spines.values():
                spine.set(visible=True, color=INK, linewidth=3 if found == at else 1, linestyle="-" if own else ":")
    return figure
