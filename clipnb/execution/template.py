"""The files of a project: notebooks, the pages of the book, and its configuration.

A checkout of the repository is a project, and an installed package carries a copy of these files.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from .._core.code_state import PACKAGE
from .._core.paths import shown
from ..datasets.images import SUFFIXES
from ..errors import UserError

INSTALLED = PACKAGE / "_project"  # where a wheel has the files; a checkout has them beside the package

PARTS = ("_config.yml", "_toc.yml", "notebooks/*.ipynb", "book/*.*", "book/_static/*")


def template_files() -> Iterator[tuple[Path, Path]]:
    """Yield path in a project, and file to copy, for each file of a project."""
    root = INSTALLED if INSTALLED.is_dir() else PACKAGE.parent
    for part in PARTS:
        for path in sorted(root.glob(part)):
            if path.is_file():
                yield path.relative_to(root), path


def write_project(folder: Path) -> tuple[int, int]:
    """Write the files of a project and the folder `data/`; return the numbers of written and of existing files, which are kept.

    A `UserError` says that `folder` is a file, holds photographs, or cannot be written.
    """
    written = kept = 0
    try:
        inside = () if (folder / PARTS[0]).exists() else (*folder.glob("*"), *folder.glob("*/*"))
        if any(path.suffix.lower() in SUFFIXES for path in inside):
            raise UserError(f"{shown(folder)} holds pictures: name a folder for the project, and put photographs into its data/")
        (folder / "data").mkdir(parents=True, exist_ok=True)
        for name, source in template_files():
            target = folder / name
            if target.exists():
                kept += 1
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            written += 1
    except OSError as error:
        raise UserError(f"{shown(folder)}: {error.strerror or error}") from error
    return written, kept
