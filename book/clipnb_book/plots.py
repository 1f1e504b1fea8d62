"""Charts that only this book draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from clipnb.report.plots import INK, MID, PALE, WIDTH, axis_title, jitter, new_figure, plain
from clipnb.stats.intervals import mean_interval

from .claims.evidence import ByCondition, mean_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def _means(ax: Axes, sets: Mapping[str, ByCondition], title: str) -> None:
    """Draw a marker for each data set and condition, and its category means as dots where they are known."""
    for i, ((name, group), marker) in enumerate(zip(sets.items(), "osD^v", strict=False)):
        at = np.arange(len(group)) + 0.2 * (i - (len(sets) - 1) / 2)
        for x, cell in zip(at, group.values(), strict=True):
            if cell.categories is None:
                low, high = np.clip(mean_of(cell).interval(0.95), 0, 1)
            else:
                interval = mean_interval(cell.values, bounds=(0.0, 1.0))
                low, high = interval.low, interval.high
                dots = x + 0.5 * jitter(cell.n)
                ax.plot(dots, cell.values, "o", color=MID, ms=2.2, alpha=0.5, mew=0, clip_on=False, zorder=1)
            ax.plot([x, x], [low, high], color=INK, lw=1.4, ls=":" if cell.categories is None else "-", zorder=2)
        heights = [cell.mean for cell in group.values()]
        ax.plot(at, heights, marker, color=INK, mfc=("white", PALE, MID)[i % 3], ms=6, label=plain(name), zorder=3)
    axis_title(ax, title)
    ax.set_xticks(range(len(group)), list(group))
    ax.set(ylim=(0, 1.03), xlim=(-0.5, len(group) - 0.5))
    ax.legend(frameon=False, fontsize=8, loc="lower left")


def means(sets: Mapping[str, ByCondition], title: str = "") -> Figure:
    """Means by condition, a marker a data set, with 95% intervals over categories and a dot a category.

    Where only a mean is known, a dotted line is the widest interval that any list of categories with that mean allows.
    """
    figure, axes = new_figure(WIDTH, 2.9)
    _means(axes[0, 0], sets, title)
    axes[0, 0].set_ylabel("mean accuracy")
    return figure


def side_by_side(left: Mapping[str, ByCondition], right: Mapping[str, ByCondition], titles: tuple[str, str]) -> Figure:
    """Two charts of means on one scale, such as the study's printed means beside ours."""
    figure, axes = new_figure(WIDTH, 2.7, 1, 2, sharey=True)
    for ax, sets, title in zip(axes[0], (left, right), titles, strict=True):
        _means(ax, sets, title)
    axes[0, 0].set_ylabel("mean accuracy")
    return figure
