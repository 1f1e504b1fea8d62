"""The commands on photographs and on the cache: info, fetch, card, index, cache."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ..errors import UserError
from .flags import Command, add_engines, typed_folder

SPELLINGS = ["open_clip:<model>/<tag>", "timm:<model>", "hf:<repository or folder>", "st:<name or folder>"]
SPELLINGS += ["torchscript:<file>", "onnx:<file>", "<CLIP checkpoint>.pt", "<package.module>:<name>"]
"""Spellings of encoders that are not in the registry."""


def _info_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", default="table", choices=["table", "json"], help="what is printed (table)")


def _info(options: argparse.Namespace) -> int:
    from .._core.paths import cache_root, data_root, results_root, shown
    from ..datasets.dataset import KNOWN
    from ..datasets.samples import SAMPLES
    from ..encoders import ENCODERS, default_encoder, missing_extra
    from ..manipulations import MANIPULATIONS

    root = data_root()
    here = [*SAMPLES, *sorted(p.name for p in root.iterdir() if p.is_dir())] if root.is_dir() else [*SAMPLES]
    manipulations = {name: (MANIPULATIONS[name].summary, MANIPULATIONS[name].parameter) for name in MANIPULATIONS}
    extras = {name: missing_extra(name) for name in ENCODERS}
    folders = {"data": shown(root), "results": shown(results_root()), "cache": str(cache_root())}
    if options.format == "json":
        edits = {
            name: {"summary": summary, "severities": len(sets.levels), "parameter": sets.name, "limits": sets.limits}
            for name, (summary, sets) in manipulations.items()
        }
        about = {"data sets": here, "manipulations": edits, "default encoder": default_encoder()}
        about |= {"encoders": {name: {"missing extra": extra or None} for name, extra in extras.items()}}
        about |= {"other encoders": SPELLINGS, "folders": folders}
        print(json.dumps(about, indent=1, ensure_ascii=False))
        return 0
    print("data sets      ", ", ".join(here))
    print("  not here     ", ", ".join(name for name in KNOWN if name not in here) or "none")
    described = []
    for name, (summary, sets) in manipulations.items():
        strength = ", strength {:g} to {:g}".format(*sets.limits) if sets.limits else ""
        described.append(f"{name} ({summary}" + (f"; {sets.name}{strength})" if sets.levels else ")"))
    print("manipulations  ", "\n                ".join(described))
    print("                and compositions of them, such as grey+blurred; severity 1 to 5 where they have a parameter")
    print("encoders       ", ", ".join(ENCODERS), f"(default {default_encoder()})")
    print("  others       ", ", ".join(SPELLINGS))
    if absent := [f"{name} (extra {extra})" for name, extra in extras.items() if extra]:
        print("  not installed", ", ".join(absent))
    print("photographs    ", folders["data"], "($CLIPNB_DATA)")
    print("results        ", folders["results"], "($CLIPNB_RESULTS)")
    print("cache          ", folders["cache"], "($CLIPNB_CACHE)")
    return 0


def _fetch_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="nba or miniplaces")
    parser.add_argument("--again", action="store_true", help="download again and replace the existing files")


def _fetch(options: argparse.Namespace) -> int:
    from .._core.paths import shown
    from ..datasets.download import fetch

    print(f"{options.name} is in {shown(fetch(options.name, again=options.again))}")
    return 0


def _card_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("datasets", nargs="+", metavar="dataset", help="folders, or names in $CLIPNB_DATA")
    what = "name each file that is not used, with the reason, each copy (=) and each near-copy (~)"
    parser.add_argument("--files", action="store_true", help=what)


def _card(options: argparse.Namespace) -> int:
    from ..datasets.card import card_of
    from ..report.cards import card_table, card_warnings, copies_named, files_left_out

    for dataset in options.datasets:
        card = card_of(dataset)
        print(card_table(card), "\n".join(f"Note: {said}." for said in card_warnings(card)), sep="\n")
        if options.files:
            print("\n".join([*(files_left_out(card) or ["every file is used"]), *copies_named(card)]))
    return 0


def _index_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", help="photographs: a folder, with or without category folders, or a name in $CLIPNB_DATA")
    parser.add_argument("out", help="the gallery's folder; a build that was stopped continues there")
    parser.add_argument("--encoder", default="", help="encoder ($CLIPNB_ENCODER, else ViT-L/14)")
    parser.add_argument("--precision", default="auto", help="of the network: fp32, bf16, fp16, or auto: fp16 on CUDA, else fp32")
    how = "treatment of colour profiles, the same as in the runs: srgb (default), or stored, for mode study"
    parser.add_argument("--colour", default="srgb", choices=["srgb", "stored"], help=how)
    parser.add_argument("--index", default="", choices=["exact", "hnsw", "ivf"], help="exact up to a million images, else hnsw")
    add_engines(parser)
    parser.add_argument("--shard-size", type=int, default=1000, help="images per shard; a killed worker loses at most one shard")
    parser.add_argument("--threads", type=int, default=0, help="threads of each encoder; by default all cores")


def _index(options: argparse.Namespace) -> int:
    from .._core.paths import shown
    from .._core.ray_pool import RayPool
    from ..checks import not_used
    from ..datasets.dataset import load_dataset
    from ..retrieval.build import build_gallery

    names = ("encoder", "precision", "colour", "index", "shard_size", "threads")
    settings: dict[str, Any] = {name: getattr(options, name) for name in names}
    pool = RayPool(options.workers, options.address, options.gpus) if options.engine == "ray" else None
    made = build_gallery(options.folder, typed_folder(options.out), pool=pool, **settings)
    missing = len(made.about["unreadable"])
    unread = f"; {missing} unreadable, named in {shown(made.path / 'clipnb.json')}" if missing else ""
    print(f"{made.size} images, {made.about['index']} index: search it with -p gallery {shown(made.path)}{unread}")
    if said := not_used(options.folder, load_dataset(options.folder).other_files):
        print(said)
    return 0


def _cache_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=("list", "prune"), default="list")
    what = "what to prune: an encoder, or a kind such as samples; with --older-than, all kinds if none is named"
    parser.add_argument("what", nargs="*", help=what)
    parser.add_argument("--older-than", type=float, metavar="DAYS", help="prune: only what was not used for this many days")
    parser.add_argument("--all", action="store_true", help="prune: everything")


def _cache(options: argparse.Namespace) -> int:
    from .._core.paths import cache_root
    from ..embedding import cache

    kept = cache.contents()
    if options.action == "prune":
        chosen = cache.choose(kept, options.what, options.older_than, options.all)
        parts = "1 part" if len(chosen) == 1 else f"{len(chosen)} parts"
        print(f"{parts} of the cache deleted, {cache.readable(cache.prune(chosen))} freed")
        return 0
    if options.what or options.all or options.older_than is not None:
        raise UserError("names, --older-than and --all choose what to prune: clipnb cache prune ...; clipnb cache lists all")
    print(f"{cache_root()} ($CLIPNB_CACHE): {cache.readable(sum(part.size for part in kept))}")
    if kept:
        print(cache.table(kept))
    return 0


COMMANDS = (
    Command("info", "list data sets, manipulations, encoders and folders", _info_arguments, _info),
    Command("fetch", "get one of the study's data sets into $CLIPNB_DATA (nba from Kaggle, miniplaces)", _fetch_arguments, _fetch),
    Command("card", "describe a data set: counts, sizes, copies and near-copies", _card_arguments, _card),
    Command("index", "embed and index a folder of photographs, in clip-retrieval's format", _index_arguments, _index),
    Command("cache", "list the parts of the cache, or delete some of them", _cache_arguments, _cache),
)
