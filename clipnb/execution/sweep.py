"""Grids of runs: data sets x manipulations x severities x encoders, the specification of each run, and the cost of all.

Flags or a YAML file describe a grid, whose settings are any other parameters of the run notebook:
`{datasets: [athletes], manips: [blurred, grey], severities: [1, 3, 5], encoders: [histogram], settings: {per_category: 10}}`.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .._core.files import read_json, read_text
from .._core.paths import results_root, shown
from .._core.progress import ticking
from .._core.registry import nearest
from .._core.typed import from_text, load_yaml
from ..datasets.dataset import batch, is_same, load_dataset
from ..datasets.importers import is_imported
from ..embedding.embed import embed
from ..embedding.store import EmbeddingStore
from ..encoders import default_encoder, imports_code, load_encoder
from ..errors import UserError, needs, text_of
from ..manipulations import CLEAN, MANIPULATIONS, STUDY
from ..possible import drawn_for
from ..runs import saved_or_new
from ..spec import FIELDS, RunSpec
from . import pages

AXES = {"dataset", "manip", "severity", "encoder"}  # fields of `RunSpec` of which a grid has lists
TRIAL = 6  # number of photographs in a trial, which measures the speed of an encoder without earlier runs
NO_STRENGTH = "a sweep has no strength: list severities (1 3 5), or pass -p strength to a single run"
LARGEST = 100_000  # size of the largest file that is read as a grid, in bytes
NOTEBOOK_SECONDS = 12.0  # time that a run's kernel, figures and page take besides its embeddings, on one core


@dataclass(frozen=True)
class Grid:
    """The axes of a sweep."""

    datasets: tuple[str, ...]  # names or folders
    manips: tuple[str, ...] = STUDY  # the clean condition is always added
    severities: tuple[int, ...] = (0,)  # a manipulation without severities runs once
    encoders: tuple[str, ...] = ()  # if empty, the default encoder
    settings: Mapping[str, Any] = field(default_factory=dict)  # further fields of `RunSpec`, which all runs share

    def specs(self) -> list[RunSpec]:
        """List the runs without duplicates, clean ones first, whose embeddings all others use; one `UserError` of all mistakes."""
        mistakes: list[str] = []
        if not self.datasets:
            mistakes.append("a sweep needs data sets: clipnb sweep <folder or name> ...")
        if over := set(self.settings) & AXES:
            mistakes.append(f"settings hold {', '.join(sorted(over))}: name these as datasets, manips, severities or encoders")
        if unknown := set(self.settings) - set(FIELDS):
            asked, known = sorted(unknown), sorted(FIELDS.keys() - AXES - {"strength"})
            meant = "".join(nearest(name, known) for name in asked) or f"; choose from {', '.join(known)}"
            mistakes.append(f"unknown settings: {', '.join(asked)}{meant}")
        if "strength" in self.settings:
            mistakes.append(NO_STRENGTH)
        datasets: list[str] = []
        for dataset in self.datasets:
            with suppress(UserError):  # two spellings of one folder
                if not is_imported(dataset) and any(is_same(dataset, other) for other in datasets if not is_imported(other)):
                    continue
            datasets.append(dataset)
        settings = {name: value for name, value in self.settings.items() if name not in over | unknown | {"strength"}}
        conditions, found = [(CLEAN, 0)], dict[RunSpec, None]()
        for manip in self.manips:
            try:
                levels = self.severities if MANIPULATIONS[manip].parameter.levels else (0,)
                conditions += [(manip, severity) for severity in levels]
            except UserError as error:
                mistakes.append(NO_STRENGTH if "=" in manip else str(error))
        for (manip, severity), encoder, dataset in product(conditions, self.encoders or (default_encoder(),), datasets):
            try:
                found[RunSpec(dataset, manip, encoder, severity=severity, **settings)] = None
            except UserError as error:
                mistakes += str(error).split("; ")
        if mistakes:
            raise UserError("; ".join(dict.fromkeys(mistakes)))
        return list(found)


def read_grid(path: Path) -> dict[str, Any]:
    """Read the fields of a grid from a YAML file; a `UserError` if it does not describe one."""
    with needs("reading a grid", "notebook"):
        import yaml
    try:
        found = load_yaml(read_text(path, LARGEST), "BaseLoader")  # texts alone: `no` and `010` may be names
    except FileNotFoundError:
        raise UserError(f"there is no file {shown(path)}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{shown(path)} cannot be read as a grid: {text_of(error)}") from error
    names = set(Grid.__dataclass_fields__)
    if not isinstance(found, dict) or (strange := sorted(found.keys() - names)):
        told = ""
        if isinstance(found, dict):
            moved = [name for name in strange if name in FIELDS.keys() - AXES]
            meant = f": put {', '.join(moved)} into settings" if moved else "".join(nearest(name, names) for name in strange)
            told = f" ({', '.join(strange)}){meant}"
        raise UserError(f"{shown(path)} must hold some of {', '.join(sorted(names))}, and nothing else{told}")
    settings = found.pop("settings", None) or {}
    if not isinstance(settings, dict):
        raise UserError(f"{shown(path)}: settings must be name: value pairs")
    mistakes = []
    lists: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else (value,) for name, value in found.items()}
    for name, values in lists.items():
        if not values or "" in values:
            mistakes.append(f"{name} is empty: list some, or leave the line out")
        elif not all(isinstance(value, str) for value in values):
            mistakes.append(f"{name} must be a list of names or numbers")
        elif name == "severities":
            lists[name] = tuple(from_text(value, 0) for value in values)
            if not all(isinstance(value, int) for value in lists[name]):
                mistakes.append("severities must be whole numbers from 0 to 5")
    several = [name for name, value in settings.items() if not isinstance(value, str)]
    mistakes += [f"{name} in settings must be one value, not {settings[name]!r:.40}: a sweep for each" for name in several]
    if mistakes:
        raise UserError(f"{shown(path)}: {'; '.join(mistakes)}")
    typed = {name: from_text(value, FIELDS[name].default) if name in FIELDS else value for name, value in settings.items()}
    return {**lists, "settings": typed}


def cost(specs: Sequence[RunSpec], jobs: int, *, with_pages: bool = True) -> str:
    """Estimate the cost of runs, in a sentence, from earlier runs with the same encoder, or from a trial on a few photographs."""
    if not specs:
        return "0 runs to do"
    counts = {spec: len(batch(drawn_for(spec).photos, spec.start, spec.step)) * spec.draws for spec in specs}
    first = {spec.encoder: spec for spec in reversed(specs)}
    per_image = {encoder: seconds_per_image(spec) for encoder, spec in first.items()}
    minutes = sum(NOTEBOOK_SECONDS * with_pages + counts[spec] * per_image[spec.encoder] for spec in specs) / jobs / 60
    how_long = f"{minutes:.0f} minutes" if minutes >= 1.5 else "a minute or two"
    return (
        f"{len(specs)} {'run' if len(specs) == 1 else 'runs'} to do: at most {sum(counts.values()):,} embeddings "
        f"(embeddings of earlier runs are reused), about {how_long} on {jobs} {'process' if jobs == 1 else 'processes'}"
        + ", pages included"
        * with_pages
    )


def seconds_per_image(spec: RunSpec) -> float:
    """Estimate the time to embed a photograph from saved runs, or from a trial that does not use the store."""
    seconds = images = 0.0
    for about in results_root().glob("*/run.json"):
        with suppress(Exception):  # a damaged run
            record = read_json(about)
            alike = all(record["spec"].get(name) == getattr(spec, name) for name in ("encoder", "precision", "engine"))
            if alike and record["provenance"]["embedded_now"] >= 20 * TRIAL:
                seconds += record["provenance"]["seconds"]
                images += record["provenance"]["embedded_now"]
    return seconds / images if images else _trial(spec)


def _trial(spec: RunSpec) -> float:
    photos = load_dataset(spec.dataset).photos[:TRIAL]
    print(f"timing {spec.encoder} on {len(photos)} photographs, because no run embedded enough to tell its speed", file=sys.stderr)
    encoder = load_encoder(spec.encoder, spec.precision, spec.engine, spec.device)
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddingStore(Path(folder), encoder.identity, encoder.dim)
        embed(photos[:1], [CLEAN], encoder, store, progress=False)  # the first embedding is slower
        started = time.monotonic()
        done = embed(photos, [CLEAN, "blurred"], encoder, store, progress=False)
    return (time.monotonic() - started) / max(1, done.computed)


def numbers_only(specs: Sequence[RunSpec]) -> dict[str, str]:
    """Compute the results that are not saved yet, without pages, and return run -> message for each run that failed."""
    failures: dict[str, str] = {}
    with tqdm(specs, desc="runs", unit="run") as bar, ticking(bar):
        for spec in bar:
            bar.set_postfix_str(f"{spec.dataset_name} {spec.condition}")
            if failure := pages.failure_of(saved_or_new, spec):
                failures[spec.run_id] = failure
    return failures


def typed_grid(words: Sequence[str], **given: Any) -> Grid:
    """Make a grid from what is typed: data sets, a file .yml with the fields of a grid, and flags, which have precedence.

    A `UserError` says that there are several files, or that the file is wrong or names an encoder whose code would be imported.
    """
    files = [word for word in words if Path(word).suffix in (".yml", ".yaml")]
    if len(files) > 1:
        raise UserError(f"a sweep takes one grid, not {len(files)}: {', '.join(files)}")
    grid = read_grid(Path(files[0])) if files else {}
    encoders = () if given.get("encoders") else grid.get("encoders", ())
    if own := [name for name in encoders if imports_code(name)]:
        typed = f"--encoders {shlex.join(encoders)}"
        raise UserError(f"the grid names the encoder {own[0]!r}, whose code is imported only if you type it: {typed}")
    given["settings"] = {**grid.get("settings", {}), **given.get("settings", {})}
    given["datasets"] = tuple(word for word in words if word not in files)
    return replace(Grid(()), **grid | {name: value for name, value in given.items() if value})
