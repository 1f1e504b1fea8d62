"""Warnings about a run: a manipulation without effect, two identical conditions, lost results.

Two photographs are the same for a network if and only if its inputs are equal, pixel for pixel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ._core.random import rng_for
from ._core.text import literal
from .datasets.listing import HIDDEN
from .manipulations import CLEAN

if TYPE_CHECKING:
    from .result import Result

NOTICED = 0.25  # share of unchanged photographs, or of equal inputs, from which a warning is given
ALIKE = 0.95  # share of equal scores from which two lists of scores may be the same list
FLOOR = 0.5  # share of clean queries without a valid result from which the threshold does not fit the encoder
RECALL = 0.95  # recall of an approximate index below which a warning is given
CROWD = 0.1  # largest share of the gallery that a query may lose as copies without a warning


class Agreement(NamedTuple):
    """Agreement of two lists of scores of the same images."""

    equal: float  # share of images with exactly the same score in both lists
    by_chance: float  # mean of this share over B random matchings of the images within each category
    p: float  # (b + 1) / (B + 1), where b matchings agree at least as much as the lists do

    @property
    def suspicious(self) -> bool:
        """Whether the two lists may be the same list."""
        return self.equal >= ALIKE and self.p < 0.01


def score_agreement(a: Mapping[str, Sequence[float]], b: Mapping[str, Sequence[float]]) -> Agreement:
    """Test by permutation whether two conditions' scores agree beyond chance.

    `a` and `b` are category -> one score per image, with the same images in the same order; otherwise a `ValueError`.
    """
    if {c: len(v) for c, v in a.items()} != {c: len(v) for c, v in b.items()} or not sum(map(len, a.values())):
        raise ValueError("the two do not score the same images")
    left, right = (np.concatenate([np.asarray(scores[c], dtype=float) for c in a]) for scores in (a, b))
    group = np.repeat(np.arange(len(a)), [len(v) for v in a.values()])
    rng = rng_for(0, "score agreement")
    equal = float(np.mean(left == right))
    resamples = 999 if equal >= ALIKE else 19  # enough to estimate `by_chance`; p does not matter here
    shuffles = (np.lexsort((rng.random(len(group)), group)) for _ in range(resamples))  # within each category
    chance = np.array([np.mean(left == right[order]) for order in shuffles])
    return Agreement(equal, float(chance.mean()), float((np.sum(chance >= equal) + 1) / (resamples + 1)))


def duplicate_conditions(results: Sequence[Result]) -> list[str]:
    """Warnings about runs that differ only in the condition, but have equal inputs or equal scores."""
    said = []
    for a, b in combinations([r for r in results if r.spec.manip != CLEAN], 2):
        if a.spec.group_id != b.spec.group_id or a.spec.condition_id == b.spec.condition_id:
            continue
        both = f"`{a.spec.group_id}`: {a.label} and {b.label}"
        if {"input", "draw"} <= set(a.rows) & set(b.rows):
            inputs = [r.rows[r.rows["draw"] == 0].set_index(["category", "image"])["input"] for r in (a, b)]
            left, right = inputs[0].align(inputs[1], join="inner")  # of the queries that both have, in the first draw
            if len(left) and (share := float((left == right).mean())) >= NOTICED:
                what = f"are the same for the encoder on {share:.0%} of the photographs"
                said.append(f"{both} {what}: they are one condition, not two")
        elif (a.spec.draws, len(a.rows)) == (b.spec.draws, len(b.rows)) and a.scores.keys() == b.scores.keys():
            agreement = score_agreement(a.scores, b.scores)
            if agreement.suspicious:
                said.append(
                    f"{both} score exactly the same on {agreement.equal:.0%} of the photographs, where chance gives "
                    f"{agreement.by_chance:.0%}: one condition may have been run twice"
                )
    return said


def floor_warning(scores: Mapping[str, Sequence[float]]) -> str:
    """A warning that the threshold does not fit the encoder if half of the clean queries have no valid result; else ""."""
    values = [value for part in scores.values() for value in part if not math.isnan(value)]
    if not values or (share := values.count(0) / len(values)) < FLOOR:
        return ""
    return (
        f"{share:.0%} of the clean queries have no valid result, so that valid@k can hardly fall: the threshold does not fit "
        "this encoder (`clipnb threshold` finds one that does); read found and P@1 instead"
    )


def _copies_warning(result: Result) -> str:
    """A warning that queries lose much of the gallery, or of the answers of a service, as copies; else ""."""
    if "n_copies" not in result.rows:
        return ""
    gallery = result.provenance["gallery"]
    answered = gallery.get("options", {}).get("num_images")
    share = result.rows["n_copies"] / (answered or max(1, int(gallery.get("images", result.provenance["images"])) - 1))
    if not (many := int((share > CROWD).sum())):
        return ""
    return (
        f"{many} of {len(share)} queries lose more than {CROWD:.0%} of the {'results' if answered else 'gallery'} as copies "
        f"(at most {share.max():.0%}): `clipnb card --files` names such pairs, and -p duplicates -1 leaves out equal files alone"
    )


def warnings(result: Result) -> list[str]:
    """Warnings about the numbers of a run. They depend on this run alone."""
    said = []
    if result.spec.manip != CLEAN and result.noop_share >= NOTICED:
        said.append(
            f"{result.label} leaves {result.noop_share:.0%} of the photographs pixel-identical at the encoder's input: "
            "for these it is no manipulation"
        )
    if result.spec.manip == CLEAN and (floor := floor_warning(result.scores)):
        said.append(floor)
    total = result.rows.reindex(columns=["n_asked", "n_returned", "n_dead", "n_unreadable"]).sum()  # 0 in an old run
    lost = {"never returned": total["n_asked"] - total["n_returned"], "dead": total["n_dead"], "unreadable": total["n_unreadable"]}
    if losses := ", ".join(f"{count} {what}" for what, count in lost.items() if count):
        asked = f"of {total['n_asked']} results asked for, {losses}"
        said.append(f"{asked}: its page in the book shows how far the number depends on them")
    if result.flat:
        said.append(
            f"{literal(result.spec.dataset)} has no category folders: whether the original is found is measured, with intervals "
            "over photographs; whether its kind is found is not (P@1, mAP, thresholds by kind): that needs a folder for each kind"
        )
    elif "map" in result.rows and (alone := int(result.rows["map"].isna().sum())):
        said.append(
            f"{alone} of {len(result.rows)} queries have no other photograph of their category in the gallery: "
            "measures by category leave them out"
        )
    if copies := _copies_warning(result):
        said.append(copies)
    recall = result.provenance.get("gallery", {}).get("recall")
    if recall and recall["recall"] < RECALL:
        said.append(
            f"the approximate index finds only {recall['recall']:.0%} of the {recall['k']} nearest images "
            f"({recall['queries']} queries): -p index exact finds all"
        )
    if unreadable := result.provenance["unreadable"]:
        some = "; ".join(literal(why) for why in list(unreadable.values())[:3])
        more = "; all of them are named in run.json" if len(unreadable) > 3 else ""
        were = "1 unreadable image was" if len(unreadable) == 1 else f"{len(unreadable)} unreadable images were"
        said.append(f"{were} left out, as queries and as results: {some}{more}")
    if empty := result.provenance["empty_categories"]:
        hold = "1 folder holds" if len(empty) == 1 else f"{len(empty)} folders hold"
        said.append(f"{hold} no readable image: {', '.join(literal(name) for name in empty[:5])}")
    if missing := result.provenance.get("categories_missing"):
        are = "1 category is" if missing == 1 else f"{missing} categories are"
        said.append(f"{are} still to be run: the number is that of the batches so far")
    if kinds := ", ".join(f"{n} {literal(kind)}" for kind, n in result.provenance["other_files"].items() if kind != HIDDEN):
        said.append(f"these files are not used: {kinds} (`clipnb card --files` names them)")
    if len(result.category_means) < 2:
        said.append("one category alone gives no interval: add another folder of photographs")
    return said
