"""Sentences and tables on the printed numbers of the original study (Markdown)."""

from __future__ import annotations

from clipnb.manipulations import CLEAN
from clipnb.report.format import minus, p_value, span, table
from clipnb.stats.intervals import ALPHA, t_interval

from .original import ListFacts, break_even_sd, figures_against_scenes, list_facts, printed_log, printed_means


def printed_table() -> str:
    """A table of the study's eight means."""
    means = printed_means()
    conditions = list(next(iter(means.values())))
    rows = [[name, *(f"{row[c]:.4f}" for c in conditions)] for name, row in means.items()]
    return table(["mean accuracy", *conditions], rows, "l" + "r" * len(conditions))


def list_table() -> str:
    """A table of statistics of the two printed lists."""
    lists = {"NBA, original": printed_log("NBA").total, "MiniPlaces, cropped": printed_log("MiniPlaces").total}
    facts = [list_facts(values) for values in lists.values()]
    rows = [
        ["categories", *(str(f.mean.n) for f in facts)],
        ["mean", *(f"{f.mean.point:.4f}" for f in facts)],
        ["95% interval of the mean, any distribution (Gaffke)", *(span(f.mean) for f in facts)],
        ["95% interval of the mean, Student's t", *(span(t_interval(values)) for values in lists.values())],
        ["standard deviation", *(f"{f.sd:.4f}" for f in facts)],
        ["median", *(f"{f.quartiles[1]:.4f}" for f in facts)],
        ["quartiles", *(f"{f.quartiles[0]:.4f} to {f.quartiles[2]:.4f}" for f in facts)],
        ["range", *(f"{f.minimum:.3f} to {f.maximum:.3f}" for f in facts)],
        ["Shapiro-Wilk test of normality", *(p_value(f.shapiro_p) for f in facts)],
    ]
    return table(["printed list", *lists], rows, "lrr")


def _normality(name: str, facts: ListFacts) -> str:
    verdict = "does not contradict" if facts.shapiro_p >= ALPHA else "contradicts"
    return f"{verdict} it for {name} ({p_value(facts.shapiro_p)}, skew {minus(facts.skew)})"


def study_reading() -> str:
    """The study's claims that its printed numbers can test."""
    means = printed_means()
    nba, scenes = list_facts(printed_log("NBA").total), list_facts(printed_log("MiniPlaces").total)
    t, p = figures_against_scenes()
    other = means["MiniPlaces"][CLEAN]
    fixed = "differs significantly" if p < ALPHA else "does not differ significantly"
    blurred, grey = means["MiniPlaces"]["blurred"], means["MiniPlaces"]["grey"]
    falls = {name: {m: row[CLEAN] - v for m, v in row.items() if m != CLEAN} for name, row in means.items()}
    worst = {name: max(row, key=lambda m: row[m]) for name, row in falls.items()}
    return "\n".join(
        [
            f'- *"Roughly normally distributed"*: a Shapiro-Wilk test {_normality("players", nba)} and '
            f"{_normality('cropped scenes', scenes)}.",
            f"- *The difference between people and scenes is not significant*: the study gives no test. The scenes' mean of {other:.4f}, "
            f"taken as a fixed number, {fixed} from the players' list (one-sample t test, t = {minus(t)}, {p_value(p)}, "
            f"{nba.mean.n} categories). But the scenes vary too, and the study did not print their list. With {scenes.mean.n} scenes the "
            f"difference is significant at {ALPHA:.0%} if their standard deviation is below {break_even_sd(scenes.mean.n, ALPHA):.3f} "
            f"(players: {nba.sd:.3f}; cropped scenes: {scenes.sd:.3f}).",
            f"- *The manipulation that costs most* in the printed means is {worst['NBA']} for players (down "
            f"{falls['NBA'][worst['NBA']]:.4f}) and {worst['MiniPlaces']} for scenes (down "
            f"{falls['MiniPlaces'][worst['MiniPlaces']]:.4f}). This difference is an interaction. Testing it needs six lists; "
            "for unprinted lists, only bounds are known.",
            f"- *Blurred and grey scenes* differ by {abs(blurred - grey):.4f} in the printed means ({blurred:.4f} and {grey:.4f}): "
            "so close that one condition may have been run twice. This is a suspicion, not a proof.",
        ]
    )
