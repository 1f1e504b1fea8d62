"""What the groups of commands share: a command, and parameters of a run as flags."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple


class Command(NamedTuple):
    """One command.

    Attributes:
        name: what is typed.
        help: its line in the list of commands.
        arguments: adds its arguments to its parser; called when this command was typed.
        go: carries it out; gives the exit status.
    """

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    go: Callable[[argparse.Namespace], int]


def add_settings(parser: argparse.ArgumentParser, *names: str, note: str = "") -> None:
    """Give a command some of `clipnb.spec.FLAGS`; one that is not typed is absent, so that the run's default holds."""
    from ..spec import FIELDS, kind_of

    for name in names:
        what = FIELDS[name].metadata["help"].replace("%", "%%") + note
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=kind_of(FIELDS[name]), metavar=name.upper(), default=argparse.SUPPRESS, help=what
        )


def given_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that were typed."""
    from ..spec import FLAGS

    return {name: value for name, value in vars(options).items() if name in FLAGS}
