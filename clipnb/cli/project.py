"""The commands on a project and the shell: init, completion.

A checkout of the repository is a project, and an installed package carries a copy of its files: notebooks, pages, configuration.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
from pathlib import Path

from ..errors import UserError
from .flags import Command, typed_folder

PARTS = ("_config.yml", "_toc.yml", "notebooks/*.ipynb", "book/*.*", "book/_static/*")  # files of a project
FOLDERS = ("dataset", "datasets", "folder", "out")  # arguments that a shell completes with folders


def _init_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", help="folder of the project; existing files in it are kept")


def _init(options: argparse.Namespace) -> int:
    from .._core.paths import shown

    folder = typed_folder(options.folder)
    place = shown(folder)
    try:
        written, kept = _write_project(folder)
    except OSError as error:
        raise UserError(f"{place}: {error.strerror or error}") from error
    already = f"; {kept} existing files are kept" if kept else ""
    print(f"{written} files written to {place}{already}")
    data = Path(place) / (os.environ.get("CLIPNB_DATA") or "data")
    print(f"next: put photographs into {data}/<set>/<category>/, then: cd {shlex.quote(place)} && clipnb report <set>")
    return 0


def _write_project(folder: Path) -> tuple[int, int]:
    """Write the files of a project and the folder `data/`; return the numbers of written and of existing files, which are kept."""
    from .._core.code_state import PACKAGE
    from .._core.paths import shown
    from ..datasets.images import SUFFIXES

    inside = () if (folder / PARTS[0]).exists() else (*folder.glob("*"), *folder.glob("*/*"))
    if any(path.suffix.lower() in SUFFIXES for path in inside):
        raise UserError(f"{shown(folder)} holds pictures: name a folder for the project, and put photographs into its data/")
    (folder / "data").mkdir(parents=True, exist_ok=True)
    root = PACKAGE / "_project"  # where a wheel has the files; a checkout has them beside the package
    root = root if root.is_dir() else PACKAGE.parent
    sources = [path for part in PARTS for path in sorted(root.glob(part)) if path.is_file()]
    missing = [path for path in sources if not (folder / path.relative_to(root)).exists()]
    for source in missing:
        target = folder / source.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return len(missing), len(sources) - len(missing)


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
