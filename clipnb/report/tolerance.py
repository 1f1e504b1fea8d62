"""Breaking points in words, as a table, and as curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..analysis.tolerance import Tolerance, position
from ..manipulations import MANIPULATIONS
from ..metrics.measures import MEASURES
from .format import table
from .plots import INK, MID, PALE, WIDTH, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOST = {
    "found": "the unedited original is the first result of {} of the queries",
    "p1": "P@1 is {} of the way from chance to the clean value",
    "map": "mAP is {} of the way from chance to the clean value",
}


def in_words(found: Tolerance) -> str:
    """The breaking point in words: `31% of the area kept (25% to 38%)`, `beyond ...`, `before ...`."""
    kind, point = MANIPULATIONS[found.manip], found.point
    if math.isnan(point.strength):
        return "not above chance when clean"
    weakest, strongest = (found.strengths[at] for at in (0, -1))
    ends = {-math.inf: f"before {kind.in_words(weakest)}", math.inf: f"not reached at {kind.in_words(strongest)}"}
    said = ends.get(point.strength) or kind.in_words(point.strength)
    if not point.bounded or (math.isinf(point.strength) and point.low == point.high):
        return said
    edges = {-math.inf: f"before {kind.number.format(weakest)}", math.inf: f"beyond {kind.number.format(strongest)}"}
    low, high = (edges.get(end) or kind.number.format(end) for end in (point.low, point.high))
    return f"{said} ({low} to {high})"


def broken_means(measure: str, fraction: float) -> str:
    """What it means that a measure is broken, in words."""
    left = "half" if fraction == 0.5 else f"{1 - fraction:.0%}"
    return LOST[measure].format(left)


def tolerance_table(found: Sequence[Tolerance]) -> str:
    """A row a manipulation, worst first: the breaking point in words, and the measure when clean and at the strongest edit."""
    rows = [
        [
            MANIPULATIONS[t.manip].label,
            in_words(t),
            f"{t.point.clean:.1%}",
            f"{t.means[-1]:.1%} at {MANIPULATIONS[t.manip].in_words(t.strengths[-1])}",
        ]
        for t in sorted(found, key=position)
    ]
    label = MEASURES[found[0].measure].label
    return table(["edit", "broken at (95% interval)", f"{label}, clean", "at the strongest"], rows, "llrl")


def curves(found: Sequence[Sequence[Tolerance]], columns: int = 3) -> Figure:
    """Draw the measure against the strength of each manipulation, with breaking points, intervals and the level of chance.

    Args:
        found: for each line of a panel (a data set, an encoder or a measure), its manipulations.
        columns: panels side by side.
    """
    manips = list(dict.fromkeys(t.manip for line in found for t in sorted(line, key=position)))
    rows = -(-len(manips) // columns)
    figure, axes = new_figure(WIDTH, 1.75 * rows + 0.5, rows, columns, sharey=True)
    for ax, manip in zip(axes.flat, manips, strict=False):
        for i, line in enumerate(found):
            for t in line:
                if t.manip == manip:
                    _curve(ax, t, i, label(t, found))
        ax.set_title(plain(MANIPULATIONS[manip].label), fontsize=8, loc="left")
        ax.set_xlabel(plain(MANIPULATIONS[manip].parameter), fontsize=7)
        ax.set_ylim(0, 1.03)
    for ax in axes.flat[len(manips) :]:
        ax.set_visible(False)
    names = {MEASURES[t.measure].label for line in found for t in line}
    figure.supylabel(" / ".join(sorted(names)), fontsize=8)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=8, loc="outside upper right", ncols=len(labels))
    return figure


def label(t: Tolerance, found: Sequence[Sequence[Tolerance]]) -> str:
    """Name of a line: what differs between the lines."""
    parts = {
        "dataset": [line[0].spec.dataset_name for line in found],
        "encoder": [line[0].spec.encoder for line in found],
        "measure": [line[0].measure for line in found],
    }
    own = {"dataset": t.spec.dataset_name, "encoder": t.spec.encoder, "measure": MEASURES[t.measure].label}
    differing = [own[name] for name, values in parts.items() if len(set(values)) > 1]
    return plain(", ".join(differing) or MEASURES[t.measure].label)


def _curve(ax: Axes, t: Tolerance, line: int, name: str) -> None:
    levels = MANIPULATIONS[t.manip].levels
    falls = levels[-1] < levels[0]
    colour, marker, style = ((INK, "o", "-"), (MID, "s", "--"), (INK, "D", ":"), (MID, "^", "-."))[line % 4]
    ax.plot(t.strengths, t.means, marker, color=colour, ls=style, lw=1.2, ms=3.5, mfc="white" if line % 2 else colour, label=name)
    ax.axhline(t.chance, color=colour, lw=0.6, ls=":")
    ax.axhline(t.point.target, color=colour, lw=0.6, ls=(0, (1, 4)))
    if t.point.bounded and t.point.reached:
        limits = {-math.inf: t.strengths[0], math.inf: t.strengths[-1]}
        ends = [limits.get(end, end) for end in (t.point.low, t.point.high)]
        ax.axvspan(*sorted(ends), ymax=0.06 + 0.05 * line, ymin=0.02 + 0.05 * line, color=PALE, lw=0)
    if t.point.reached:
        ax.plot(t.point.strength, t.point.target, "x", color=colour, ms=7, mew=1.6, zorder=4)
    if falls and not ax.xaxis_inverted():
        ax.invert_xaxis()
    percent = "%" in MANIPULATIONS[t.manip].number
    ticks = np.array(levels)
    ax.set_xticks(ticks, [MANIPULATIONS[t.manip].number.format(v) if percent else f"{v:g}" for v in ticks], fontsize=6.5)
