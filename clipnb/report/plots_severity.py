"""Figures of severities: curves by encoder, and a heat map of manipulation x severity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..analysis.severity import clean_value, performance
from ..manipulations import CLEAN
from ..metrics.measures import MEASURES
from .plots import INK, MID, PALE, WIDTH, jitter, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKS = ("o", "s", "D", "^", "v", "P")
FILLS = (INK, "white", MID, PALE)


def curves(table: pd.DataFrame, measure: str = "valid", title: str = "") -> Figure:
    """Draw performance against severity, with a row for each data set, a column for each manipulation, a line for each encoder.

    Error bars are 95% intervals, and dots are categories. The label of a severity gives the mean strength at the input of
    the first encoder.
    """
    graded = table[table["severity"] > 0]
    datasets, manips = list(dict.fromkeys(graded["dataset"])), list(dict.fromkeys(graded["manip"]))
    encoders = list(dict.fromkeys(graded["encoder"]))
    tops = [
        np.nanmax(table[[measure, f"{measure}_high"]].to_numpy(dtype=float)),
        *map(max, filter(len, table[f"{measure}_points"])),
    ]
    top = min(1.02, 1.05 * float(max(tops)))
    figure, axes = new_figure(WIDTH, 1.9 * len(datasets) + 0.9, len(datasets), len(manips), sharey=True)
    for line, dataset in zip(axes, datasets, strict=True):
        for ax, manip in zip(line, manips, strict=True):
            for i, encoder in enumerate(encoders):
                own = table[(table["dataset"] == dataset) & (table["encoder"] == encoder)]
                rows = own[(own["manip"] == manip) & (own["severity"] > 0) | (own["manip"] == CLEAN)].sort_values("severity")
                if rows.empty:
                    continue
                x = rows["severity"].to_numpy() + 0.24 * (i - (len(encoders) - 1) / 2)
                for at, values in zip(x, rows[f"{measure}_points"], strict=True):
                    ax.plot(
                        at + 0.6 * jitter(len(values)),
                        values,
                        MARKS[i % len(MARKS)],
                        color=INK if i == 0 else MID,
                        mew=0,
                        ms=2.2,
                        alpha=0.4,
                        zorder=1,
                    )
                y = rows[measure].to_numpy(dtype=float)
                arms = np.nan_to_num(np.array([y - rows[f"{measure}_low"], rows[f"{measure}_high"] - y], dtype=float))
                ax.errorbar(
                    x,
                    y,
                    yerr=arms,
                    color=INK if i == 0 else MID,
                    lw=1.2,
                    elinewidth=0.8,
                    marker=MARKS[i % len(MARKS)],
                    mfc=FILLS[i % len(FILLS)],
                    ms=4.5,
                    ls="-" if i == 0 else "--",
                    label=plain(encoder),
                )
                if i == 0:
                    levels = rows[rows["severity"] > 0]
                    strengths = [f"{s}\n{_short(v)}" for s, v in zip(levels["severity"], levels["strength"], strict=True)]
                    ax.set_xticks([0, *levels["severity"]], ["clean", *strengths], fontsize=7)
                    ax.set_xlabel(plain(str(levels["unit"].iloc[0])) if len(levels) else "", fontsize=7)
            ax.set_title(plain(f"{dataset}, {manip}"), fontsize=8, loc="left")
            ax.set_ylim(0, top)
        line[0].set_ylabel(MEASURES[measure].label, fontsize=8)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=8, loc="outside upper right", ncols=len(labels))
    if title:
        figure.suptitle(plain(title), fontsize=9)
    return figure


def _short(strength: float) -> str:
    """Format with two digits and without a leading zero, so that the labels of five severities fit side by side."""
    return f"{strength:.2g}".removeprefix("0")


def heat_map(table: pd.DataFrame, dataset: str, encoder: str, measure: str = "valid") -> Figure:
    """Draw performance by manipulation and severity, printed in every cell; the first column is the clean run.

    The colours span the range of the measure, so that figures of several data sets can be compared.
    """
    found = performance(table, dataset, encoder, measure)
    severities = sorted({s for row in found.values() for s in row})
    clean = clean_value(table, dataset, encoder, measure)
    values = np.array([[clean, *(row.get(s, np.nan) for s in severities)] for row in found.values()])
    least, most = MEASURES[measure].range
    figure, axes = new_figure(WIDTH, 0.36 * len(found) + 1.0)
    ax = axes[0, 0]
    image = ax.imshow(values, cmap="Blues", vmin=least, vmax=most, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        if not np.isnan(value):
            ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=8, color="white" if value > 0.6 * most else INK)
    ax.set_yticks(range(len(found)), [plain(name) for name in found])
    ax.set_xticks(range(len(severities) + 1), ["clean", *map(str, severities)])
    ax.set_xlabel("severity")
    ax.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=ax, pad=0.02)
    bar.set_label(MEASURES[measure].label, fontsize=8)
    return figure
