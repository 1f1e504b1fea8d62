"""Write tables as CSV, parquet, LaTeX or Markdown; LaTeX and Markdown round the numbers, the others do not."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy
from tqdm import tqdm

from .._core.files import atomic, write_text
from .._core.text import escaped, plain
from ..analysis.contrasts import contrasts, contrasts_frame
from ..analysis.families import with_roles
from ..analysis.scores import Scores, comparable_with_clean, not_comparable, of_result
from ..errors import UserError
from ..metrics.measures import HEADLINES, MEASURES
from ..result import Result
from ..stats.effect_sizes import nesting
from ..stats.intervals import TICK, mean_interval

FORMATS = ("csv", "parquet", "tex", "md")
FORMULA = (*"=+-@\t\r\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""First characters by which a spreadsheet takes a cell for a formula, with their full-width forms."""
PAGE, LONG, WIDE = 40, 40, 8  # limits of a LaTeX table: rows on a page, characters in a column, columns on an upright page
_COLUMNS = [f"{name}{end}" for name in HEADLINES for end in ("", "_low", "_high")]
PRINTED = {"runs": ["run", "queries", "n_categories", *_COLUMNS], "queries": ["run", "category", "image", "draw", *_COLUMNS]}
"""Table -> its columns in LaTeX and Markdown, which a page has room for; other tables have all."""
PACKAGES = "% packages: array, booktabs, longtable, graphicx, pdflscape"


def write(frame: pd.DataFrame, path: Path, caption: str = "") -> Path:
    """Write a table in the format of the file's extension, one of `FORMATS`, and return the path.

    Except in parquet, the items of a cell that is a list are joined by semicolons. The caption of a LaTeX table is the file's name
    by default.
    """
    kind = path.suffix.removeprefix(".")
    if kind not in FORMATS:
        raise UserError(f"{path.name}: unknown format {kind!r}; choose from {', '.join(FORMATS)}")
    if kind == "parquet":
        with atomic(path) as file:
            frame.to_parquet(file, index=False)
        return path
    flat = frame.map(lambda v: "; ".join(map(str, v)) if isinstance(v, list | np.ndarray) else v)
    if kind == "csv":
        text = csv(flat)
    elif kind == "md":
        text = (_cells(flat).map(escaped).to_markdown(index=False, disable_numparse=True) or "") + "\n"
    else:
        text = _latex(flat, caption or path.stem)
    write_text(path, text)
    return path


def csv(frame: pd.DataFrame) -> str:
    """A table as CSV. Line breaks are removed, and a text that a spreadsheet would take for a formula gets a leading apostrophe."""

    def defused(value: object) -> object:
        if not isinstance(value, str):
            return value
        formula = value.lstrip(" ")[:1] in FORMULA and not np.isfinite(pd.to_numeric(value, errors="coerce"))
        return "'" * bool(formula) + plain(value)

    return frame.map(defused).to_csv(index=False)


def _cells(frame: pd.DataFrame) -> pd.DataFrame:
    """Format a table for reading: four significant digits, "" for a missing value, no line breaks or control characters.

    Rounding errors become 0, but not in the columns of p-values, which may be as small.
    """

    def cell(value: object, noise: float) -> str:
        if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
            return ""
        if isinstance(value, float):
            return f"{0.0 if abs(value) < noise else value:.4g}"
        return plain(str(value))

    noise = {name: 0.0 if str(name).split("_")[0] == "p" else TICK for name in frame}
    return pd.DataFrame({name: column.map(partial(cell, noise=noise[name])) for name, column in frame.items()})


def _latex(frame: pd.DataFrame, caption: str) -> str:
    """Make a LaTeX table that fits a page.

    The caption states values that all rows share and names omitted columns. A column that is too long is omitted, unless it is
    the first or rows would look alike without it; it is then broken into lines. A long table continues on further pages; a
    wide table is set in landscape with rotated headings.
    """
    shown = _cells(frame)
    several = len(shown.drop_duplicates()) > 1
    shared = {c: shown[c].iloc[0] for c in map(str, shown) if several and shown[c].nunique() == 1}
    long = [c for c in map(str, shown) if c not in shared and shown[c].str.len().max() > LONG]
    keys: list[str] = []
    for c in long:
        without = [name for name in shown if name not in long or name in keys]
        if c == shown.columns[0] or len(shown[[*without, c]].drop_duplicates()) > len(shown[without].drop_duplicates()):
            keys.append(c)
    left = [c for c in map(str, shown) if c not in shared and (c not in long or c in keys)]
    notes = [f"{c} {value}" for c, value in shared.items() if value and len(value) <= LONG]
    omitted = [c for c in long if c not in keys]
    said = [caption] + ["In all rows: " + ", ".join(notes)] * bool(notes)
    said += ["Only in other formats: " + ", ".join(omitted)] * bool(omitted)
    broken = r">{\raggedright\arraybackslash}p{4cm}"
    align = "".join(broken if c in keys else "r" if pd.api.types.is_numeric_dtype(frame[c]) else "l" for c in left)
    names = [_escaped(c.replace("_", " ")) for c in left]
    body = shown[left].set_axis([f"\\rotatebox{{90}}{{{n}}}" for n in names] if len(names) > WIDE else names, axis=1)
    place: Any = {"environment": "longtable"} if len(body) > PAGE else {"position": "htbp"}
    caption = _escaped(". ".join(said).replace("_", " "))
    styled = body.style.hide(axis="index").format(escape="latex")
    text = styled.to_latex(column_format=align, hrules=True, caption=caption, **place)
    if len(names) > WIDE:
        return f"{PACKAGES}\n\\begin{{landscape}}\\scriptsize\\setlength{{\\tabcolsep}}{{3pt}}\n{text}\\end{{landscape}}\n"
    return f"{PACKAGES}\n{{\\footnotesize\n{text}}}\n"


def _escaped(text: str) -> str:
    """Escape text for LaTeX."""
    return re.sub(r"[&%$#_{}]", r"\\\g<0>", text.replace("\\", "/")).replace("~", "-").replace("^", "-").replace("|", ", ")


def printable(frame: pd.DataFrame, columns: Sequence[str] = ()) -> str:
    """Format a table for the terminal with short numbers; `columns` selects and orders the columns."""
    shown = frame[list(columns)] if columns else frame
    return str(_cells(shown).to_string(index=False))


def conditions_frame(scores: Iterable[Scores]) -> pd.DataFrame:
    """Tabulate scores: a row for each data set and condition.

    `mean`, `median` and `iqm` (interquartile mean; Agarwal et al. 2021) are over categories, `micro` is over the `images` with a
    score, whose number a shortened log does not state; `low` and `high` bound the interval over categories; `icc` and
    `design_effect` measure how correlated the images of a category are. A `UserError` says that no image has a score under a
    condition.
    """
    rows = []
    for s in scores:
        means, named = s.means, s.listed is None
        images = [v for values in s.images.values() for v in values if not math.isnan(v)]
        if not s.scored:
            raise UserError(f"{s.dataset}, {s.condition}: no image has a score")
        interval, nested = mean_interval(means, bounds=MEASURES[s.measure].range), nesting(list(s.images.values()))
        row: dict[str, object] = {"dataset": s.dataset, "condition": s.condition, "categories": len(means)}
        row |= {"images": len(images) if named else pd.NA, **interval.cells("mean")}
        row |= {"micro": float(np.mean(images)) if named else math.nan, "median": float(np.median(means))}
        row |= {"iqm": float(scipy.stats.trim_mean(means, 0.25)), "icc": nested.icc if named else math.nan}
        rows.append(row | {"design_effect": nested.design_effect if named else math.nan})
    return pd.DataFrame(rows)


def runs_frame(results: Iterable[Result]) -> pd.DataFrame:
    """Tabulate runs: a row for each run, with its specification, macro means of measures with intervals, and provenance."""
    rows = []
    for r in results:
        p = r.provenance
        made = {"created": p["created"], "encoder_identity": p["encoder"]["identity"], "data_fingerprint": p["data_fingerprint"]}
        row = {"run": r.spec.run_id, **r.spec.to_dict(), "queries": len(r.rows), "n_categories": r.valid.n}
        row["categories_missing"] = p.get("categories_missing", 0)
        for name in (name for name in MEASURES if name in r.rows):
            row |= (mean := r.macro(name)).columns(name) | {f"{name}_interval": mean.method if mean.bounded else ""}
        rows.append(row | {"noop_share": r.noop_share, "unreadable": len(p["unreadable"]), **made})
    return pd.DataFrame(rows)


def all_tables(results: Sequence[Result], progress: bool = False) -> Mapping[str, pd.DataFrame]:
    """Make the tables runs, categories, contrasts (by measure, as `clipnb analyse` makes them) and queries, by name.

    A Python warning names a run that has no contrast, because it is not comparable with its clean run.
    """
    categories = [
        {"run": r.spec.run_id, "category": c, "images": scores.sizes[c], "valid": scores.by_category.get(c, float("nan"))}
        for r in results
        for scores in [of_result(r)]
        for c in scores.images
    ]
    families = []
    shown: Any = {"desc": "tables", "unit": "group", "disable": not progress}
    for group in tqdm(dict.fromkeys(r.spec.group_id for r in results), **shown):
        members = [r for r in results if r.spec.group_id == group]
        for measure in HEADLINES:
            scores = [of_result(r, measure) for r in members if measure in r.rows and r.means(measure)]
            kept = comparable_with_clean(scores)
            if others := [s.source for s in scores if s not in kept]:
                warnings.warn(f"contrasts: {not_comparable(others)}", stacklevel=2)
            if family := contrasts(kept):
                frame = with_roles(family, contrasts_frame, graded={s.condition for s in scores if s.graded})
                families.append(frame.assign(measure=measure, encoder=members[0].spec.encoder, group=group))
    queries = [r.rows.assign(run=r.spec.run_id) for r in results]
    return {
        "runs": runs_frame(results),
        "categories": pd.DataFrame(categories),
        "contrasts": pd.concat(families, ignore_index=True) if families else pd.DataFrame(),
        "queries": pd.concat(queries, ignore_index=True) if queries else pd.DataFrame(),
    }
