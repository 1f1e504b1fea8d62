"""The breaking point of each manipulation on a data set, from runs at severities and, between them, at strengths."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..comparable import comparable, why_incomparable
from ..encoders import TextEncoder, load_encoder
from ..errors import UserError
from ..manipulations import CLEAN, EVERYDAY, MANIPULATIONS, SEVERITIES, STUDY
from ..metrics.measures import MEASURES
from ..possible import drawn_for
from ..result import Result, load_results
from ..runs import saved_or_new
from ..spec import RunSpec
from ..stats.breaking_point import BreakingPoint, breaking_point

ANSWERS = ("found", "p1", "map", "zero_shot")
"""Measures that can break: they have a level of chance and can be compared between encoders."""

FRACTION = 0.5  # share of a measure's excess over chance whose loss counts as broken
MOST = 8  # largest number of runs between or beyond the severities for one manipulation


@dataclass(frozen=True)
class Tolerance:
    """The breaking point of one manipulation on a data set."""

    dataset: str
    encoder: str
    manip: str
    measure: str
    fraction: float  # share of the measure's excess over chance that is lost at the breaking point
    point: BreakingPoint  # a value of the manipulation's parameter
    strengths: tuple[float, ...]  # (S,) measured values of the parameter, from the weakest to the strongest
    means: tuple[float, ...]  # (S,) macro means of the measure
    chance: float  # macro mean by chance
    categories: int  # number of categories

    def at(self, strength: float) -> float:
        """Macro mean at a measured strength."""
        return self.means[self.strengths.index(strength)]


def by_chance(sizes: ArrayLike, measure: str) -> NDArray[np.float64]:
    """Expected value of a measure in each category if the gallery, the queries' own data set, were ranked at random.

    The query's own image is left out of the gallery; its near-copies are not, so the level is approximate if there are many.
    `sizes` are the (G,) numbers of photographs of the categories. A `UserError` says that the measure has no such value.

    >>> by_chance([3, 2], "p1")
    array([0.5 , 0.25])
    """
    expected = MEASURES[measure].chance
    if expected is None:
        raise UserError(f"{measure!r} has no level of chance; choose from {', '.join(ANSWERS)}")
    counts = np.asarray(sizes)
    return np.asarray(expected(counts - 1, int(counts.sum()) - 1))


def tolerance(clean: Result, edited: Iterable[Result], measure: str = "found", fraction: float = FRACTION) -> Tolerance:
    """Compute the breaking point from the clean run and runs that differ only in the severity or strength of one manipulation.

    A category counts if every run has a value for it. A `UserError` says that there is no run, that no category has a value in all
    of them, or that the measure is not one of `ANSWERS`.
    """
    runs = sorted(edited, key=lambda r: MANIPULATIONS[r.spec.manip].parameter.rises * r.spec.condition.value)
    if not runs:
        raise UserError(f"there is no run of {clean.spec.dataset} under a manipulation at a severity or strength")
    sizes = clean.rows.groupby("category", sort=True)["image"].nunique()
    chance = pd.Series(by_chance(sizes, measure), sizes.index)
    means = pd.DataFrame([r.means(measure) for r in (clean, *runs)]).dropna(axis="columns")
    if means.empty:
        raise UserError(f"no category of {clean.spec.dataset} has a value of {measure!r} in all runs of {runs[0].spec.manip}")
    names = (clean.spec.dataset_name, clean.spec.encoder, runs[0].spec.manip, MEASURES.canonical(measure))
    strengths, expected = [r.spec.condition.value for r in runs], np.asarray(chance[means.columns], dtype=np.float64)
    return of_means(names, strengths, np.ascontiguousarray(means, dtype=np.float64), expected, fraction)


def of_means(
    names: tuple[str, str, str, str],
    strengths: Sequence[float],
    means: NDArray[np.float64],
    chance: NDArray[np.float64],
    fraction: float = FRACTION,
) -> Tolerance:
    """Compute the breaking point from category means; `names` are data set, encoder, manipulation and measure.

    `means` are (1 + S, G), the clean ones first, then those at the (S,) strengths, from the weakest on; `chance` is (G,).
    """
    point = breaking_point(means[0], means[1:], strengths, chance=chance, fraction=fraction)
    level = float(chance.mean())
    return Tolerance(*names, fraction, point, tuple(strengths), tuple(map(float, means[1:].mean(axis=1))), level, means.shape[1])


def require_measure(spec: RunSpec, measure: str) -> None:
    """Raise a `UserError` if the data set or the encoder of a run does not allow a measure of `ANSWERS`."""
    dataset = drawn_for(spec)
    if measure != "found" and dataset.flat:
        said = f"{spec.dataset_name} has no category folders, which {measure} needs: make a folder for each kind"
        raise UserError(f"{said}, or leave out --measure {measure}")
    if measure in ("p1", "map") and not spec.gallery and len(dataset.categories) == len(dataset.photos):
        said = f"no category of {spec.dataset_name} has two photographs, which {measure} needs"
        raise UserError(f"{said}: add photographs, or leave out --measure {measure}")
    if measure == "zero_shot" and not isinstance(load_encoder(spec.encoder, spec.precision, spec.engine, spec.device), TextEncoder):
        raise UserError(f"the encoder {spec.encoder} embeds no text, which {measure} needs: name one that does (ViT-L/14)")


def graded(manips: Sequence[str] = ()) -> list[str]:
    """The registered names of these manipulations; without any, those of the study and the everyday edits with severities."""
    if at := [name for name in manips if "/" in name or "=" in name]:
        raise UserError(f"{', '.join(at)}: name the manipulation alone; all its severities are tried")
    names = list(dict.fromkeys(map(MANIPULATIONS.canonical, manips))) or [
        m for m in (*STUDY, *EVERYDAY) if MANIPULATIONS[m].parameter.levels
    ]
    if without := [name for name in names if not MANIPULATIONS[name].parameter.levels]:
        raise UserError(f"{', '.join(without)}: no severities, and so no breaking point")
    return names


def measured(
    clean: RunSpec,
    manip: str,
    measure: str = "found",
    fraction: float = FRACTION,
    width: float = math.inf,
    *,
    make: Callable[[RunSpec], Result] = saved_or_new,
) -> Tolerance:
    """Compute the breaking point of one manipulation from runs at all severities, then halve its bracket in at most `MOST` runs.

    Args:
        width: width of the bracket, as a share of its smaller end, at which to stop; infinite for severities alone.
        make: returns the result of a specification; by default, the saved result, or that of a new run.
    """
    first = make(clean.clean)
    runs = [make(clean.under(manip, severity)) for severity in SEVERITIES]
    if others := [r for r in runs if not comparable(r, first)]:
        more = f" ({len(others)} of {len(runs)} runs differ from the clean one)" * (len(others) > 1)
        raise UserError(why_incomparable(others[0], first) + more)
    found = tolerance(first, runs, measure, fraction)
    while len(runs) < len(SEVERITIES) + MOST and (middle := next_strength(found, width)) is not None:
        runs.append(make(clean.under(manip, strength=middle)))
        found = tolerance(first, runs, measure, fraction)
    return found


def next_strength(found: Tolerance, width: float) -> float | None:
    """The middle of the bracket of the breaking point; None if the bracket is as narrow as `width`, or cannot be halved.

    If no measured strength breaks the measure, or the weakest one does, the bracket ends at the limit of the manipulation.
    """
    kind, (weak, strong) = MANIPULATIONS[found.manip].parameter, found.point.bracket
    if not kind.limits or math.isnan(found.point.strength):
        return None
    weakest, strongest = kind.limits[:: kind.rises]
    weak, strong = weakest if math.isnan(weak) else weak, strongest if math.isnan(strong) else strong
    if abs(strong - weak) <= width * min(abs(weak), abs(strong)):
        return None
    middle = (weak + strong) / 2
    middle = float(round(middle)) if kind.whole else float(f"{middle:.3g}")
    return None if middle in (weak, strong) else middle


def saved(clean: RunSpec, measure: str = "found") -> list[Tolerance]:
    """Compute the breaking points of a data set from its saved runs alone; empty without runs at severities or strengths."""
    group = [r for r in load_results() if r.spec.clean == clean.clean]
    first = [r for r in group if r.spec.manip == CLEAN]
    by_manip: dict[str, list[Result]] = {}
    for r in group:
        if first and comparable(r, first[0]) and (r.spec.severity or r.spec.strength) and measure in r.rows:
            by_manip.setdefault(r.spec.manip, []).append(r)
    return [tolerance(first[0], runs, measure) for runs in by_manip.values()]


def tolerance_frame(found: Sequence[Tolerance]) -> pd.DataFrame:
    """One row per manipulation, worst first: in the order in which they break in their range of severities.

    `strength`, `low` and `high` are values of the manipulation's parameter; -inf and inf stand for "before the weakest" and
    "beyond the strongest" measured one.
    """
    return pd.DataFrame(
        [
            {name: getattr(t, name) for name in ("dataset", "encoder", "manip", "measure", "fraction")}
            | {"parameter": MANIPULATIONS[t.manip].parameter.name}
            | {name: getattr(t.point, name) for name in ("strength", "low", "high", "clean", "target")}
            | {"chance": t.chance, "categories": t.categories, "strengths": list(t.strengths), "means": list(t.means)}
            for t in sorted(found, key=position)
        ]
    )


def position(found: Tolerance) -> float:
    """Place of the breaking point in the range of severities: 0 before the weakest, 1 to 5 between severities, 6 beyond.

    Beyond it, they are ordered by the share of the measure's excess over chance at the strongest severity.
    """
    point, kind = found.point.strength, MANIPULATIONS[found.manip].parameter
    if math.isnan(point):
        return math.inf
    if math.isinf(point):
        left = (found.means[-1] - found.chance) / max(found.point.clean - found.chance, 1e-9)
        return 0.0 if point < 0 else 6.0 + left
    return float(np.interp(kind.rises * point, kind.rises * np.array(kind.levels), SEVERITIES))
