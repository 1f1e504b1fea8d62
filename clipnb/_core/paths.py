"""Where things are: the project, the photographs, the results and the cache."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def project_root() -> Path:
    """The folder with `_config.yml` and `notebooks/` at or above here, else the current folder.

    papermill runs a notebook in the shell's folder; Jupyter, nbval and the book run it in the notebook's own.
    $CLIPNB_PROJECT, which the papermill plug-in sets for a notebook of a project, comes first.
    """
    named = os.environ.get("CLIPNB_PROJECT")
    if named:
        return Path(named)
    return enclosing_project(Path.cwd()) or Path.cwd()


def enclosing_project(here: Path) -> Path | None:
    """The project that a folder lies in."""
    for folder in (here, *here.parents):
        if (folder / "_config.yml").is_file() and (folder / "notebooks").is_dir():
            return folder
    return None


def data_root() -> Path:
    """$CLIPNB_DATA, relative to the project if it is relative; `data/` in the project otherwise."""
    return project_root() / (os.environ.get("CLIPNB_DATA") or "data")


def cache_root() -> Path:
    """$CLIPNB_CACHE, else the user's cache folder: sample photographs and embeddings, safe to delete."""
    named = os.environ.get("CLIPNB_CACHE")
    return project_root() / named if named else Path(platformdirs.user_cache_dir("clipnb"))


def results_root() -> Path:
    """`$CLIPNB_RESULTS`, else `results/` in the project: one folder a run."""
    return project_root() / (os.environ.get("CLIPNB_RESULTS") or "results")


def runs_root() -> Path:
    """`book/runs/` in the project: executed notebooks, which are pages of the book."""
    return project_root() / "book" / "runs"


def shown(path: Path) -> str:
    """A path as a person would type it from here."""
    try:
        return os.path.relpath(path)
    except ValueError:  # another drive on Windows
        return str(path)
