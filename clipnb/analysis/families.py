"""The tables of `clipnb analyse`: contrasts, interactions and tests of equivalence, and which of them were planned.

Holm's adjustment is over the members of one role. The primary condition is a family of its own; without one, the conditions
at a fixed setting are the planned family. Everything else is exploratory.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

import pandas as pd

from .._core.text import first_of
from ..errors import UserError
from ..stats.hypothesis import Equivalence, tost, tost_unpaired
from ..stats.intervals import ALPHA
from ..stats.sign_flips import smallest_p
from .contrasts import Contrast, InteractionContrast
from .scores import Scores

PRIMARY, PLANNED, EXPLORATORY = "primary", "planned", "exploratory"

FEW_CHANGED = 10  # if fewer categories change, and most do not, the interval of the change covers less than 93% in simulations

Member = TypeVar("Member", Contrast, InteractionContrast)


def role(condition: str, primary: str = "", graded: Collection[str] = ()) -> str:
    """The role of a condition; `primary` is the primary condition, with any number of draws; `graded` are those at severities.

    >>> role("grey"), role("grey-s3", graded=["grey-s3"]), role("cropped-draws4", "cropped"), role("grey", "cropped")
    ('planned', 'exploratory', 'primary', 'exploratory')
    """
    if primary:
        return PRIMARY if primary in (condition, without_draws(condition)) else EXPLORATORY
    return EXPLORATORY if condition in graded else PLANNED


def without_draws(condition: str) -> str:
    """A condition without its number of draws: `cropped/3` of `cropped/3-draws4`."""
    return condition.partition("-draws")[0]


def with_roles(
    members: Sequence[Member], frame_of: Callable[[Sequence[Member]], pd.DataFrame], primary: str = "", graded: Collection[str] = ()
) -> pd.DataFrame:
    """Tabulate contrasts or interactions role by role, with the column `role`; `frame_of` adjusts p over the members of a role."""
    by_role: dict[str, list[Member]] = {PRIMARY: [], PLANNED: [], EXPLORATORY: []}
    for member in members:
        by_role[role(member.after, primary, graded)].append(member)
    return pd.concat([frame_of(part).assign(role=name) for name, part in by_role.items() if part], ignore_index=True)


def too_few(table: pd.DataFrame) -> list[str]:
    """A line for the data sets, each role and each contrast with too few categories for a verdict or a reliable interval."""
    said = []
    sizes = table.groupby("dataset", sort=False)["categories"].max()
    for size in dict.fromkeys(sizes):
        if (least := smallest_p(int(size))) > ALPHA:
            names = sizes.index[sizes == size]
            with_few = f"with {size} {'category' if size == 1 else 'categories'} p is at least {least:.3g}"
            few = f"{first_of(list(names), mark='; ')}: {with_few}"
            said.append(f"{few}; no loss or gain can be decided")
    for name, part in table.groupby("role", sort=False):
        if (least := smallest_p(int(part["categories"].max()))) <= ALPHA < least * len(part):
            few = f"{name}: with {part['categories'].max()} categories p is at least {least:.3g}"
            said.append(f"{few}; adjusted over {len(part)} changes none reaches {ALPHA:g}")
    bounded = table[table["low"].notna() & (table["changed"] < FEW_CHANGED) & (2 * table["changed"] < table["categories"])]
    for row in bounded.to_dict("records"):
        few = f"{row['changed']} of {row['categories']} categories change"
        said.append(f"{row['dataset']}, {row['after']}: {few}; its interval is too narrow")
    return said


def unscored(scores: Sequence[Scores]) -> list[str]:
    """A line for each data set with categories that no image has a score in."""
    empty = dict.fromkeys((s.dataset, tuple(c for c, size in s.sizes.items() if not size)) for s in scores if s.absent == "skip")
    return [f"{dataset}: no image has a score in {first_of(categories)}" for dataset, categories in empty if categories]


def remarks(family: Sequence[Contrast]) -> list[str]:
    """A line for data sets without categories of several images, edits without effect, and categories that lack some images."""
    alone = dict.fromkeys(c.dataset for c in family if c.images == len(c.changes) > 1)
    said = [f"{name}: each photograph counts as a category, because no category has two" for name in alone]
    said += [f"{c.dataset}, {c.after}: the edit left all photographs as they were" for c in family if c.untouched]
    for c in (c for c in family if c.uneven):
        first = first_of([f"{category} ({before} and {after})" for category, (before, after) in c.uneven.items()])
        said.append(f"{c.dataset}, {c.after}: images with a score before and after differ in {first}")
    return said


def equivalence_frame(family: Sequence[Contrast], pairs: Sequence[InteractionContrast], margin: float) -> pd.DataFrame:
    """Test each mean change, and each difference between two data sets, for equivalence: a row for each, two one-sided tests.

    `low` and `high` bound the 90% interval; `equivalent` is whether it lies within ±margin, in the unit of the measure, or why
    there is none. p is not adjusted.
    """
    if not margin > 0:
        raise UserError(f"a margin must be above 0, not {margin:g}")
    tests: list[tuple[str, str, Equivalence]] = [(c.dataset, c.after, tost(c.values, margin)) for c in family]
    for x in pairs:
        between = f"{x.first.dataset} minus {x.second.dataset}"
        tests.append((between, x.after, tost_unpaired(x.first.values, x.second.values, margin)))
    rows = []
    for dataset, condition, found in tests:
        i = found.interval
        shown = "yes" if found.p < ALPHA else "not shown" if i.bounded else i.why_unbounded
        rows.append((dataset, condition, i.point, i.low, i.high, margin, found.p, shown))
    return pd.DataFrame(rows, columns=["dataset", "condition", "change", "low", "high", "margin", "p", "equivalent"])
