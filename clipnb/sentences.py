"""Computed prose: sentences and tables whose words, not only numbers, follow from the data (Markdown text)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from .manipulations import CLEAN, MANIPULATIONS
from .original import ListFacts, figures_against_scenes, list_facts, printed_log, printed_means
from .results import Result
from .runs import run, saved_result
from .spec import RunSpec
from .statistics import Interval, mean_interval, paired_differences, unpaired_difference

ALPHA = 0.05
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")

Conditions = Mapping[str, Result]
"""Manipulation -> result, of one data set and encoder; holds the clean one."""


def p_value(p: float) -> str:
    if p >= 0.001:
        return f"p = {p:.3f}"
    mantissa, exponent = f"{p:.1e}".split("e")
    return f"p = {mantissa}·10⁻{str(abs(int(exponent))).translate(SUPERSCRIPTS)}"


def minus(value: float, digits: int = 2) -> str:
    """A number with a typographic minus."""
    return f"{value:.{digits}f}".replace("-", "−")


def points(value: float) -> str:
    """A difference of shares in percentage points."""
    return f"{100 * value:+.1f}".replace("-", "−")


def span(interval: Interval, digits: int = 3) -> str:
    """The bounds of an interval, or that there are none."""
    if math.isnan(interval.low):
        return "no interval (one category)"
    return f"{interval.low:.{digits}f} to {interval.high:.{digits}f}"


def percent_span(interval: Interval) -> str:
    """The bounds of an interval of a share, in percent."""
    if math.isnan(interval.low):
        return "not defined for one category"
    return f"{interval.low:.1%} to {interval.high:.1%}"


def direction(difference: Interval) -> str:
    """What an interval of a difference allows one to say."""
    if math.isnan(difference.low) or difference.low <= 0 <= difference.high:
        return "no clear change"
    return "a loss" if difference.high < 0 else "a gain"


def changes(conditions: Conditions, manip: str) -> list[float]:
    """Manipulated minus clean accuracy of each category that has both."""
    return paired_differences(conditions[CLEAN].category_means, conditions[manip].category_means)


def change(conditions: Conditions, manip: str) -> Interval:
    """Mean of those differences with its interval over categories."""
    return mean_interval(changes(conditions, manip))


def by_condition(results: Sequence[Result]) -> dict[str, Result]:
    """Manipulation -> result."""
    return {result.spec.manip: result for result in results}


def category_groups(conditions: Conditions) -> dict[str, list[float]]:
    """Condition -> category means, as the figures take them."""
    return {r.label: list(r.category_means.values()) for r in conditions.values()}


def answer(conditions: Conditions) -> str:
    """One sentence a manipulation: what it cost, with its interval and what that allows to say."""
    clean = conditions[CLEAN]
    lines = [
        f"Unmanipulated, {clean.accuracy.point:.1%} of the {clean.spec.k} results of a `{clean.spec.dataset_name}` query are valid "
        f"(95 % interval {percent_span(clean.accuracy)}, {clean.accuracy.n} categories, {len(clean.rows)} photographs)."
    ]
    for manip, result in conditions.items():
        if manip == CLEAN:
            continue
        d = change(conditions, manip)
        bounds = "" if math.isnan(d.low) else f" (95 % interval {points(d.low)} to {points(d.high)})"
        untouched = f" It leaves {result.noop_share:.0%} of the photographs untouched." if result.noop_share else ""
        lines.append(
            f"**{result.label.capitalize()}**: {result.accuracy.point:.1%}, a change of {points(d.point)} points{bounds}: {direction(d)}.{untouched}"
        )
    return "\n".join(f"- {line}" for line in lines)


def usual_runs(dataset: str, encoder: str) -> list[Result]:
    """The saved runs on a data set in the study's order; all of them run now where the clean one was never saved."""
    specs = [RunSpec(dataset, manip, encoder) for manip in MANIPULATIONS]
    saved = [result for result in map(saved_result, specs) if result]
    return saved if any(r.spec.manip == CLEAN for r in saved) else [run(spec) for spec in specs]


def interaction_table(figures: Conditions, scenes: Conditions) -> str:
    """A row a manipulation: change on figures minus change on scenes, with Welch's interval over categories."""
    lines = ["| condition | figures, points | scenes, points | difference | 95 % interval | reading |", "|:--|--:|--:|--:|:--|:--|"]
    for manip in figures:
        if manip == CLEAN:
            continue
        d = unpaired_difference(changes(figures, manip), changes(scenes, manip))
        clear = d.low > 0 or d.high < 0  # neither, where there is no interval
        reading = f"costs {'figures' if d.high < 0 else 'scenes'} more" if clear else "no clear difference"
        bounds = "none" if math.isnan(d.low) else f"{points(d.low)} to {points(d.high)}"
        lines.append(
            f"| {figures[manip].label} | {points(change(figures, manip).point)} | {points(change(scenes, manip).point)} | "
            f"{points(d.point)} | {bounds} | {reading} |"
        )
    return "\n".join(lines)


def hardest(conditions: Conditions) -> str:
    """The manipulation with the lowest mean."""
    return min((m for m in conditions if m != CLEAN), key=lambda m: conditions[m].accuracy.point)


def results_table(results: Sequence[Result]) -> str:
    """A row a run: accuracy with interval, shift, own-category hits, untouched photographs; counts where they differ."""
    names = {r.spec.dataset_name for r in results}, {r.spec.encoder for r in results}
    many = [len(group) > 1 for group in names]
    head = (
        ["data set"] * many[0]
        + ["encoder"] * many[1]
        + ["condition", "accuracy", "95 % interval", "shift", "same kind first", "untouched"]
    )
    lines = ["| " + " | ".join(head) + " |", "|" + ":--|" * (len(head) - 5) + "--:|:--|--:|--:|--:|"]
    for r in results:
        cells = (
            [r.spec.dataset_name] * many[0] + [r.spec.encoder] * many[1] + [r.label, f"{r.accuracy.point:.4f}", span(r.accuracy)]
        )
        cells += [
            f"{r.rows['shift'].mean():.3f}",
            f"{r.precision_at_1:.1%}",
            "" if r.spec.manip == CLEAN else f"{r.noop_share:.0%}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def changes_table(conditions: Conditions) -> str:
    """A row a manipulation: change against the clean query, paired by category."""
    lines = ["| condition | change, points | 95 % interval | reading |", "|:--|--:|:--|:--|"]
    for manip, result in conditions.items():
        if manip != CLEAN:
            d = change(conditions, manip)
            bounds = "none" if math.isnan(d.low) else f"{points(d.low)} to {points(d.high)} ({d.method})"
            lines.append(f"| {result.label} | {points(d.point)} | {bounds} | {direction(d)} |")
    return "\n".join(lines)


def warnings_list(results: Sequence[Result]) -> str:
    """What a reader must know before believing the numbers, run by run."""
    lines = [f"- `{r.spec.run_id}`: {warning}." for r in results for warning in r.warnings]
    return "\n".join(lines) or "Nothing to report."


# --- the original study's own printed numbers ---------------------------------------------------------------------


def printed_table() -> str:
    """The study's table of eight means."""
    table = printed_means()
    conditions = list(next(iter(table.values())))
    head = "| mean accuracy | " + " | ".join(conditions) + " |\n|:--|" + "--:|" * len(conditions)
    return "\n".join([head, *(f"| {name} | " + " | ".join(f"{v:.4f}" for v in row.values()) + " |" for name, row in table.items())])


def list_table() -> str:
    """What the two printed lists of category means say."""
    facts = {
        "NBA, original": list_facts(printed_log("NBA").total),
        "MiniPlaces, cropped": list_facts(printed_log("MiniPlaces").total),
    }
    rows = {
        "categories": [str(f.mean.n) for f in facts.values()],
        "mean": [f"{f.mean.point:.4f}" for f in facts.values()],
        "95 % interval of the mean (BCa)": [span(f.mean) for f in facts.values()],
        "standard deviation": [f"{f.sd:.4f}" for f in facts.values()],
        "median": [f"{f.quartiles[1]:.4f}" for f in facts.values()],
        "quartiles": [f"{f.quartiles[0]:.4f} to {f.quartiles[2]:.4f}" for f in facts.values()],
        "range": [f"{f.minimum:.3f} to {f.maximum:.3f}" for f in facts.values()],
        "Shapiro-Wilk test of normality": [p_value(f.shapiro_p) for f in facts.values()],
    }
    head = "| printed list | " + " | ".join(facts) + " |\n|:--|" + "--:|" * len(facts)
    return "\n".join([head, *(f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows.items())])


def normality(name: str, facts: ListFacts) -> str:
    """Whether a list of category means may be called normal."""
    verdict = "gives no reason to doubt it" if facts.shapiro_p >= ALPHA else "contradicts it"
    return f"for {name} a Shapiro-Wilk test {verdict} ({p_value(facts.shapiro_p)}, skew {minus(facts.skew)})"


def study_reading() -> str:
    """The study's claims that its own printed numbers can be asked about."""
    table = printed_means()
    nba, scenes = list_facts(printed_log("NBA").total), list_facts(printed_log("MiniPlaces").total)
    t, p = figures_against_scenes()
    verdict = "it is, on the printed numbers" if p < ALPHA else "and a test agrees"
    blurred, grey = table["MiniPlaces"]["blurred"], table["MiniPlaces"]["grey"]
    falls = {name: {m: row[CLEAN] - v for m, v in row.items() if m != CLEAN} for name, row in table.items()}
    worst = {name: max(row, key=lambda m: row[m]) for name, row in falls.items()}
    return "\n".join(
        [
            f'- *"Roughly normally distributed"*: {normality("players", nba)}; {normality("cropped scenes", scenes)}.',
            f"- *The difference between figures and scenes is not significant*: {verdict} "
            f"(one-sample t test of the players' list against {table['MiniPlaces'][CLEAN]:.4f}: t = {minus(t)}, {p_value(p)}, {nba.mean.n} categories). "
            "The test knows only one of the two lists; the other was not printed.",
            f"- *Which manipulation hurts most*: in the printed means {worst['NBA']} for players (down {falls['NBA'][worst['NBA']]:.4f}) and "
            f"{worst['MiniPlaces']} for scenes (down {falls['MiniPlaces'][worst['MiniPlaces']]:.4f}). That the two differ is an interaction; "
            "without the other six lists it cannot be tested.",
            f"- *Blurred and grey scenes* differ by {abs(blurred - grey):.4f} in the printed means ({blurred:.4f} and {grey:.4f}): "
            "so close that one condition may have been run twice. That is a suspicion, not a proof.",
        ]
    )
