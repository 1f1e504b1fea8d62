"""Merge runs that were made in batches of categories (`start`, `step`) into one run, with each query once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from .errors import UserError
from .possible import drawn_for
from .result import Result, load_results
from .runs import saved_result

KEY = ["category", "image", "draw"]  # columns that identify a row


def merge(results: Sequence[Result]) -> Result:
    """Merge the batches of one run. If two batches hold the same query, the later batch wins.

    A `UserError` says that they differ in settings other than `start` and `step`, in photographs or in weights.
    """
    order = sorted(results, key=lambda r: r.provenance["created"])
    whole = {replace(r.spec, dataset=order[-1].spec.dataset, start=0, step=0) for r in order}  # a folder has many spellings
    seen = {(r.provenance["data_fingerprint"], r.provenance["encoder"]["identity"]) for r in order}
    if len(whole) > 1 or len(seen) > 1:
        names = ", ".join(sorted(r.spec.run_id for r in order))
        raise UserError(f"{names} are not batches of one run: they differ in settings, photographs or weights")
    rows = pd.concat([r.rows for r in order], ignore_index=True)
    rows = rows.drop_duplicates(KEY, keep="last").sort_values(["draw", "category", "image"], kind="stable", ignore_index=True)
    lost = {name: why for r in order for name, why in r.provenance["gallery"].get("unusable", {}).items()}
    about = order[-1].provenance | {
        "gallery": order[-1].provenance["gallery"] | {"unusable": lost},
        "seconds": round(sum(r.provenance["seconds"] for r in order), 1),
        "embedded_now": sum(r.provenance["embedded_now"] for r in order),
        "batches": [r.spec.run_id for r in order],
    }
    return Result(whole.pop(), about, rows)


def still_to_run(batches: Sequence[Result]) -> list[tuple[int, int]]:
    """`start` and `step` of each stretch of categories that no batch of a run covers."""
    total, gaps, at = len(drawn_for(batches[0].spec).categories), [], 0
    for spec in sorted((r.spec for r in batches), key=lambda s: s.start):
        gaps.append((at, min(spec.start, total) - at))
        at = max(at, spec.start + (spec.step or total))
    return [(start, step) for start, step in [*gaps, (at, total - at)] if step > 0]


def saved_batches() -> dict[str, list[Result]]:
    """Id of a run -> its saved batches."""
    groups: dict[str, list[Result]] = {}
    for result in load_results(batches=True):
        if result.spec.start or result.spec.step:
            groups.setdefault(replace(result.spec, start=0, step=0).run_id, []).append(result)
    return groups


def merge_saved() -> list[tuple[Path, list[tuple[int, int]]]]:
    """Merge all batches among the saved runs; save the merged runs, and return folder and `still_to_run` of each.

    A `UserError` says that no batches are there, that they do not belong together, or that a saved run holds other queries.
    """
    if not (groups := saved_batches()):
        raise UserError("there are no runs with -p start or -p step to merge")
    whole = [merge(batches) for batches in groups.values()]
    for result in whole:
        saved = saved_result(result.spec)
        if saved and (lost := {*saved.rows[KEY].itertuples(index=False)} - {*result.rows[KEY].itertuples(index=False)}):
            raise UserError(
                f"the saved run {result.spec.run_id} holds {len(lost)} queries that its batches do not: "
                "move it away to merge the batches without them, or delete the batches"
            )
    written = []
    for result in whole:
        if left := still_to_run(groups[result.spec.run_id]):
            missing = sum(step for _, step in left)
            result = replace(result, provenance=result.provenance | {"categories_missing": missing})
        written.append((result.save(), left))
    return written
