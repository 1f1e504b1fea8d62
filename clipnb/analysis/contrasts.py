"""Changes between two conditions, category by category: interval, tests, effect size, and the detectable change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ..errors import UserError
from ..manipulations import CLEAN
from ..stats.effect_sizes import Nesting, cliffs_delta, nesting, rank_biserial
from ..stats.hypothesis import Interaction, holm, interaction, wilcoxon
from ..stats.intervals import Interval, direction, ticks
from ..stats.sign_flips import change_interval, detectable_change, sign_flip
from .scores import Scores, paired_changes

AT_FLOOR = "cannot tell at this threshold"
"""The verdict if the threshold does not fit the encoder, so that scores can hardly fall."""


@dataclass(frozen=True)
class Contrast:
    """One condition against another on one data set."""

    dataset: str  #: the data set of both conditions
    before: str  #: the first condition
    after: str  #: the second condition
    changes: dict[str, float]  #: d_c, category -> mean change, after minus before
    paired_by: str  #: "image", or "category" if the scores name no images
    images: int  #: number of pairs of images with a score; if the scores name no images, of pairs that there can be
    interval: Interval  #: mean change with its interval over categories, which agrees with `p`
    p: float  #: p-value of the sign-flip permutation test, the primary test
    p_wilcoxon: float  #: p-value of the signed-rank test, a check
    effect: float  #: matched-pairs rank-biserial correlation
    detectable: float  #: smallest mean change that the primary test finds with power 0.8; NaN if none, or if all changes are equal
    nesting: Nesting  #: dependence of the changes of images in a category
    at_floor: bool = False  #: whether the scores before can hardly fall, although photographs did change
    untouched: bool = False  #: whether the manipulation after left all photographs pixel-identical
    uneven: Mapping[str, tuple[int, int]] = field(default_factory=dict)  #: images with a score before and after, where they differ

    def verdict(self, p: float) -> str:
        """The verdict for an adjusted p-value; `AT_FLOOR` if scores do not change at a threshold that does not fit the encoder."""
        said = direction(self.interval, p)
        return AT_FLOOR if self.at_floor and said in ("no change", "cannot tell") else said

    @property
    def values(self) -> list[float]:
        return list(self.changes.values())


def contrast(before: Scores, after: Scores) -> Contrast:
    """Compare two conditions of one data set; a `UserError` if no category has a score in both."""
    pairs = paired_changes(before, after)
    if not pairs:
        names = f"{before.source or before.condition} and in {after.source or after.condition}"
        raise UserError(f"no category has a score in {names}: choose another --measure, or other data")
    changes = {category: float(np.mean(values)) for category, values in pairs.items()}
    d = np.array(list(changes.values()))
    at_floor = bool(before.floor) and not after.untouched
    named = before.names is not None and after.names is not None
    scored = {c: min(before.sizes[c], after.sizes[c]) for c in pairs}
    sizes = {c: (before.sizes.get(c, 0), after.sizes.get(c, 0)) for c in {**before.sizes, **after.sizes}}
    return Contrast(
        dataset=before.dataset,
        before=before.condition,
        after=after.condition,
        changes=changes,
        paired_by="image" if named else "category",
        images=sum(min(len(pairs[c]), most) if named else most for c, most in scored.items()),
        interval=change_interval(d),
        p=sign_flip(d),
        p_wilcoxon=wilcoxon(d),
        effect=rank_biserial(d),
        detectable=float("nan") if at_floor or not np.ptp(ticks(d)) else detectable_change(float(d.std(ddof=1)), d.size),
        nesting=nesting(list(pairs.values())),
        at_floor=at_floor,
        untouched=after.untouched and after.condition != CLEAN,
        uneven={c: counts for c, counts in sizes.items() if counts[0] != counts[1]},
    )


def contrasts(scores: Sequence[Scores], clean: str = "original") -> list[Contrast]:
    """Every condition against the clean one of the same data set, in the order given."""
    first = {s.dataset: s for s in scores if s.condition == clean}
    return [contrast(first[s.dataset], s) for s in scores if s.condition != clean and s.dataset in first]


def contrasts_frame(family: Sequence[Contrast]) -> pd.DataFrame:
    """One row per contrast; `p_holm` is adjusted over all rows and decides the verdict; `changed` counts categories that change."""
    rows = []
    for c, p_holm in zip(family, holm([c.p for c in family]), strict=True):
        row: dict[str, object] = {"dataset": c.dataset, "before": c.before, "after": c.after, "categories": len(c.changes)}
        row |= {"changed": int(np.count_nonzero(ticks(c.values))), "images": c.images, **c.interval.cells("change")}
        row |= {"p": c.p, "p_holm": p_holm, "verdict": c.verdict(p_holm), "p_wilcoxon": c.p_wilcoxon}
        row |= {"rank_biserial": c.effect, "detectable": c.detectable}
        rows.append(row | {"icc": c.nesting.icc, "design_effect": c.nesting.design_effect})
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class InteractionContrast:
    """One manipulation on two data sets: an interaction."""

    first: Contrast  #: the contrast on the first data set
    second: Contrast  #: the contrast on the second data set
    test: Interaction  #: test of the first change minus the second
    effect: float  #: Cliff's delta between the two sets of changes

    @property
    def after(self) -> str:
        """The condition."""
        return self.first.after


def interaction_contrasts(first: Sequence[Contrast], second: Sequence[Contrast]) -> list[InteractionContrast]:
    """The interaction for each condition that both data sets have."""
    other = {(c.before, c.after): c for c in second}
    return [
        InteractionContrast(c, o, interaction(c.values, o.values), cliffs_delta(c.values, o.values))
        for c in first
        if (o := other.get((c.before, c.after)))
    ]


def interactions_frame(pairs: Sequence[InteractionContrast]) -> pd.DataFrame:
    """One row per interaction; `p_holm` is adjusted over all rows and decides the verdict."""
    rows = []
    for x, p_holm in zip(pairs, holm([x.test.p for x in pairs]), strict=True):
        verdict = AT_FLOOR if x.first.at_floor or x.second.at_floor else direction(x.test.difference, p_holm)
        row: dict[str, object] = {"condition": x.after, "first": x.first.dataset, "second": x.second.dataset}
        row["categories"] = f"{len(x.first.changes)} + {len(x.second.changes)}"
        row |= {"change_first": x.first.interval.point, "change_second": x.second.interval.point}
        row |= {**x.test.difference.cells("difference"), "p": x.test.p, "p_holm": p_holm, "verdict": verdict}
        rows.append(row | {"p_permutation": x.test.p_permutation, "cliffs_delta": x.effect})
    return pd.DataFrame(rows)
