"""The command that makes a project of one's own: init."""

from __future__ import annotations

import argparse
from pathlib import Path

from .flags import Command


def _init_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="where to; it may exist, and files in it are kept")


def _init(options: argparse.Namespace) -> int:
    from .._core.paths import shown
    from ..execution.template import write_project

    written, kept = write_project(options.folder)
    already = f"; {kept} were there and are kept" if kept else ""
    place = shown(options.folder)
    print(f"{written} files written to {place}{already}")
    print(f"next: put photographs into {place}/data/<set>/<category>/, then: cd {place} && clipnb report <set>")
    return 0


COMMANDS = (Command("init", "write a project of one's own: notebooks, book, and a folder for photographs", _init_arguments, _init),)
