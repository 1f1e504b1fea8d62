"""The claim ledger: every finding that the book asserts, with the test, the threshold and the data that decide it.

`claims.yml` holds the entries; `clipnb_book.claims.tests` decides them. An entry also names the book's
verdict; the build fails if the numbers give another. Sentences contain no digits: each number is a placeholder, filled from
the data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

from clipnb._core.paths import project_root
from clipnb.errors import UserError, text_of
from clipnb.manipulations import CLEAN
from clipnb.report.format import table
from clipnb.stats.intervals import ALPHA

from .evidence import ByCondition, Lookup, printed
from .tests import FAILS, HOLDS, TESTS, VERDICTS


def ledger_path() -> Path:
    """The ledger of the project at hand; outside a checkout, the one in the package."""
    own = project_root() / "book" / "clipnb_book" / "claims" / "claims.yml"
    return own if own.is_file() else Path(__file__).parent / "claims.yml"


class LedgerError(UserError):
    """The ledger asserts a verdict that the numbers do not give."""


@dataclass(frozen=True)
class Claim:
    """An entry of the ledger.

    Attributes:
        id: how pages name it.
        claim: what is claimed, in a few words without numbers; entries on different data share it.
        by: "study" for claims of the original study, "book" for claims of this book.
        sentence: what the book says, with placeholders.
        test: a name in `clipnb_book.claims.tests.TESTS`.
        threshold: its settings: margin, conditions.
        data: where the numbers are: {printed: NBA}, {findings: athletes, encoder: ...}, {runs: sample-figures, encoder: ...},
            {severities: athletes, encoder: ..., measure: found};
            a list of two for a comparison of data sets.
        verdict: the book's verdict.
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
    """The verdict of the numbers on a claim.

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


def read(path: Path | None = None) -> list[Claim]:
    """The ledger's entries.

    Args:
        path: the ledger; `ledger_path()` by default.

    Raises:
        UserError: it is missing or an entry is not one; every mistake in one line.
    """
    import yaml

    path = path or ledger_path()
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path.name}: {error.strerror or error}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path.name}: not YAML ({text_of(error)})") from error
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
    """The verdict of the numbers on a claim.

    Args:
        claim: an entry.
        sources: kind of data ("runs", "findings") -> where to look it up; "printed" is always there.

    Raises:
        UserError: its data or the value of a placeholder is missing; the message names the entry.
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
    """Only named placeholders are allowed."""

    def get_value(self, key: int | str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return kwargs[str(key)]


def _group(where: Mapping[str, str], sources: Mapping[str, Lookup]) -> ByCondition:
    if "printed" in where:
        return printed(where["printed"])
    for kind, look in sources.items():
        if kind in where:
            more = {name: value for name, value in where.items() if name not in (kind, "encoder")}
            found = look(where[kind], where.get("encoder", ""), **more)
            if not found:
                raise UserError(f"there are no {kind} of {where[kind]!r} by {where.get('encoder')!r}")
            return found
    raise UserError(f"its data, {dict(where)}, is none of printed, {', '.join(sources)}")


def settle(claims: Sequence[Claim], sources: Mapping[str, Lookup]) -> list[Judgement]:
    """Judge every entry.

    Raises:
        LedgerError: the numbers give another verdict on some entries, or two entries contradict each other; the message
            names them.
    """
    judged = [judge(claim, sources) for claim in claims]
    wrong = [
        f"{j.claim.id} says {j.claim.verdict!r}, but the numbers say {j.verdict!r}: {j.text}"
        for j in judged
        if j.verdict != j.claim.verdict
    ]
    wrong += _contradictions(judged)
    if wrong:
        raise LedgerError("claims.yml: " + "; ".join(wrong))
    return judged


def _contradictions(judged: Sequence[Judgement]) -> list[str]:
    """Claims of this book that hold on one set of measured numbers and do not hold on another."""
    measured = [j for j in judged if j.claim.by == "book" and not any("printed" in where for where in j.claim.data)]
    found = []
    for claim in dict.fromkeys(j.claim.claim for j in measured):
        by_verdict = {j.verdict: j.claim.id for j in measured if j.claim.claim == claim}
        if HOLDS in by_verdict and FAILS in by_verdict:
            found.append(
                f"{claim!r} holds by {by_verdict[HOLDS]} and does not hold by {by_verdict[FAILS]}: say which data each is about"
            )
    return found


def where_from(claim: Claim) -> str:
    """The data of a claim, in words."""
    kinds = {
        "printed": "printed by the study",
        "findings": "measured on real photographs",
        "severities": "measured on real photographs at equal strength",
        "runs": "runs of this book",
    }
    sets: dict[str, list[str]] = {}
    for where in claim.data:
        for kind in kinds.keys() & where.keys():
            sets.setdefault(kind, []).append(where[kind])
    encoders = dict.fromkeys(where["encoder"] for where in claim.data if "encoder" in where)
    return "; ".join(f"{kinds[kind]}, {' and '.join(names)}" for kind, names in sets.items()) + "".join(f" ({e})" for e in encoders)


def conditions_of(claim: Claim) -> str:
    """The conditions that a claim is about, in words."""
    asked = claim.threshold
    about = ", ".join(asked.get("conditions", [asked.get("condition", CLEAN)]))
    return f"{about} against {', '.join(asked['than'])}" if "than" in asked else about


def tests_list() -> str:
    """The question of each test, as a Markdown list."""
    return "\n".join(f"- `{name}`: {(test.__doc__ or '').splitlines()[0]}" for name, test in TESTS.items())


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
    rows = [[j.claim.claim, j.verdict, conditions_of(j.claim), where_from(j.claim), j.n, f"`{j.claim.test}`"] for j in judged]
    return {
        **{j.claim.id: str(j) for j in judged},
        **lists,
        "table": table(["claim", "verdict", "conditions", "data", "n", "test"], rows, "llllrl"),
        "tests": tests_list(),
        "level": f"{1 - ALPHA:.0%}",
    }
