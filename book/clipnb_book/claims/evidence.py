"""The evidence for a claim: category means by condition, from the study's printed numbers, from findings, or from runs.

A mean printed without its list still bounds the spread: accuracies lie between 0 and 1, so n of them with mean m have a
standard deviation of at most sqrt(n m (1 - m) / (n - 1)). An interval from that bound is valid for every such list.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from clipnb.analysis.contrasts import Contrast, InteractionContrast, contrasts, interaction_contrasts
from clipnb.analysis.scores import Scores, comparable_with_clean, of_result
from clipnb.errors import UserError
from clipnb.manipulations import CLEAN, STUDY
from clipnb.result import Result
from clipnb.spec import RunSpec
from clipnb.stats.intervals import Interval, mean_interval, unpaired_difference
from clipnb.stats.sign_flips import change_interval, sign_flip

from ..measured import findings, records
from ..measured.findings import paired_differences
from ..published.original import printed_log, printed_means


def _sd(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


@dataclass(frozen=True)
class ConditionMeans:
    """One condition of one data set.

    Attributes:
        mean: macro mean.
        n: categories.
        categories: category -> mean, or None where only the mean is known; a printed list has positions instead of names.
    """

    mean: float
    n: int
    categories: Mapping[str, float] | None = None

    @property
    def sd(self) -> float:
        """The sample standard deviation of the category means, or the largest possible one if they are not known."""
        if self.categories is None:
            return math.sqrt(self.n * self.mean * (1 - self.mean) / (self.n - 1)) if self.n > 1 else math.nan
        return _sd(list(self.categories.values()))

    @property
    def values(self) -> list[float]:
        """The category means.

        Raises:
            UserError: they are not known.
        """
        if self.categories is None:
            raise UserError("only the mean of this condition is printed")
        return list(self.categories.values())


ByCondition = Mapping[str, ConditionMeans]
"""Condition -> its means, of one data set."""


@dataclass(frozen=True)
class Estimate:
    """A quantity with its standard error.

    Attributes:
        point: the estimate.
        se: its standard error.
        df: degrees of freedom of Student's t.
        n: categories, as text.
        lists: the values behind it, one list, or two for a difference of independent sets; empty where only means are known.
        bound: whether `se` is an upper bound, because a list is not known.
        limits: lowest and highest possible value; intervals end there.
    """

    point: float
    se: float
    df: float
    n: str
    lists: tuple[Sequence[float], ...] = ()
    bound: bool = False
    limits: tuple[float, float] = (-1.0, 1.0)

    def interval(self, level: float) -> Interval:
        """The interval at a level: the usual one if the lists are known, else Student's t with the largest possible error."""
        if len(self.lists) == 2:
            return unpaired_difference(*self.lists, level=level)
        if self.lists and self.limits == (0.0, 1.0):
            return mean_interval(self.lists[0], level=level, bounds=self.limits)
        if self.lists:
            return change_interval(self.lists[0], level=level)
        arm = float(scipy.stats.t.ppf((1 + level) / 2, self.df)) * self.se
        low, high = np.clip([self.point - arm, self.point + arm], *self.limits)
        return Interval(self.point, float(low), float(high), "t", int(self.df) + 1, level)

    @property
    def p(self) -> float:
        """The two-sided p-value of zero: of the sign-flip test for a paired change, else of a t test. NaN if there is none."""
        if len(self.lists) == 1 and self.limits[0] < 0:
            return sign_flip(self.lists[0])
        if len(self.lists) == 2 and not self.interval(0.95).bounded:
            return math.nan
        return float(2 * scipy.stats.t.sf(abs(self.point / self.se), self.df)) if self.se else math.nan

    def subtract(self, other: Estimate, limit: float = 1.0) -> Estimate:
        """Difference of estimates from independent categories, with Welch's degrees of freedom.

        Args:
            other: what is subtracted.
            limit: largest absolute value of the difference.
        """
        a, b = self.se**2, other.se**2
        df = (a + b) ** 2 / (a**2 / self.df + b**2 / other.df) if a + b > 0 else math.nan  # NaN: one category, or no spread
        lists = (*self.lists, *other.lists) if len(self.lists) == len(other.lists) == 1 else ()
        bound = self.bound or other.bound
        return Estimate(self.point - other.point, math.sqrt(a + b), df, f"{self.n} and {other.n}", lists, bound, (-limit, limit))


def mean_of(means: ConditionMeans) -> Estimate:
    """A condition's macro mean."""
    lists = () if means.categories is None else (means.values,)
    return Estimate(means.mean, means.sd / math.sqrt(means.n), means.n - 1, str(means.n), lists, not lists, (0.0, 1.0))


def change(before: ConditionMeans, after: ConditionMeans) -> Estimate:
    """Mean change over categories, paired where both lists are known; else its error is at most that of both lists together."""
    if before.categories is not None and after.categories is not None:
        d = paired_differences(before.categories, after.categories)
        if d:
            return Estimate(float(np.mean(d)), _sd(d) / math.sqrt(len(d)), len(d) - 1, str(len(d)), (d,))
    n = min(before.n, after.n)
    return Estimate(after.mean - before.mean, (before.sd + after.sd) / math.sqrt(n), n - 1, str(n), (), True)


PRINTED_CATEGORIES = {"NBA": 51, "MiniPlaces": 28}
"""Lengths of the two printed lists; the other lists of a data set are assumed to be as long."""


def printed(dataset: str) -> ByCondition:
    """The means that the study prints for a data set.

    Raises:
        UserError: it prints nothing for that name.
    """
    table = printed_means()
    if dataset not in table:
        raise UserError(f"the study prints nothing of {dataset!r}; choose from {', '.join(table)}")
    log = printed_log(dataset)  # type: ignore[arg-type]
    cells = {name: ConditionMeans(mean, PRINTED_CATEGORIES[dataset]) for name, mean in table[dataset].items()}
    means = {f"{i}": v for i, v in enumerate(log.total)}
    return cells | {log.manip: ConditionMeans(float(np.mean(log.total)), len(log.total), means)}


def all_printed() -> dict[str, ByCondition]:
    """The printed means of both data sets."""
    return {dataset: printed(dataset) for dataset in PRINTED_CATEGORIES}


def of_categories(conditions: Mapping[str, Mapping[str, float]]) -> ByCondition:
    """The means of each condition, from its category means."""
    return {name: ConditionMeans(float(np.mean(list(row.values()))), len(row), row) for name, row in conditions.items() if row}


Lookup = Callable[..., ByCondition]
"""(data set, encoder, and further keys of the entry by name) -> its conditions."""


def from_runs(results: Sequence[Result]) -> Lookup:
    """Look up runs with default settings by data set and encoder; only runs comparable with the clean one count."""

    def look(dataset: str, encoder: str) -> ByCondition:
        own = [r for r in results if (r.spec.dataset_name, r.spec.encoder) == (dataset, encoder)]
        usual = [of_result(r) for r in own if r.spec == RunSpec(r.spec.dataset, r.spec.manip, encoder)]
        return of_categories({s.condition: s.by_category for s in comparable_with_clean(usual)})

    return look


def from_findings(dataset: str, encoder: str) -> ByCondition:
    """Look up category means measured on real photographs, as committed with the project."""
    return of_categories({manip: findings.categories(dataset, encoder, manip) for manip in STUDY})


def contrasts_of(dataset: str, cells: ByCondition) -> list[Contrast]:
    """The change by each of the study's edits, from category means."""
    return contrasts([Scores(dataset, name, {c: [v] for c, v in (cells[name].categories or {}).items()}) for name in STUDY])


def findings_contrasts(dataset: str, encoder: str) -> list[Contrast]:
    """The change by each of the study's edits at the study's settings."""
    return contrasts_of(dataset, from_findings(dataset, encoder))


def findings_crossed(encoder: str) -> list[InteractionContrast]:
    """The change that each manipulation makes on figures, compared with its change on scenes."""
    return interaction_contrasts(*(findings_contrasts(name, encoder) for name in (findings.FIGURES, findings.SCENES)))


def graded(dataset: str, encoder: str, measure: str = "found", severity: int = 0) -> ByCondition:
    """Look up category means at one severity, measured on real photographs; severity 0 is the mean over all five.

    A severity means the same strength on every photograph, so that data sets can be compared.
    """
    table, _ = records.severities()
    own = table[(table["dataset"] == dataset) & (table["encoder"] == encoder)]
    lists = {CLEAN: own[own["manip"] == CLEAN].iloc[0][f"{measure}_points"]}
    asked = own[own["severity"] == severity] if severity else own[own["severity"] > 0]
    for manip, rows in asked[asked["manip"] != CLEAN].groupby("manip", sort=False):
        lists[str(manip)] = np.mean(list(rows[f"{measure}_points"]), axis=0)
    return of_categories({manip: {str(at): float(v) for at, v in enumerate(values)} for manip, values in lists.items()})


def graded_contrasts(dataset: str, encoder: str, measure: str, severity: int = 0) -> list[Contrast]:
    """The change by each of the study's edits at equal strength: at one severity, or the mean over all five (0)."""
    return contrasts_of(dataset, graded(dataset, encoder, measure, severity))


def graded_interactions(encoder: str, measure: str, severity: int = 0) -> list[InteractionContrast]:
    """The change that each of the study's edits makes on people, compared with its change on scenes, at equal strength."""
    return interaction_contrasts(
        *(graded_contrasts(name, encoder, measure, severity) for name in (findings.FIGURES, findings.SCENES))
    )
