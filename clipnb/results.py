"""The result of a run: its specification, its provenance and a row for every query; on disk a folder of three files.

`run.json`      specification, provenance and the headline number (written last: a folder without it is unfinished)
`rows.parquet`  one row a query: category, image, sha256, noop, shift, n_results, n_valid, accuracy, results, distances,
                and zero_shot where the encoder reads texts
`clip_output_<dataset>_<manip>.json`  the study's own log format
"""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from . import studylog
from .errors import UserError
from .files import atomic, write_text
from .manipulations import CLEAN, MANIPULATIONS
from .measures import precision_at_1
from .paths import results_root, shown
from .spec import RunSpec
from .statistics import Interval, category_means, mean_interval

NOOP_WARNING = 0.25
"""Share of untouched photographs from which a run says so."""


@dataclass(frozen=True, repr=False)
class Result:
    """One finished run.

    Attributes:
        spec: what was asked.
        provenance: versions, weights, counts, unreadable images: where the numbers come from.
        rows: one row a query.
    """

    spec: RunSpec
    provenance: dict[str, Any]
    rows: pd.DataFrame

    @cached_property
    def scores(self) -> dict[str, list[float]]:
        """Category -> accuracies of its images; NaN where an image has none."""
        return {str(c): [float(v) for v in part["accuracy"]] for c, part in self.rows.groupby("category", sort=True)}

    @cached_property
    def category_means(self) -> dict[str, float]:
        """Category -> mean accuracy, categories without a score left out."""
        return category_means(self.scores)

    @cached_property
    def accuracy(self) -> Interval:
        """Macro mean of valid@k,tau with its interval over categories."""
        return mean_interval(list(self.category_means.values()), seed=self.spec.seed, bounds=(0.0, 1.0))

    @property
    def noop_share(self) -> float:
        """Share of queries that the manipulation left pixel-identical at the encoder's input."""
        return float(self.rows["noop"].mean())

    @property
    def precision_at_1(self) -> float:
        """Share of queries whose first result is of their own category."""
        first = np.array([[results[0].split("/")[0]] for results in self.rows["results"]])
        return precision_at_1(self.rows["category"].to_numpy(dtype=str), first)

    @property
    def zero_shot(self) -> float | None:
        """Share of queries that the encoder's text tower names rightly; None where it has none."""
        return float(self.rows["zero_shot"].mean()) if "zero_shot" in self.rows else None

    @property
    def label(self) -> str:
        return MANIPULATIONS[self.spec.manip].label

    @property
    def warnings(self) -> list[str]:
        """What a reader must know before believing the number."""
        said = []
        if self.spec.manip != CLEAN and self.noop_share >= NOOP_WARNING:
            said.append(
                f"{self.spec.manip} leaves {self.noop_share:.0%} of the photographs pixel-identical at the encoder's input: "
                "for those it is no manipulation at all"
            )
        if unreadable := self.provenance["unreadable"]:
            some = "; ".join(list(unreadable.values())[:3])
            said.append(f"{len(unreadable)} unreadable images were left out, as queries and as results: {some}")
        if empty := self.provenance["empty_categories"]:
            said.append(f"{len(empty)} folders hold no readable image: {', '.join(empty[:5])}")
        if len(self.category_means) < 2:
            said.append("one category alone gives no interval: add another folder of photographs")
        return said

    def __repr__(self) -> str:
        return f"<Result {self.spec.run_id}: valid@{self.spec.k} {self.accuracy.point:.4f}, {len(self.rows)} queries>"

    def _repr_markdown_(self) -> str:
        s, a = self.spec, self.accuracy
        interval = (
            f"{a.low:.3f} to {a.high:.3f} ({a.method} over {a.n} categories)" if not math.isnan(a.low) else "none (one category)"
        )
        lines = [
            f"| {s.dataset_name}, {self.label} | |",
            "|:--|--:|",
            f"| valid@{s.k}, L2 < {s.tau:g} (macro mean) | **{a.point:.4f}** |",
            f"| 95 % interval | {interval} |",
            f"| mean shift 1 - cos(v, v') | {self.rows['shift'].mean():.4f} |",
            f"| first result of the same category | {self.precision_at_1:.1%} |",
            *([f"| named by category, zero-shot | {self.zero_shot:.1%} |"] if self.zero_shot is not None else []),
            f"| photographs left pixel-identical | {self.noop_share:.0%} |",
            f"| queries / unreadable images | {len(self.rows)} / {len(self.provenance['unreadable'])} |",
            f"| encoder | {s.encoder} |",
        ]
        return "\n".join(lines + [""] + [f"**Note:** {w}.\n" for w in self.warnings])

    def save(self, root: Path | None = None) -> Path:
        """Write the run's folder below `root` (`results/` by default) and return it.

        Raises:
            UserError: the folder holds a run on another data set of the same name.
        """
        folder = (root or results_root()) / self.spec.run_id
        about = folder / "run.json"
        for field, other in _told_apart(about).items():
            if other != getattr(self.spec, field):
                raise UserError(
                    f"{shown(folder)} holds a run with {field} {other!r}, not {getattr(self.spec, field)!r}: "
                    "rename one of the two, or move that run away"
                )
        about.unlink(missing_ok=True)
        with atomic(folder / "rows.parquet") as file:
            self.rows.to_parquet(file, index=False)
        log = folder / studylog.file_name(self.spec.dataset_name, self.spec.manip)
        studylog.write(log, self.spec.manip, self.scores)
        headline = {"valid": self.accuracy.point, "low": self.accuracy.low, "high": self.accuracy.high}
        finite = {name: None if math.isnan(value) else value for name, value in headline.items()}
        record = {"spec": self.spec.to_dict(), "headline": finite, "provenance": self.provenance}
        write_text(about, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
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
            return cls(RunSpec(**record["spec"]), record["provenance"], rows)
        except (OSError, ValueError, KeyError, TypeError, UserError) as error:
            raise UserError(f"{shown(folder)} is not the folder of a finished run: {error}") from error


def _told_apart(about: Path) -> dict[str, str]:
    """Of the run whose file this is, what a folder's name gives only in short; nothing if there is none that can be read."""
    try:
        spec = json.loads(about.read_text(encoding="utf-8"))["spec"]
        return {field: spec[field] for field in ("dataset", "encoder")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def load_results(root: Path | None = None) -> list[Result]:
    """All finished runs, by encoder, data set and then condition in the study's order; a damaged one is warned of."""
    found: list[Result] = []
    for about in (root or results_root()).glob("*/run.json"):
        try:
            found.append(Result.load(about.parent))
        except UserError as error:
            warnings.warn(str(error), stacklevel=2)
    order = list(MANIPULATIONS)
    return sorted(found, key=lambda r: (r.spec.encoder, r.spec.dataset_name, order.index(r.spec.manip), r.spec.run_id))
