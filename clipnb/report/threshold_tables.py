"""Thresholds in sentences (Markdown)."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..analysis.calibration import ENOUGH, Calibration, settable
from ..analysis.result_threshold import ResultThreshold
from ..stats.intervals import Interval
from .format import percent, share, stated

FARTHEST = 2.0  # distance of opposite unit vectors: a threshold here accepts everything


def _span(interval: Interval, spelled: Callable[[float], str] = "{:.3f}".format) -> str:
    """An interval in brackets; "" for one without bounds."""
    return f" ({stated(interval, spelled)})" if interval.bounded else ""


def _share(value: float) -> str:
    return share(min(1.0, value), ".3f")


def _held_out(calibration: Calibration, tau: float) -> str:
    if not calibration.check:
        return ""
    recall, fpr = map(percent, calibration.check.at(tau)[:2])
    return f"; on the held-out categories it accepts {recall} of pairs of one kind and {fpr} of pairs of different kinds"


def _of_results(found: ResultThreshold, pairs: float) -> str:
    """What a threshold for pairs means for the results of a search, in sentences."""
    said = "This rate over pairs does not control what a search returns"
    if not math.isnan(precision := found.curve.at(pairs)[2]):
        said += f": of the {found.k} nearest photographs, {precision:.1%} of those below {pairs:.3f} are of the query's kind"
    if math.isnan(found.tau.point):
        return f"{said}. No threshold makes {found.wanted:.0%} of accepted results of the query's kind."
    tau, limit = found.tau, settable(found.tau.point)
    if limit >= FARTHEST:
        everything = found.curve.at(FARTHEST)[2]
        return f"{said}. Of all results, {everything:.1%} are of the query's kind: {found.wanted:.0%} needs no threshold."
    goal = f"to make {found.wanted:.0%} of accepted results of the query's kind"
    checked = "Checked on each category in turn, with the threshold that the others set"
    if found.tau.n < 3:
        return f"{said}. **Take {limit:.3f}**{_span(tau)} {goal}. Two kinds are too few to check it on another one."
    if math.isnan(found.precision):
        return f"{said}. Only {limit:.3f} is low enough {goal}. {checked}, no result is accepted: take none for this."
    checked = f"{said}. **Take {limit:.3f}**{_span(tau)} {goal}. {checked}"
    right = f"{found.precision:.1%} of these are of the query's kind"
    return f"{checked}: {found.accepted:.1%} of results are accepted, and {right}."


def threshold_answer(calibration: Calibration, tau: float = 0.8) -> str:
    """Recommend a threshold, and describe the effect of the given one, in sentences."""
    v = calibration.values
    one = v["tau_fpr_1"]
    recall, fpr = map(percent, calibration.curve.at(tau)[:2])
    who = f"Calibrated on all {len(calibration.calibrated_on)} categories; of {ENOUGH} or more, half would be held out as a check"
    if calibration.check:
        who = f"Calibrated on {len(calibration.calibrated_on)} categories, and checked on {len(calibration.scored_on)} others"
    auc = v["roc_auc"]
    lines = [
        f"{who}. Distance alone separates the kinds with an area under the ROC curve of {_share(auc.point)}"
        f"{_span(auc, _share)}; all pairs ranked by it have an average precision (uAP) of {_share(v['uap'].point)}"
        f"{_span(v['uap'], _share)}, where {calibration.prevalence:.1%} of pairs are of one kind: uAP and precision rise with "
        "this share."
    ]
    if math.isnan(one.point):
        lines.append("No threshold keeps pairs of different kinds below 1%.")
    else:
        got = calibration.curve.at(settable(one.point))[0]
        lines.append(f"**Take {settable(one.point):.3f}**{_span(one)} to accept at most 1% of pairs of different kinds:")
        lines.append(f"it accepts {got:.1%} of pairs of one kind{_held_out(calibration, settable(one.point))}.")
    lines.append(_of_results(calibration.results, settable(one.point)))
    lines.append(f"At {tau:g}, {recall} of pairs of one kind are accepted and {fpr} of pairs of different kinds.")
    results = calibration.results
    shown = {"the area": auc, "uAP": v["uap"], "the threshold for pairs": one, "the threshold for results": results.tau}
    without = {name: i.why_unbounded for name, i in shown.items() if not i.bounded and not math.isnan(i.point)}
    for why in dict.fromkeys(without.values()):
        lines.append(f"Without an interval: {', '.join(name for name in without if without[name] == why)} ({why}).")
    return "\n".join(lines)
