"""The printed numbers of the original study (Dai & Hu 2022), and tests on them.

It printed the mean of eight conditions and, for two of them, the list of category means. Both lists ship in the
log format; the printed log shows only a few of the categories behind each list.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import scipy

from clipnb import study_log
from clipnb.stats.intervals import Interval, mean_interval
from clipnb.study_log import StudyLog

Printed = Literal["NBA", "MiniPlaces"]


def _text(name: str) -> str:
    return (Path(__file__).parent / "data" / name).read_text(encoding="utf-8")


def printed_means() -> dict[str, dict[str, float]]:
    """The table of the study: data set -> manipulation -> mean accuracy, to the four decimals it prints."""
    table: dict[str, dict[str, float]] = json.loads(_text("printed_means.json"))
    return table


def printed_log(dataset: Printed) -> StudyLog:
    """The log that the study prints for a data set: NBA original, MiniPlaces cropped."""
    name = study_log.file_name(dataset, {"NBA": "original", "MiniPlaces": "cropped"}[dataset])
    return study_log.loads(_text(name), name)


@dataclass(frozen=True)
class ListFacts:
    """A summary of a list of category means.

    Attributes:
        mean: with its interval over categories.
        sd: sample standard deviation.
        quartiles: first, second, third (linear interpolation).
        shapiro_p: Shapiro-Wilk test of normality.
        skew: sample skewness.
    """

    mean: Interval
    sd: float
    quartiles: tuple[float, float, float]
    minimum: float
    maximum: float
    shapiro_p: float
    skew: float


def list_facts(values: list[float]) -> ListFacts:
    """Summarise a list of at least three category means."""
    array = np.asarray(values)
    q1, q2, q3 = (float(q) for q in np.percentile(array, [25, 50, 75]))
    return ListFacts(
        mean=mean_interval(array, bounds=(0, 1)),
        sd=float(array.std(ddof=1)),
        quartiles=(q1, q2, q3),
        minimum=float(array.min()),
        maximum=float(array.max()),
        shapiro_p=float(scipy.stats.shapiro(array).pvalue),
        skew=float(scipy.stats.skew(array)),
    )


def figures_against_scenes() -> tuple[float, float]:
    """One-sample t test of the NBA list against the printed MiniPlaces mean of unmanipulated photographs: (t, p)."""
    found = scipy.stats.ttest_1samp(printed_log("NBA").total, printed_means()["MiniPlaces"]["original"])
    return float(found.statistic), float(found.pvalue)


def break_even_sd(scenes: int, alpha: float) -> float:
    """The largest spread of the scenes' unprinted list at which its difference from the players' stays significant.

    Args:
        scenes: categories of scenes.
        alpha: level of Welch's test of the two means.

    Returns:
        The standard deviation of the scenes' category means at which p equals alpha.
    """
    players = printed_log("NBA").total
    mean, sd = float(np.mean(players)), float(np.std(players, ddof=1))
    other = printed_means()["MiniPlaces"]["original"]

    def excess(spread: float) -> float:
        found = scipy.stats.ttest_ind_from_stats(mean, sd, len(players), other, spread, scenes, equal_var=False)
        return float(found.pvalue) - alpha

    return float(scipy.optimize.brentq(excess, 1e-6, 1.0))
