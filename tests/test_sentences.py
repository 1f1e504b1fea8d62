"""Computed prose: the words say no more than the numbers allow."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from clipnb import Result, RunSpec, run
from clipnb.analysis.contrasts import InteractionContrast, contrasts, interaction_contrasts
from clipnb.analysis.scores import of_result
from clipnb.report.text import by_condition, changes_table, changes_text, decided
from clipnb.stats.hypothesis import holm
from clipnb.stats.intervals import Interval, direction
from clipnb_book.tables import crossed_table
from conftest import REPOSITORY, PhotoFolder

NAN = float("nan")


def conditions(root: Path) -> dict[str, Result]:
    return by_condition([run(RunSpec(str(root), manip, "tiny", 2), progress=False) for manip in ("original", "cropped")])


def interactions(figures: dict[str, Result], scenes: dict[str, Result]) -> list[InteractionContrast]:
    return interaction_contrasts(*(contrasts([of_result(r) for r in group.values()]) for group in (figures, scenes)))


def test_the_adjusted_p_value_decides_and_the_sentence_says_where_it_differs_from_the_interval() -> None:
    loss = Interval(-0.15, -0.2, -0.1, "sign flip", 7)
    assert [direction(loss), direction(Interval(0.15, 0.1, 0.2, "t", 5))] == ["a loss", "a gain"]
    assert direction(Interval(0.0, -0.1, 0.1, "t", 5)) == "cannot tell"  # which is not to say that there is none
    assert direction(Interval(0.1, NAN, NAN, "t", 5)) == "cannot tell"
    assert decided(direction(loss, 0.047), 0.016, 0.047) == "**a loss**"
    assert decided(direction(loss, 0.062), 0.031, 0.062) == "**cannot tell** (p\u00a0=\u00a00.031, after Holm's adjustment 0.062)"
    assert direction(Interval(-0.15, NAN, NAN, "sign flip", 5), 0.062) == "cannot tell"
    assert direction(Interval(0.0, NAN, NAN, "sign flip", 5, constant=True), 1.0) == "no change"
    assert direction(Interval(0.0, NAN, NAN, "sign flip", 5), 1.0) == "cannot tell"  # gains and losses that cancel
    assert direction(Interval(-0.3, NAN, NAN, "sign flip", 8, constant=True), 2 / 256) == "a loss"


def test_a_crop_that_does_nothing_changes_nothing(photo_folder: PhotoFolder) -> None:
    table = changes_table(conditions(photo_folder({"cats": 3, "dogs": 3}, "square", (32, 32))), "valid")
    assert "+0.0" in table
    assert "| no change |" in table


def test_the_tables_give_the_tests_beside_the_intervals(photo_folder: PhotoFolder) -> None:
    kinds = {f"kind{i}": 4 for i in range(7)}
    roots = [photo_folder(kinds, name, (96, 32)) for name in ("figures", "scenes")]
    manips = ("original", "cropped", "grey")
    figures, scenes = (by_condition([run(RunSpec(str(r), m, "tiny", 2), progress=False) for m in manips]) for r in roots)
    family = contrasts([of_result(r) for r in figures.values()])
    rows = changes_table(figures, "valid").splitlines()
    assert rows[0].endswith("| p | p, Holm | effect | detectable |")
    adjusted = holm([c.p for c in family])
    assert adjusted != [c.p for c in family]
    for row, c, p_holm in zip(rows[2:], family, adjusted, strict=True):
        assert f"| {c.p:.3f} | {p_holm:.3f} |" in row
    table = crossed_table(interactions(figures, scenes))
    assert table.startswith("| condition | `figures`, points | `scenes`, points |"), "a set goes by its own name"
    assert table.count("\n") == 3


def test_a_sentence_on_a_change_is_adjusted_over_all_sentences(photo_folder: PhotoFolder) -> None:
    """Six categories lose: p = 2 / 64, which Holm's adjustment doubles, because there is a second condition."""
    root = str(photo_folder({f"kind{i}": 4 for i in range(6)}))
    clean, same, worse = (run(RunSpec(root, manip, "tiny", 2), progress=False) for manip in ("original", "cropped", "grey"))
    falls = clean.rows["category"].str[-1].astype(float) / 100 + 0.1
    worse, same = replace(worse, rows=worse.rows.assign(p1=1 - falls)), replace(same, rows=same.rows.assign(p1=1.0))
    said = changes_text(by_condition([replace(clean, rows=clean.rows.assign(p1=1.0)), same, worse]))
    assert "**cannot tell** (p\u00a0=\u00a00.031, after Holm's adjustment 0.062)" in said


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("categories", [{"cats": 4}, {"cats": 3, "dogs": 3}])
def test_without_an_interval_no_data_set_is_said_to_lose_more(photo_folder: PhotoFolder, categories: dict[str, int]) -> None:
    figures = conditions(photo_folder(categories, "figures", (32, 32)))  # the crop does nothing to squares
    scenes = conditions(photo_folder({"abbey": 3, "alley": 3}, "scenes", (32, 32)))
    table = crossed_table(interactions(figures, scenes))
    assert "nan" not in changes_table(figures, "valid")
    assert "costs" not in table
    assert "no change" in table
    assert "nan" not in table


def test_only_the_study_calls_valid_at_k_accuracy() -> None:
    """Its chapters, the ledger of its claims, and what reads its logs may use its word; so may a sentence that names the study."""
    of_the_study = ("study.ipynb", "simulation.md", "claims.md", "study_log.py", "claims", "published", "generated")
    found = [
        f"{path.relative_to(REPOSITORY)}: {line.strip()[:80]}"
        for folder in ("clipnb", "book", "notebooks")
        for path in sorted((REPOSITORY / folder).rglob("*"))
        if path.suffix in (".py", ".md", ".ipynb") and not set(path.parts) & set(of_the_study) and "_build" not in path.parts
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search("accurac", line, re.IGNORECASE) and "study" not in line and '("accuracy", "valid_at_k", ' not in line
    ]
    assert not found
