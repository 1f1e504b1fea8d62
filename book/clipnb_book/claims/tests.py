"""The tests by which a claim of the ledger is decided: it holds, does not hold, or cannot be told.

A claim says that one or more quantities lie in a region (below zero, within a margin): it holds where every interval lies
inside, does not hold where one lies wholly outside, and cannot be told otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from clipnb.errors import UserError
from clipnb.manipulations import CLEAN
from clipnb.report.format import minus, p_value, points
from clipnb.stats.hypothesis import tost_unpaired
from clipnb.stats.intervals import ALPHA, NO_SPREAD

from .evidence import ByCondition, Estimate, change, mean_of

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "cannot tell"
VERDICTS = (HOLDS, FAILS, UNDECIDED)


@dataclass(frozen=True)
class Outcome:
    """A verdict, the numbers that a sentence may name, and whether no category changed at all."""

    verdict: str
    n: str
    numbers: Mapping[str, Any]
    unchanged: bool = False


def region(estimates: Mapping[str, Estimate], low: float, high: float, alpha: float) -> tuple[str, dict[str, str]]:
    """The verdict on "all quantities lie between the bounds" at joint level 1 - alpha (Bonferroni), and the intervals as text."""
    level = 1 - alpha / max(1, len(estimates))
    verdicts, texts = [], {}
    for name, e in estimates.items():
        a, b = e.interval(level)
        verdicts.append(HOLDS if low < a and b < high else FAILS if b <= low or a >= high else UNDECIDED)
        if not e.se:
            texts[name] = f"{points(e.point)} points (in every category)"
            continue
        kind = "interval for any possible list" if e.bound else "interval"
        texts[name] = f"{points(e.point)} points ({100 * level:.3g}% {kind} {points(a)} to {points(b)})"
    verdict = HOLDS if all(v == HOLDS for v in verdicts) else FAILS if FAILS in verdicts else UNDECIDED
    return verdict, texts


def _means(group: ByCondition) -> dict[str, str]:
    return {name: f"{cell.mean:.4f}" for name, cell in group.items()}


def _shares(group: ByCondition) -> dict[str, str]:
    return {name: f"{cell.mean:.0%}" for name, cell in group.items()}


def _of(group: ByCondition, name: str) -> Any:
    if name not in group:
        raise UserError(f"there is no condition {name!r} in its data, which has {', '.join(group) or 'none'}")
    return group[name]


def lower(groups: Sequence[ByCondition], *, conditions: Sequence[str], than: Sequence[str], alpha: float = ALPHA) -> Outcome:
    """Each of `conditions` has a lower mean than each of `than`."""
    (group,) = groups
    estimates = {f"{a}_{b}": change(_of(group, b), _of(group, a)) for a in conditions for b in than}
    verdict, texts = region(estimates, -math.inf, 0.0, alpha)
    numbers = {"mean": _means(group), "share": _shares(group), "difference": texts}
    unchanged = all(not e.se and abs(e.point) < NO_SPREAD for e in estimates.values())
    return Outcome(verdict, next(iter(estimates.values())).n, numbers, unchanged)


def within(groups: Sequence[ByCondition], *, conditions: Sequence[str], margin: float, alpha: float = ALPHA) -> Outcome:
    """No condition costs more than the margin, on any of the data sets."""
    estimates = {}
    for at, group in enumerate(groups):
        for name in conditions:
            estimates[f"{name}{at + 1}" if len(groups) > 1 else name] = change(_of(group, CLEAN), _of(group, name))
    verdict, texts = region(estimates, -margin, math.inf, alpha)
    n = " and ".join(dict.fromkeys(e.n for e in estimates.values()))
    lowest = min(estimates, key=lambda k: estimates[k].point)
    return Outcome(verdict, n, {"change": texts, "margin": f"{100 * margin:g}", "worst": texts[lowest], "mean": _means(groups[0])})


def same(groups: Sequence[ByCondition], *, condition: str = CLEAN, margin: float, alpha: float = ALPHA) -> Outcome:
    """Two data sets differ by less than a margin under a condition: a test of equivalence at level alpha."""
    e = mean_of(_of(groups[0], condition)).subtract(mean_of(_of(groups[1], condition)))
    verdict, texts = region({"difference": e}, -margin, margin, 2 * alpha)
    if len(e.lists) == 2:
        equivalent = tost_unpaired(*e.lists, margin, alpha=alpha).p < alpha
        verdict = HOLDS if equivalent else UNDECIDED if verdict == HOLDS else verdict
    return Outcome(verdict, e.n, {"difference": texts["difference"], "margin": f"{100 * margin:g}", "p": p_value(e.p)})


def not_significant(groups: Sequence[ByCondition], *, condition: str = CLEAN, fixed: bool = False, alpha: float = ALPHA) -> Outcome:
    """Two data sets do not differ significantly. A test can contradict this; a test that finds nothing does not confirm it.

    `fixed` takes the second's mean as a number without error.
    """
    first, second = mean_of(_of(groups[0], condition)), mean_of(_of(groups[1], condition))
    e = Estimate(first.point - second.point, first.se, first.df, first.n) if fixed else first.subtract(second)
    _, texts = region({"difference": e}, -math.inf, math.inf, alpha)
    t = e.point / e.se if e.se else math.nan
    numbers = {"difference": texts["difference"], "t": minus(t), "p": p_value(e.p), "mean": _means(groups[0])}
    return Outcome(FAILS if e.p < alpha else UNDECIDED, e.n, numbers)


def normal(groups: Sequence[ByCondition], *, condition: str, alpha: float = ALPHA) -> Outcome:
    """Category means are normally distributed (Shapiro-Wilk). The test can contradict this, not confirm it."""
    values = _of(groups[0], condition).values
    p, skew = float(stats.shapiro(values).pvalue), float(stats.skew(values))
    return Outcome(FAILS if p < alpha else UNDECIDED, str(len(values)), {"p": p_value(p), "skew": minus(skew)})


def steadier(groups: Sequence[ByCondition], *, condition: str, than: Sequence[str], alpha: float = ALPHA) -> Outcome:
    """The category means of a condition vary less than those of each other one (Pitman-Morgan test, Bonferroni).

    Without both lists nothing can be told.
    """
    (group,) = groups
    cell, p = _of(group, condition), alpha / len(than)
    sds = {name: f"{c.sd:.3f}" if c.categories is not None else "unprinted" for name, c in group.items()}
    verdicts = []
    for name in than:
        other = _of(group, name)
        if cell.categories is None or other.categories is None:
            verdicts.append(UNDECIDED)
            continue
        a, b = (np.array([c.categories[k] for k in cell.categories if k in other.categories]) for c in (cell, other))
        test = stats.pearsonr(a + b, a - b)
        verdicts.append(UNDECIDED if test.pvalue >= p else HOLDS if test.statistic < 0 else FAILS)
    verdict = HOLDS if all(v == HOLDS for v in verdicts) else FAILS if FAILS in verdicts else UNDECIDED
    return Outcome(verdict, str(cell.n), {"sd": sds, "mean": _means(group)})


def costs_more(groups: Sequence[ByCondition], *, conditions: Sequence[str], alpha: float = ALPHA) -> Outcome:
    """The interaction: each condition costs the first data set more than the second."""
    first, second = groups
    estimates = {
        name: change(_of(first, CLEAN), _of(first, name)).subtract(change(_of(second, CLEAN), _of(second, name)), 2.0)
        for name in conditions
    }
    verdict, texts = region(estimates, -math.inf, 0.0, alpha)
    return Outcome(verdict, next(iter(estimates.values())).n, {"difference": texts, "mean": _means(first)})


TESTS: dict[str, Callable[..., Outcome]] = {
    test.__name__: test for test in (lower, within, same, not_significant, normal, steadier, costs_more)
}
