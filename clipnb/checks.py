"""Warnings about a run: a manipulation without effect, two identical conditions, lost results.

Two photographs are the same for a network if and only if its inputs are equal, pixel for pixel.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from ._core.text import first_of, literal, word
from .datasets.listing import DEEPER, HIDDEN
from .manipulations import CLEAN
from .metrics.ranking import RANKED_AS_A_WHOLE
from .result import Result
from .spec import NOTHING_LEFT_OUT

NOTICED = 0.25  # share of unchanged photographs, or of equal inputs, from which a warning is given
FLOOR = 0.5  # share of clean queries without a valid result from which the threshold does not fit the encoder
RECALL = 0.95  # recall of an approximate index below which a warning is given
CROWD = 0.1  # largest share of the gallery that a query may lose as copies without a warning

SUBFOLDERS = "some category folders have subfolders with images: the data set `nested:<folder>` uses them"


def duplicate_conditions(results: Sequence[Result]) -> list[str]:
    """Warnings about runs that differ only in the condition, but have equal inputs."""
    said = []
    for a, b in combinations([r for r in results if r.spec.manip != CLEAN], 2):
        if a.spec.group_id != b.spec.group_id or a.spec.condition_id == b.spec.condition_id:
            continue
        inputs = [r.rows[r.rows["draw"] == 0].set_index(["category", "image"])["input"] for r in (a, b)]
        left, right = inputs[0].align(inputs[1], join="inner")  # of the queries that both have, in the first draw
        if len(left) and (share := float((left == right).mean())) >= NOTICED:
            both = f"`{a.spec.group_id}`: {a.label} and {b.label}"
            said.append(f"{both} are the same for the encoder on {share:.0%} of the photographs: they are one condition, not two")
    return said


def floor_warning(scores: Mapping[str, Sequence[float]]) -> str:
    """A warning that the threshold does not fit the encoder if half of the clean queries have no valid result; else ""."""
    values = [value for part in scores.values() for value in part if not math.isnan(value)]
    if not values or (share := values.count(0) / len(values)) < FLOOR:
        return ""
    kinds = len(scores) > 1 and any(len(part) > 1 for part in scores.values())
    better = " (`clipnb threshold <data set>` finds one that does); read found and P@1" if kinds else "; read found"
    hardly = f"{share:.0%} of the clean queries have no valid result, so that valid@k can hardly fall"
    return f"{hardly}: the threshold does not fit this encoder{better} instead"


def partial_warning(result: Result) -> str:
    """A warning that a merged run lacks categories; else ""."""
    if not (missing := result.provenance.get("categories_missing")):
        return ""
    are = "1 category is" if missing == 1 else f"{missing} categories are"
    return f"{are} still to be run: the number covers the merged batches only"


def _copies_warning(result: Result) -> str:
    """A warning that queries lose much of the gallery, or of the answers of a service, as copies; else ""."""
    if "n_copies" not in result.rows:
        return ""
    gallery = result.provenance["gallery"]
    answered = gallery.get("options", {}).get("num_images")
    share = result.rows["n_copies"] / (answered or max(1, gallery["images"] - 1))
    if not (many := int((share > CROWD).sum())):
        return ""
    fewer = ", and -p duplicates -1 leaves out equal files alone" if result.spec.duplicates >= 0 else ""
    return (
        f"{many} of {len(share)} queries lose more than {CROWD:.0%} of the {'results' if answered else 'gallery'} as copies "
        f"(at most {share.max():.0%}): {_names(result)} such pairs{fewer}"
    )


def _names(result: Result) -> str:
    return f"{literal(f'clipnb card --files {word(result.spec.dataset)}')} names"


def not_used(dataset: str, other_files: Mapping[str, int]) -> str:
    """The numbers of files of a data set that are not used, and the command that names them; "" if there are none."""
    counted = ", ".join(f"{n} {reason}" for reason, n in other_files.items() if reason != HIDDEN)
    return f"not used: {counted} (`clipnb card --files {word(dataset)}` names them)" if counted else ""


def left_out(results: Iterable[Result]) -> list[str]:
    """A line for each data set with photographs that runs could not read, and one for each with files that are not used."""
    said = []
    for r in results:
        reasons = (r.left_out, not_used(r.spec.dataset, r.provenance["other_files"]))
        said += [f"{r.spec.dataset_name}: {reason}" for reason in reasons if reason]
    return list(dict.fromkeys(said))


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
    total = result.rows[["n_asked", "n_returned", "n_dead", "n_unreadable"]].sum()
    lost = {"never returned": total["n_asked"] - total["n_returned"], "dead": total["n_dead"], "unreadable": total["n_unreadable"]}
    if losses := ", ".join(f"{count} {what}" for what, count in lost.items() if count):
        asked = f"of {total['n_asked']} results asked for, {losses}"
        said.append(f"{asked}: its page in the book shows how far the number depends on them")
    if "found" in result.rows and (gone := int(result.rows["found"].isna().sum())):
        said.append(f"no original is in the gallery for {gone} of {len(result.rows)} queries: whether it is found leaves them out")
    if "found" not in result.rows:
        absent = [what for name, what in (("found", "whether the original is found"), ("p1", "P@1")) if name not in result.rows]
        large = result.provenance["gallery"].get("images", 0) > RANKED_AS_A_WHOLE
        why = f"has more than {RANKED_AS_A_WHOLE:,} images" if large else "does not state the category and the digest of each image"
        said.append(f"not measured: {' and '.join(absent)}, because the gallery {why}")
    if result.flat:
        said.append(
            f"{literal(result.spec.dataset)} has no category folders: whether the original is found is measured, with intervals "
            "over photographs; whether its kind is found is not (P@1, mAP, thresholds by kind): that needs a folder for each kind"
        )
    elif "map" in result.rows and (alone := int(result.rows["map"].isna().sum())):
        said.append(
            f"no other photograph of its category is in the gallery for {alone} of {len(result.rows)} queries: "
            "measures by category leave them out"
        )
    if result.spec.duplicates == NOTHING_LEFT_OUT and result.spec.mode != "study":
        said.append("-p duplicates -2 keeps the query's own image in its results: P@1 and valid@k count it, P@k and mAP do not")
    if copies := _copies_warning(result):
        said.append(copies)
    recall = result.provenance["gallery"].get("recall")
    if recall and recall["recall"] < RECALL:
        said.append(
            f"the approximate index finds only {recall['recall']:.0%} of the {recall['k']} nearest images "
            f"({recall['queries']} queries): -p index exact finds all"
        )
    if broken := list(result.provenance["unreadable"].values()):
        some = "; ".join(map(literal, broken[:3]))
        more = "; all of them are named in run.json" if len(broken) > 3 else ""
        were = "1 unreadable image was" if len(broken) == 1 else f"{len(broken)} unreadable images were"
        said.append(f"{were} left out, as queries and as results: {some}{more}")
    if empty := result.provenance["empty_categories"]:
        hold = "1 folder holds" if len(empty) == 1 else f"{len(empty)} folders hold"
        deeper = " outside subfolders" * (DEEPER in result.provenance["other_files"])
        said.append(f"{hold} no readable image{deeper}: {first_of([literal(name) for name in empty], 5)}")
    if part := partial_warning(result):
        said.append(part)
    if kinds := ", ".join(f"{n} {literal(kind)}" for kind, n in result.provenance["other_files"].items() if kind != HIDDEN):
        said.append(f"these files are not used: {kinds} ({_names(result)} them)")
    for source in result.provenance["gallery"].get("sources", []):
        left = {"unreadable": len(source["unreadable"]), **source.get("other_files", {})}
        counted = ", ".join(f"{n} {literal(kind)}" for kind, n in left.items() if n and kind != HIDDEN)
        if counted and source["name"] != result.spec.dataset_name:  # its own files are named above
            said.append(f"these files of the gallery {literal(source['name'])} are not used: {counted}")
    if len(result.category_means) < 2:
        own = ", and every result is of it by construction (P@1 is 100%)" * result.one_kind
        said.append(f"one category alone gives no interval{own}: add another folder of photographs")
    if DEEPER in result.provenance["other_files"]:
        said.append(SUBFOLDERS)
    return said
