"""Golden values: what the original study prints, and what its printed lists say."""

from __future__ import annotations

from typing import Literal

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


def test_the_first_list_is_read_without_loss() -> None:
    nba = printed_log("NBA")
    assert_allclose(np.mean(nba.total), 0.9615034774998419, rtol=0, atol=1e-15)
    assert "Adams, Steven" in nba.scores  # whose name holds a comma


LISTS = {  # condition, categories, standard deviation, quartiles, ends, interval of the mean
    "NBA": ("original", 51, 0.0257034, [0.9441498, 0.9642512, 0.9828706], [0.8854772, 1.0], [0.8945, 0.969]),
    "MiniPlaces": ("cropped", 28, 0.1596955, [0.6957631, 0.7479907, 0.8203827], [0.15, 0.9306444], [0.619, 0.791]),
}


@pytest.mark.parametrize("dataset", ["NBA", "MiniPlaces"])
def test_each_list_reproduces_its_cell_of_the_table_and_has_this_spread(dataset: Literal["NBA", "MiniPlaces"]) -> None:
    log, (manip, categories, sd, quartiles, ends, interval) = printed_log(dataset), LISTS[dataset]
    assert (log.manip, len(log.total)) == (manip, categories)
    assert 0 < len(log.scores) < categories  # the study prints a few categories of each list
    assert round(float(np.mean(log.total)), 4) == printed_means()[dataset][manip]
    facts = list_facts(log.total)
    assert_allclose([facts.sd, *facts.quartiles, facts.minimum, facts.maximum], [sd, *quartiles, *ends], atol=5e-8)
    assert_allclose([facts.mean.low, facts.mean.high], interval, atol=2e-3)


def test_the_nba_list_may_be_normal_and_the_miniplaces_list_is_not() -> None:
    assert round(list_facts(printed_log("NBA").total).shapiro_p, 3) == 0.092
    facts = list_facts(printed_log("MiniPlaces").total)
    assert (round(facts.shapiro_p, 5), round(facts.skew, 2)) == (0.00076, -1.83)


def test_the_difference_that_the_study_calls_not_significant() -> None:
    t, p = figures_against_scenes()
    assert round(t, 2) == -4.75
    assert f"{p:.0e}" == "2e-05"
