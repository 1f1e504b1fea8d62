"""The command `clipnb`. Each group of commands has one file; a command imports what it needs when it is called."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
import warnings
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, NoReturn

from .. import __version__
from .._core.registry import nearest
from ..errors import UserError
from . import data, project, runs, statistics, threshold, tolerance
from .flags import as_typed

COMMANDS = (*tolerance.COMMANDS, *runs.COMMANDS, *project.COMMANDS, *data.COMMANDS, *statistics.COMMANDS, *threshold.COMMANDS)


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line, which says what a flag took that may be the missing data set."""

    typed: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.typed = args or ()
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        taken = ""
        for at, word in enumerate(self.typed if any(not action.option_strings for action in self._actions) else ()):
            action = self._option_string_actions.get(word)
            if action and action.nargs == "+" and message.startswith(("the following", f"argument {word}:")):
                words = takewhile(lambda own: not own.startswith("-"), self.typed[at + 1 :])
                taken = f" ({shlex.join([word, *words])} is a list: put the data set first, or -- before it)"
        raise UserError(f"{message}{_dashed(self.typed) or taken}; {self.prog} --help lists what it takes")


def _dashed(words: Sequence[str]) -> str:
    """What to type for a name that begins with a dash; "" if there is none."""
    names = [word for word in words if re.match(r"-[^-\d]..", word)]
    return f" (is {names[0]} a name? type it last, after --)" if names and "--" not in words else ""


def parser(*chosen: str) -> argparse.ArgumentParser:
    """The parser of the command line. Only the chosen commands get their arguments, so that `clipnb --help` imports little."""
    main = Parser(
        prog="clipnb",
        description="How far can a photograph be blurred, cropped or greyed before an embedding stops finding it, and its kind?",
        epilog="One run alone: papermill notebooks/run.ipynb -p dataset sample-figures -p manip grey -p encoder efficientnet-lite2",
    )
    main.add_argument("--version", action="version", version=f"clipnb {__version__}")
    commands = main.add_subparsers(required=True, metavar="command")
    for command in COMMANDS:
        own = commands.add_parser(command.name, help=command.help)
        own.set_defaults(go=command.go)
        if command.name in chosen:
            command.arguments(own)
            own.set_defaults(takes=list(own._option_string_actions))
    return main


_usual_format = warnings.formatwarning
_said: set[str] = set()


def _format(message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:
    """A warning of this package as one line, and only once; others as usual."""
    if category is not UserWarning or not Path(filename).is_relative_to(Path(__file__).parents[1]):
        return _usual_format(message, category, filename, lineno, line)
    new = str(message) not in _said
    _said.add(str(message))
    return f"clipnb: {message}\n" * new


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status; `arguments` are the words after `clipnb`, by default those of the process."""
    typed = sys.argv[1:] if arguments is None else list(arguments)
    options = argparse.Namespace(takes=[])
    warnings.formatwarning = _format
    try:
        command = next((word for word in typed if not word.startswith("-")), "")
        if command not in {"", *(names := [known.name for known in COMMANDS])}:
            raise UserError(f"there is no command {command!r}{nearest(command, names)}; clipnb --help lists what there is")
        options, unknown = parser(command).parse_known_args(typed, options)
        if unknown:
            from ..datasets.dataset import cut_by_shell

            if spaced := cut_by_shell(typed):
                raise UserError(f"{command} does not take {shlex.join(unknown)}: put a name with spaces in quotes: {spaced}")
            flags = {flag.strip("-"): flag for flag in options.takes}
            meant = nearest(unknown[0].strip("-"), flags, flags) or _dashed(unknown)
            if not unknown[0].startswith("-") and any(word.startswith("--") for word in typed[: typed.index(unknown[0])]):
                meant = " (names come before flags)"
            if "--" in typed:
                meant = " (all words after -- are names: type flags before it)"
            raise UserError(f"{command} does not take {shlex.join(unknown)}{meant}; clipnb {command} --help lists what it takes")
        status: int = options.go(options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except UserError as error:
        print(f"clipnb: {as_typed(str(error), options)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("clipnb: stopped; finished work is kept, and the same command continues from there", file=sys.stderr)
        return 130
