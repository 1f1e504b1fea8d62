"""Breaking points in words, as a table, and as curves."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from ..analysis.severity import BASELINE
from ..analysis.tolerance import Tolerance, position
from ..manipulations import MANIPULATIONS
from ..metrics.measures import MEASURES
from ..stats.intervals import FEWEST
from .coverage import COVERS, INVERTED, note
from .format import percent, table
from .format import points as points_text
from .plots import INK, MID, WIDTH, new_figure, plain

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ANSWERED = {"found": "the share of originals found first", "p1": "P@1", "map": "mAP", "zero_shot": "zero-shot naming"}
"""Measure -> what it is, in a sentence."""


def in_words(found: Tolerance) -> str:
    """The breaking point in words: `31% of the area kept (25% to 38%)`, `beyond ...`, `before ...`."""
    kind, point = MANIPULATIONS[found.manip].parameter, found.point
    if math.isnan(point.strength):
        return "not above chance when clean"
    weakest, strongest = (found.strengths[at] for at in (0, -1))
    ends = {-math.inf: f"before {kind.in_words(weakest)}", math.inf: f"not reached at {kind.in_words(strongest)}"}
    said = ends.get(point.strength) or kind.in_words(point.strength)
    if not point.bounded or (math.isinf(point.strength) and point.low == point.high):
        return said
    if math.isinf(point.strength):
        end, way = (point.low, "from") if point.strength > 0 else (point.high, "to")
        return f"{said} (interval {way} {kind.text(end)})"
    return f"{said} ({interval_in_words(found)})"


def interval_in_words(found: Tolerance) -> str:
    """The bounds of the interval, `25% to 38%`; a bound outside the measured strengths is `before` or `beyond` them."""
    number, point = MANIPULATIONS[found.manip].parameter.text, found.point
    covers = note(INVERTED, point.n)
    if math.isfinite(point.low) and math.isfinite(point.high):
        return " to ".join(map(number, sorted((point.low, point.high)))) + covers
    ends = {-math.inf: f"before {number(found.strengths[0])}", math.inf: f"beyond {number(found.strengths[-1])}"}
    return " to ".join(ends.get(end) or number(end) for end in (point.low, point.high)) + covers


def broken_means(found: Sequence[Tolerance]) -> str:
    """When the measure of these breaking points counts as broken, in words."""
    measure, left = found[0].measure, 1 - found[0].fraction
    said = "half" if left == 0.5 else f"{left:.0%}"
    targets = [t.point.target for t in found]
    if measure == "found" and all(abs(target - left) < 0.01 for target in targets):  # chance is nearly 0 in a large set
        return f"the unedited original is the first result of {said} of the queries"
    at = " to ".join(dict.fromkeys(f"{target:.0%}" for target in (min(targets), max(targets))))
    way = f"{said} of the way from chance to the clean value"
    return f"{ANSWERED[measure]} " + (f"falls to {at} ({way})" if measure == "found" else f"is {way}")


def lines(found: Sequence[Tolerance]) -> list[str]:
    """One line per manipulation for the terminal, worst first, and why intervals are missing."""
    ordered = sorted(found, key=position)
    width = max((len(MANIPULATIONS[t.manip].label) for t in ordered), default=0)
    said = [f"  {MANIPULATIONS[t.manip].label:<{width}}  {in_words(t)}" for t in ordered]
    if few := [t.categories for t in ordered if t.categories < FEWEST]:
        have = "one category is" if min(few) == 1 else f"{min(few)} categories are"
        said.append(f"no intervals: {have} too few, {FEWEST} are needed")
    return said + [COVERS] * ("; covers" in "".join(said))


def leaderboard_lines(frame: pd.DataFrame, points: Mapping[str, Mapping[str, Tolerance]]) -> list[str]:
    """The leaderboard for the terminal: a row an encoder, and a column for each measure and manipulation."""

    def interval(row: Mapping[Any, Any], name: str, form: Callable[[float], str]) -> str:
        if math.isnan(row.get(name, math.nan)):
            return ""
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        return form(row[name]) + ("" if math.isnan(low) else f" ({form(low)} to {form(high)})")

    others = frame["photographs"].nunique() > 1
    columns = [
        {
            "encoder": row["encoder"],
            "P@1": interval(row, "p1", "{:.1%}".format),
            "points from the best": interval(row, "p1_change", points_text),
            "mAP": interval(row, "map", "{:.3f}".format),
            **{MANIPULATIONS[manip].label: in_words(t) for manip, t in points[row["encoder"]].items()},
            "mCE": "" if math.isnan(row["mCE"]) else f"{row['mCE']:.2f}",
            "images/s": "" if math.isnan(row["images_per_second"]) else f"{row['images_per_second']:.1f}",
            "dim": str(row["dim"]),
            **({"photographs": str(row["images"])} if others else {}),
        }
        for row in frame.to_dict("records")
    ]
    rows = [[name, *(column[name] for column in columns)] for name in columns[0]]
    lines = str(tabulate(rows, tablefmt="plain", disable_numparse=True)).splitlines()
    lines.append("images/s: photographs per second, prepared in one thread and embedded, on this machine")
    lines += [f"{encoder}: {said}" for encoder, said in zip(frame["encoder"], frame["left_out"], strict=True) if said]
    if others:
        lines.append("encoders with different photographs are not compared with each other: no points from the best, no mCE")
    if frame["p1"].isna().all():
        lines.append("P@1 and mAP are empty, and mCE with them: the photographs have no kinds, or each is the only one of its kind")
    absent = f"empty if {BASELINE} is not listed, or has other photographs"
    errors = f"mCE: 1 - mAP at severities 1 to 5, divided by 1 - mAP of {BASELINE} ({absent})"
    lines.append(f"P@1: the first other result is of the query's kind; mAP: average precision by kind; {errors}")
    return lines + [COVERS] * ("; covers" in "".join(lines))


def tolerance_table(found: Sequence[Tolerance]) -> str:
    """One row per manipulation, worst first: the breaking point in words, and the measure when clean and at the strongest edit."""
    rows = []
    for t in sorted(found, key=position):
        strongest = f"{percent(t.means[-1])} at {MANIPULATIONS[t.manip].parameter.in_words(t.strengths[-1])}"
        rows.append([MANIPULATIONS[t.manip].label, in_words(t), percent(t.point.clean), strongest])
    label = MEASURES[found[0].measure].label
    return table(["edit", "broken at (95% interval)", f"{label}, clean", "at the strongest"], rows, "llrl")


def in_order(found: Sequence[Sequence[Tolerance]]) -> list[str]:
    """Manipulations in the order in which they break, by the data set or encoder where they break first."""
    return list(dict.fromkeys(t.manip for t in sorted((t for line in found for t in line), key=position)))


def curves(found: Sequence[Sequence[Tolerance]], columns: int = 3, names: Mapping[str, str] | None = None) -> Figure:
    """Draw the measure against the strength of each manipulation, with breaking points, intervals and the level of chance.

    `found` has a sequence of manipulations for each line of a panel: a data set, an encoder or a measure. `names` maps a data set
    or encoder to its name in the legend.
    """
    manips = in_order(found)
    columns = min(columns, len(manips))
    rows = -(-len(manips) // columns)
    figure, axes = new_figure(WIDTH, 1.75 * rows + 0.5, rows, columns, sharey=True)
    for ax, manip in zip(axes.flat, manips, strict=False):
        for i, line in enumerate(found):
            for t in line:
                if t.manip == manip:
                    _curve(ax, t, i, label(t, found, names or {}))
        ax.set_title(plain(MANIPULATIONS[manip].label), fontsize=8, loc="left")
        ax.set_xlabel(textwrap.fill(plain(MANIPULATIONS[manip].parameter.name), 102 // columns), fontsize=7)
        ax.set_ylim(-0.05 * (1 + len(found)), 1.03)
        ax.set_yticks([0, 0.25, 0.5, 0.75, 1])
    for ax in axes.flat[len(manips) :]:
        ax.set_visible(False)
    measures = {MEASURES[t.measure].label for line in found for t in line}
    figure.supylabel(" / ".join(sorted(measures)), fontsize=8)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=8, loc="outside upper right", ncols=len(labels))
    return figure


def label(t: Tolerance, found: Sequence[Sequence[Tolerance]], names: Mapping[str, str]) -> str:
    """Label of a line: the fields that differ between the lines."""
    own = {"dataset": t.dataset, "encoder": t.encoder, "measure": MEASURES[t.measure].label}
    differing = [name for name in own if len({getattr(line[0], name) for line in found}) > 1]
    return plain(", ".join(names.get(own[name], own[name]) for name in differing or ["measure"]))


def _curve(ax: Axes, t: Tolerance, line: int, name: str) -> None:
    kind = MANIPULATIONS[t.manip].parameter
    colour, marker, style = ((INK, "o", "-"), (MID, "s", "--"), (INK, "D", ":"), (MID, "^", "-."))[line % 4]
    drawn: Any = {"color": colour, "marker": marker, "ms": 3.5, "mfc": "white" if line % 2 else colour, "lw": 1.2}
    untouched = t.strengths[0] - 0.2 * (t.strengths[-1] - t.strengths[0])
    ax.plot(t.strengths, t.means, ls=style, label=name, **drawn)
    ax.plot([untouched, t.strengths[0]], [t.point.clean, t.means[0]], ls=(0, (1, 2)), **drawn)
    ax.axhline(t.chance, color=colour, lw=0.6, ls=":")
    if t.point.bounded and t.point.reached:
        limits = {-math.inf: t.strengths[0], math.inf: t.strengths[-1]}
        at = -0.05 - 0.05 * line
        ax.plot([limits.get(end, end) for end in (t.point.low, t.point.high)], [at, at], color=colour, lw=3, solid_capstyle="butt")
    if t.point.reached:
        ax.plot(t.point.strength, t.point.target, "X", color=colour, mec="white", ms=7, zorder=4)
    if kind.rises < 0 and not ax.xaxis_inverted():
        ax.invert_xaxis()
    ticks = _apart(t.strengths, 0.13 * abs(t.strengths[-1] - untouched))
    ax.set_xticks([untouched, *ticks], ["clean", *map(kind.text, ticks)], fontsize=6.5)


def _apart(values: Sequence[float], least: float) -> list[float]:
    """The values from the last to the first, without a value that is nearer than `least` to the last one kept."""
    kept: list[float] = []
    for value in reversed(values):
        if not kept or abs(kept[-1] - value) >= least:
            kept.append(value)
    return kept
