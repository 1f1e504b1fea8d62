"""`clipnb report`: run the notebook for each data set and manipulation, then build the book; redo only what changed."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .datasets import load_dataset
from .encoders import OFFLINE
from .errors import MissingExtra, UserError
from .files import write_text
from .manipulations import STUDY
from .paths import project_root, results_root, runs_root, shown
from .samples import SAMPLES
from .spec import RunSpec

NOT_IN_A_RUN = (
    "book.py",
    "book_values.py",
    "cli.py",
    "original.py",
    "papermill_plugin.py",
    "reading.py",
    "report.py",
    "sentences.py",
)
"""Modules that a run's page does not depend on."""


def sample_specs() -> list[RunSpec]:
    """The study on the photographs that ship with packages, with the encoder that works offline."""
    return [RunSpec(dataset, manip, OFFLINE) for dataset in SAMPLES for manip in STUDY]


def template() -> Path:
    """The parameterised notebook.

    Raises:
        UserError: this is not a checkout of the project.
    """
    path = project_root() / "notebooks" / "run.ipynb"
    if not path.is_file():
        raise UserError(f"{shown(path)} is not there: run this in a checkout of the clipnb repository")
    return path


def page(spec: RunSpec) -> Path:
    """Where the executed notebook of a run goes."""
    return runs_root() / f"{spec.run_id}.ipynb"


def state_of(spec: RunSpec) -> str:
    """Digest of everything that a run's page is made from: notebook, code, specification and image files."""
    sha = hashlib.sha256(template().read_bytes())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        if path.name not in NOT_IN_A_RUN:
            sha.update(path.read_bytes())
    sha.update(repr(spec).encode())
    for photo in load_dataset(spec.dataset).photos:
        stat = photo.path.stat()
        sha.update(f"{photo.id} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return sha.hexdigest()


def is_current(spec: RunSpec, state: str) -> bool:
    """Whether a run's page and result were made from exactly this state."""
    if not (results_root() / spec.run_id / "run.json").is_file():
        return False
    try:
        metadata = json.loads(page(spec).read_text(encoding="utf-8"))["metadata"]
    except (OSError, ValueError, KeyError):
        return False
    return bool(metadata.get("clipnb_state") == state)


def run_page(spec: RunSpec, state: str) -> None:
    """Execute the notebook for one run and write its page, all of it or nothing.

    Raises:
        UserError: the notebook reported one.
        PapermillExecutionError: anything else went wrong in it.
    """
    try:
        import nbformat
        import papermill
    except ModuleNotFoundError as error:
        raise MissingExtra("running notebooks", "notebook") from error
    from papermill.exceptions import PapermillExecutionError

    try:
        executed = papermill.execute_notebook(
            template(), None, spec.to_dict() | {"progress": False}, cwd=str(project_root()), progress_bar=False
        )
    except PapermillExecutionError as error:
        if error.ename in ("UserError", *(kind.__name__ for kind in UserError.__subclasses__())):
            raise UserError(error.evalue) from error
        raise
    executed.metadata["clipnb_state"] = state
    write_text(page(spec), nbformat.writes(executed) + "\n")


def ensure(specs: Sequence[RunSpec], *, progress: bool = True) -> dict[str, str]:
    """Run those of the specifications that are not current; the failures, run -> message, stop none of the others."""
    states: dict[RunSpec, str] = {}
    failures: dict[str, str] = {}
    for spec in specs:
        try:
            states[spec] = state_of(spec)
        except UserError as error:
            failures[spec.run_id] = str(error)
    due = [spec for spec, state in states.items() if not is_current(spec, state)]
    if progress and len(due) < len(states):
        print(f"{len(states) - len(due)} of {len(states)} runs are up to date", flush=True)
    bar = tqdm(due, desc="runs", unit="run", disable=not (progress and due))
    for spec in bar:
        bar.set_postfix_str(f"{spec.dataset_name} {spec.condition}")
        try:
            run_page(spec, states[spec])
        except UserError as error:
            failures[spec.run_id] = str(error)
        except Exception as error:  # one broken run must not cost the others
            failures[spec.run_id] = f"{type(error).__name__}: {error}"
    return failures


def specs_for(datasets: Iterable[str], **settings: Any) -> list[RunSpec]:
    """The study's conditions on each of the data sets, under the same settings (fields of `RunSpec`)."""
    return [RunSpec(dataset, manip, **settings) for dataset in datasets for manip in STUDY]


def build_book() -> Path:
    """Build the book and return its first page.

    Raises:
        UserError: the build failed, or Jupyter Book is missing.
    """
    from importlib.util import find_spec

    if find_spec("jupyter_book") is None:
        raise MissingExtra("the book", "book")
    book = project_root() / "book"
    jb = "from jupyter_book.cli.main import main; main()"  # the `jb` of this very environment
    command = [sys.executable, "-c", jb, "build", str(book), "-W", "-n", "--keep-going", "-q"]
    if subprocess.run(command, cwd=project_root()).returncode:
        raise UserError("the book was not built: the lines above say why")
    return project_root() / "_build" / "html" / "index.html"  # beside the _config.yml, which is where jb puts it
