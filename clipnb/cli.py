"""The command `clipnb`: the report, sweeps, data sets, galleries, and what is kept."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import __version__, statistics_commands
from .errors import UserError
from .flags import SETTINGS, add_settings, given_settings

if TYPE_CHECKING:
    from .spec import RunSpec


def _report(options: argparse.Namespace) -> int:
    from . import report
    from .paths import shown

    report.template()  # says so at once where this is no checkout
    failures = report.ensure(report.sample_specs() + report.specs_for(options.datasets, **given_settings(options)))
    for run, why in failures.items():
        print(f"clipnb: {run} failed: {why}", file=sys.stderr)
    if not options.no_book:
        first = report.build_book()
        print(f"The book is built: open {shown(first)}")
        if options.open:
            import webbrowser

            webbrowser.open(first.as_uri())
    return 1 if failures else 0


def _info(options: argparse.Namespace) -> int:
    from .datasets import KNOWN
    from .encoders import ENCODERS, default_encoder
    from .manipulations import MANIPULATIONS
    from .paths import cache_root, data_root, results_root, shown
    from .samples import SAMPLES

    root = data_root()
    here = sorted(p.name for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
    missing = [name for name in KNOWN if name not in here]
    print("data sets      ", ", ".join([*SAMPLES, *here]))
    print("  not here     ", ", ".join(missing) or "none")
    print("manipulations  ", "\n                ".join(f"{name} ({MANIPULATIONS[name].summary})" for name in MANIPULATIONS))
    print("                and compositions of them, such as grey+blurred; severity 1 to 5 where they have it")
    print("encoders       ", ", ".join(ENCODERS), f"(default {default_encoder()})")
    print("photographs    ", shown(root), "($CLIPNB_DATA)")
    print("results        ", shown(results_root()), "($CLIPNB_RESULTS)")
    print("cache          ", cache_root(), "($CLIPNB_CACHE)")
    return 0


def _sweep(options: argparse.Namespace) -> int:
    import os
    from pathlib import Path

    from . import report, sweeps

    report.template()  # says so at once where this is no checkout
    fields = {name: tuple(getattr(options, name) or ()) for name in ("datasets", "manips", "severities", "encoders")}
    grid = sweeps.merged(sweeps.read_grid(Path(options.grid)) if options.grid else {}, settings=given_settings(options), **fields)
    jobs = options.jobs or min(4, os.cpu_count() or 1)
    specs = grid.specs()

    def announce(due: list[RunSpec]) -> None:
        print(sweeps.cost(due).sentence(jobs), flush=True)

    if options.dry_run:
        announce(sweeps.outstanding(specs, pages=not options.no_pages))
        return 0
    if options.no_pages:
        failures = sweeps.numbers_only(specs)
        print(f"{len(specs) - len(failures)} of {len(specs)} results are there", flush=True)
    else:
        failures = report.ensure(specs, jobs=jobs, announce=announce)
        print(f"{len(specs) - len(failures)} of {len(specs)} runs are there; `jb build book` shows them", flush=True)
    if options.table:
        from .runs import saved_result
        from .severity import write_table

        write_table([result for spec in specs if (result := saved_result(spec))], Path(options.table))
    for run, why in failures.items():
        print(f"clipnb: {run} failed: {why}", file=sys.stderr)
    return 1 if failures else 0


def _merge(options: argparse.Namespace) -> int:
    from .batches import merge_saved
    from .paths import shown

    for folder, left in merge_saved():
        missing = f"; {left} categories are still to be run" if left else ""
        print(f"{shown(folder)}{missing}")
    return 0


def _fetch(options: argparse.Namespace) -> int:
    from .download import fetch
    from .paths import shown

    print(f"{options.name} is in {shown(fetch(options.name, again=options.again))}")
    return 0


def _card(options: argparse.Namespace) -> int:
    from . import cards

    for dataset in options.datasets:
        card = cards.card_of(dataset)
        print(cards.card_table(card), "\n".join(f"Note: {said}." for said in cards.card_warnings(card)), sep="\n")
    return 0


def _cache(options: argparse.Namespace) -> int:
    from . import cache
    from .paths import cache_root

    kept = cache.contents()
    if options.action == "prune":
        chosen = cache.choose(kept, options.what, options.older_than, options.all)
        print(f"{len(chosen)} parts of the cache deleted, {cache.readable(cache.prune(chosen))} freed")
        return 0
    print(f"{cache_root()} ($CLIPNB_CACHE): {cache.readable(sum(part.size for part in kept))}")
    if kept:
        print("\n".join(cache.table(kept)))
    return 0


def _index(options: argparse.Namespace) -> int:
    from pathlib import Path

    from .galleries import build
    from .paths import shown

    engine: build.Engine = build.local_engine
    if options.engine == "ray":
        from .galleries.ray_engine import ray_engine

        engine = ray_engine(options.workers, options.address, options.gpus)
    made = build.build_gallery(
        options.folder,
        Path(options.out),
        encoder=options.encoder,
        precision=options.precision,
        index=options.index,
        engine=engine,
        shard_size=options.shard_size,
        threads=options.threads,
    )
    missing = len(made.about["unreadable"])
    unread = f"; {missing} images could not be read and are named in {shown(made.path / 'clipnb.json')}" if missing else ""
    print(f"{made.size} images, {made.about['index']} index: search it with -p gallery {shown(made.path)}{unread}")
    return 0


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(
        prog="clipnb",
        description="How far can a photograph be blurred, cropped or greyed before an embedding stops finding its kind?",
        epilog="One run alone: papermill notebooks/run.ipynb -p dataset sample-figures -p manip grey -p encoder efficientnet-lite2",
    )
    main.add_argument("--version", action="version", version=f"clipnb {__version__}")
    commands = main.add_subparsers(required=True, metavar="command")
    report = commands.add_parser("report", help="run the study on the sample photographs, and yours, and build the book")
    report.add_argument("datasets", nargs="*", metavar="dataset", help="more data sets: a folder, or a name in $CLIPNB_DATA")
    add_settings(report, "encoder", "k", "tau", "seed", "precision", "engine", note="; for those data sets")
    report.add_argument("--no-book", action="store_true", help="run the notebooks only")
    report.add_argument("--open", action="store_true", help="open the book in the browser")
    report.set_defaults(go=_report)
    sweep = commands.add_parser("sweep", help="run a grid of data sets, manipulations, severities and encoders")
    sweep.add_argument("grid", nargs="?", help="a YAML file with datasets, manips, severities, encoders, settings; flags win")
    sweep.add_argument("--datasets", nargs="+", metavar="DATASET", help="folders, or names in $CLIPNB_DATA")
    sweep.add_argument("--manips", nargs="+", metavar="MANIP", help="manipulations (the study's); `clipnb info` lists them")
    sweep.add_argument(
        "--severities", nargs="+", type=int, metavar="N", help="1 to 5; 0 is the fixed setting, or 3 where there is none (0)"
    )
    sweep.add_argument("--encoders", nargs="+", metavar="ENCODER", help="($CLIPNB_ENCODER, else ViT-L/14)")
    add_settings(sweep, *(name for name in SETTINGS if name != "encoder"))
    sweep.add_argument("--jobs", type=int, default=0, help="runs at a time (one a core, at most 4)")
    sweep.add_argument("--no-pages", action="store_true", help="results alone, in one process, without a notebook for each")
    sweep.add_argument("--table", metavar="FILE", help="add the grid's numbers, with their provenance, to a JSON file")
    sweep.add_argument("--dry-run", action="store_true", help="say what it would cost, and stop")
    sweep.set_defaults(go=_sweep)
    merge = commands.add_parser("merge", help="put runs that were made in batches (start, step) together")
    merge.set_defaults(go=_merge)
    fetch = commands.add_parser("fetch", help="get one of the study's data sets into $CLIPNB_DATA (nba from Kaggle, miniplaces)")
    fetch.add_argument("name", help="nba or miniplaces")
    fetch.add_argument("--again", action="store_true", help="replace what is there, whatever its checksum")
    fetch.set_defaults(go=_fetch)
    card = commands.add_parser("card", help="what a data set holds: counts, sizes, copies and near-copies")
    card.add_argument("datasets", nargs="+", metavar="dataset", help="folders, or names in $CLIPNB_DATA")
    card.set_defaults(go=_card)
    index = commands.add_parser("index", help="embed and index a folder of photographs, as clip-retrieval lays it out")
    index.add_argument("folder", help="photographs: a folder <category>/<image>, or a name in $CLIPNB_DATA")
    index.add_argument("out", help="the gallery's folder; a build that was stopped goes on in it")
    index.add_argument("--encoder", default="", help="encoder ($CLIPNB_ENCODER, else ViT-L/14)")
    index.add_argument("--precision", default="fp32", help="of the encoder's weights: fp32, bf16 or fp16")
    index.add_argument("--index", default="", choices=["exact", "hnsw", "ivf"], help="exact up to a million images, else hnsw")
    index.add_argument("--engine", default="local", choices=["local", "ray"], help="where shards are made (ray: clipnb[scale])")
    index.add_argument("--workers", type=int, default=2, help="processes of the engine ray")
    index.add_argument("--address", help="of a running Ray cluster; without it one is started on this machine")
    index.add_argument("--gpus", type=float, default=0, help="for each worker of the engine ray")
    index.add_argument("--shard-size", type=int, default=1000, help="images a shard: what a killed worker loses at most")
    index.add_argument("--threads", type=int, default=0, help="that each encoder computes with; by default all cores")
    index.set_defaults(go=_index)
    info = commands.add_parser("info", help="list data sets, manipulations, encoders and folders")
    info.set_defaults(go=_info)
    cache = commands.add_parser("cache", help="list what is kept between runs, or delete some of it")
    cache.add_argument("action", nargs="?", choices=("list", "prune"), default="list")
    cache.add_argument(
        "what",
        nargs="*",
        help="what to prune: an encoder, or a kind such as samples; with --older-than, all kinds if none is named",
    )
    cache.add_argument("--older-than", type=float, metavar="DAYS", help="prune: only what was not used for so long")
    cache.add_argument("--all", action="store_true", help="prune: everything")
    cache.set_defaults(go=_cache)
    statistics_commands.register(commands)
    return main


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    options = parser().parse_args(arguments)
    try:
        status: int = options.go(options)
        return status
    except UserError as error:
        print(f"clipnb: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("clipnb: stopped; what was finished is kept, the same command goes on from there", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
