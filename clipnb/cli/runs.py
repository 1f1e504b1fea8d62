"""The commands that make, list and merge runs: report, sweep, embed, runs, merge."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .._core.text import first_of
from ..errors import UserError
from .flags import SEVERAL, Command, add_engines, add_settings, as_typed, given_settings

if TYPE_CHECKING:
    from ..spec import RunSpec


LISTED = ["run", "dataset", "manip", "encoder", "queries", "found", "p1", "map", "valid", "created"]
"""Columns of the table that `clipnb runs` prints."""


def _report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("datasets", nargs="*", metavar="dataset", help="more data sets: a folder, or a name in $CLIPNB_DATA")
    add_settings(parser, "encoder", "k", "tau", "seed", "precision", "engine", note="; only for the data sets named here")
    parser.add_argument("--no-book", action="store_true", help="run the notebooks only")
    parser.add_argument("--dry-run", action="store_true", help="only state what would be run and built, and the estimated time")
    parser.add_argument("--open", action="store_true", help="open the book in the browser")


def _report(options: argparse.Namespace) -> int:
    from .._core.paths import shown
    from ..execution import pages
    from ..manipulations import STUDY
    from ..spec import RunSpec

    pages.template()  # fails at once outside a project
    if (settings := given_settings(options)) and not options.datasets:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in settings)
        print(f"clipnb: {flags} ignored: name a data set (clipnb report <folder> ...)", file=sys.stderr)
    own = [RunSpec(dataset, manip, **settings) for dataset in options.datasets for manip in STUDY]
    specs = pages.sample_specs() + own
    if options.dry_run:
        return _report_dry(specs, options)
    if len(_possible(own, options)) < len(own):
        return 1
    failures = pages.ensure(specs, jobs=pages.default_jobs())
    _tell_left_out(own)
    _tell(failures, "failed", options)
    if options.no_book:
        _state(len(specs) - len(failures), len(specs))
    else:
        first = pages.build_book()
        print(f"The book is built: open {shown(first)}")
        if options.open:
            import webbrowser

            webbrowser.open(first.as_uri())
    return 1 if failures else 0


def _possible(specs: list[RunSpec], options: argparse.Namespace) -> list[RunSpec]:
    """Select the runs that can start, and print why the others cannot."""
    from ..execution.pages import failure_of
    from ..possible import require_possible

    failures = {spec.run_id: why for spec in specs if (why := failure_of(require_possible, spec))}
    _tell(failures, "cannot start", options)
    return [spec for spec in specs if spec.run_id not in failures]


def _tell(failures: Mapping[str, str], what: str, options: argparse.Namespace) -> None:
    """Print a line for each reason, with the first runs that have it."""
    for why in dict.fromkeys(failures.values()):
        runs = [run for run, own in failures.items() if own == why]
        print(f"clipnb: {first_of(runs)} {what}: {as_typed(why, options)}", file=sys.stderr)


def _tell_left_out(specs: list[RunSpec]) -> None:
    """Print what is left out of each data set; one run tells it for each data set and encoder."""
    from ..checks import left_out
    from ..runs import saved_result

    first = {spec.group_id: spec for spec in reversed(specs)}
    for said in left_out(result for spec in first.values() if (result := saved_result(spec))):
        print(f"clipnb: {said}", file=sys.stderr)


def _state(done: int, asked: int) -> None:
    """Print how many of the runs that were asked for are there, and what shows them."""
    from .._core.paths import project_root, shown

    shown_by = f"; `clipnb runs` lists them, `jb build {shown(project_root() / 'book')}` shows them (with the sample study)"
    print(f"{done} of {asked} runs are there" + shown_by * bool(done), flush=True)


def _report_dry(specs: list[RunSpec], options: argparse.Namespace) -> int:
    """Print what a report would do; 1 if one of its runs cannot start."""
    from ..execution import pages, sweep

    due: dict[RunSpec, str] = {}
    failures: dict[str, str] = {}
    for spec in dict.fromkeys(specs):
        new, failed = pages.outstanding([spec])
        due |= new
        failures |= failed
        if new:
            print("run  ", spec.run_id, flush=True)  # at once, because the next may take seconds
    if due:
        print(sweep.cost(list(due), pages.default_jobs()))
    print(f"{len(specs) - len(due) - len(failures)} of {len(specs)} runs are up to date")
    if not options.no_book:
        print("book  is up to date" if not due and pages.book_is_current() else "book  would be built: the pages that changed")
    _tell(failures, "would fail", options)
    return 1 if failures else 0


def _sweep_arguments(parser: argparse.ArgumentParser) -> None:
    what = "folders, or names in $CLIPNB_DATA; a file .yml holds datasets, manips, severities, encoders, settings "
    what += "(flags win, and data sets that are typed replace those of the file)"
    parser.add_argument("datasets", nargs="*", metavar="dataset", help=what)
    parser.add_argument("--manips", **SEVERAL, metavar="MANIP", help="manipulations (the study's); `clipnb info` lists them")
    parser.add_argument("--severities", **SEVERAL, type=int, metavar="N", help="1 to 5; 0: the fixed setting, or 3 without one (0)")
    parser.add_argument("--encoders", **SEVERAL, metavar="ENCODER", help="($CLIPNB_ENCODER, else ViT-L/14)")
    from ..spec import FLAGS

    add_settings(parser, *(name for name in FLAGS if name != "encoder"))
    parser.add_argument("--jobs", type=int, default=0, help="runs at a time (one a core, at most 4, as memory allows)")
    parser.add_argument("--no-pages", action="store_true", help="make only the results, in one process, without notebooks")
    parser.add_argument("--table", metavar="FILE", help="add the grid's numbers, with their provenance, to a JSON file")
    parser.add_argument("--dry-run", action="store_true", help="only state the cost")


def _sweep(options: argparse.Namespace) -> int:
    from .._core.paths import project_root
    from ..analysis import severity
    from ..execution import pages, sweep
    from ..runs import current_result, saved_result

    if options.table and Path(options.table).exists():
        severity.require_table(Path(options.table))  # fails before hours of runs
    if not options.no_pages and not options.dry_run:
        pages.template()  # fails at once outside a project
    fields = {name: tuple(getattr(options, name) or ()) for name in ("manips", "severities", "encoders")}
    grid = sweep.typed_grid(options.datasets, settings=given_settings(options), **fields)
    jobs = 1 if options.no_pages else options.jobs or pages.default_jobs()
    asked = grid.specs()
    if not (specs := _possible(asked, options)):
        return 1

    with_pages = not options.no_pages and (project_root() / pages.TEMPLATE).is_file()

    def announce(due: list[RunSpec]) -> None:
        print(sweep.cost(due, jobs, with_pages=with_pages), flush=True)

    if options.dry_run:
        due = pages.outstanding(specs)[0] if with_pages else [spec for spec in specs if current_result(spec) is None]
        announce(list(due))
        return 1 if len(specs) < len(asked) else 0
    if options.no_pages:
        failures = sweep.numbers_only(specs)
        print(f"{len(specs) - len(failures)} of {len(asked)} results are there", flush=True)
    else:
        failures = pages.ensure(specs, jobs=jobs, announce=announce)
        _state(len(specs) - len(failures), len(asked))
    if options.table:
        severity.write_table([result for spec in specs if (result := saved_result(spec))], Path(options.table))
    _tell_left_out(specs)
    _tell(failures, "failed", options)
    return 1 if failures or len(specs) < len(asked) else 0


def _embed_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("datasets", nargs="+", metavar="dataset", help="folders, or names in $CLIPNB_DATA")
    what = "such as blurred, blurred/3 or jpeg=30 (all severities of the study's manipulations and of the everyday edits)"
    parser.add_argument("--conditions", **SEVERAL, metavar="CONDITION", help=what)
    parser.add_argument("--encoders", **SEVERAL, metavar="ENCODER", help="($CLIPNB_ENCODER, else ViT-L/14)")
    add_settings(parser, "seed", "precision", "device", "draws", "categories", "per_category", "colour")
    add_engines(parser)
    parser.add_argument("--threads", type=int, default=0, help="threads of each worker; by default its share of the cores")


def _embed(options: argparse.Namespace) -> int:
    from .._core.ray_pool import RayPool
    from ..analysis.tolerance import graded
    from ..execution.fill import fill
    from ..manipulations import SEVERITIES, condition
    from ..spec import RunSpec

    pool: RayPool | None = None
    if options.engine == "ray":
        threads = options.threads or max(1, (os.cpu_count() or 1) // options.workers)
        pool = RayPool(options.workers, options.address, options.gpus, {"OMP_NUM_THREADS": str(threads)})
    asked = list(map(condition, options.conditions or [f"{manip}/{at}" for manip in graded() for at in SEVERITIES]))
    settings = {name: value for name, value in given_settings(options).items() if name != "engine"}
    specs = [
        RunSpec(dataset, c.manip, encoder, severity=c.severity, strength=c.strength, **settings)
        for dataset in options.datasets
        for encoder in options.encoders or [""]
        for c in asked
    ]
    done = fill(specs, pool)
    print(f"{done.wanted} embeddings are stored; {done.computed} were computed now")
    if done.unreadable:
        print(f"{len(done.unreadable)} unreadable; the first: {next(iter(done.unreadable.values()))}")
    return 0


def _merge(options: argparse.Namespace) -> int:
    from .._core.paths import shown
    from ..merge import merge_saved

    for folder, left in merge_saved():
        missing = ", ".join(f"-p start {start} -p step {step}" for start, step in left)
        print(shown(folder) + f"; still to be run: {missing}" * bool(left))
    return 0


def _runs_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", nargs="?", default="", help="only the runs on this data set, or the run of this name")
    parser.add_argument("--format", default="table", choices=["table", "json", "csv"], help="what is printed (table)")


def _runs(options: argparse.Namespace) -> int:
    from .._core.paths import results_root, shown
    from ..report.tables import csv, printable, runs_frame
    from ..result import load_results, near_runs
    from ..runs import saved_runs

    results = saved_runs(options.dataset) if options.dataset else load_results()
    if options.dataset and not results:
        near = near_runs(options.dataset, "run_id", "group_id", "dataset_name")
        raise UserError(f"no finished runs in {shown(results_root())} on {options.dataset!r}{near}; clipnb runs lists the others")
    frame = runs_frame(results)
    if options.format == "json":
        print(frame.to_json(orient="records", indent=1, force_ascii=False))
    elif options.format == "csv":
        print(csv(frame), end="")
    elif results:
        draws = [f", {r.spec.draws} draws" * (r.spec.draws > 1) for r in results]
        frame["manip"] = [f"{r.spec.condition}{several}" for r, several in zip(results, draws, strict=True)]
        marked = ["categories_missing"] * bool(frame["categories_missing"].any())
        print(printable(frame, [name for name in LISTED if name in frame] + marked))
    else:
        print(f"no finished runs in {shown(results_root())}")
    return 0


COMMANDS = (
    Command("report", "run the study on the sample photographs, and yours, and build the book", _report_arguments, _report),
    Command("sweep", "run a grid of data sets, manipulations, severities and encoders", _sweep_arguments, _sweep),
    Command("embed", "embed data sets under conditions, here or on Ray, so that runs only score", _embed_arguments, _embed),
    Command("runs", "list the finished runs; other commands take their names", _runs_arguments, _runs),
    Command("merge", "merge runs that were made in batches (start, step)", lambda parser: None, _merge),
)
