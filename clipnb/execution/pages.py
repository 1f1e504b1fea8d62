"""`clipnb report`: run the notebook for each data set and manipulation that changed, then build the book."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib import metadata
from importlib.util import find_spec
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .._core.code_state import PACKAGE, digest_of, needed_by
from .._core.files import read_json, read_text, require_writable, write_text
from .._core.paths import project_root, results_root, runs_root, shown
from .._core.progress import ticking
from ..datasets.dataset import listing_digest, load_dataset
from ..datasets.samples import SAMPLES
from ..encoders import OFFLINE
from ..errors import MissingExtra, UserError
from ..manipulations import CLEAN, STUDY
from ..possible import require_possible
from ..provenance import code_sha256, folder_sha256
from ..retrieval.sources import gallery_files
from ..runs import custom_identity
from ..spec import RunSpec
from .notebook import executed

MADE_BY_THE_BUILD = ("api", "cards", "datasets")  # folders in `book/` that the build writes
STATE = ".clipnb_state"  # file beside the first page of the book with the state that the book was built from
TEMPLATE = Path("notebooks", "run.ipynb")  # the parameterised notebook in a project
RUN_BYTES = 3 * 2**29  # memory that is set aside for a run with its kernel, in bytes

IN_A_RUN = ("report.photos", "report.plots", "report.text")
"""Modules that the run notebook calls besides `clipnb.runs`. With their imports, they make the text and figures of a page."""


def sample_specs() -> list[RunSpec]:
    """The study's conditions on the sample photographs, with the encoder that works offline."""
    return [RunSpec(dataset, manip, OFFLINE) for dataset in SAMPLES for manip in STUDY]


def template() -> Path:
    """Path of the parameterised notebook; a `UserError` if the current folder is in no project."""
    path = project_root() / TEMPLATE
    if not path.is_file():
        raise UserError(f"{shown(path)} is missing: run this in a project (clipnb init <folder> makes one)")
    return path


def page(spec: RunSpec) -> Path:
    """Path of the executed notebook of a run."""
    return runs_root() / f"{spec.run_id}.ipynb"


def state_of(spec: RunSpec) -> str:
    """Digest of everything that a run's page depends on: notebook, code, specification, custom encoder and image files.

    Modules that numbers depend on count with their whole text, modules that present numbers without their comments.
    """
    sha = hashlib.sha256(template().read_bytes())
    sha.update((code_sha256() + digest_of(needed_by(*IN_A_RUN), comments=False)).encode())
    dataset = load_dataset(spec.dataset)
    sha.update(repr(replace(spec, dataset=folder_sha256(dataset.root))).encode())
    sha.update((listing_digest(dataset.photos) + custom_identity(spec)).encode())
    for path in gallery_files(spec.gallery):
        stat = path.stat()
        sha.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return sha.hexdigest()


def is_current(spec: RunSpec, state: str) -> bool:
    """Whether a run has a result, and a page that was made from exactly this state."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        made_from = read_json(page(spec))["metadata"]["clipnb_state"]
        return bool(made_from == state) and (results_root() / spec.run_id / "run.json").is_file()
    return False


def run_page(spec: RunSpec, state: str) -> None:
    """Execute the notebook for a run and write its page, completely or not at all; errors are those of `executed`."""
    write_text(page(spec), executed(template(), spec.to_dict() | {"progress": False}, clipnb_state=state))


def outstanding(specs: Sequence[RunSpec]) -> tuple[dict[RunSpec, str], dict[str, str]]:
    """The runs that have no current page, with the state of each, and run -> message for each run that cannot start."""
    due: dict[RunSpec, str] = {}
    failures: dict[str, str] = {}
    for spec in specs:
        try:
            require_possible(spec)
            if not is_current(spec, state := state_of(spec)):
                due[spec] = state
        except UserError as error:
            failures[spec.run_id] = str(error)
    return due, failures


def ensure(specs: Sequence[RunSpec], *, jobs: int = 1, announce: Callable[[list[RunSpec]], None] | None = None) -> dict[str, str]:
    """Run the specifications whose pages are not current, and return run -> message for each run that failed.

    A run that fails does not stop the others. Of several `jobs`, the runs at a time, each has a process of its own.
    `announce` receives the runs that are due, before the first of them starts.
    """
    due, failures = outstanding(specs)
    possible = len(specs) - len(failures)
    if len(due) < possible:
        print(f"{possible - len(due)} of {possible} runs are up to date", flush=True)
    if due:
        require_writable(results_root(), runs_root())
    if announce and due:
        announce(list(due))
    with tqdm(total=len(due), desc="runs", unit="run", disable=not due) as bar, ticking(bar):
        for spec, failure in _pages(due, jobs, bar):
            bar.update()
            if failure:
                failures[spec.run_id] = failure
    return failures


def default_jobs() -> int:
    """Number of runs at a time: one per core, at most 4, and as many as fit into the free memory."""
    import psutil

    return max(1, min(4, os.cpu_count() or 1, int(psutil.virtual_memory().available // RUN_BYTES)))


def _pages(due: Mapping[RunSpec, str], jobs: int, bar: Any) -> Iterator[tuple[RunSpec, str]]:
    """Yield each run when it ends, with its failure or "". Clean runs come first, because the others use their embeddings."""
    if jobs <= 1:
        for spec, state in due.items():
            bar.set_postfix_str(f"{spec.dataset_name} {spec.condition}")
            yield spec, failure_of(run_page, spec, state)
        return
    threads = max(1, (os.cpu_count() or 1) // jobs)
    others = active_children()
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), _start_worker, (threads,))
    try:
        for clean in (True, False):
            now = [spec for spec in due if (spec.manip == CLEAN) == clean]
            with _ignoring_interrupts():  # which the processes that start here inherit
                runs = {pool.submit(_in_worker, spec, due[spec]): spec for spec in now}
            for future in as_completed(runs):
                bar.set_postfix_str(f"{runs[future].dataset_name} {runs[future].condition}")
                yield runs[future], future.result()
    except BrokenProcessPool:
        how = "type the same command to continue, or try --jobs 1"
        raise UserError(f"a process of the sweep was killed (out of memory?): {how}") from None
    except BaseException:  # an interrupt
        for process in set(active_children()) - set(others):
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Ignore Ctrl-C in the block; in another thread than the main one, Python cannot."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _start_worker(threads: int) -> None:
    """Initialise a worker process: limit its numeric kernels to some cores, and end it when its parent ends."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    signal.signal(signal.SIGTERM, _end_worker)
    if parent := parent_process():
        threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()


def _end_worker(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the pool repeats it while the kernel ends
    sys.exit(1)


def _in_worker(spec: RunSpec, state: str) -> str:
    """Run a page in a worker and return its failure, or ""; end the worker that is terminated, after the kernel of the page."""
    try:
        return failure_of(run_page, spec, state)
    except SystemExit:
        os._exit(1)


def failure_of(task: Callable[..., object], *arguments: object) -> str:
    """Do a task of a run and return its failure, or ""."""
    try:
        task(*arguments)
    except UserError as error:
        return str(error)
    except Exception as error:  # one broken run must not stop the others
        return f"{type(error).__name__}: {error}"
    return ""


def book_state() -> str:
    """Digest of what the book depends on: pages, results, photographs, code, packages and settings in the environment.

    Files count by name, size and time of change, so that no file is read.
    """
    root = project_root()
    sha = hashlib.sha256()
    for folder in (root / "book", root / "notebooks", results_root(), PACKAGE):
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            written = folder.name == "book" and inside.parts[0] in MADE_BY_THE_BUILD
            if path.is_file() and path.suffix != ".pyc" and not written:
                sha.update(f"{inside} {path.stat().st_size} {path.stat().st_mtime_ns}\n".encode())
    for name in ("_config.yml", "_toc.yml"):
        sha.update((root / name).read_bytes())
    for about in sorted(results_root().glob("*/run.json")):
        with suppress(Exception):  # a damaged run, or photographs that are gone
            dataset = read_json(about)["spec"]["dataset"]
            sha.update(listing_digest(load_dataset(dataset).photos).encode())
    sha.update(repr(sorted((d.name, d.version) for d in metadata.distributions())).encode())
    sha.update(repr(sorted(item for item in os.environ.items() if item[0].startswith("CLIPNB_"))).encode())
    return sha.hexdigest()


def first_page() -> Path:
    """Path of the first page of the built book; jb writes beside `_config.yml`."""
    return project_root() / "_build" / "html" / "index.html"


def book_is_current() -> bool:
    """Whether the book is built, and nothing that it depends on changed since."""
    with suppress(OSError):
        built_from = read_text(first_page().with_name(STATE))
        return first_page().is_file() and built_from == book_state()
    return False


def run_attached(code: str, *arguments: str) -> int:
    """Run Python code in the project with arguments, in a process that ends when this one does, and return its exit status."""
    ends = "import os, threading; threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()\n"
    command = [sys.executable, "-c", ends + code, *arguments]
    with subprocess.Popen(command, cwd=project_root(), stdin=subprocess.PIPE) as process:
        return process.wait()


def build_book() -> Path:
    """Build the book, unless nothing that it depends on changed since, and return the path of its first page.

    A `MissingExtra` says that Jupyter Book is not installed, a `UserError` that the build failed.
    """
    if find_spec("jupyter_book") is None:
        raise MissingExtra("the book", "book")
    first = first_page()
    if book_is_current():
        print("the book is up to date", flush=True)
        return first
    jb = "from jupyter_book.cli.main import main; main()"  # `jb` of this environment
    if run_attached(jb, "build", str(project_root() / "book"), "-W", "-n", "--keep-going"):
        raise UserError("the book could not be built; the lines above give the reason")
    write_text(first.with_name(STATE), book_state())
    return first
