"""Shared by all groups of commands: the class of a command, and parameters of a run as flags."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UserError

SEVERAL: dict[str, Any] = {"nargs": "+", "action": "extend"}  # a flag with a list; typed twice, the lists are joined


class Command(NamedTuple):
    """One command."""

    name: str
    help: str  # its line in the list of commands
    arguments: Callable[[argparse.ArgumentParser], None]  # called only for the command that was typed
    go: Callable[[argparse.Namespace], int]  # runs the command and returns the exit status


def add_settings(parser: argparse.ArgumentParser, *names: str, note: str = "") -> None:
    """Add flags for fields of `RunSpec`. A flag that is not typed is absent, so that the default of the field applies."""
    from ..spec import FIELDS

    for name in names:
        flag, kind = f"--{name.replace('_', '-')}", type(FIELDS[name].default)
        what = FIELDS[name].metadata["help"].replace("%", "%%") + note
        parser.add_argument(flag, type=kind, metavar=name.upper(), default=argparse.SUPPRESS, help=what)


def add_engines(parser: argparse.ArgumentParser) -> None:
    """Add the flags that choose between this machine and Ray."""
    parser.add_argument("--engine", default="local", choices=["local", "ray"], help="where to compute (ray: clipnb[scale])")
    parser.add_argument("--workers", type=int, default=2, help="processes of the engine ray")
    parser.add_argument("--address", help="address of a running Ray cluster; by default one is started here")
    parser.add_argument("--gpus", type=float, default=0, help="GPUs for each worker of the engine ray")


def given_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Name -> value of the fields of `RunSpec` that were typed."""
    from ..spec import FLAGS

    return {name: value for name, value in vars(options).items() if name in FLAGS}


def typed_folder(text: str) -> Path:
    """A folder to write into, as it was typed; a `UserError` if it is empty, a file, or below a file."""
    from .._core.paths import shown

    if not text:
        raise UserError("the name of the folder is empty: name one, or . for this folder")
    there = next((path for path in (Path(text), *Path(text).parents) if os.path.exists(path)), Path())  # noqa: PTH110 - no errors
    if not there.is_dir():
        raise UserError(f"{shown(there)} is a file: name a folder")
    return Path(text)


def as_typed(message: str, options: argparse.Namespace) -> str:
    """A message with parameters as the command takes them.

    >>> as_typed("(-p k 3), -p dataset nested:a, -p index exact, -p severity 2", argparse.Namespace(takes=["--k", "--severities"]))
    '(--k 3), nested:a, -p index exact, --severities 2'
    """

    def word(match: re.Match[str]) -> str:
        flag = f"--{match[1].replace('_', '-')}"
        taken = [spelled for spelled in (flag, f"{flag}s", f"{flag[:-1]}ies") if spelled in options.takes]
        return "" if match[1] == "dataset" else f"{taken[0]} " if taken else match[0]

    return re.sub(r"-p (\w+) ", word, message)
