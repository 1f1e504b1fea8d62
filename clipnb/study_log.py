"""The study's JSON log: {"<manip>": {"<category>": [image accuracy, ...], ..., "total": [category mean, ...]}}.

`total` is a reserved key. A category of that name is written `total/`: no folder can be called so, which keeps the
file in the study's format and the category apart. Reading tolerates what the study's printed logs contain: `//` and
`/* */` comments and trailing commas.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ._core.files import write_text
from .errors import UserError
from .stats.intervals import Absent

RESERVED = "total"
_ESCAPED = "total/"

# a string is matched first, so that nothing inside one is taken for a comment or a comma
_NOISE = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING = re.compile(r'("(?:\\.|[^"\\])*")|,(?=\s*[\]}])')


@dataclass(frozen=True)
class StudyLog:
    """One log.

    Attributes:
        manip: the condition, as the file spells it.
        scores: category -> accuracies of its images that have one.
        total: category means as the file lists them; the study's printed logs list more than their categories show.
    """

    manip: str
    scores: dict[str, list[float]]
    total: list[float]

    @property
    def absent(self) -> Absent:
        """What a category without any score counts, as `total` has it."""
        return "zero" if len(self.total) == len(self.scores) else "skip"


def file_name(dataset: str, manip: str) -> str:
    return f"clip_output_{dataset}_{manip}.json"


def dumps(manip: str, scores: Mapping[str, Sequence[float]], absent: Absent = "zero") -> str:
    """The log as JSON text.

    Images without a score (NaN) are left out. A category without any is listed empty, and in `total` it counts 0 as in
    the study, or is left out if `absent` is "skip".
    """
    body: dict[str, list[float]] = {}
    total = []
    for category, values in scores.items():
        present = [float(v) for v in values if not math.isnan(v)]
        body[_ESCAPED if category == RESERVED else category] = present
        if present or absent == "zero":
            total.append(sum(present) / len(present) if present else 0.0)
    body[RESERVED] = total
    return json.dumps({manip: body}, ensure_ascii=False, indent=1) + "\n"


def loads(text: str, source: str = "log") -> StudyLog:
    """Read a log.

    Raises:
        UserError: it is not in the format; the message names `source` and the place.
    """
    cleaned = _NOISE.sub(lambda m: m[1] or "\n" * m[0].count("\n"), text)  # errors then name the file's own lines
    cleaned = _TRAILING.sub(lambda m: m[1] or "", cleaned)
    try:
        data = json.loads(cleaned)
    except json.JSONDecodeError as error:
        raise UserError(f"{source}: not a JSON log ({error.msg}, line {error.lineno})") from error
    if not isinstance(data, dict) or len(data) != 1 or not isinstance(next(iter(data.values())), dict):
        raise UserError(f'{source}: expected {{"<manip>": {{"<category>": [accuracy, ...], ...}}}}')
    manip, body = next(iter(data.items()))
    for category, values in body.items():
        if not isinstance(values, list) or any(isinstance(v, bool) or not isinstance(v, int | float) for v in values):
            raise UserError(f"{source}: {category!r} should be a list of numbers")
    total = [float(v) for v in body.pop(RESERVED, [])]
    scores = {RESERVED if c == _ESCAPED else c: [float(v) for v in values] for c, values in body.items()}
    return StudyLog(manip, scores, total)


def write(path: Path, manip: str, scores: Mapping[str, Sequence[float]], absent: Absent = "zero") -> None:
    write_text(path, dumps(manip, scores, absent))


def read(path: Path) -> StudyLog:
    """Read a log file.

    Raises:
        UserError: missing or not in the format.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path.name}: not a JSON log (it is no UTF-8 text)") from error
    return loads(text, path.name)
