"""Golden values: what the original study prints, and what its printed lists say."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from clipnb_book.published.original import figures_against_scenes, list_facts, printed_log, printed_means

MEANS = {
    "NBA": {"original": 0.9615, "blurred": 0.7543, "cropped": 0.5936, "grey": 0.8631},
    "MiniPlaces": {"original": 0.9786, "blurred": 0.2835, "cropped": 0.7301, "grey": 0.2836},
}


def test_the_printed_table() -> None:
    assert printed_means() == MEANS


def test_the_lists() -> None:
    nba, scenes = printed_log("NBA"), printed_log("MiniPlaces")
    assert (nba.manip, len(nba.total), scenes.manip, len(scenes.total)) == ("original", 51, "cropped", 28)
    assert_allclose(np.mean(nba.total), 0.9615034774998419, rtol=0, atol=1e-15)
    assert "Adams, Steven" in nba.scores  # whose name holds a comma


@pytest.mark.parametrize("dataset", ["NBA", "MiniPlaces"])
def test_each_list_reproduces_its_cell_of_the_table_and_holds_accuracies(dataset: str) -> None:
    log = printed_log(dataset)  # type: ignore[arg-type]
    assert round(float(np.mean(log.total)), 4) == printed_means()[dataset][log.manip]
    assert 0 < len(log.scores) < len(log.total)  # the study prints a few categories of each list
    assert all(0 <= v <= 1 for values in [*log.scores.values(), log.total] for v in values)


SPREADS = {
    "NBA": (0.0257034, [0.9441498, 0.9642512, 0.9828706], [0.8854772, 1.0]),
    "MiniPlaces": (0.1596955, [0.6957631, 0.7479907, 0.8203827], [0.15, 0.9306444]),
}


@pytest.mark.parametrize("dataset", ["NBA", "MiniPlaces"])
def test_the_spread_of_each_list(dataset: str) -> None:
    facts, (sd, quartiles, ends) = list_facts(printed_log(dataset).total), SPREADS[dataset]  # type: ignore[arg-type]
    assert_allclose([facts.sd, *facts.quartiles, facts.minimum, facts.maximum], [sd, *quartiles, *ends], atol=5e-8)


@pytest.mark.parametrize(("dataset", "low", "high"), [("NBA", 0.8945, 0.969), ("MiniPlaces", 0.619, 0.791)])
def test_the_interval_of_each_list(dataset: str, low: float, high: float) -> None:
    found = list_facts(printed_log(dataset).total).mean  # type: ignore[arg-type]
    assert_allclose([found.low, found.high], [low, high], atol=2e-3)


def test_the_nba_list_may_be_normal_and_the_miniplaces_list_is_not() -> None:
    assert round(list_facts(printed_log("NBA").total).shapiro_p, 3) == 0.092
    facts = list_facts(printed_log("MiniPlaces").total)
    assert (round(facts.shapiro_p, 5), round(facts.skew, 2)) == (0.00076, -1.83)


def test_the_difference_that_the_study_calls_not_significant() -> None:
    t, p = figures_against_scenes()
    assert round(t, 2) == -4.75
    assert f"{p:.0e}" == "2e-05"
