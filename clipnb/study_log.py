"""The JSON log of the study: {"<manip>": {"<category>": [image accuracy, ...], ..., "total": [category mean, ...]}}.

A second key, `clipnb`, holds the identity of the run that wrote the log. `total` is a reserved key. A category with this name
is written as `total/`, which is not a valid folder name. The reader accepts what the printed logs of the study contain: `//` and
`/* */` comments, and trailing commas.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ._core.files import read_text
from ._core.typed import misfit
from .errors import UserError, one_line
from .stats.intervals import Absent

RESERVED = "total"
IDENTITY = "clipnb"
_ESCAPED = "total/"

# strings match first, so that their content is never taken for a comment or a trailing comma
# an unclosed string or comment matches to the end of the text, so that the time is linear in its length
_NOISE = re.compile(r'("(?:\\.|[^"\\])*+"?)|//[^\n]*|/\*.*?\*/|(/\*.*)', re.DOTALL)
_TRAILING = re.compile(r'("(?:\\.|[^"\\])*+"?)|,(?=\s*[\]}])')


@dataclass(frozen=True)
class StudyLog:
    """One log."""

    manip: str  # the condition, as spelled in the file
    scores: dict[str, list[float]]  # category -> accuracy in [0, 1] of each image that has one
    total: list[float]  # category means as listed in the file; the printed logs of the study list more means than categories
    run: Mapping[str, str] = field(default_factory=dict)  # `Result.identity` of the run; empty if clipnb did not write the log

    @property
    def absent(self) -> Absent:
        """The rule for a category without a score, as `total` follows it."""
        return "zero" if len(self.total) == len(self.scores) else "skip"


def file_name(dataset: str, manip: str) -> str:
    """Name of the log file of a data set under a condition."""
    return f"clip_output_{dataset}_{manip}.json"


def dumps(manip: str, scores: Mapping[str, Sequence[float]], absent: Absent = "zero", run: Mapping[str, str] | None = None) -> str:
    """Write a log as JSON text, without images that have no score (NaN). The identity of its run follows under the key `clipnb`.

    A category without a score is an empty list; in `total` it counts 0 as in the study, or is left out if `absent` is "skip".
    """
    present = {category: [float(v) for v in values if not math.isnan(v)] for category, values in scores.items()}
    body = {_ESCAPED if category == RESERVED else category: values for category, values in present.items()}
    body[RESERVED] = [sum(v) / len(v) if v else 0.0 for v in present.values() if v or absent == "zero"]
    return json.dumps({manip: body} | ({IDENTITY: dict(run)} if run else {}), ensure_ascii=False, indent=1) + "\n"


def loads(text: str, source: str = "log") -> StudyLog:
    """Read a log from text. If it is not in the format, a `UserError` names `source` and the place.

    >>> loads('{"grey": {"cats": [0.5, 1], "total": [0.75,]}}  // as printed').scores
    {'cats': [0.5, 1.0]}
    """
    cleaned = _NOISE.sub(lambda m: m[1] or m[2] or "\n" * m[0].count("\n"), text)  # newlines stay: errors name the right line
    with one_line(f"{source}: not a JSON log"):
        data = json.loads(_TRAILING.sub(lambda m: m[1] or "", cleaned), object_pairs_hook=partial(_once, source))
    run = data.pop(IDENTITY, {}) if isinstance(data, dict) and len(data) == 2 else {}
    if not isinstance(data, dict) or len(data) != 1 or not isinstance(next(iter(data.values())), dict):
        raise UserError(f'{source}: expected {{"<manip>": {{"<category>": [accuracy, ...], ...}}}}')
    if said := misfit(run, dict[str, str], IDENTITY):
        raise UserError(f"{source}: {said}")
    manip, body = next(iter(data.items()))
    for category, values in body.items():
        if not isinstance(values, list) or any(isinstance(v, bool) or not isinstance(v, int | float) for v in values):
            raise UserError(f"{source}: {category!r} should be a list of numbers")
        if (wrong := next((v for v in values if not 0 <= v <= 1), None)) is not None:
            raise UserError(f"{source}: {category!r} holds {wrong}, which is not between 0 and 1")
    total = [float(v) for v in body.pop(RESERVED, [])]
    scores = {RESERVED if c == _ESCAPED else c: [float(v) for v in values] for c, values in body.items()}
    return StudyLog(manip, scores, total, run)


def _once(source: str, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object without duplicate keys."""
    if twice := [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]:
        raise UserError(f"{source}: {twice[0]!r} occurs twice in one object")
    return dict(pairs)


def read(path: Path) -> StudyLog:
    """Read a log file; a `UserError` if it is missing or not in the format."""
    with one_line(f"{path} cannot be read"):
        text = read_text(path)
    return loads(text, path.name)
