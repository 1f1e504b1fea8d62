"""Scores of one data set under one condition, from a run's rows or a log in the study's format."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from .. import study_log
from .._core.text import first_of
from ..checks import floor_warning, partial_warning
from ..manipulations import CLEAN
from ..metrics.measures import MEASURES
from ..result import Result
from ..stats.intervals import Absent, category_means
from ..study_log import StudyLog


@dataclass(frozen=True)
class Scores:
    """The scores of one data set under one condition."""

    dataset: str
    condition: str
    images: Mapping[str, Sequence[float]]  # category -> scores of its images, NaN for an image without a score
    names: Mapping[str, Sequence[str]] | None = None  # category -> names of `images`; None for a log, which names no images
    listed: Sequence[float] | None = None  # the category means under `total` of a log that shows only some of its categories
    absent: Absent = "skip"  # a category without any score is left out ("skip"), or counts 0 ("zero": the study's rule)
    source: str = ""  # where the scores were read, for messages
    measure: str = "valid"
    untouched: bool = False  # whether the manipulation left all photographs pixel-identical
    run: Mapping[str, str] = field(default_factory=dict)  # `Result.identity`; of a log without it, the data set in the file's name

    @cached_property
    def by_category(self) -> dict[str, float]:
        """Category -> mean, by the rule of `absent`."""
        return category_means(self.images, absent=self.absent)

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Category -> number of its images with a score."""
        return {category: int(np.count_nonzero(~np.isnan(values))) for category, values in self.images.items()}

    @property
    def group(self) -> str:
        """Common name of the runs that differ only in the condition; "" for a log that does not state its run."""
        return self.run.get("group", "")

    @property
    def floor(self) -> str:
        """A warning that the threshold does not fit the encoder, if these are the scores of a clean run; else ""."""
        return floor_warning(self.images) if self.measure == "valid" else ""

    @property
    def graded(self) -> bool:
        """Whether the condition is at a severity or strength, not at the manipulation's fixed setting."""
        return bool(_GRADED.search(self.condition))

    @property
    def scored(self) -> bool:
        """Whether any image has a score; of a log that lists more categories than it shows, whether it lists any."""
        return bool(self.means) and (self.listed is not None or any(self.sizes.values()))

    @property
    def means(self) -> list[float]:
        """Category means: `listed` if the log lists more categories than it shows, else those of `images`."""
        return list(self.listed) if self.listed is not None else list(self.by_category.values())


LOGS = "clip_output_*.json"
_GRADED = re.compile(r"(/[1-5]|=[\d.e+-]+)(-draws\d+)?$")  # the end of `Scores.condition` at a severity or strength


def spelled(condition: str) -> str:
    """A condition as it is typed, also one that is spelled as in file names.

    >>> spelled("blurred-s3"), spelled("blurred-at4.5"), spelled("cropped-s3-draws4")
    ('blurred/3', 'blurred=4.5', 'cropped/3-draws4')
    """
    return re.sub(r"-at([\d.e+-]+)(?=-draws|$)", r"=\1", re.sub(r"-s([1-5])(?=-draws|$)", r"/\1", condition))


def differs(a: Scores, b: Scores, *fields: str) -> bool:
    """Whether two scores differ in the first of these fields of `Result.identity` that both state; no if there is none."""
    return next((a.run[f] != b.run[f] for f in fields if f in a.run and f in b.run), False)


def comparable_with_clean(scores: Sequence[Scores], clean: str = CLEAN) -> list[Scores]:
    """Scores with the photographs and encoder of the clean condition of their data set; all of a data set without one."""
    first = {s.dataset: s for s in scores if s.condition == clean}
    return [s for s in scores if not any(differs(s, first.get(s.dataset, s), field) for field in ("photographs", "encoder"))]


def of_other_photographs(scores: Sequence[Scores]) -> list[str]:
    """A line for each data set of which runs with different photographs stand side by side: another state, or another sample."""
    states: dict[str, dict[str, list[str]]] = {}
    for s in scores:
        if "photographs" in s.run:
            states.setdefault(s.run["dataset"], {}).setdefault(s.run["photographs"], []).append(s.source)
    return [
        f"{dataset}: these runs used different photographs: {'; '.join(map(first_of, found.values()))}"
        for dataset, found in states.items()
        if len(found) > 1
    ]


def not_comparable(sources: Sequence[str], what: str = "photographs, weights or code", than: str = "the clean run") -> str:
    """What is said of runs that are left out because they used something else than another run.

    >>> not_comparable(["a", "b", "c", "d"], "weights")
    'a, b, c and 1 more used other weights than the clean run: left out; run the older ones again'
    """
    older = "the older one" if len(sources) == 1 else "the older ones"
    return f"{first_of(sources)} used other {what} than {than}: left out; run {older} again"


def of_result(result: Result, measure: str = "valid") -> Scores:
    """The scores of a run by a measure, the mean over draws; a `UserError` if it is unknown, or the run lacks it.

    A Python warning says that a merged run lacks categories.
    """
    if part := partial_warning(result):
        warnings.warn(f"{result.spec.run_id}: {part}", stacklevel=2)
    means = result.by_image(result.column(measure))
    groups = list(means.groupby(level="category", sort=True))
    return Scores(
        result.spec.dataset_name,
        spelled(result.spec.condition_id),
        {str(c): [float(v) for v in part] for c, part in groups},
        {str(c): [str(image) for image in part.index.get_level_values("image")] for c, part in groups},
        absent=result.absent(measure),
        source=result.spec.run_id,
        measure=MEASURES.canonical(measure),
        untouched=result.noop_share == 1,
        run=result.identity,
    )


def of_log(log: StudyLog, dataset: str, source: str = "") -> Scores:
    """The scores in a log; a shortened log of the study counts by the category means that it lists."""
    listed = log.total if len(log.total) > len(log.scores) else None
    return Scores(dataset, log.manip, log.scores, None, listed, log.absent, source)


def read_log(path: Path) -> Scores:
    """A log file. If the log does not state its run, the file's name does: clip_output_<dataset>_<manip>.json."""
    log = study_log.read(path)
    stem = path.stem.removeprefix("clip_output_")
    named = re.fullmatch(rf"(.+)_{re.escape(log.manip)}(-.+)?", stem, re.IGNORECASE)
    dataset, setting = (named[1], named[2] or "") if named else (stem, "")
    return replace(
        of_log(log, log.run.get("dataset", dataset), path.name),
        condition=spelled(log.run.get("condition", log.manip + setting)),
        run=log.run or ({"dataset": dataset} if named else {}),
    )


def read_logs(paths: Sequence[Path]) -> list[Scores]:
    """Log files, and all logs in folders, each once, the clean condition of each data set first."""
    files = {log.resolve(): log for path in paths for log in ([path] if path.suffix == ".json" else sorted(path.glob(LOGS)))}
    return sorted((read_log(file) for file in files.values()), key=lambda s: (s.dataset, s.group, s.condition != CLEAN))


def named_by_group(scores: Sequence[Scores]) -> list[Scores]:
    """Name scores by group instead of data set if a data set has several groups, such as those of two encoders."""
    groups: dict[str, set[str]] = {}
    for s in scores:
        groups.setdefault(s.dataset, set()).add(s.group)
    return [replace(s, dataset=s.group or s.dataset) if len(groups[s.dataset]) > 1 else s for s in scores]


def paired_changes(before: Scores, after: Scores) -> dict[str, list[float]]:
    """Category -> changes, after minus before: image by image where both name them, else one change of means.

    Images, and categories, that only one of them has a score for are left out.
    """
    if before.names is None or after.names is None:
        return {c: [after.by_category[c] - m] for c, m in before.by_category.items() if c in after.by_category}
    changes: dict[str, list[float]] = {}
    for category, names in before.names.items():
        later = dict(zip(after.names.get(category, ()), after.images.get(category, ()), strict=True))
        pairs = ((score, later[name]) for name, score in zip(names, before.images[category], strict=True) if name in later)
        found = [new - old for old, new in pairs if not (np.isnan(old) or np.isnan(new))]
        if not found and category in before.by_category and category in after.by_category:
            found = [after.by_category[category] - before.by_category[category]]  # the study's rule: 0 where there is no score
        if found:
            changes[category] = found
    return changes
