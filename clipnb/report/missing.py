"""Table of what happened to the requested results."""

from __future__ import annotations

from collections.abc import Sequence

from ..analysis.missing import account
from ..result import Result
from .format import percent_span, share, table


def accounts_table(results: Sequence[Result]) -> str:
    """Make a Markdown table with a row for each run: fates of its results, available case, bounds and the study's rule.

    A run that an early version saved without counts of results has no row.
    """
    head = ["condition", "queries", "asked", "returned", "dead", "unreadable", "usable", "available case", "95% interval", "bounds"]
    head.append("study's rule")
    rows = []
    for a in (account(result) for result in results if "n_asked" in result.rows):
        f = a.fates
        counts = [a.queries, a.asked, a.asked - f["not returned"], f["dead"], f["unreadable"], f["valid"] + f["not valid"]]
        rows.append(
            [
                a.label,
                *(f"{n:,}" for n in counts),
                share(a.available.point, ".1%"),
                percent_span(a.available),
                f"{share(a.worst, '.1%')} to {share(a.best, '.1%')}" if a.lost else "none lost",
                share(a.study, ".1%"),
            ]
        )
    return table(head, rows, "l" + "r" * (len(head) - 1))
