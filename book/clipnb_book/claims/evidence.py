"""What a claim is judged on: category means of several conditions, from the study's print, from findings, or from runs.

A mean that is printed without its list still says something: accuracies lie between 0 and 1, so that with mean m no list
of n of them varies more than sqrt(n m (1 - m) / (n - 1)). An interval made from that bound is right whatever the list was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from clipnb.analysis.contrasts import Crossed, contrasts, crossed
from clipnb.analysis.scores import Scores
from clipnb.errors import UserError
from clipnb.manipulations import STUDY
from clipnb.result import Result, comparable_with_clean
from clipnb.spec import RunSpec

from ..measured import findings
from ..published.original import printed_log, printed_means


@dataclass(frozen=True)
class Cell:
    """One condition of one data set.

    Attributes:
        mean: macro mean.
        n: categories.
        categories: category -> mean, or None where only the mean is known; a printed list has its places for names.
    """

    mean: float
    n: int
    categories: Mapping[str, float] | None = None

    @property
    def sd(self) -> float:
        """Sample standard deviation of the category means, or the largest that is possible."""
        if self.categories is None:
            return math.sqrt(self.n * self.mean * (1 - self.mean) / (self.n - 1))
        return float(np.std(list(self.categories.values()), ddof=1))

    @property
    def values(self) -> list[float]:
        """The category means.

        Raises:
            UserError: they are not known.
        """
        if self.categories is None:
            raise UserError("only the mean of this condition is printed")
        return list(self.categories.values())


Group = Mapping[str, Cell]
"""Condition -> cell, of one data set."""


@dataclass(frozen=True)
class Estimate:
    """A quantity with its standard error.

    Attributes:
        point, error: the estimate and its standard error.
        freedom: degrees of freedom of Student's t.
        n: categories, as text.
        bound: whether the error is a bound, for want of a list.
        limit: largest absolute value that the quantity can have; intervals end there.
    """

    point: float
    error: float
    freedom: float
    n: str
    bound: bool = False
    limit: float = 1.0

    def interval(self, level: float) -> tuple[float, float]:
        arm = float(stats.t.ppf((1 + level) / 2, self.freedom)) * self.error if self.error else 0.0
        return max(-self.limit, self.point - arm), min(self.limit, self.point + arm)

    @property
    def p(self) -> float:
        """Two-sided, of zero."""
        if not self.error:
            return 1.0 if not self.point else 0.0
        return float(2 * stats.t.sf(abs(self.point / self.error), self.freedom))

    def minus(self, other: Estimate, limit: float = 1.0) -> Estimate:
        """Difference of estimates from independent categories, by Welch's degrees of freedom; `limit` is that of the result."""
        a, b = self.error**2, other.error**2
        freedom = (a + b) ** 2 / (a**2 / self.freedom + b**2 / other.freedom) if a + b else self.freedom
        bound = self.bound or other.bound
        return Estimate(self.point - other.point, math.sqrt(a + b), freedom, f"{self.n} and {other.n}", bound, limit)


def mean_of(cell: Cell) -> Estimate:
    """A condition's macro mean."""
    return Estimate(cell.mean, cell.sd / math.sqrt(cell.n), cell.n - 1, str(cell.n), cell.categories is None)


def change(before: Cell, after: Cell) -> Estimate:
    """Mean change over categories, paired where both lists are known; else the error is at most the two lists' together."""
    if before.categories is not None and after.categories is not None:
        d = np.array([after.categories[c] - v for c, v in before.categories.items() if c in after.categories])
        if d.size > 1:
            error = 0.0 if np.ptp(d) < 1e-12 else float(d.std(ddof=1)) / math.sqrt(d.size)
            return Estimate(float(d.mean()), error, d.size - 1, str(d.size))
    n = min(before.n, after.n)
    return Estimate(after.mean - before.mean, (before.sd + after.sd) / math.sqrt(n), n - 1, str(n), True)


PRINTED_CATEGORIES = {"NBA": 51, "MiniPlaces": 28}
"""Lengths of the two printed lists; the study's other lists are taken to be as long."""


def printed(dataset: str) -> Group:
    """What the study prints of a data set.

    Raises:
        UserError: it prints nothing of that name.
    """
    table = printed_means()
    if dataset not in table:
        raise UserError(f"the study prints nothing of {dataset!r}; choose from {', '.join(table)}")
    log = printed_log(dataset)  # type: ignore[arg-type]
    cells = {name: Cell(mean, PRINTED_CATEGORIES[dataset]) for name, mean in table[dataset].items()}
    means = {f"{i}": v for i, v in enumerate(log.total)}
    return cells | {log.manip: Cell(float(np.mean(log.total)), len(log.total), means)}


def all_printed() -> dict[str, Group]:
    """The same of both data sets."""
    return {dataset: printed(dataset) for dataset in PRINTED_CATEGORIES}


def of_categories(conditions: Mapping[str, Mapping[str, float]]) -> Group:
    """Cells from category means, condition by condition."""
    return {name: Cell(float(np.mean(list(row.values()))), len(row), row) for name, row in conditions.items() if row}


Lookup = Callable[[str, str], Group]
"""(data set, encoder) -> its conditions."""


def from_runs(results: Sequence[Result]) -> Lookup:
    """Runs under the usual settings, by data set and encoder; those that can be compared with the clean one."""

    def look(dataset: str, encoder: str) -> Group:
        group = [r for r in results if (r.spec.dataset_name, r.spec.encoder) == (dataset, encoder) and r.spec == usual(r)]
        return of_categories({r.spec.manip: r.category_means for r in comparable_with_clean(group)})

    def usual(r: Result) -> RunSpec:
        return RunSpec(r.spec.dataset, r.spec.manip, r.spec.encoder)

    return look


def from_findings() -> Lookup:
    """Category means measured on photographs that are not part of the project, as committed with it."""
    found = findings.load()
    return lambda dataset, encoder: of_categories({manip: found.categories(dataset, encoder, manip) for manip in STUDY})


def findings_scores(dataset: str, encoder: str) -> list[Scores]:
    """The same as scores, condition by condition; images are not named in them."""
    cells = from_findings()(dataset, encoder)
    return [Scores(dataset, name, {c: [v] for c, v in (cell.categories or {}).items()}) for name, cell in cells.items()]


def findings_crossed(encoder: str) -> list[Crossed]:
    """What each manipulation does to the figures beside what it does to the scenes."""
    return crossed(*(contrasts(findings_scores(name, encoder)) for name in (findings.FIGURES, findings.SCENES)))
