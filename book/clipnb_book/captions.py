"""Findings for the captions of figures, computed from the numbers that the figures show: `{{ caption.found }}`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from clipnb.analysis.contrasts import InteractionContrast
from clipnb.analysis.tolerance import Tolerance
from clipnb.encoders import OFFLINE
from clipnb.manipulations import MANIPULATIONS, STUDY
from clipnb.report.format import percent, points, share
from clipnb.result import Result

from . import corrections, drift, performance, scale, slider
from .claims import evidence
from .first_page import EDITS, SETS
from .measured import draws, findings, gallery_size, records
from .measured.findings import SCENES
from .published import original
from .severities import clean_value

BREAKS = {"found": "lose half of the originals", "p1": "take P@1 halfway to chance"}


def values() -> dict[str, str]:
    """Name -> sentence, for the figures of the chapters."""
    return {
        "question": breaking("found", EDITS),
        "found": breaking("found"),
        "kind": breaking("p1"),
        "everyday": breaking("found", slider.EVERYDAY),
        "halfway": halfway(),
        "rise": rise(),
        "equal": who_loses(evidence.graded_interactions(OFFLINE, "found"), "originals"),
        "fixed": who_loses(evidence.findings_crossed(OFFLINE), "valid results"),
        "interaction": widest(evidence.graded_interactions(OFFLINE, "found")),
        "slopes": slopes(),
        "drift": drift.reading(),
        "map": drift.map_reading(),
        "gallery": gallery_size.reading(),
        **{f"asked_{name}": gallery_size.asked(name) for name in SETS},
        "draws": draws.reading(),
        "drawn": draws.photographs(),
        "models": draws.agreement(),
        **{f"pairs_{name}": pairs(name) for name in records.SETS},
        **{f"verdicts_{name}": verdicts(name) for name in records.SETS},
        "corrections": corrected(),
        "printed": spread(),
        "speed": reached(),
        "scale": indexes(),
        "curves": fallen(findings.ENCODERS, "map"),
        "valid": fallen((OFFLINE,), "valid"),
        **{f"heat_{name}": costs(name) for name in records.SETS},
    }


def listed(names: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def labels(manips: Iterable[str]) -> str:
    """The labels of manipulations, listed as in a sentence."""
    return listed(MANIPULATIONS[manip].label for manip in manips)


def breaking(measure: str, manips: Sequence[str] = ()) -> str:
    """Which edits break a measure within the measured range, on which data sets."""
    groups: dict[tuple[str, ...], list[str]] = {}
    measured: dict[str, dict[str, Tolerance]] = {}
    for name, who in SETS.items():
        for t in records.tolerances(name, OFFLINE, measure, *([manips] if manips else [])):
            measured.setdefault(t.manip, {})[who] = t
    for manip, sets in measured.items():
        broken = tuple(who for who, t in sets.items() if t.point.strength < math.inf)
        groups.setdefault(broken, []).append(manip)
    held = groups.pop((), [])
    if not groups:
        return f"At no measured strength do the edits {BREAKS[measure]}."
    parts = [
        f"{labels(found)} ({listed(who)}{' only' if len(who) < len(SETS) else ''})"
        for who, found in sorted(groups.items(), key=lambda item: -len(item[0]))
    ]
    others = f" At no measured strength do these: {labels(held)}." if held else ""
    return f"These edits {BREAKS[measure]}: {'; '.join(parts)}.{others}"


def halfway() -> str:
    """An example of the value of a measure at which it is broken."""
    t = records.tolerances(SCENES, OFFLINE, "p1")[0]
    return (
        f"P@1 of {SETS[SCENES]}, for example, is {share(t.point.clean)} without an edit and {share(t.chance)} by chance: it is "
        f"broken at {share(t.point.target)}."
    )


def rise() -> str:
    """The largest rise of the share found from one strength to a stronger one."""
    t, at = max(
        ((t, at) for name in SETS for t in records.tolerances(name, OFFLINE, "found") for at in range(1, len(t.means))),
        key=lambda pair: pair[0].means[pair[1]] - pair[0].means[pair[1] - 1],
    )
    weak, strong = (MANIPULATIONS[t.manip].parameter.in_words(t.strengths[i]) for i in (at - 1, at))
    return (
        f"A stronger setting does not always lose more: of the {SETS[t.dataset]}, {share(t.means[at - 1])} are found under {weak} "
        f"and {share(t.means[at])} under {strong}."
    )


def widest(pairs: Sequence[InteractionContrast]) -> str:
    """The edit whose changes differ most between two data sets."""
    most = max(pairs, key=lambda x: abs(x.test.difference.point))
    d = most.test.difference
    decided = "" if d.bounded else f"; {min(len(most.first.changes), len(most.second.changes))} people are too few for an interval"
    edit = MANIPULATIONS[most.after].label
    return f"The changes differ most if the photographs are {edit}: by {points(d.point)} points, people minus scenes{decided}."


def who_loses(pairs: Sequence[InteractionContrast], what: str) -> str:
    """Which of the two data sets loses more by each edit, in percentage points."""
    more: dict[str, list[str]] = {"people": [], "scenes": []}
    for x in pairs:
        size = x.test.difference.point
        more["people" if size < 0 else "scenes"].append(f"{MANIPULATIONS[x.after].label} (by {100 * abs(size):.1f} points)")
    parts = [f"{who} lose more {what} if {' or '.join(edits)}" for who, edits in more.items() if edits]
    return f"{', and '.join(parts)}."


def slopes() -> str:
    """The mean change of the study's measure by each edit, in words."""
    parts = []
    for name, who in SETS.items():
        changes = {m: float(np.mean(findings.changes(name, OFFLINE, m))) for m in STUDY[1:]}
        parts.append(f"{listed(f'{points(v)} ({MANIPULATIONS[m].label})' for m, v in changes.items())} points on {who}")
    return f"The mean share of valid results changes by {'; by '.join(parts)}."


def pairs(name: str) -> str:
    """What the study's threshold accepts."""
    recall, fpr = records.calibration(name).curve.at(0.8)[:2]
    same, different = percent(recall), percent(fpr)
    return f"The study's threshold accepts {same} of pairs of one kind and {different} of pairs of different kinds."


def verdicts(name: str) -> str:
    """The range of thresholds over which each verdict holds."""
    sweeps = records.sweeps(name)
    parts = [f"{s.condition}: {s.verdict} ({s.holds[0]:g} to {s.holds[1]:g})" for s in sweeps]
    return f"Verdict at the threshold {sweeps[0].tau:g} and, in brackets, the thresholds with the same verdict: {'; '.join(parts)}."


def corrected() -> str:
    """The correction that moves the study's measure most, on each data set."""
    largest = {who: corrections.largest(records.corrections(name)) for name, who in SETS.items()}
    same = len({name for name, _ in largest.values()}) == 1
    parts = [f"{'' if same else f'*{name}* '}by {100 * size:.1f} points on {who}" for who, (name, size) in largest.items()]
    which = f"*{next(iter(largest.values()))[0]}*: " if same else ""
    return f"The correction that moves the share of valid results most is {which}{listed(parts)} (mean over the conditions)."


def spread() -> str:
    """The ranges of the two printed lists."""
    lists = [original.printed_log(name).total for name in ("NBA", "MiniPlaces")]
    players, scenes = (f"{min(values):.2f} to {max(values):.2f}" for values in lists)
    return f"Players range from {players}, cropped scenes from {scenes}."


def reached() -> str:
    """How many ratios of speed reach their limit."""
    rows = performance.measured()["rows"]
    return f"{sum(map(performance.reached, rows))} of {len(rows)} ratios reach their limit."


def indexes() -> str:
    """The fastest index at the largest size, beside exact search."""
    rows = scale.measured()
    own = rows[rows["vectors"] == rows["vectors"].max()].set_index("index")["queries_per_second"]
    best = str(own.idxmax())
    times = own[best] / own["exact"]
    return f"At {rows['vectors'].max():,} vectors, `{best}` answers {times:.0f} times as many queries as exact search."


def fallen(encoders: Sequence[str], measure: str) -> str:
    """A measure when clean and under the strongest blur."""
    table, _ = records.severities()
    parts = []
    for encoder in encoders:
        for name, who in SETS.items():
            own = table[(table["dataset"] == name) & (table["encoder"] == encoder) & (table["manip"] == "blurred")]
            last = own.sort_values("severity").iloc[-1]
            clean = clean_value(table, name, encoder, measure)
            parts.append(f"from {clean:.2f} to {last[measure]:.2f} on {who} ({encoder})")
    return f"At the strongest blur the mean falls {listed(parts)}."


def costs(name: str) -> str:
    """The edits that lose most and fewest originals at severity 5."""
    table, _ = records.severities()
    own = table[(table["dataset"] == name) & (table["encoder"] == OFFLINE) & (table["severity"] == 5)].set_index("manip")["found"]
    worst, least = str(own.idxmin()), str(own.idxmax())
    ends = [f"{MANIPULATIONS[m].label} leaves {share(float(own[m]))}" for m in (worst, least)]
    return f"Of {len(own)} edits at severity 5, {ends[0]} of the originals found first, {ends[1]}."


def of_run(result: Result) -> Mapping[str, str]:
    """Name of a figure -> its finding, for the page of a run."""
    means = result.category_means
    low, high = min(means.values()), max(means.values())
    mean = percent(result.valid.point)
    within = result.rows["n_valid"].sum() / max(1, result.rows["n_results"].sum())
    return {
        "fig-categories": f"Category means of valid@k range from {share(low)} to {share(high)}; their mean is {mean}.",
        "fig-distances": f"{percent(within)} of all results lie within the threshold.",
    }


def of_dataset(conditions: Sequence[Result]) -> Mapping[str, str]:
    """Name of a figure -> its finding, for the page of a data set."""
    said = f"The mean share of valid results is {listed(f'{share(r.valid.point)} ({r.label})' for r in conditions)}."
    return {"fig-bars": said, "fig-box": said}
