"""The result of a run: its specification, its provenance and a row for every query; on disk a folder of three files.

`run.json`      specification, provenance, warnings and the headline number (a folder without it is not a result)
`rows.parquet`  one row a query and draw: category, image, draw, sha256, input (digest of what the encoder saw), noop,
                strength and difference (at the encoder's input), shift, n_asked, n_returned, n_dead, n_unreadable,
                n_results, n_valid, accuracy, results, result_categories, distances, p_at_k, r_at_k, ap, ap_at_r (by
                category), self_rr (1 / rank of the query's own original; self@1 is where it is 1), overlap, rbo (with
                the clean query's results), and zero_shot where the encoder reads texts
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

import numpy as np
import pandas as pd

from . import guards, studylog
from .errors import UserError
from .files import replaced_folder, write_text
from .manipulations import CLEAN, MANIPULATIONS
from .markdown import literal
from .paths import results_root, shown
from .spec import RunSpec
from .statistics import Interval, category_means, mean_interval


@dataclass(frozen=True, repr=False)
class Result:
    """One finished run.

    Attributes:
        spec: what was asked.
        provenance: versions, weights, counts, unreadable images: where the numbers come from.
        rows: one row a query and draw.
    """

    spec: RunSpec
    provenance: dict[str, Any]
    rows: pd.DataFrame

    @cached_property
    def scores(self) -> dict[str, list[float]]:
        """Category -> accuracies of its images, the mean over draws; NaN where an image has none."""
        return self.by_category(self.rows["accuracy"])

    def by_image(self, values: pd.Series[Any]) -> pd.Series[float]:
        """A value a row to one an image, the mean over draws: indexed by category and image, in order."""
        return values.groupby([self.rows["category"], self.rows["image"]], sort=True).mean()

    def by_category(self, values: pd.Series[Any]) -> dict[str, list[float]]:
        """A value a row to category -> one an image, the mean over draws."""
        return {str(c): [float(v) for v in part] for c, part in self.by_image(values).groupby(level="category", sort=True)}

    @cached_property
    def category_means(self) -> dict[str, float]:
        """Category -> mean accuracy; categories without a score are left out, or count 0 in mode study."""
        return category_means(self.scores, absent="zero" if self.spec.mode == "study" else "skip")

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
        """P@1: share of rows with results whose first is of the query's category; NaN where the gallery names no categories."""
        return float(self.first_own.mean()) if any(any(kinds) for kinds in self.rows["result_categories"]) else math.nan

    @property
    def first_own(self) -> pd.Series[float]:
        """Whether each row's first result is of the query's own category, 1 or 0; NaN where it has none."""
        pairs = zip(self.rows["result_categories"], self.rows["category"], strict=True)
        return pd.Series([float(kinds[0] == own) if len(kinds) else math.nan for kinds, own in pairs], self.rows.index)

    def _mean(self, column: str) -> str | None:
        """The mean of a column over the queries that have a value, as text; None where there is no such column."""
        return f"{self.rows[column].mean():.3f}" if column in self.rows else None

    @property
    def zero_shot(self) -> float | None:
        """Share of queries that the encoder's text tower names rightly; None where it has none."""
        return float(self.rows["zero_shot"].mean()) if "zero_shot" in self.rows else None

    @property
    def label(self) -> str:
        return self.spec.condition.label

    @property
    def strength(self) -> str:
        """How strong the manipulation was at the encoder's input: mean and, where photographs differ, range, with unit."""
        values, unit = self.rows["strength"], MANIPULATIONS[self.spec.manip].unit
        spread = f" ({values.min():.3g} to {values.max():.3g})" if values.max() - values.min() > 0.005 * abs(values.mean()) else ""
        return f"{unit} {values.mean():.3g}{spread}"

    @property
    def warnings(self) -> list[str]:
        """What a reader must know before believing the number."""
        said = []
        if self.spec.manip != CLEAN and self.noop_share >= guards.NOTICED:
            said.append(
                f"{self.label} leaves {self.noop_share:.0%} of the photographs pixel-identical at the encoder's input: "
                "for those it is no manipulation at all"
            )
        if lost := self._lost():
            said.append(lost)
        if unreadable := self.provenance["unreadable"]:
            some = "; ".join(literal(why) for why in list(unreadable.values())[:3])
            more = "; all of them are named in run.json" if len(unreadable) > 3 else ""
            said.append(f"{len(unreadable)} unreadable images were left out, as queries and as results: {some}{more}")
        if empty := self.provenance["empty_categories"]:
            said.append(f"{len(empty)} folders hold no readable image: {', '.join(literal(name) for name in empty[:5])}")
        if missing := self.provenance.get("categories_missing"):
            said.append(f"{missing} categories are still to be run: the number is that of the batches so far")
        if other := self.provenance["passed_over"]:
            kinds = ", ".join(f"{count} {literal(kind)}" for kind, count in other.items())
            said.append(f"files that are no images that clipnb reads were passed over: {kinds}")
        if len(self.category_means) < 2:
            said.append("one category alone gives no interval: add another folder of photographs")
        return said

    def notes(self, root: Path | None = None) -> list[str]:
        """The warnings, and which of the runs saved below `root` asked the encoder largely the same as this one."""
        return [*self.warnings, *guards.saved_duplicates(self.spec, self.rows, root or results_root())]

    def _searched(self) -> str | None:
        """The gallery in a few words; None where it is the data set itself, searched exactly."""
        about = self.provenance.get("gallery", {})
        if about.get("kind") == "service":
            return f"{literal(about['address'])}, index {literal(about['index'])}"
        if not self.spec.gallery and self.spec.index == "exact":
            return None
        recall = about.get("recall")
        found = f", recall@{recall['k']} {recall['recall']:.3f} on {recall['queries']} queries" if recall else ""
        return f"{about['images']:,} images, {about['index']} index{found}"

    def _lost(self) -> str:
        """What became of results that were asked for and cannot be scored."""
        if "n_asked" not in self.rows:
            return ""
        total = self.rows[["n_asked", "n_returned", "n_dead", "n_unreadable"]].sum()
        missing = {
            "never returned": total["n_asked"] - total["n_returned"],
            "dead": total["n_dead"],
            "unreadable": total["n_unreadable"],
        }
        told = ", ".join(f"{count} {what}" for what, count in missing.items() if count)
        if not told:
            return ""
        return f"of {total['n_asked']} results asked for, {told}: clipnb.accounting shows how far the number depends on them"

    def __repr__(self) -> str:
        return f"<Result {self.spec.run_id}: valid@{self.spec.k} {self.accuracy.point:.4f}, {len(self.rows)} queries>"

    def _repr_markdown_(self) -> str:
        s, a = self.spec, self.accuracy
        interval = f"{a.low:.3f} to {a.high:.3f} ({a.method} over {a.n} categories)" if a.bounded else f"none ({a.why_unbounded})"
        p = self.provenance
        made = ", ".join(
            f"{name} {p['versions'][name]}" for name in ("clipnb", "torch", "faiss-cpu", "pillow") if name in p["versions"]
        )
        cells = {
            f"valid@{s.k}, L2 < {s.tau:g} (macro mean)": f"**{a.point:.4f}**",
            "95% interval": interval,
            "mean shift 1 - cos(v, v')": f"{self.rows['shift'].mean():.4f}",
            "first result of the same category": None if math.isnan(self.precision_at_1) else f"{self.precision_at_1:.1%}",
            "mAP by category": self._mean("ap"),
            "own original found first (self@1)": f"{np.mean(self.rows['self_rr'] == 1):.1%}" if "self_rr" in self.rows else None,
            "agreement with the clean query's results (RBO)": self._mean("rbo"),
            "named by category, zero-shot": None if self.zero_shot is None else f"{self.zero_shot:.1%}",
            "strength at the encoder's input": None if s.manip == CLEAN else self.strength,
            "photographs left pixel-identical": None if s.manip == CLEAN else f"{self.noop_share:.0%}",
            "searched": self._searched(),
            "queries / unreadable images": f"{len(self.rows)} / {len(p['unreadable'])}",
            "encoder": f"{literal(s.encoder)} {s.precision}{'' if s.engine == 'torch' else f' by {s.engine}'} on {p['device']}",
            "weights, SHA-256": p["encoder"]["weights_sha256"][:16] or None,
            "photographs, fingerprint": p["data_fingerprint"][:16],
            "code, SHA-256": p["code_sha256"][:16],
            "made with": made,
        }
        lines = [f"| {s.dataset_name}, {self.label} | |", "|:--|--:|"]
        lines += [f"| {name} | {value} |" for name, value in cells.items() if value is not None]
        return "\n".join(lines + [""] + [f"**Note:** {w}.\n" for w in self.notes()])

    def save(self, root: Path | None = None) -> Path:
        """Write the run's folder below `root` (`results/` by default) and return it.

        Raises:
            UserError: the folder holds a run on another data set of the same name.
        """
        folder = (root or results_root()) / self.spec.run_id
        if (clash := _clash(folder / "run.json", self)) is not None:
            raise UserError(f"{shown(folder)} holds a run on {clash}: rename one of the two, or move that run away")
        log = studylog.file_name(self.spec.dataset_name, self.spec.condition_id)
        headline = {"valid": self.accuracy.point, "low": self.accuracy.low, "high": self.accuracy.high}
        finite = {name: None if math.isnan(value) else value for name, value in headline.items()}
        record = {"spec": self.spec.to_dict(), "headline": finite, "warnings": self.notes(root), "provenance": self.provenance}
        folder.parent.mkdir(parents=True, exist_ok=True)
        with replaced_folder(folder) as partial:
            self.rows.to_parquet(partial / "rows.parquet", index=False)
            studylog.write(partial / log, self.spec.manip, self.scores)
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
            return cls(RunSpec(**record["spec"]), record["provenance"], rows)
        except (OSError, ValueError, KeyError, TypeError, UserError) as error:
            raise UserError(f"{shown(folder)} is not the folder of a finished run: {error}") from error


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
    """All finished runs, by encoder, data set and then condition in the study's order; a damaged one is warned of."""
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
