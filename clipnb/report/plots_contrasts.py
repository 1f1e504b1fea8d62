"""Figures of changes between conditions, and of differences of changes between data sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..analysis.contrasts import Contrast, InteractionContrast
from ..stats.intervals import Interval
from .plots import INK, MID, WIDTH, jitter, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def _row(ax: Axes, at: float, interval: Interval, values: Sequence[float] = (), marker: str = "D", fill: str = "white") -> None:
    """Draw a mean with its interval and, below it, the values, all multiplied by 100."""
    ax.plot(100 * np.asarray(values), at - 0.13 + 0.5 * jitter(len(values)), "o", color=MID, ms=3, alpha=0.45, mew=0)
    if interval.bounded:
        ax.plot([100 * interval.low, 100 * interval.high], [at, at], color=INK, lw=2)
    ax.plot(100 * interval.point, at, marker, mfc=fill, mec=INK, ms=5)


def forest(family: Sequence[Contrast], xlabel: str = "change of valid@k, percentage points") -> Figure:
    """Draw a row for each contrast: the mean change with its interval, categories as dots, and a line at zero."""
    figure, axes = new_figure(WIDTH, 0.42 * len(family) + 0.9)
    ax = axes[0, 0]
    for at, c in enumerate(reversed(family)):
        _row(ax, at, c.interval, c.values)
    ax.axvline(0, color=INK, lw=0.8, ls=":")
    ax.set_yticks(range(len(family)), [plain(f"{c.dataset}\n{c.before} → {c.after}") for c in reversed(family)], fontsize=7)
    ax.set(xlabel=xlabel, ylim=(-0.6, len(family) - 0.4))
    return figure


def interactions(pairs: Sequence[InteractionContrast], what: str = "valid@k") -> Figure:
    """Draw, for each condition, the changes on two data sets on the left and the difference of the changes on the right."""
    figure, axes = new_figure(WIDTH, 0.75 * len(pairs) + 1.1, 1, 2, sharey=True, width_ratios=(3, 2))
    left, right = axes[0]
    for at, x in enumerate(reversed(pairs)):
        _row(left, at + 0.2, x.first.interval, x.first.values)
        _row(left, at - 0.2, x.second.interval, x.second.values, "s", INK)
        _row(right, at, x.test.difference)
    for ax in (left, right):
        ax.axvline(0, color=INK, lw=0.8, ls=":")
        for between in range(1, len(pairs)):
            ax.axhline(between - 0.5, color="0.85", lw=0.6)
    x = pairs[0]
    for c, marker, fill in ((x.first, "D", "white"), (x.second, "s", INK)):
        left.plot([], [], marker, mfc=fill, mec=INK, ms=5, ls="none", label=plain(f"{c.dataset}, {len(c.changes)} categories"))
    left.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)
    left.set_yticks(range(len(pairs)), [plain(x.first.after) for x in reversed(pairs)])
    left.set(xlabel=f"change of {what}, percentage points", ylim=(-0.6, len(pairs) - 0.45))
    right.set_xlabel("difference of the changes, points")
    right.set_title(plain(f"{x.first.dataset} − {x.second.dataset}"), fontsize=8, loc="left")
    return figure
