"""Charts of measures against the size of the gallery."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from ..analysis.sensitivity import CURVES
from .plots import INK, MID, WIDTH, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def over_gallery_sizes(curve: pd.DataFrame) -> Figure:
    """Draw the table of `analysis.sensitivity.gallery_curve`: a panel for each measure, with 95% intervals over categories."""
    figure, axes = new_figure(WIDTH, 2.6, 1, len(CURVES), sharey=True)
    for ax, (name, label) in zip(axes[0], CURVES.items(), strict=True):
        part = curve[curve["measure"] == name]
        ax.fill_between(part["size"], part["low"], part["high"], color=MID, alpha=0.25, lw=0)
        ax.plot(part["size"], part["value"], "o-", color=INK, ms=3, lw=1.2)
        ax.set(xscale="log", xlabel="photographs in the gallery", title=label, ylim=(0, 1.02))
        sizes = part["size"].tolist()
        ax.set_xticks(ticks := [sizes[0], sizes[len(sizes) // 2], sizes[-1]], [f"{size:,}" for size in ticks])
        ax.minorticks_off()
    axes[0, 0].set_ylabel("mean over categories")
    return figure
