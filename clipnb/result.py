"""The result of a run: its specification, its provenance and a row for every query; on disk a folder of three files.

`run.json`      specification, provenance (with its warnings) and the headline number (a folder without it is not a result)
`rows.parquet`  one row a query and draw: category, image, draw, sha256, input (digest of what the encoder saw), noop,
                strength and difference (at the encoder's input), n_asked, n_returned, n_dead, n_unreadable, n_results,
                n_valid, results, result_categories, distances, and a column for each measure (`clipnb.metrics.measures`)
`clip_output_<dataset>_<manip>.json`  the study's own log format
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from . import study_log
from ._core.files import replaced_folder, write_text
from ._core.paths import results_root, shown
from .errors import UserError
from .manipulations import CLEAN, MANIPULATIONS
from .metrics.measures import MEASURES
from .spec import RunSpec
from .stats.intervals import Absent, Interval, category_means, macro_mean, mean_interval


@dataclass(frozen=True, repr=False)
class Result:
    """One finished run.

    Attributes:
        spec: what was asked.
        provenance: versions, weights, counts, unreadable images: where the numbers come from.
        rows: one row a query and draw.

    >>> from clipnb import RunSpec, run
    >>> result = run(RunSpec("sample-figures", "grey", "histogram", per_category=4, k=3), progress=False)
    >>> result.rows[["category", "image", "valid"]].shape
    (24, 3)
    >>> sorted(result.means("p1")) == sorted(set(result.rows["category"]))
    True
    """

    spec: RunSpec
    provenance: dict[str, Any]
    rows: pd.DataFrame

    @cached_property
    def scores(self) -> dict[str, list[float]]:
        """Category -> valid@k of its images, the mean over draws; NaN where an image has none."""
        return self.by_category(self.rows["valid"])

    def by_image(self, values: pd.Series[Any]) -> pd.Series[float]:
        """A value a row to one an image, the mean over draws: indexed by category and image, in order."""
        return values.groupby([self.rows["category"], self.rows["image"]], sort=True).mean()

    def by_category(self, values: pd.Series[Any]) -> dict[str, list[float]]:
        """A value a row to category -> one an image, the mean over draws."""
        return {str(c): [float(v) for v in part] for c, part in self.by_image(values).groupby(level="category", sort=True)}

    @property
    def absent(self) -> Absent:
        """What a category without any score counts in this run."""
        return "zero" if self.spec.mode == "study" else "skip"

    @cached_property
    def category_means(self) -> dict[str, float]:
        """Category -> mean of valid@k."""
        return self.means("valid")

    @cached_property
    def valid(self) -> Interval:
        """Macro mean of valid@k,tau with its interval over categories."""
        return self.macro("valid")

    def means(self, measure: str) -> dict[str, float]:
        """Category -> mean of a measure; categories without a value are left out, or count 0 in mode study.

        Raises:
            UserError: no measure goes by that name, or the run lacks it.
        """
        name = MEASURES.canonical(measure)
        if name not in self.rows:
            raise UserError(f"{self.spec.run_id} has no {measure!r}: its gallery does not allow it, or an earlier version made it")
        return category_means(self.by_category(self.rows[name]), absent=self.absent)

    def mean(self, measure: str) -> float:
        """Mean over categories of a measure (macro mean); NaN where no category has a value."""
        means = list(self.means(measure).values())
        return macro_mean(means) if means else math.nan

    def macro(self, measure: str) -> Interval:
        """Mean over categories of a measure, with its interval; NaN without bounds where no category has a value."""
        means = list(self.means(measure).values())
        if not means:
            return Interval(math.nan, math.nan, math.nan, "t", 0)
        return mean_interval(means, seed=self.spec.seed, bounds=MEASURES[measure].range)

    @property
    def noop_share(self) -> float:
        """Share of queries that the manipulation left pixel-identical at the encoder's input."""
        return float(self.rows["noop"].mean())

    @property
    def label(self) -> str:
        return self.spec.condition.label

    @property
    def strength(self) -> str:
        """How strong the manipulation was at the encoder's input: mean and, where photographs differ, range, with unit."""
        values, unit = self.rows["strength"], MANIPULATIONS[self.spec.manip].unit
        spread = f" ({values.min():.3g} to {values.max():.3g})" if values.max() - values.min() > 0.005 * abs(values.mean()) else ""
        return f"{unit} {values.mean():.3g}{spread}"

    def __repr__(self) -> str:
        return f"<Result {self.spec.run_id}: valid@{self.spec.k} {self.valid.point:.4f}, {len(self.rows)} queries>"

    def save(self, root: Path | None = None) -> Path:
        """Write the run's folder below `root` (`results/` by default) and return it.

        Raises:
            UserError: the folder holds a run on another data set of the same name.
        """
        folder = (root or results_root()) / self.spec.run_id
        if (clash := _clash(folder / "run.json", self)) is not None:
            raise UserError(f"{shown(folder)} holds a run on {clash}: rename one of the two, or move that run away")
        log = study_log.file_name(self.spec.dataset_name, self.spec.condition_id)
        headline = {"valid": self.valid.point, "low": self.valid.low, "high": self.valid.high}
        finite = {name: None if math.isnan(value) else value for name, value in headline.items()}
        record = {"spec": self.spec.to_dict(), "headline": finite, "provenance": self.provenance}
        folder.parent.mkdir(parents=True, exist_ok=True)
        with replaced_folder(folder) as partial:
            self.rows.to_parquet(partial / "rows.parquet", index=False)
            study_log.write(partial / log, self.spec.manip, self.scores, self.absent)
            write_text(partial / "run.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")
        return folder

    @classmethod
    def load(cls, folder: Path) -> Result:
        """Read a run's folder.

        Raises:
            UserError: it is not one, or is damaged.
        """
        try:
            record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
            rows = pd.read_parquet(folder / "rows.parquet")
            return cls(RunSpec(**record["spec"]), record["provenance"], present(rows))
        except (OSError, ValueError, KeyError, TypeError, UserError) as error:
            raise UserError(f"{shown(folder)} is not the folder of a finished run: {error}") from error


def present(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows as this version names them, where an earlier one wrote them."""
    rows = rows.rename(columns={name: MEASURES.canonical(name) for name in rows if name in MEASURES.aliases})
    if "found" not in rows and "found_rr" in rows:
        rows["found"] = (rows["found_rr"] == 1).astype(float).where(rows["found_rr"].notna())
    if "p1" not in rows and any(any(kinds) for kinds in rows["result_categories"]):
        pairs = zip(rows["result_categories"], rows["category"], strict=True)
        rows["p1"] = [float(kinds[0] == own) if len(kinds) else math.nan for kinds, own in pairs]
    return rows


def same_photographs(a: Result, b: Result) -> bool:
    """Whether two runs saw the same photographs, by whatever encoder."""
    return bool(a.provenance["data_fingerprint"] == b.provenance["data_fingerprint"])


def comparable(a: Result, b: Result) -> bool:
    """Whether two runs saw the same photographs through the same encoder."""
    return same_photographs(a, b) and bool(a.provenance["encoder"]["identity"] == b.provenance["encoder"]["identity"])


def comparable_with_clean(results: Sequence[Result]) -> list[Result]:
    """Of runs that differ in their condition alone, those that can be compared with the clean one; all where there is none."""
    clean = [result for result in results if result.spec.manip == CLEAN]
    return [result for result in results if all(comparable(result, first) for first in clean)]


def _clash(about: Path, result: Result) -> str | None:
    """What the run whose file this is was made from, if that only shares its short name with what `result` was made from."""
    try:
        record = json.loads(about.read_text(encoding="utf-8"))
        if record["spec"].get("gallery", "") != result.spec.gallery:
            return f"gallery {record['spec']['gallery']!r}, not {result.spec.gallery!r}"
        if record["spec"]["encoder"] != result.spec.encoder:
            return f"encoder {record['spec']['encoder']!r}, not {result.spec.encoder!r}"
        if all(record["provenance"][name] != result.provenance[name] for name in ("root_sha256", "data_fingerprint")):
            return f"another folder, {record['spec']['dataset']!r}, than this {result.spec.dataset!r}"
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not there, or damaged: to be replaced
    return None


def load_results(root: Path | None = None) -> list[Result]:
    """All finished runs, by encoder, data set and then condition in the study's order; a damaged one is warned of.

    >>> import tempfile
    >>> from clipnb import RunSpec, run
    >>> root = Path(tempfile.mkdtemp())
    >>> folder = run(RunSpec("sample-figures", "grey", "histogram", per_category=4, k=3), progress=False).save(root)
    >>> [result.spec.manip for result in load_results(root)]
    ['grey']
    """
    found: list[Result] = []
    for about in (root or results_root()).glob("*/run.json"):
        if about.parent.name.startswith("."):
            continue  # what a save left that was killed
        try:
            found.append(Result.load(about.parent))
        except UserError as error:
            warnings.warn(str(error), stacklevel=2)
    order = {name: at for at, name in enumerate(MANIPULATIONS)}
    return sorted(
        found, key=lambda r: (r.spec.encoder, r.spec.dataset_name, order.get(r.spec.manip, len(order)), r.spec.manip, r.spec.run_id)
    )
