"""What became of every result that was asked for, and how far the headline depends on those that were lost.

Per query: asked = usable + dead + unreadable + not returned. The headline is the available case, valid / usable. What was
lost could have been anything: all of it invalid gives the worst case, valid / asked, all of it valid the best,
(valid + lost) / asked; the truth lies between (Manski 1990). The study's own rule drops what was lost, passes over a query
without any result, and counts a category without any as 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from .figures import MID, PALE
from .results import Result
from .statistics import Interval, category_means, macro_mean, mean_interval
from .wording import percent_span, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FATES = ("valid", "not valid", "dead", "unreadable", "not returned")
"""What can become of a result."""


def available_case(valid: ArrayLike, usable: ArrayLike) -> NDArray[np.float64]:
    """valid / usable of each query, in [0, 1]; NaN where nothing is usable."""
    v, u = np.asarray(valid, dtype=np.float64), np.asarray(usable, dtype=np.float64)
    return np.asarray(np.divide(v, u, out=np.full(v.shape, np.nan), where=u > 0))


def bounds(valid: ArrayLike, usable: ArrayLike, asked: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Worst and best case of each query: what was lost all invalid, and all valid.

    Args:
        valid, usable, asked: (q,) counts, valid ≤ usable ≤ asked, asked at least 1.

    Returns:
        (q,) and (q,) in [0, 1]; both equal the available case where nothing was lost.
    """
    v, u, a = (np.asarray(x, dtype=np.float64) for x in (valid, usable, asked))
    return v / a, (v + a - u) / a


@dataclass(frozen=True)
class Account:
    """The books of one run (one arm).

    Attributes:
        label: of its condition.
        queries: how many.
        fates: fate -> results, over all queries; they sum to what was asked for.
        empty: queries without any usable result.
        available: macro mean of the available case, with its interval over categories.
        categories: category -> mean of the available case; one without any usable result is left out.
        worst, best: macro means of the bounds.
        study: macro mean by the study's rule.
    """

    label: str
    queries: int
    fates: dict[str, int]
    empty: int
    available: Interval
    categories: dict[str, float]
    worst: float
    best: float
    study: float

    @property
    def asked(self) -> int:
        return sum(self.fates.values())

    @property
    def lost(self) -> int:
        """Results asked for that could not be scored."""
        return self.asked - self.fates["valid"] - self.fates["not valid"]


def _by_category(result: Result, values: NDArray[np.float64], absent: Literal["skip", "zero"] = "skip") -> dict[str, float]:
    return category_means(result.by_category(pd.Series(values, result.rows.index)), absent=absent)


def available_by_category(result: Result, *, absent: Literal["skip", "zero"] = "skip") -> dict[str, float]:
    """Category -> mean of the available case; a category without any is left out, or counts 0 (the study's rule)."""
    return _by_category(result, available_case(result.rows["n_valid"], result.rows["n_results"]), absent)


def account(result: Result) -> Account:
    """The books of a run.

    Raises:
        ValueError: not one of its queries has a usable result.
    """
    rows = result.rows
    totals = {name: int(rows[name].sum()) for name in ("n_asked", "n_returned", "n_dead", "n_unreadable", "n_results", "n_valid")}
    worst, best = bounds(rows["n_valid"], rows["n_results"], rows["n_asked"])
    available = available_by_category(result)
    return Account(
        label=result.label,
        queries=len(rows),
        fates={
            "valid": totals["n_valid"],
            "not valid": totals["n_results"] - totals["n_valid"],
            "dead": totals["n_dead"],
            "unreadable": totals["n_unreadable"],
            "not returned": totals["n_asked"] - totals["n_returned"],
        },
        empty=int((rows["n_results"] == 0).sum()),
        available=mean_interval(list(available.values()), seed=result.spec.seed, bounds=(0.0, 1.0)),
        categories=available,
        worst=macro_mean(list(_by_category(result, worst).values())),
        best=macro_mean(list(_by_category(result, best).values())),
        study=macro_mean(list(available_by_category(result, absent="zero").values())),
    )


def accounts_table(results: Sequence[Result]) -> str:
    """A row an arm: what was asked for and what came of it, then the headline, its bounds and the study's rule.

    A run that was saved before its results were counted has no row.
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
    """Two panels, a row an arm: shares of what was asked for, and the headline with interval, bounds and categories."""
    from .figures import INK, WIDTH, jitter, new_figure, plain

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
