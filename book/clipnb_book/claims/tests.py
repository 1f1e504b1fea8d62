"""The tests by which a claim of the ledger is decided: it holds, does not hold, shows no difference, or is undecided.

A claim about a direction (lower, steadier, costs more) is decided like every change: by its planned test, with Holm's adjustment
over the family. A claim about a margin holds if every interval lies inside, and does not hold if one lies wholly outside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from clipnb.errors import UserError
from clipnb.manipulations import CLEAN
from clipnb.report.format import covers, minus, p_value, points, share
from clipnb.report.text import decided
from clipnb.stats.hypothesis import holm
from clipnb.stats.intervals import ALPHA, FEWEST, Interval, direction, ticks
from clipnb.stats.sign_flips import change_interval, sign_flip

from .evidence import ByCondition, Estimate, change, mean_of

HOLDS, FAILS, UNDECIDED, NO_DIFFERENCE = "holds", "does not hold", "cannot tell", "no difference"
VERDICTS = (HOLDS, FAILS, UNDECIDED, NO_DIFFERENCE)
OF_CHANGE = {"a loss": HOLDS, "a gain": FAILS, "cannot tell": UNDECIDED, "no change": NO_DIFFERENCE}
"""Conclusion on a change -> verdict on the claim that it is a loss."""


@dataclass(frozen=True)
class Outcome:
    """A verdict, and the numbers that a sentence may name."""

    verdict: str
    n: str
    numbers: Mapping[str, Any]


def _all(verdicts: Sequence[str]) -> str:
    """The verdict on a claim of several parts: it fails if one part fails, else is undecided if one part is."""
    if len(set(verdicts)) == 1:
        return verdicts[0]
    return FAILS if {FAILS, NO_DIFFERENCE} & {*verdicts} else UNDECIDED


def in_words(e: Estimate, i: Interval) -> str:
    """An estimate in percentage points with its interval."""
    if i.constant:
        return f"{points(i.point)} points (in every category)"
    if not i.bounded:
        return f"{points(i.point)} points (no interval: {i.why_unbounded})"
    kind, covered = ("interval for any possible list", "") if e.bound else ("interval", covers(i))
    return f"{points(i.point)} points ({100 * i.level:.3g}% {kind} {points(i.low)} to {points(i.high)}{covered})"


def _losses(estimates: Mapping[str, Estimate], family: Sequence[float] = ()) -> tuple[str, dict[str, str]]:
    """The verdict on "all quantities are below zero", adjusted over them and the p-values `family`, and the intervals as text."""
    p = [e.p for e in estimates.values()]
    verdicts, texts = [], {}
    for (name, e), alone, adjusted in zip(estimates.items(), p, holm([*p, *family]), strict=False):
        i = e.interval(1 - ALPHA)
        verdicts.append(OF_CHANGE[direction(i, adjusted)])
        holms = decided(direction(i, adjusted), alone, adjusted).partition("** (")[2]
        texts[name] = in_words(e, i) + (f" ({holms}" if holms else "")
    return _all(verdicts), texts


def _means(group: ByCondition) -> dict[str, str]:
    return {name: f"{cell.mean:.4f}" for name, cell in group.items()}


def _of(group: ByCondition, name: str) -> Any:
    if name not in group:
        raise UserError(f"there is no condition {name!r} in its data, which has {', '.join(group) or 'none'}")
    return group[name]


def lower(groups: Sequence[ByCondition], *, conditions: Sequence[str], than: Sequence[str], family: Sequence[str] = ()) -> Outcome:
    """Each of `conditions` has a lower mean than each of `than`.

    The claim is about the first of the data sets. p-values are adjusted over its changes, and over those of the conditions
    `family` on all data sets.
    """
    group = groups[0]
    estimates = {f"{a}_{b}": change(_of(group, b), _of(group, a)) for a in conditions for b in than}
    others = [change(_of(g, b), _of(g, a)).p for g in groups for a in family for b in than if g is not group or a not in conditions]
    verdict, texts = _losses(estimates, others)
    numbers = {"mean": _means(group), "share": {name: share(cell.mean) for name, cell in group.items()}, "difference": texts}
    return Outcome(verdict, next(iter(estimates.values())).n, numbers)


def within(groups: Sequence[ByCondition], *, conditions: Sequence[str], margin: float) -> Outcome:
    """No condition costs more than the margin, on any of the data sets.

    The intervals have the joint level 1 - alpha (Bonferroni).
    """
    estimates = {}
    for at, group in enumerate(groups):
        for name in conditions:
            estimates[f"{name}{at + 1}" if len(groups) > 1 else name] = change(_of(group, CLEAN), _of(group, name))
    verdicts, texts = [], {}
    for name, e in estimates.items():
        i = e.interval(1 - ALPHA / len(estimates))
        low, high = (i.point, i.point) if i.constant and i.n >= FEWEST else (i.low, i.high)
        verdicts.append(HOLDS if low > -margin else FAILS if high <= -margin else UNDECIDED)
        texts[name] = in_words(e, i)
    n = " and ".join(dict.fromkeys(e.n for e in estimates.values()))
    worst = texts[min(estimates, key=lambda name: estimates[name].point)]
    numbers = {"change": texts, "margin": f"{100 * margin:g}", "worst": worst, "mean": _means(groups[0])}
    return Outcome(_all(verdicts), n, numbers)


def not_significant(groups: Sequence[ByCondition], *, condition: str = CLEAN, fixed: bool = False) -> Outcome:
    """Two data sets do not differ significantly. The test can contradict this, not confirm it.

    `fixed` takes the second's mean as a number without error.
    """
    first, second = mean_of(_of(groups[0], condition)), mean_of(_of(groups[1], condition))
    e = Estimate(first.point - second.point, first.se, first.df, first.n) if fixed else first.subtract(second)
    t = minus(e.point / e.se) if e.se and not math.isnan(e.p) else "none"
    numbers = {"difference": in_words(e, e.interval(1 - ALPHA)), "t": t, "p": p_value(e.p), "mean": _means(groups[0])}
    return Outcome(FAILS if e.p < ALPHA else UNDECIDED, e.n, numbers)


def normal(groups: Sequence[ByCondition], *, condition: str) -> Outcome:
    """Category means are normally distributed (Shapiro-Wilk). The test can contradict this, not confirm it."""
    values = _of(groups[0], condition).values
    if len(values) < 3 or not np.ptp(ticks(values)):
        return Outcome(UNDECIDED, str(len(values)), {"p": p_value(math.nan), "skew": "none"})
    p, skew = float(scipy.stats.shapiro(values).pvalue), float(scipy.stats.skew(values))
    return Outcome(FAILS if p < ALPHA else UNDECIDED, str(len(values)), {"p": p_value(p), "skew": minus(skew)})


def spread_changes(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """How much farther from the median each category is in b than in a: |b - median(b)| - |a - median(a)|.

    `sign_flip` of these values tests equal spread of paired lists, as Brown and Forsythe do for independent ones. The test of
    Pitman and Morgan errs far more often on lists that are not normal.

    Args:
        a, b: (G,) means of the same categories under two conditions.

    >>> spread_changes([0.5, 0.5, 0.5], [0.25, 0.5, 1.0]).tolist()
    [0.25, 0.0, 0.5]
    """
    far_a, far_b = (np.abs(x - np.median(x)) for x in (np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)))
    return np.asarray(far_b - far_a)


def steadier(groups: Sequence[ByCondition], *, condition: str, than: Sequence[str]) -> Outcome:
    """The category means of a condition vary less than those of the others (sign-flip test of the distances to the median).

    It is undecided without both lists.
    """
    (group,) = groups
    cell = _of(group, condition)
    sds = {name: f"{c.sd:.3f}" if c.categories is not None else "unprinted" for name, c in group.items()}
    changes = []
    for name in than:
        other = _of(group, name)
        both = [k for k in cell.categories or () if k in (other.categories or ())]
        lists = [[(c.categories or {})[k] for k in both] for c in (other, cell)]
        changes.append(spread_changes(*lists) if both else np.zeros(0))
    p_holm = holm([sign_flip(d) for d in changes])
    verdicts = [OF_CHANGE[direction(change_interval(d), p)] if len(d) else UNDECIDED for d, p in zip(changes, p_holm, strict=True)]
    return Outcome(_all(verdicts), str(cell.n), {"sd": sds, "mean": _means(group)})


def costs_more(groups: Sequence[ByCondition], *, conditions: Sequence[str]) -> Outcome:
    """The interaction: each condition costs the first data set more than the second (Welch's test)."""
    first, second = groups
    estimates = {
        name: change(_of(first, CLEAN), _of(first, name)).subtract(change(_of(second, CLEAN), _of(second, name)), 2.0)
        for name in conditions
    }
    verdict, texts = _losses(estimates)
    return Outcome(verdict, next(iter(estimates.values())).n, {"difference": texts, "mean": _means(first)})


TESTS: dict[str, Callable[..., Outcome]] = {
    test.__name__: test for test in (lower, within, not_significant, normal, steadier, costs_more)
}
