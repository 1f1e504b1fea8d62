"""Charts that only this book draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clipnb.analysis.contrasts import InteractionContrast
from clipnb.analysis.missing import FATES, account
from clipnb.manipulations import CLEAN, MANIPULATIONS, STUDY
from clipnb.report.plots import INK, MID, PALE, WIDTH, axis_title, jitter, mean_row, new_figure, plain
from clipnb.result import Result

from .claims.evidence import ByCondition, mean_of
from .first_page import SETS
from .measured import findings
from .threshold_sweep import Sweep

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def means(sets: Mapping[str, ByCondition]) -> Figure:
    """Means by condition, one marker per data set, with 95% intervals over categories and one dot per category.

    Where only a mean is known, a dotted line is the widest interval that any list of categories with that mean allows.
    """
    figure, axes = new_figure(WIDTH, 2.9)
    ax = axes[0, 0]
    for i, ((name, group), marker) in enumerate(zip(sets.items(), "osD^v", strict=False)):
        at = np.arange(len(group)) + 0.2 * (i - (len(sets) - 1) / 2)
        for x, cell in zip(at, group.values(), strict=True):
            interval = mean_of(cell).interval(0.95)
            if cell.categories is not None:
                dots = x + 0.5 * jitter(cell.n)
                ax.plot(dots, cell.values, "o", color=MID, ms=2.2, alpha=0.5, mew=0, clip_on=False, zorder=1)
            ax.plot([x, x], [interval.low, interval.high], color=INK, lw=1.4, ls=":" if cell.categories is None else "-", zorder=2)
        heights = [cell.mean for cell in group.values()]
        ax.plot(at, heights, marker, color=INK, mfc=("white", PALE, MID)[i % 3], ms=6, label=plain(name), zorder=3)
    ax.set_xticks(range(len(group)), list(group))
    ax.set(ylim=(0, 1.03), xlim=(-0.5, len(group) - 0.5), ylabel="the study's accuracy (share of valid results)")
    ax.legend(frameon=False, fontsize=8, loc="lower left")
    return figure


def slopes(encoder: str) -> Figure:
    """Each category's valid@k, unedited and edited: one row per data set, one column per manipulation."""
    edits = [manip for manip in STUDY if manip != CLEAN]
    figure, axes = new_figure(WIDTH, 4.6, len(SETS), len(edits), sharey=True)
    for line, (dataset, who) in zip(axes, SETS.items(), strict=True):
        for ax, manip in zip(line, edits, strict=True):
            before, after = (findings.categories(dataset, encoder, m) for m in (CLEAN, manip))
            for category in (name for name in before if name in after):  # a set has no fixed order
                ax.plot([0, 1], [before[category], after[category]], color=MID, lw=0.7, alpha=0.5, marker="o", ms=2, mew=0)
            means = [float(np.mean(list(values.values()))) for values in (before, after)]
            ax.plot([0, 1], means, color=INK, lw=2.2, marker="o", ms=4, zorder=3)
            for at, mean in enumerate(means):
                where = {"ha": "right" if at == 0 else "left", "xytext": (-6 if at == 0 else 6, 0)}
                ax.annotate(f"{mean:.2f}", (at, mean), textcoords="offset points", va="center", fontsize=8, **where)
            ax.set_xticks([0, 1], ["unedited", MANIPULATIONS[manip].label], fontsize=8)
            ax.set(xlim=(-0.45, 1.45), ylim=(-0.02, 1.02))
        line[0].set_ylabel(f"{who}: valid@k", fontsize=9)
    return figure


def interactions(pairs: Sequence[InteractionContrast], what: str = "valid@k") -> Figure:
    """Draw, for each condition, the changes on two data sets on the left and the difference of the changes on the right."""
    figure, axes = new_figure(WIDTH, 0.75 * len(pairs) + 1.1, 1, 2, sharey=True, width_ratios=(3, 2))
    left, right = axes[0]
    for at, x in enumerate(reversed(pairs)):
        mean_row(left, at + 0.2, x.first.interval, x.first.values)
        mean_row(left, at - 0.2, x.second.interval, x.second.values, "s", INK)
        mean_row(right, at, x.test.difference)
    for ax in (left, right):
        ax.axvline(0, color=INK, lw=0.8, ls=":")
        for between in range(1, len(pairs)):
            ax.axhline(between - 0.5, color="0.85", lw=0.6)
    x = pairs[0]
    for c, marker, fill in ((x.first, "D", "white"), (x.second, "s", INK)):
        left.plot([], [], marker, mfc=fill, mec=INK, ms=5, ls="none", label=plain(f"{c.dataset}, {len(c.changes)} categories"))
    left.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)
    left.set_yticks(range(len(pairs)), [plain(x.after) for x in reversed(pairs)])
    left.set(xlabel=f"change of {what}, percentage points", ylim=(-0.6, len(pairs) - 0.45))
    right.set_xlabel("difference of the changes, points")
    right.set_title(plain(f"{x.first.dataset} − {x.second.dataset}"), fontsize=8, loc="left")
    return figure


def over_thresholds(sweeps: Sequence[Sweep]) -> Figure:
    """Draw the change at every threshold with its interval; the line is thick where the verdict is the same as in the runs."""
    figure, axes = new_figure(WIDTH, 1.3 * len(sweeps) + 0.6, len(sweeps), sharex=True, sharey=True)
    for ax, s in zip(axes[:, 0], sweeps, strict=True):
        point = 100 * np.array([c.point for c in s.changes])
        low, high = (100 * np.array([getattr(c, side) for c in s.changes]) for side in ("low", "high"))
        ax.fill_between(s.taus, low, high, color=PALE, lw=0)
        ax.plot(s.taus, point, color=MID, lw=1)
        inside = (s.taus >= s.holds[0]) & (s.taus <= s.holds[1])
        ax.plot(s.taus[inside], point[inside], color=INK, lw=2.4)
        ax.axhline(0, color=INK, lw=0.7, ls=":")
        ax.axvline(s.tau, color=INK, lw=0.9, ls="--")
        axis_title(ax, s.condition)
    axes[-1, 0].set(xlabel="threshold, L2 distance (dashed: threshold of the runs)", xlim=(float(sweeps[0].taus[0]), 1.6))
    figure.supylabel("change, percentage points", fontsize=9)
    return figure


def accounts(results: Sequence[Result]) -> Figure:
    """Draw two panels with a row for each run: shares of the fates; available case with interval, bounds and categories."""
    arms = [account(result) for result in results]
    drawn, axes = new_figure(WIDTH, 1.3 + 0.42 * len(arms), 1, 2, width_ratios=[1.25, 1], sharey=True)
    shares, cases = axes[0]
    looks = dict(zip(FATES, ((MID, ""), (PALE, ""), ("white", "////"), ("white", "...."), ("white", "")), strict=True))
    looks = {fate: look for fate, look in looks.items() if any(arm.fates[fate] for arm in arms)}
    for y, arm in enumerate(arms):
        once = "_" * (y > 0)  # a legend leaves out labels that begin with an underscore
        left = 0.0
        for fate, (colour, hatch) in looks.items():
            share = arm.fates[fate] / arm.asked
            look: Any = {"height": 0.62, "color": colour, "hatch": hatch, "edgecolor": INK, "linewidth": 0.6}
            shares.barh(y, share, left=left, label=once + fate, **look)
            left += share
        cases.plot([arm.worst, arm.best], [y, y], color=PALE, linewidth=9, solid_capstyle="butt", label=once + "bounds")
        dots = list(arm.categories.values())
        heights = y + 0.33 + 0.4 * jitter(len(dots))
        cases.plot(dots, heights, "o", color=MID, markersize=3, alpha=0.6, markeredgewidth=0, label=once + "category")
        if arm.available.bounded:
            cases.plot([arm.available.low, arm.available.high], [y, y], color=INK, linewidth=1.2, label=once + "95% interval")
        cases.plot(arm.available.point, y, "o", color=INK, markersize=4, label=once + "available case")
        cases.plot(arm.study, y, "D", markerfacecolor="none", markeredgecolor=MID, markersize=7, label=once + "study's rule")
    shares.set(xlim=(0, 1), xlabel="share of the results asked for")
    shares.set_yticks(range(len(arms)), [plain(arm.label) for arm in arms])
    cases.set(xlim=(0, 1), xlabel="share of valid results")
    shares.invert_yaxis()
    for ax in (shares, cases):
        ax.legend(fontsize=7, frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, columnspacing=1)
    return drawn
