"""Tables that only this book shows (Markdown)."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clipnb._core.text import literal
from clipnb.analysis.calibration import Calibration, threshold_frame
from clipnb.analysis.contrasts import InteractionContrast
from clipnb.analysis.severity import BASELINE
from clipnb.analysis.tolerance import Tolerance
from clipnb.datasets.card import Card
from clipnb.manipulations import CLEAN, MANIPULATIONS
from clipnb.report.format import minus, p_short, percent, points, share, span, table
from clipnb.report.tolerance import in_order, in_words
from clipnb.result import Result
from clipnb.stats.hypothesis import holm
from clipnb.stats.intervals import direction
from clipnb.stats.sign_flips import change_interval

from .first_page import SETS
from .severities import clean_value, from_table, scores

SCORES = {"clean": 3, "mPC": 3, "rPC": 2, "mCE": 2}
"""Scores over all manipulations, each with its number of decimals in a table."""


def cards_table(cards: Sequence[Card]) -> str:
    """Several cards as one Markdown table, a row for each."""
    rows = [
        [
            literal(c.name),
            f"{c.photographs:,}",
            f"{c.categories}",
            f"{c.width[1]:.0f} x {c.height[1]:.0f}",
            f"{c.aspect[1]:.2f}",
            share(c.square),
            f"{c.copies}",
            f"{c.near_photographs} ({share(c.near_photographs / c.photographs)})",
            f"{c.across}",
        ]
        for c in cards
    ]
    head = [
        "set",
        "photographs",
        "categories",
        "median size",
        "aspect",
        "square",
        "copies",
        "with a near-copy",
        "across categories",
    ]
    return table(head, rows, "l" + "r" * (len(head) - 1))


def crossed_table(pairs: Sequence[InteractionContrast]) -> str:
    """One row per manipulation: change on the first set minus the second, Welch's interval and test; p is Holm-adjusted."""
    rows = []
    sets = [literal(c.dataset) for x in pairs[:1] for c in (x.first, x.second)]
    for x, p_holm in zip(pairs, holm([x.test.p for x in pairs]), strict=True):
        d = x.test.difference
        verdict = direction(d, p_holm)
        costs = {"a loss": f"costs {sets[0]} more", "a gain": f"costs {sets[1]} more"}.get(verdict, verdict)
        both = [points(c.interval.point) for c in (x.first, x.second)]
        tests = [p_short(x.test.p), p_short(p_holm), minus(x.effect)]
        rows.append([x.after, *both, points(d.point), span(d, points), costs, *tests])
    head = ["condition", *(f"{name}, points" for name in sets), "difference", "95% interval", "verdict", "p", "p, Holm", "effect"]
    return table(head, rows, "lrrrllrrr")


def by_severity(crossings: Mapping[int, Sequence[InteractionContrast]]) -> str:
    """One row per manipulation, one column per severity: change on people minus change on scenes, in points, with any interval."""
    rows = []
    for number, x in enumerate(next(iter(crossings.values()))):
        differences = [pairs[number].test.difference for pairs in crossings.values()]
        rows.append([x.after, *(points(d.point) + f" ({span(d, points)})" * d.bounded for d in differences)])
    return table(["edit", *(f"severity {s}" for s in crossings)], rows, "l" + "r" * len(crossings))


def on_all_encoders(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table of severities that all encoders of their data set have."""
    encoders = frame.groupby("dataset")["encoder"].transform("nunique")
    return frame[frame.groupby(["dataset", "manip", "severity"])["encoder"].transform("nunique") == encoders]


def scores_table(frame: pd.DataFrame) -> str:
    """Show `scores` over the rows that all encoders of a data set have, with a column for each data set and encoder."""
    columns = scores(on_all_encoders(frame)).to_dict("records")
    manips = dict.fromkeys(str(name).removeprefix("CE ") for row in columns for name in row if str(name).startswith("CE "))
    rows = [[name, *(f"{row[name]:.{digits}f}" for row in columns)] for name, digits in SCORES.items()]
    rows += [[f"CE {m}", *("–" if math.isnan(row[f"CE {m}"]) else minus(row[f"CE {m}"]) for row in columns)] for m in manips]
    head = ["", *(f"{_plain(row['dataset'])}, {_plain(row['encoder'])}" for row in columns)]
    return table(head, rows, "l" + "r" * len(columns))


def sources_table(sources: dict[str, Any]) -> str:
    """Show the provenance of a table's numbers, with a row for each data set and encoder."""
    rows = []
    for name, about in sources.items():
        kept = about["settings"]
        drawn = f"{kept['per_category']} a category, drawn (seed {kept['seed']})" if kept["per_category"] else "all"
        photographs = f"{about['images']} of {about['categories']} categories, {drawn}"
        code = ", ".join(about["encoder"]["identity"].split("|")[:1])
        versions = ", ".join(
            f"{p} {about['versions'][p]}" for p in ("clipnb", "torch", "numpy", "pillow") if p in about["versions"]
        )
        unusual = [kept[name] for name, usual in (("precision", "fp32"), ("engine", "torch")) if kept.get(name, usual) != usual]
        settings = ", ".join([f"k {kept['k']}, tau {kept['tau']:g}", *unusual])
        marks = f"photographs `{about['data_fingerprint'][:12]}`, code `{about['code_sha256'][:12]}`"
        rows.append([_plain(name), photographs, settings, marks, f"{code}; {versions}; {about['created'][:10]}"])
    return table(["set and encoder", "photographs", "settings", "fingerprints", "made with"], rows, "lllll")


def breaking_table(sets: Sequence[Sequence[Tolerance]], names: Sequence[str]) -> str:
    """One row per manipulation, one column per data set: the breaking point with its interval, the lowest severity first."""
    points = [{t.manip: t for t in found} for found in sets]
    rows = [
        [MANIPULATIONS[m].label, *(in_words(found[m]) if m in found else "not measured" for found in points)]
        for m in in_order(sets)
    ]
    return table(["edit", *names], rows, "l" * (1 + len(names)))


def decision_table(sets: Sequence[Sequence[Tolerance]], names: Sequence[str]) -> str:
    """One row per edit: the share found first at severities 1, 3 and 5 on each data set, the largest mean share first."""
    shares: dict[str, dict[int, list[float]]] = {}
    for at, found in enumerate(sets):
        for t in found:
            levels = MANIPULATIONS[t.manip].parameter.levels
            shares.setdefault(t.manip, {})[at] = [t.at(levels[severity - 1]) for severity in (1, 3, 5)]
    rows = []
    for manip in sorted(shares, key=lambda manip: -float(np.mean([*shares[manip].values()]))):
        kind = MANIPULATIONS[manip].parameter
        settings = [kind.levels[severity - 1] for severity in (1, 3, 5)]
        cells = [" / ".join(f"{v:.0%}" for v in shares[manip].get(at, [])) or "not measured" for at in range(len(sets))]
        numbers = ", ".join(map(kind.text, settings))
        rows.append([MANIPULATIONS[manip].label, kind.around(numbers), *cells])
    return table(["edit", "mild, medium, strong setting", *(f"found, {name}" for name in names)], rows, "ll" + "r" * len(names))


def threshold_table(calibration: Calibration) -> str:
    """Show `threshold_frame` as a Markdown table: a row for each threshold."""
    head = ["accepts", "threshold", "95% interval", "cosine", "same kind accepted", "different kinds accepted"]
    head.append(f"precision of {calibration.results.k} results")
    if calibration.check:
        head += ["same, held out", "different, held out"]
    intervals = calibration.values | {"tau_results": calibration.results.tau}
    rows = []
    for r in threshold_frame(calibration).to_dict("records"):
        if math.isnan(r["tau"]):
            rows.append([r["accepts"], "no threshold is that precise"] + [""] * (len(head) - 2))
            continue
        interval = span(intervals[r["threshold"]]) if r["threshold"] in intervals else ""
        cells = [r["accepts"], f"{r['tau']:.3f}", interval, f"{r['cosine']:.3f}", percent(r["recall"]), percent(r["fpr"])]
        cells.append("" if math.isnan(r["precision_of_results"]) else percent(r["precision_of_results"]))
        if calibration.check:
            cells += [percent(r["recall_held_out"]), percent(r["fpr_held_out"])]
        rows.append(cells)
    return table(head, rows, "l" + "r" * (len(head) - 1))


def encoders_table(frame: pd.DataFrame, dataset: str, encoders: Sequence[str]) -> str:
    """One row per encoder, the best P@1 on clean photographs first: clean measures and any mean corruption error."""
    own = frame[frame["dataset"] == dataset]
    clean = {e: own[(own["encoder"] == e) & (own["manip"] == CLEAN)].iloc[0] for e in _best_first(own, encoders)}
    best, *others = clean
    both = on_all_encoders(own)
    edits = both.loc[both["severity"] > 0, "manip"].nunique()

    def measure(e: str, name: str) -> str:
        return f"{clean[e][name]:.1%} ({clean[e][f'{name}_low']:.1%} to {clean[e][f'{name}_high']:.1%})"

    def change(e: str) -> str:
        d = change_interval(np.array(clean[e]["p1_points"]) - np.array(clean[best]["p1_points"]))
        return f"{points(d.point)} ({span(d, points)})"

    head = ["encoder", "P@1", "points from the best", "mAP"]
    rows = [[e, measure(e, "p1"), change(e) if e in others else "", measure(e, "map")] for e in clean]
    if edits:
        errors = scores(both).set_index("encoder")["mCE"]
        head.append(f"mCE of mAP against {BASELINE}, {edits} edits")
        rows = [[*row, f"{errors[row[0]]:.2f}"] for row in rows]
    return table(head, rows, "llllr"[: len(head)])


def broken_table(frame: pd.DataFrame, dataset: str, encoders: Sequence[str]) -> str:
    """One row per edit, one column per encoder, the best P@1 on clean photographs first: where half of the originals are lost."""
    order = _best_first(frame[frame["dataset"] == dataset], encoders)
    broken = {e: {t.manip: t for t in from_table(frame, dataset, e, "found")} for e in order}
    shared = [m for m in broken[order[0]] if all(m in found for found in broken.values())]
    rows = [[MANIPULATIONS[m].label, *(in_words(broken[e][m]) for e in order)] for m in shared]
    return table(["edit", *order], rows, "l" * (1 + len(order)))


def _best_first(own: pd.DataFrame, encoders: Sequence[str]) -> list[str]:
    clean = own[own["manip"] == CLEAN].set_index("encoder")["p1"]
    return sorted(encoders, key=lambda e: -clean[e])


def clean_table(results: Sequence[Result]) -> str:
    """One row per run on unedited photographs, by data set, the best P@1 first."""
    clean = [r for r in results if r.spec.manip == CLEAN]
    rows = []
    for r in sorted(clean, key=lambda r: (r.spec.dataset_name, -r.mean("p1"), r.spec.run_id)):
        means = (r.macro("p1"), r.macro("map"))
        cells = [r.spec.dataset_name, r.spec.encoder, *(f"{percent(m.point)} ({span(m, percent)})" for m in means)]
        rows.append([*cells, str(r.provenance["encoder"]["dim"])])
    return table(["data set", "encoder", "P@1", "mAP", "length of the embedding"], rows, "llllr")


def hub_table(frame: pd.DataFrame, encoder: str) -> str:
    """One row per data set: the largest share of first results of one category, clean and at the setting where it is largest."""
    rows = []
    for dataset, own in frame[frame["encoder"] == encoder].groupby("dataset", sort=False):
        clean, worst = own[own["manip"] == CLEAN].iloc[0], own.sort_values("hub").iloc[-1]
        even = max(clean["sizes"]) / sum(clean["sizes"])
        where = f"{MANIPULATIONS[worst['manip']].label}, severity {worst['severity']}"
        rows.append([SETS[str(dataset)], f"{even:.1%}", f"{clean['hub']:.1%}", f"{worst['hub']:.1%} ({where})"])
    head = ["photographs of", "largest category, of all photographs", "of first results, unedited", "of first results, edited"]
    return table(head, rows, "lrrr")


def fixed_table(frame: pd.DataFrame) -> str:
    """Show the study's fixed settings: strength at the encoder's input and performance."""
    rows = []
    fixed = frame[(frame["value"] == 0) & (frame["manip"] != CLEAN)]
    for row in fixed.to_dict("records"):
        clean = clean_value(frame, str(row["dataset"]), str(row["encoder"]), "valid")
        strength, valid = f"{row['strength']:.3g} ({row['unit']})", f"{row['valid']:.3f} ({clean:.3f})"
        whose = f"{_plain(str(row['dataset']))}, {_plain(str(row['encoder']))}"
        rows.append([whose, str(row["manip"]), strength, share(row["untouched"]), valid, f"{row['map']:.3f}"])
    head = ["set and encoder", "condition", "strength at the input", "untouched", "valid@k (clean)", "mAP"]
    return table(head, rows, "lllrrr")


def _plain(name: str) -> str:
    return name.replace("-", "\u2011")


def kept_table(name: str, align: str) -> str:
    """A CSV file of the book's data as a Markdown table; `align` has a letter, l or r, for each column."""
    with (Path(__file__).parent / "data" / name).open(encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    return table(head, rows, align)
