"""The claim ledger: every finding that the book asserts, with the test, the threshold and the data that decide it.

`book/claims.yml` holds the entries. A claim says that one or more quantities lie in a region (below zero, within a
margin): it holds where every interval lies inside, does not hold where one lies wholly outside, and cannot be told
otherwise. An entry also says which of these the book takes it to be; where the numbers say another, the build fails.
Sentences hold no digits of their own: each number is a placeholder, filled from the data.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np
from scipy import stats

from .errors import UserError
from .evidence import Estimate, Group, Lookup, change, mean_of, printed
from .manipulations import CLEAN
from .wording import minus, p_value, points, table

HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot tell"
VERDICTS = (HOLDS, FAILS, OPEN)
ALPHA = 0.05


class Lie(UserError):
    """The ledger says what the numbers do not."""


@dataclass(frozen=True)
class Claim:
    """An entry of the ledger.

    Attributes:
        id: how pages name it.
        claim: what is claimed, in a few words without numbers; entries on different data share it.
        by: "study" for the original study's own, "book" for ours.
        sentence: what the book says, with placeholders.
        test: a name in `TESTS`.
        threshold: its settings: margin, alpha, conditions.
        data: where the numbers are: {printed: NBA}, {findings: athletes, encoder: ...}, {runs: sample-figures, encoder: ...};
            a list of two for a comparison of data sets.
        verdict: what the book takes it to be.
    """

    id: str
    claim: str
    by: str
    sentence: str
    test: str
    threshold: Mapping[str, Any]
    data: Sequence[Mapping[str, str]]
    verdict: str


@dataclass(frozen=True)
class Judgement:
    """What the numbers say of a claim.

    Attributes:
        claim: the entry.
        verdict: one of `VERDICTS`.
        text: the sentence with its numbers.
        n: categories behind it.
    """

    claim: Claim
    verdict: str
    text: str
    n: str

    def __str__(self) -> str:
        return f"{self.text} **{self.verdict.capitalize()}** (n = {self.n} categories)."


@dataclass(frozen=True)
class Outcome:
    """A verdict and the numbers that a sentence may name."""

    verdict: str
    n: str
    numbers: Mapping[str, Any]


def region(estimates: Mapping[str, Estimate], low: float, high: float, alpha: float) -> tuple[str, dict[str, str]]:
    """Whether all quantities lie between two bounds, by intervals of joint level 1 - alpha (Bonferroni); and those as text."""
    level = 1 - alpha / max(1, len(estimates))
    verdicts, texts = [], {}
    for name, e in estimates.items():
        a, b = e.interval(level)
        verdicts.append(HOLDS if low < a and b < high else FAILS if b <= low or a >= high else OPEN)
        kind = "interval for any possible list" if e.bound else "interval"
        texts[name] = f"{points(e.point)} points ({level:.4g} {kind} {points(a)} to {points(b)})".replace(
            f"{level:.4g}", f"{100 * level:.3g}%"
        )
    verdict = HOLDS if all(v == HOLDS for v in verdicts) else FAILS if FAILS in verdicts else OPEN
    return verdict, texts


def _means(group: Group) -> dict[str, str]:
    return {name: f"{cell.mean:.4f}" for name, cell in group.items()}


def _of(group: Group, name: str) -> Any:
    if name not in group:
        raise UserError(f"there is no condition {name!r} in its data, which has {', '.join(group) or 'none'}")
    return group[name]


def lower(groups: Sequence[Group], *, conditions: Sequence[str], than: Sequence[str], alpha: float = ALPHA) -> Outcome:
    """Each of `conditions` has a lower mean than each of `than`."""
    (group,) = groups
    estimates = {f"{a}_{b}": change(_of(group, b), _of(group, a)) for a in conditions for b in than}
    verdict, texts = region(estimates, -math.inf, 0.0, alpha)
    return Outcome(verdict, next(iter(estimates.values())).n, {"mean": _means(group), "difference": texts})


def within(groups: Sequence[Group], *, conditions: Sequence[str], margin: float, alpha: float = ALPHA) -> Outcome:
    """No condition costs more than the margin, on any of the data sets."""
    estimates = {}
    for at, group in enumerate(groups):
        for name in conditions:
            estimates[f"{name}{at + 1}" if len(groups) > 1 else name] = change(_of(group, CLEAN), _of(group, name))
    verdict, texts = region(estimates, -margin, math.inf, alpha)
    n = " and ".join(dict.fromkeys(e.n for e in estimates.values()))
    lowest = min(estimates, key=lambda k: estimates[k].point)
    return Outcome(verdict, n, {"change": texts, "margin": f"{100 * margin:g}", "worst": texts[lowest], "mean": _means(groups[0])})


def same(groups: Sequence[Group], *, condition: str = CLEAN, margin: float, alpha: float = ALPHA) -> Outcome:
    """Two data sets differ by less than a margin under a condition: a test of equivalence at level alpha."""
    e = mean_of(_of(groups[0], condition)).minus(mean_of(_of(groups[1], condition)))
    verdict, texts = region({"difference": e}, -margin, margin, 2 * alpha)
    return Outcome(verdict, e.n, {"difference": texts["difference"], "margin": f"{100 * margin:g}", "p": p_value(e.p)})


def not_significant(groups: Sequence[Group], *, condition: str = CLEAN, fixed: bool = False, alpha: float = ALPHA) -> Outcome:
    """Two data sets do not differ significantly. It can be contradicted; that nothing was found never makes it hold.

    `fixed` takes the second's mean as a number without error.
    """
    first, second = mean_of(_of(groups[0], condition)), mean_of(_of(groups[1], condition))
    e = Estimate(first.point - second.point, first.error, first.freedom, first.n) if fixed else first.minus(second)
    _, texts = region({"difference": e}, -math.inf, math.inf, alpha)
    t = e.point / e.error if e.error else math.nan
    numbers = {"difference": texts["difference"], "t": minus(t), "p": p_value(e.p), "mean": _means(groups[0])}
    return Outcome(FAILS if e.p < alpha else OPEN, e.n, numbers)


def normal(groups: Sequence[Group], *, condition: str, alpha: float = ALPHA) -> Outcome:
    """Category means are normally distributed (Shapiro-Wilk): contradicted, or not; a test cannot show it."""
    values = _of(groups[0], condition).values
    p, skew = float(stats.shapiro(values).pvalue), float(stats.skew(values))
    return Outcome(FAILS if p < alpha else OPEN, str(len(values)), {"p": p_value(p), "skew": minus(skew)})


def steadier(groups: Sequence[Group], *, condition: str, than: Sequence[str], alpha: float = ALPHA) -> Outcome:
    """A condition's category means vary less than those of each other (Pitman-Morgan test of paired variances, Bonferroni).

    Without both lists nothing can be told.
    """
    (group,) = groups
    cell, p = _of(group, condition), alpha / len(than)
    sds = {name: f"{c.sd:.3f}" if c.categories is not None else "unprinted" for name, c in group.items()}
    verdicts = []
    for name in than:
        other = _of(group, name)
        if cell.categories is None or other.categories is None:
            verdicts.append(OPEN)
            continue
        a, b = (np.array([c.categories[k] for k in cell.categories if k in other.categories]) for c in (cell, other))
        test = stats.pearsonr(a + b, a - b)
        verdicts.append(OPEN if test.pvalue >= p else HOLDS if test.statistic < 0 else FAILS)
    verdict = HOLDS if all(v == HOLDS for v in verdicts) else FAILS if FAILS in verdicts else OPEN
    return Outcome(verdict, str(cell.n), {"sd": sds, "mean": _means(group)})


def costs_more(groups: Sequence[Group], *, conditions: Sequence[str], alpha: float = ALPHA) -> Outcome:
    """The interaction: each condition costs the first data set more than the second."""
    first, second = groups
    estimates = {
        name: change(_of(first, CLEAN), _of(first, name)).minus(change(_of(second, CLEAN), _of(second, name)))
        for name in conditions
    }
    verdict, texts = region(estimates, -math.inf, 0.0, alpha)
    return Outcome(verdict, next(iter(estimates.values())).n, {"difference": texts, "mean": _means(first)})


TESTS: dict[str, Callable[..., Outcome]] = {
    test.__name__: test for test in (lower, within, same, not_significant, normal, steadier, costs_more)
}


def read(path: Path) -> list[Claim]:
    """The ledger's entries.

    Raises:
        UserError: it is missing or an entry is not one; every mistake in one line.
    """
    import yaml

    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path.name}: {error.strerror or error}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path.name}: not YAML ({' '.join(str(error).split())})") from error
    claims, mistakes = [], []
    for at, entry in enumerate(entries or [], start=1):
        name = entry.get("id", f"entry {at}") if isinstance(entry, dict) else f"entry {at}"
        try:
            data = entry["data"]
            claim = Claim(**{**entry, "data": data if isinstance(data, list) else [data], "threshold": entry.get("threshold", {})})
        except (TypeError, KeyError) as error:
            mistakes.append(f"{name}: {error}")
            continue
        if not str(claim.id).isidentifier():
            mistakes.append(f"{claim.id}: an id is a word, such as crop_hurts_figures")
        typed = re.sub(r"\{[^}]*\}", "", claim.sentence)
        if re.search(r"\d", typed):
            mistakes.append(f"{name}: a number is typed into its sentence; write a placeholder")
        if claim.test not in TESTS:
            mistakes.append(f"{name}: unknown test {claim.test!r}; choose from {', '.join(TESTS)}")
        if claim.verdict not in VERDICTS:
            mistakes.append(f"{name}: unknown verdict {claim.verdict!r}; choose from {', '.join(VERDICTS)}")
        claims.append(claim)
    twice = {c.id for c in claims if [d.id for d in claims].count(c.id) > 1}
    mistakes += [f"{name}: twice in the ledger" for name in sorted(twice)]
    if mistakes:
        raise UserError(f"{path.name}: " + "; ".join(mistakes))
    return claims


def judge(claim: Claim, sources: Mapping[str, Lookup]) -> Judgement:
    """What the numbers say.

    Args:
        claim: an entry.
        sources: kind of data ("runs", "findings") -> where to look it up; "printed" is always there.

    Raises:
        UserError: its data or its placeholders are not there; the message names the entry.
    """
    try:
        groups = [_group(where, sources) for where in claim.data]
        outcome = TESTS[claim.test](groups, **claim.threshold)
        encoder = next((where["encoder"] for where in claim.data if "encoder" in where), "")
        text = _Strict().vformat(claim.sentence.strip(), (), {**outcome.numbers, "n": outcome.n, "encoder": f"`{encoder}`"})
    except (KeyError, IndexError, AttributeError) as error:
        raise UserError(f"claim {claim.id}: its sentence names {error}, which its test does not give") from error
    except (UserError, TypeError, ValueError) as error:
        raise UserError(f"claim {claim.id}: {error}") from error
    return Judgement(claim, outcome.verdict, text, outcome.n)


class _Strict(Formatter):
    """Placeholders only by name."""

    def get_value(self, key: int | str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return kwargs[str(key)]


def _group(where: Mapping[str, str], sources: Mapping[str, Lookup]) -> Group:
    if "printed" in where:
        return printed(where["printed"])
    for kind, look in sources.items():
        if kind in where:
            found = look(where[kind], where.get("encoder", ""))
            if not found:
                raise UserError(f"there are no {kind} of {where[kind]!r} by {where.get('encoder')!r}")
            return found
    raise UserError(f"its data, {dict(where)}, is none of printed, {', '.join(sources)}")


def settle(claims: Sequence[Claim], sources: Mapping[str, Lookup]) -> list[Judgement]:
    """Judge every entry.

    Raises:
        Lie: an entry's verdict is not that of the numbers; the message names each.
    """
    judged = [judge(claim, sources) for claim in claims]
    lies = [
        f"{j.claim.id} says {j.claim.verdict!r}, but the numbers say {j.verdict!r}: {j.text}"
        for j in judged
        if j.verdict != j.claim.verdict
    ]
    if lies:
        raise Lie("claims.yml: " + "; ".join(lies))
    return judged


def where_from(claim: Claim) -> str:
    """The data of a claim, in words."""
    kinds = {"printed": "the study's print", "findings": "findings", "runs": "runs"}
    parts = [f"{kinds[k]}, {v}" for where in claim.data for k, v in where.items() if k in kinds]
    encoders = dict.fromkeys(where["encoder"] for where in claim.data if "encoder" in where)
    return " and ".join(parts) + "".join(f" ({e})" for e in encoders)


def pages(judged: Sequence[Judgement]) -> dict[str, Any]:
    """What pages may name: `claims.<id>` a sentence with its verdict, `claims.study` and `claims.book` lists, `claims.table`."""
    lists = {}
    for by in ("study", "book"):
        lines = []
        for claim in dict.fromkeys(j.claim.claim for j in judged if j.claim.by == by):
            lines.append(f"**{claim}**\n")
            lines += [f"- *{where_from(j.claim)}*: {j}" for j in judged if j.claim.claim == claim and j.claim.by == by]
            lines.append("")
        lists[by] = "\n".join(lines)
    rows = [[j.claim.claim, where_from(j.claim), f"`{j.claim.test}`", j.n, j.verdict] for j in judged]
    return {
        **{j.claim.id: str(j) for j in judged},
        **lists,
        "table": table(["claim", "data", "test", "n", "verdict"], rows, "lllrl"),
        "level": f"{1 - ALPHA:.0%}",
        "count": {by: str(len({j.claim.claim for j in judged if j.claim.by == by})) for by in ("study", "book")},
    }
