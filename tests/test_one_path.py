"""One quantity is computed on one path: the same change has the same interval wherever it is printed."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
from bs4 import BeautifulSoup

from built_book import ROOT
from clipnb.analysis.compare import WITHIN_ENCODER
from clipnb.analysis.scores import of_log, of_result, paired_changes
from clipnb.report.format import points, span
from clipnb.report.tables import all_tables
from clipnb.result import Result, load_results
from clipnb.spec import RunSpec
from clipnb.stats.intervals import FEWEST, Interval
from clipnb.study_log import dumps, loads

Printed = dict[tuple[str, ...], set[str]]

SETS = {"scenes": "miniplaces", "people": "athletes"}


def plain(text: str) -> str:
    return " ".join(text.replace("\u00a0", " ").replace("\u2011", "-").split())


def rows(page: Path) -> list[list[dict[str, str]]]:
    """The tables of a page, each row as column -> cell; of two columns of one name the later one."""
    found = []
    for table in BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").find_all("table"):
        head, *body = [[plain(cell.get_text(" ")) for cell in row.find_all(["th", "td"])] for row in table.find_all("tr")]
        found.append([dict(zip(head, cells, strict=False)) for cells in body])
    return found


def in_sentences(text: str) -> Printed:
    """Breaking points of the sentences of the first page: (data set, edit) -> their intervals."""
    printed: Printed = defaultdict(set)
    for name, told in re.findall(r"(Blurred|Cropped|Grey)\W*:(.*?)(?=Blurred|Cropped|Grey|Same kind|$)", plain(text)):
        for low, high, kind in re.findall(r"\((\S+) to ([^\s)]+)\) for (scenes|people)", told):
            printed["breaks", SETS[kind], name.lower()].add(f"{low} to {high}")
    return printed


def test_the_same_contrast_has_the_same_interval_wherever_it_is_printed(project: Path) -> None:
    html = project / "_build" / "html"
    printed: Printed = defaultdict(set)
    places: dict[tuple[str, ...], int] = defaultdict(int)

    def add(key: tuple[str, ...], interval: str) -> None:
        printed[key].add(interval)
        places[key] += 1

    changes = [row for table in rows(html / "claims.html") for row in table if {"data set", "change, points"} <= row.keys()]
    first = next(
        table for table in rows(html / "findings.html") if table and "change, points" in table[0]
    )  # of the offline encoder
    for row in changes + [row for row in first if row["change, points"]]:
        add((row["data set"], row["condition"]), row["95% interval"])
    index = BeautifulSoup((html / "index.html").read_text(encoding="utf-8"), "html.parser").get_text(" ")
    for text in ((ROOT / "README.md").read_text(encoding="utf-8"), index):
        for key, intervals in in_sentences(text).items():
            for interval in intervals:
                add(key, interval)
    for row in rows(html / "how-far.html")[0]:
        for kind, name in SETS.items():
            for low, high in re.findall(r"\((\S+) to (\S+)\)", row.get(kind, "")):
                add(("breaks", name, row["edit"]), f"{low} to {high}")
    crossings = [row for page in ("claims.html", "findings.html") for table in rows(html / page)[:4] for row in table]
    for row in crossings:
        if "difference" in row:
            both = [value for name, value in row.items() if name.endswith(", points") and name != "change, points"]
            add(("interaction", row["condition"], *both), row["95% interval"])
    exported = all_tables(load_results(project / "results"))["contrasts"]
    both_print = exported["measure"].isin(WITHIN_ENCODER)
    for row in exported[(exported["encoder"] == "efficientnet-lite2") & both_print].itertuples():
        page = html / "datasets" / f"{row.dataset}-efficientnet-lite2.html"
        told = [r for table in rows(page) for r in table if r.get("condition") == row.after and "change, points" in r]
        assert len(told) == len(WITHIN_ENCODER)
        key = (row.dataset, row.after, row.measure)
        add(key, told[WITHIN_ENCODER.index(row.measure)]["95% interval"])
        constant = row.low != row.low and row.categories >= FEWEST
        found = Interval(row.change, row.low, row.high, row.interval, row.categories, constant=constant)
        add(key, plain(span(found, points)))
    assert {key: intervals for key, intervals in printed.items() if len(intervals) > 1} == {}
    for key, least in {("miniplaces", "blurred"): 2, ("athletes", "grey"): 2, ("breaks", "miniplaces", "blurred"): 3}.items():
        assert places[key] >= least, f"{key} is printed in {places[key]} places"
    assert sum(count > 1 for count in places.values()) >= 10


def study_run(scores: dict[str, list[float]]) -> Result:
    values = [(c, f"{i}.jpg", 0, False, v) for c, of_category in scores.items() for i, v in enumerate(of_category)]
    rows = pd.DataFrame(values, columns=["category", "image", "draw", "noop", "valid"])
    about = {"data_fingerprint": "f", "encoder": {"identity": "e"}}
    return Result(RunSpec("photos", "grey", "histogram", mode="study"), about, rows)


def test_an_empty_category_counts_the_same_in_a_run_in_its_log_and_in_the_analysis() -> None:
    scores = {"cats": [0.5, 0.5], "dogs": [0.5], "owls": [np.nan]}
    run = study_run(scores)
    assert run.valid.point == 1 / 3
    assert np.mean(of_result(run).means) == 1 / 3
    log = of_log(loads(dumps("grey", run.scores, run.absent("valid"))), "photos")
    assert np.mean(log.means) == 1 / 3
    assert paired_changes(of_result(run), of_result(study_run({**scores, "owls": [1.0]})))["owls"] == [1.0]
    corrected = of_log(loads(dumps("grey", run.scores, "skip")), "photos")
    assert np.mean(corrected.means) == 0.5
