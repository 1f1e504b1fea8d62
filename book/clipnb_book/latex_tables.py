"""The layout of a table on paper: its type size, the width of its columns, and whether it may break.

A page has no scroll bar. A column that fits is as wide as its widest cell; the others share the remaining width, and wrap
between words. A table that is still too wide, or too tall, is set in smaller type. Widths are in em.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

PAGE = 469.0
"""Width of the text in points, as `book/clipnb.sty` sets it."""

PADDING = 8.0
"""Points between two columns, as `book/clipnb.sty` sets them."""

SIZES = {"small": 9.0, "footnotesize": 8.0, "scriptsize": 7.0}
"""LaTeX's name of a type size -> points, the largest first."""

TRIED = (("small", 1.0), ("footnotesize", 1.0), ("small", 1.7), ("footnotesize", 2.2), ("scriptsize", math.inf))
"""Sizes in the order in which they are tried, each with the largest mean number of lines per row that it may give."""

SHORT = 8.0
"""A cell of at most this width, in em, is short."""

STEP = 0.5
"""Step in em by which columns are widened."""

BREAKABLE = 30
"""Number of lines from which a table may continue on the next page."""

Kind = Literal["text", "bold", "code"]
Run = tuple[str, Kind]
"""Letters of one width."""

Cell = Sequence[Run]

ADVANCES = {
    0.27: " ,.:;'|`·\u00a0l’",
    0.31: "it/\\",
    0.36: "!()-I[]rjfsJ⁻",
    0.45: '"“”zace?é',
    0.69: "TZELBCRPw",
    0.74: "ADGHKNOQUVXY",
    0.86: "m&%@MW→",
    1.0: "—",
}
"""Em -> letters of FreeSerif; other letters are at most as wide as `OTHERS`."""

OTHERS, MONO, BOLD = 0.56, 0.6, 1.08
_EM = {letter: em for em, letters in ADVANCES.items() for letter in letters}


@dataclass(frozen=True)
class Column:
    """Widths that a column needs, in em: of each cell on one line, and of its widest unbreakable piece."""

    cells: tuple[float, ...]
    least: float
    right: bool = False

    @property
    def natural(self) -> float:
        return max(self.cells, default=0.0)


@dataclass(frozen=True)
class Layout:
    """LaTeX's name of the size of type, the column specification, and about how many lines the table takes."""

    size: str
    spec: str
    lines: int


def width(run: Run) -> float:
    """Width of letters in em."""
    text, kind = run
    if kind == "code":
        return MONO * len(text)
    return sum(_EM.get(c, OTHERS if ord(c) < 0x2E80 else 1.0) for c in text) * (BOLD if kind == "bold" else 1.0)


def pieces(run: Run) -> list[Run]:
    """The parts of a run between which a line may end: after blanks and hyphens, and in code after marks too."""
    text, kind = run
    return [(piece.rstrip(" "), kind) for piece in re.findall(r"[^-.,;/ ]*[-.,;/ ]?" if kind == "code" else r"[^ -]*[ -]?", text)]


def columns(rows: Sequence[Sequence[Cell]], right: Sequence[bool]) -> list[Column]:
    """The widths that each column of a table needs; below its heading, a short cell is never broken.

    Args:
        rows: the cells, row by row, the headings first.
        right: of each column, whether its cells are aligned right.
    """
    asked = []
    for at, aligned in enumerate(right):
        cells = [row[at] for row in rows]
        least = max((width(piece) for cell in cells for run in cell for piece in pieces(run)), default=0.0)
        widths = tuple(sum(map(width, cell)) for cell in cells)
        asked.append(Column(widths, max([least, *(w for w in widths[1:] if w <= SHORT)]), aligned))
    return asked


def shares(asked: Sequence[Column], room: float) -> list[float]:
    """Widths of columns in em: each fits its widest piece; then the column whose widening saves most lines grows by a step.

    The sum is larger than `room` if the widest pieces are, and smaller if every cell has its line.
    """
    given = [max(column.least, STEP) for column in asked]
    while sum(given) + STEP <= room:
        tall = [[cell / share for cell in c.cells] for c, share in zip(asked, given, strict=True)]
        rows = [max(1.0, *row) for row in zip(*tall, strict=True)]
        best, at = 0.0, -1
        for i, column in enumerate(asked):
            if given[i] >= column.natural:
                continue
            others = [max(1.0, *(t[r] for j, t in enumerate(tall) if j != i)) for r in range(len(rows))]
            wider = [cell / (given[i] + STEP) for cell in column.cells]
            saved = sum(row - max(o, w) for row, o, w in zip(rows, others, wider, strict=True))
            if at < 0 or saved > best:
                best, at = saved, i
        if at < 0:
            break
        given[at] = min(asked[at].natural, given[at] + STEP)
    return given


def _lines(asked: Sequence[Column], given: Sequence[float]) -> int:
    """An estimate of the lines that a table takes."""
    tall = [[math.ceil(cell / share) if share else 1 for cell in c.cells] for c, share in zip(asked, given, strict=True)]
    return sum(max(row) for row in zip(*tall, strict=True))


def layout(asked: Sequence[Column]) -> Layout:
    """The largest type in which a table fits the page: with one line per row, else with few, else the smallest type."""
    rows = len(asked[0].cells)
    for size, most in TRIED:
        points = SIZES[size]
        room = (PAGE - PADDING * len(asked)) / points
        given = shares(asked, room)
        lines = _lines(asked, given)
        if sum(given) <= room and lines <= most * rows:
            break
    squeeze = min(1.0, room / sum(given)) if sum(given) else 1.0
    spec = []
    for column, share in zip(asked, given, strict=True):
        if squeeze == 1.0 and share >= column.natural:
            spec.append("r" if column.right else "l")
        else:
            side = "raggedleft" if column.right else "raggedright"
            spec.append(rf">{{\{side}\arraybackslash}}p{{{share * squeeze * points:.1f}pt}}")
    return Layout(size, "".join(spec), lines)
