"""The fates of requested results as a table and as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..analysis.missing import FATES, account
from ..result import Result
from .format import percent_span, table
from .plots import INK, MID, PALE, WIDTH, jitter, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def accounts_table(results: Sequence[Result]) -> str:
    """Make a Markdown table with a row for each run: fates of its results, available case, bounds and the study's rule.

    A run that an early version saved without counts of results has no row.
    """
    head = [
        "arm",
        "queries",
        "asked",
        "returned",
        "dead",
        "unreadable",
        "usable",
        "available case",
        "95% interval",
        "bounds",
        "study's rule",
    ]
    rows = []
    for a in (account(result) for result in results if "n_asked" in result.rows):
        f = a.fates
        counts = [a.queries, a.asked, a.asked - f["not returned"], f["dead"], f["unreadable"], f["valid"] + f["not valid"]]
        rows.append(
            [
                a.label,
                *(f"{n:,}" for n in counts),
                f"{a.available.point:.1%}",
                percent_span(a.available),
                f"{a.worst:.1%} to {a.best:.1%}" if a.lost else "none lost",
                f"{a.study:.1%}",
            ]
        )
    return table(head, rows, "l" + "r" * (len(head) - 1))


def figure(results: Sequence[Result]) -> Figure:
    """Draw two panels with a row for each run: shares of the fates; available case with interval, bounds and categories."""
    arms = [account(result) for result in results]
    drawn, axes = new_figure(WIDTH, 1.3 + 0.42 * len(arms), 1, 2, width_ratios=[1.25, 1], sharey=True)
    shares, cases = axes[0]
    looks = dict(zip(FATES, ((MID, ""), (PALE, ""), ("white", "////"), ("white", "...."), ("white", "")), strict=True))
    looks = {fate: look for fate, look in looks.items() if any(arm.fates[fate] for arm in arms)}
    for y, arm in enumerate(arms):
        left = 0.0
        for fate, (colour, hatch) in looks.items():
            share = arm.fates[fate] / arm.asked
            shares.barh(
                y,
                share,
                left=left,
                height=0.62,
                color=colour,
                hatch=hatch,
                edgecolor=INK,
                linewidth=0.6,
                label=fate if y == 0 else None,
            )
            left += share
        cases.plot(
            [arm.worst, arm.best], [y, y], color=PALE, linewidth=9, solid_capstyle="butt", label="bounds" if y == 0 else None
        )
        dots = list(arm.categories.values())
        marked = {"color": MID, "markersize": 3, "alpha": 0.6, "markeredgewidth": 0, "label": "category" if y == 0 else None}
        cases.plot(dots, y + 0.33 + 0.4 * jitter(len(dots)), "o", **marked)
        if arm.available.bounded:
            cases.plot(
                [arm.available.low, arm.available.high], [y, y], color=INK, linewidth=1.2, label="95% interval" if y == 0 else None
            )
        cases.plot(arm.available.point, y, "o", color=INK, markersize=4, label="available case" if y == 0 else None)
        cases.plot(
            arm.study, y, "D", markerfacecolor="none", markeredgecolor=MID, markersize=7, label="study's rule" if y == 0 else None
        )
    shares.set(
        xlim=(0, 1), xlabel="share of the results asked for", yticks=range(len(arms)), yticklabels=[plain(a.label) for a in arms]
    )
    cases.set(xlim=(0, 1), xlabel="category accuracy")
    shares.invert_yaxis()
    for ax in (shares, cases):
        ax.legend(
            fontsize=7, frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.2, columnspacing=1.0
        )
    return drawn
