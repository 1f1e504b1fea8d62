"""Sentences and tables about runs (Markdown), computed from the results. This module makes no run."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._core.text import literal
from ..analysis.compare import WITHIN_ENCODER
from ..analysis.contrasts import Contrast, contrast
from ..analysis.missing import account
from ..analysis.scores import of_result
from ..checks import duplicate_conditions, warnings
from ..comparable import comparable
from ..manipulations import CLEAN, SEVERITIES
from ..metrics.measures import MEASURES
from ..result import Result
from ..spec import FLAGS, RunSpec
from ..stats.hypothesis import holm
from ..stats.intervals import ALPHA
from .format import captioned, minus, p_short, p_value, percent, points, share, span, stated, table

Conditions = Mapping[str, Result]
"""Manipulation -> result. The runs differ in nothing else, saw the same photographs, and include the clean one."""


def summary(result: Result) -> str:
    """One run as a table of its numbers and their provenance, followed by its warnings (Markdown)."""
    s, p = result.spec, result.provenance
    made = ", ".join(
        f"{name} {p['versions'][name]}" for name in ("clipnb", "torch", "faiss-cpu", "pillow") if name in p["versions"]
    )
    counts = result.rows.get("n_copies")
    copies = None if counts is None else f"{counts.median():g} (median), {counts.max():g} (most)"
    labels = {name: MEASURES[name].label for name in MEASURES} | {"valid": f"valid@{s.k}, L2 < {s.tau:g}"}
    cells = {label: _macro(result, name) for name, label in labels.items() if name in result.rows} | {
        "strength at the encoder's input": None if s.manip == CLEAN else result.strength,
        "photographs left pixel-identical": None if s.manip == CLEAN else share(result.noop_share),
        "searched": _searched(result),
        "zero-shot prompts": literal(s.prompts) if "zero_shot" in result.rows else None,
        "colour profiles": "ignored" if s.colour == "stored" else None,
        "copies left out per query": copies,
        "queries / unreadable images": f"{len(result.rows)} / {len(p['unreadable'])}",
        "encoder": f"{literal(s.encoder)} {s.precision}{'' if s.engine == 'torch' else f' by {s.engine}'} on {p['device']}",
        "weights, SHA-256": p["encoder"]["weights_sha256"][:16] or None,
        "photographs, fingerprint": p["data_fingerprint"][:16],
        "code, SHA-256": p["code_sha256"][:16],
        "made with": made,
    }
    rows = [[name, value] for name, value in cells.items() if value is not None]
    numbers = table([f"{s.dataset_name}, {result.label}", "mean over categories (95% interval)"], rows, "lr")
    return "\n".join([captioned("The run in numbers.", numbers), "", *(f"**Note:** {w}.\n" for w in warnings(result))])


def _searched(result: Result) -> str | None:
    """The gallery in a few words; None if it is the data set itself, searched exactly."""
    about = result.provenance["gallery"]
    if about.get("kind") == "service":
        return f"{literal(about['address'])}, index {literal(about['index'])}"
    if not result.spec.gallery and result.spec.index == "exact":
        return None
    recall = about.get("recall")
    found = f", recall@{recall['k']} {share(recall['recall'], '.3f')} on {recall['queries']} queries" if recall else ""
    return f"{about['images']:,} images, {about['index']} index{found}"


def _macro(result: Result, name: str) -> str | None:
    """The macro mean of a measure with its interval, as a cell; None if no category has a value."""
    found = result.macro(name)
    if math.isnan(found.point):
        return None
    within = f" ({span(found)})" if found.bounded else ""
    return f"{share(found.point, '.4f')}{within}"


def by_condition(results: Sequence[Result]) -> dict[str, Result]:
    """Manipulation -> result."""
    return {result.spec.manip: result for result in results}


def category_groups(conditions: Conditions) -> dict[str, list[float]]:
    """Condition -> category means of valid@k, as the plots take them."""
    return {r.label: list(r.category_means.values()) for r in conditions.values()}


def decided(verdict: str, p: float, p_holm: float) -> str:
    """The verdict on a change, in bold, with its p-values if it is undecided only after Holm's adjustment."""
    alone = f" ({p_value(p)}, after Holm's adjustment {p_short(p_holm)})" if p <= ALPHA < p_holm else ""
    return f"**{verdict}**{alone}"


def compared(conditions: Conditions) -> list[str]:
    """Measures whose changes are stated: those of `WITHIN_ENCODER` of which every run has a value."""
    return [m for m in WITHIN_ENCODER if all(m in r.rows and not math.isnan(r.mean(m)) for r in conditions.values())]


def changes_text(conditions: Conditions) -> str:
    """One sentence per manipulation: found and P@1, each with its change, interval and Holm-adjusted verdict.

    The first sentence gives the means of the clean run, with valid@k and its threshold, and a note says if that does not fit.
    """
    clean = conditions[CLEAN]
    words = {
        "found": "the original is found first for",
        "p1": "the first other result is of the query's kind for",
        "valid": f"valid@{clean.spec.k} at {clean.spec.tau:g} is",
    }
    means = ", ".join(f"{words[m]} {percent(clean.mean(m))}" for m in compared(conditions))
    counts = f"{clean.valid.n} categories, {len(clean.rows)} photographs"
    lines = [f"`{clean.spec.dataset_name}` without an edit: {means} ({counts})."]
    if floor := of_result(clean).floor:
        lines.insert(0, f"**Note:** {floor}.")
    said: dict[str, list[str]] = {manip: [] for manip in conditions if manip != CLEAN}
    for measure in [m for m in compared(conditions) if m != "valid"] or ["valid"]:
        family = changes(conditions, measure)
        for (manip, c), p in zip(family.items(), holm([c.p for c in family.values()]), strict=True):
            change = f"{points(c.interval.point)} points ({stated(c.interval, points)}): {decided(c.verdict(p), c.p, p)}"
            said[manip].append(f"{words[measure]} {percent(conditions[manip].mean(measure))}, a change of {change}")
    for manip, parts in said.items():
        result = conditions[manip]
        untouched = f" It leaves {share(result.noop_share)} of the photographs untouched." if result.noop_share else ""
        lines.append(f"**{result.label.capitalize()}**: {'; '.join(parts)}.{untouched}")
    return "\n".join(f"- {line}" for line in lines)


def changes(conditions: Conditions, measure: str) -> dict[str, Contrast]:
    """Manipulation -> its change against the clean run, paired by image."""
    clean = of_result(conditions[CLEAN], measure)
    return {manip: contrast(clean, of_result(r, measure)) for manip, r in conditions.items() if manip != CLEAN}


def changes_table(conditions: Conditions, measure: str) -> str:
    """One row per manipulation: its change against the clean run and the test; p is Holm-adjusted over the rows."""
    family = changes(conditions, measure)
    return contrasts_table(["condition"], [[conditions[manip].label] for manip in family], list(family.values()))


def contrasts_table(head: list[str], names: list[list[str]], family: Sequence[Contrast]) -> str:
    """One row per contrast, after the cells `names` below `head`; p is Holm-adjusted over all rows."""
    rows = []
    for name, c, p_holm in zip(names, family, holm([c.p for c in family]), strict=True):
        change = [points(c.interval.point), span(c.interval, points), c.interval.method, c.verdict(p_holm)]
        detectable = "none" if math.isnan(c.detectable) else points(c.detectable).removeprefix("+")
        rows.append([*name, *change, p_short(c.p), p_short(p_holm), minus(c.effect), detectable])
    columns = [*head, "change, points", "95% interval", "method", "verdict", "p", "p, Holm", "effect", "detectable"]
    return table(columns, rows, "l" * len(head) + "rlllrrrr")


def how_to(dataset: str, encoder: str, **settings: Any) -> str:
    """Name the command that makes the runs at severities of a data set under these settings.

    The text also names settings that have no flag and belong in the grid file of the command.
    """
    spec, usual = RunSpec(dataset, CLEAN, encoder, **settings).to_dict(), RunSpec(dataset, CLEAN, encoder).to_dict()
    own = {name: value for name, value in spec.items() if value != usual[name]}
    levels = [str(severity) for severity in SEVERITIES]
    command = ["clipnb", "sweep", spec["dataset"], "--severities", *levels, "--encoders", spec["encoder"]]
    for name in FLAGS:
        if name in own:
            command += [f"--{name.replace('_', '-')}", str(own.pop(name))]
    rest = f", with `settings: {json.dumps(own)}` in its grid file," if own else ""
    return f"No runs at severities yet: `{shlex.join(command)}`{rest} makes them."


def results_table(results: Iterable[Result], pages: Mapping[str, str] | None = None) -> str:
    """One row per run. Data set and encoder have columns if they differ; `pages` (run id -> Markdown link) replace them."""
    runs = list(results)
    shared = [{r.spec.dataset_name for r in runs}, {r.spec.encoder for r in runs}]
    named = [len(names) > 1 for names in shared]
    head = ["run"] if pages is not None else ["data set"] * named[0] + ["encoder"] * named[1] + ["condition"]
    rows = []
    for r in runs:
        who = [r.spec.dataset_name.replace("-", "\u2011")] * named[0] + [r.spec.encoder] * named[1] + [r.label]
        if pages is not None:
            who = [pages.get(r.spec.run_id, f"`{r.spec.run_id}`")]
        untouched = "" if r.spec.manip == CLEAN else share(r.noop_share)
        means = ["" if m not in r.rows or math.isnan(r.mean(m)) else percent(r.mean(m)) for m in ("found", "p1")]
        rows.append([*who, *means, share(r.valid.point, ".4f"), span(r.valid), f"{r.mean('shift'):.3f}", untouched])
    return table([*head, "found", "P@1", "valid@k", "95% interval", "shift", "untouched"], rows, "l" * len(head) + "rrrlrr")


def accounts_table(results: Sequence[Result]) -> str:
    """Make a Markdown table with a row for each run: fates of its results, available case, bounds and the study's rule."""
    head = ["condition", "queries", "asked", "returned", "dead", "unreadable", "usable", "available case", "95% interval", "bounds"]
    head.append("study's rule")
    rows = []
    for a in map(account, results):
        f = a.fates
        counts = [a.queries, a.asked, a.asked - f["not returned"], f["dead"], f["unreadable"], f["valid"] + f["not valid"]]
        bounds = f"{percent(a.worst)} to {percent(a.best)}" if a.lost else "none lost"
        available = [percent(a.available.point), span(a.available, percent)]
        rows.append([a.label, *(f"{n:,}" for n in counts), *available, bounds, percent(a.study)])
    return table(head, rows, "l" + "r" * (len(head) - 1))


def warnings_list(results: Sequence[Result]) -> str:
    """The warnings of each run, and of conditions with identical photographs."""
    clean = {r.spec.group_id: r for r in results if r.spec.manip == CLEAN}
    lines = []
    for r in results:
        said = warnings(r)
        if (first := clean.get(r.spec.group_id)) and not comparable(r, first):
            said.append("this run and the clean run used different photographs or weights and are not compared: run it again")
        lines += [f"- `{r.spec.run_id}`: {warning}." for warning in said]
    lines += [f"- {warning}." for warning in duplicate_conditions(results)]
    return "\n".join(lines) or "Nothing to report."
