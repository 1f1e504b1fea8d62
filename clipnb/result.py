"""The result of a run: specification, provenance, and one row per query and draw. Its folder holds three files.

`run.json`      specification, headline number, provenance with warnings, SHA-256 of the rows; a result has this file
`rows.parquet`  one row per query and draw: category, image, draw, sha256, input (digest of the encoder's input), noop,
                strength and difference (at the encoder's input), n_asked, n_returned, n_dead, n_unreadable, n_results,
                n_valid, n_copies (gallery images left out as copies of the query), results, result_categories, distances,
                and a column for each measure (`clipnb.metrics.measures`)
`clip_output_<dataset>_<manip>.json`  the log format of the study
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import warnings
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from . import rows as stored
from . import study_log
from ._core.files import file_sha256, read_bytes, read_text, replaced_folder, write_text
from ._core.paths import normalized_gallery, results_root, shown
from ._core.registry import nearest
from ._core.text import is_service
from .datasets.dataset import NESTED, locate
from .errors import DatasetError, UserError, left_out, text_of
from .manipulations import MANIPULATIONS
from .metrics.measures import MEASURES, OF_TEXTS
from .provenance import Provenance, checked, folder_sha256
from .retrieval.sources import is_same_gallery
from .spec import RunSpec
from .stats.intervals import Absent, Interval, category_means, macro_mean, mean_interval


@dataclass(frozen=True, repr=False)
class Result:
    """One finished run.

    >>> from clipnb import RunSpec, run
    >>> result = run(RunSpec("sample-figures", "grey", "histogram", per_category=4, k=3), progress=False)
    >>> result.rows[["category", "image", "valid"]].shape
    (24, 3)
    >>> sorted(result.means("p1")) == sorted(set(result.rows["category"]))
    True
    """

    spec: RunSpec  #: specification of the run
    provenance: Provenance  #: the origin of the numbers: versions, weights, counts, unreadable images, gallery and warnings
    rows: pd.DataFrame  #: one row per query and draw, with the columns of `rows.parquet`

    @cached_property
    def scores(self) -> dict[str, list[float]]:
        """Category -> valid@k of each image, averaged over draws; NaN for an image without a value."""
        return self.by_category(self.rows["valid"])

    def by_image(self, values: pd.Series[Any]) -> pd.Series[float]:
        """Average a value per row over draws: one value per image, indexed and sorted by category and image."""
        return values.groupby([self.rows["category"], self.rows["image"]], sort=True).mean()

    def by_category(self, values: pd.Series[Any]) -> dict[str, list[float]]:
        """Average a value per row over draws: category -> one value per image."""
        return {str(c): [float(v) for v in part] for c, part in self.by_image(values).groupby(level="category", sort=True)}

    def absent(self, measure: str) -> Absent:
        """The rule for a category without a score: it is skipped; only valid@k counts 0 there in mode study, as in the study."""
        return "zero" if self.spec.mode == "study" and MEASURES.canonical(measure) == "valid" else "skip"

    @cached_property
    def category_means(self) -> dict[str, float]:
        """Category -> mean of valid@k over its images."""
        return self.means("valid")

    @cached_property
    def valid(self) -> Interval:
        """Macro mean of valid@k with its interval over categories."""
        return self.macro("valid")

    def column(self, measure: str) -> pd.Series[Any]:
        """The values of a measure, one per row; a `UserError` if it is unknown, or the run does not have it."""
        name = MEASURES.canonical(measure)
        if name not in self.rows:
            why = "its gallery does not allow it"
            if name in OF_TEXTS and "zero_shot" in self.rows:
                why = "its edit writes no word" if name == "misread" else "it is a batch"
            elif name in OF_TEXTS:
                why = "its photographs have no categories" if self.flat else "its encoder embeds no text"
            raise UserError(f"{self.spec.run_id} has no {measure!r}: {why}")
        return self.rows[name]

    def scored(self, measure: str) -> bool:
        """Whether any query has a value of a measure."""
        return measure in self.rows and bool(self.rows[measure].notna().any())

    def means(self, measure: str) -> dict[str, float]:
        """Category -> mean of a measure over images with a value; `absent` is the rule for a category without any."""
        return category_means(self.by_category(self.column(measure)), absent=self.absent(measure))

    def mean(self, measure: str) -> float:
        """Macro mean of a measure: the mean over categories; NaN if no category has a value."""
        means = list(self.means(measure).values())
        return macro_mean(means) if means else math.nan

    def macro(self, measure: str) -> Interval:
        """Macro mean of a measure with its interval over categories; NaN without bounds if no category has a value."""
        means = list(self.means(measure).values())
        if not means:
            return Interval(math.nan, math.nan, math.nan, "t", 0)
        return mean_interval(means, bounds=MEASURES[measure].range)

    @property
    def flat(self) -> bool:
        """Whether the photographs have no categories: each is then a category of its own."""
        return bool((self.rows["category"] == self.rows["image"]).all())

    @property
    def one_kind(self) -> bool:
        """Whether all that is searched is of one category, so that measures by category are 1 by construction."""
        return not self.spec.gallery and self.provenance["categories"] == 1

    @property
    def noop_share(self) -> float:
        """Share of the rows whose manipulated photograph is pixel-identical to the clean one at the encoder's input."""
        return float(self.rows["noop"].mean())

    @property
    def left_out(self) -> str:
        """How many photographs could not be read, with the first reason; "" if all could."""
        return left_out(self.provenance["unreadable"], self.provenance["images"])

    @property
    def identity(self) -> dict[str, str]:
        """The identity of the run in its log: ids, data set, condition, threshold, encoder, digests of weights and photographs."""
        s, p = self.spec, self.provenance
        return {
            "run": s.run_id,
            "group": s.group_id,
            "dataset": s.dataset_name,
            "condition": s.condition_id,
            "tau": repr(s.tau),
            "model": s.encoder,
            "encoder": p["encoder"]["identity"],
            "photographs": p["data_fingerprint"],
        }

    def is_of(self, spec: RunSpec) -> bool:
        """Whether this is the run of a specification, however the folders of data set and gallery are spelled there."""
        respelled = dataclasses.replace(self.spec, dataset=spec.dataset, gallery=spec.gallery)
        return respelled == spec and self.is_on(spec.dataset) and is_same_gallery(self.spec.gallery, spec.gallery)

    def is_on(self, dataset: str) -> bool:
        """Whether the photographs are in the folder that `dataset` names. The folder of an absent one is compared by its name."""
        if self.spec.dataset == dataset and not dataset.startswith("."):
            return True
        if dataset.startswith(NESTED) != self.spec.dataset.startswith(NESTED):
            return False
        try:
            return bool(self.provenance["root_sha256"] == folder_sha256(locate(dataset)))
        except DatasetError:
            return dataset in (self.spec.dataset, self.spec.dataset_name)

    @property
    def label(self) -> str:
        return self.spec.condition.label

    @property
    def strength(self) -> str:
        """Strength of the manipulation at the encoder's input, with its unit: mean, and range if photographs differ."""
        values, unit = self.rows["strength"], MANIPULATIONS[self.spec.manip].unit
        if values.isna().all():
            return f"{unit}: unknown, because the encoder's inputs are not 8-bit images"
        spread = f" ({values.min():.3g} to {values.max():.3g})" if values.max() - values.min() > 0.005 * abs(values.mean()) else ""
        return f"{unit} {values.mean():.3g}{spread}"

    def __repr__(self) -> str:
        return f"<Result {self.spec.run_id}: valid@{self.spec.k} {self.valid.point:.4f}, {len(self.rows)} queries>"

    def save(self, root: str | Path | None = None) -> Path:
        """Write the run's folder into `root` (`results/` by default) and return the folder.

        A `UserError` says that it holds a run with another data set, gallery or encoder of the same short name.
        """
        folder = Path(root or results_root()) / self.spec.run_id
        about = self.provenance
        require_own_folder(folder, self.spec, about["root_sha256"], lambda unreadable: about["data_fingerprint"])
        log = study_log.file_name(self.spec.dataset_name, self.spec.condition_id)
        headline = {"valid": self.valid.point, "low": self.valid.low, "high": self.valid.high}
        finite = {name: None if math.isnan(value) else value for name, value in headline.items()}
        record: dict[str, Any] = {"spec": self.spec.to_dict(), "headline": finite, "provenance": self.provenance}
        with replaced_folder(folder) as partial:
            self.rows.to_parquet(partial / "rows.parquet", index=False)
            record["rows_sha256"] = file_sha256(partial / "rows.parquet")
            write_text(partial / log, study_log.dumps(self.spec.manip, self.scores, self.absent("valid"), self.identity))
            write_text(partial / "run.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Result:
        """Read the folder of a run; a `UserError` if it is damaged, not that of a run, or of version 0.1."""
        folder = Path(folder)
        try:
            record = json.loads(read_text(folder / "run.json"))
            content = read_bytes(folder / "rows.parquet")
            if record.get("rows_sha256", digest := hashlib.sha256(content).hexdigest()) != digest:
                raise ValueError("rows.parquet is not the file that run.json was written for")
            return cls(RunSpec(**record["spec"]), checked(record["provenance"]), stored.read(content))
        except Exception as error:  # damaged files raise errors of many kinds
            raise UserError(f"{shown(folder)} is not the folder of a finished run: {text_of(error)}") from error


def require_own_folder(folder: Path, spec: RunSpec, root_sha256: str, fingerprint: Callable[[Collection[str]], str]) -> None:
    """Raise a `UserError` if the folder of a run holds one of the same name with another gallery, encoder or data set.

    `root_sha256` is the digest of the path of the data set's folder. `fingerprint`, of unreadable ids -> digest of all other
    photographs, is called only if the folders of the data sets differ.
    """
    clash, instead = "", "rename one of the two, or move that run away"
    with suppress(Exception):  # a missing or damaged file may be replaced
        record = json.loads(read_text(folder / "run.json"))
        theirs, about = record["spec"], record["provenance"]
        if not is_same_gallery(held := normalized_gallery(theirs.get("gallery", "")), spec.gallery):
            clash = f"gallery {held!r}, not {spec.gallery!r}"
            instead = "move that run away" if is_service(held) and is_service(spec.gallery) else instead
        elif theirs["encoder"] != spec.encoder:
            clash = f"encoder {theirs['encoder']!r}, not {spec.encoder!r}"
        elif about["root_sha256"] != root_sha256 and about["data_fingerprint"] != fingerprint(about["unreadable"]):
            clash = f"another folder, {theirs['dataset']!r}, than this {spec.dataset!r}"
    if clash:
        raise UserError(f"{shown(folder)} holds a run on {clash}: {instead}")


def load_results(root: str | Path | None = None, *, batches: bool = False) -> list[Result]:
    """Read all finished runs below `root` (`results/` by default).

    A damaged run, and a folder whose name is not the id of its run (a copy), are ignored with a warning. Batches are left out
    if they were merged or the whole run was made, unless `batches` is set. `UserError` if `root` is no folder, or the folder of
    one run.

    They are sorted by encoder, data set and condition; conditions keep the order of `clipnb.manipulations.MANIPULATIONS`.

    >>> import tempfile
    >>> from clipnb import RunSpec, run
    >>> result = run(RunSpec("sample-figures", "grey", "histogram", per_category=4, k=3), progress=False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     saved = result.save(Path(folder))
    ...     [result.spec.manip for result in load_results(Path(folder))]
    ['grey']
    """
    if root is not None and not Path(root).is_dir():
        raise UserError(f"there is no folder {str(root)!r}")
    if root is not None and (Path(root) / "run.json").is_file():
        raise UserError(f"{shown(Path(root))} is the folder of one run: pass its parent")
    found: list[Result] = []
    for about in Path(root or results_root()).glob("[!.]*/run.json"):  # a dot: left by a save that was killed
        try:
            result = Result.load(about.parent)
            if result.spec.run_id != about.parent.name:
                why = f"holds the run {result.spec.run_id} and is ignored: rename or delete it"
                raise UserError(f"{shown(about.parent)} {why}")
            found.append(result)
        except UserError as error:
            warnings.warn(str(error), stacklevel=2)
    order = {name: at for at, name in enumerate(MANIPULATIONS)}
    whole: dict[str, Any] = {} if batches else {r.spec.run_id: r.provenance.get("batches") for r in found}

    def is_part(batch: Result) -> bool:
        of = replace(batch.spec, start=0, step=0).run_id
        return of != batch.spec.run_id and of in whole and (whole[of] is None or batch.spec.run_id in whole[of])

    return sorted(
        (r for r in found if not is_part(r)),
        key=lambda r: (r.spec.encoder, r.spec.dataset_name, order.get(r.spec.manip, len(order)), r.spec.manip, r.spec.run_id),
    )


def near_runs(name: str, *fields: str) -> str:
    """A question with what the saved runs have in these fields of `RunSpec`, if it is like a mistyped name; else ""."""
    known = {getattr(result.spec, field) for result in load_results() for field in fields}
    return "" if name in known else nearest(name, known)
