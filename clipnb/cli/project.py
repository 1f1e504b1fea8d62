"""The commands on a project and the shell: init, completion."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path

from .flags import Command, typed_folder


def _init_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", help="folder of the project; existing files in it are kept")


def _init(options: argparse.Namespace) -> int:
    from .._core.paths import shown
    from ..execution.template import write_project

    folder = typed_folder(options.folder)
    written, kept = write_project(folder)
    already = f"; {kept} existing files are kept" if kept else ""
    place = shown(folder)
    print(f"{written} files written to {place}{already}")
    data = Path(place) / (os.environ.get("CLIPNB_DATA") or "data")
    print(f"next: put photographs into {data}/<set>/<category>/, then: cd {shlex.quote(place)} && clipnb report <set>")
    return 0


FOLDERS = ("dataset", "datasets", "folder", "out")  # arguments that a shell completes with folders


def _completion_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=["bash", "zsh", "fish"])


def _completion(options: argparse.Namespace) -> int:
    import shtab

    from . import COMMANDS, parser

    whole = parser(*(command.name for command in COMMANDS))
    (commands,) = (action.choices for action in whole._actions if isinstance(action, argparse._SubParsersAction))
    for action in (action for command in commands.values() for action in command._actions):
        if action.dest in FOLDERS:
            action.complete = shtab.DIRECTORY
    print(shtab.complete(whole, options.shell))
    return 0


COMMANDS = (
    Command("init", "write a new project: notebooks, book, and a folder for photographs", _init_arguments, _init),
    Command("completion", 'print the completion of a shell: eval "$(clipnb completion bash)"', _completion_arguments, _completion),
)
