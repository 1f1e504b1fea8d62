"""Locations of the project, the photographs, the results and the cache."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import platformdirs

from ..errors import UserError, one_line
from .text import base_address, is_service

TERMINAL = "CLIPNB_TERMINAL"  # environment variable with the terminal that shows the progress bar of a notebook's kernel


def project_root() -> Path:
    """$CLIPNB_PROJECT (the papermill plug-in sets it), else the project that contains the current folder, else that folder."""
    if named := os.environ.get("CLIPNB_PROJECT"):
        return Path(named)
    return find_project(Path.cwd()) or Path.cwd()


def find_project(here: Path) -> Path | None:
    """The nearest folder, at or above `here`, that holds `_config.yml` and `notebooks/`; None if there is none."""
    folders = (here, *here.parents)
    return next((f for f in folders if (f / "_config.yml").is_file() and (f / "notebooks").is_dir()), None)


def data_root() -> Path:
    """$CLIPNB_DATA, else `data/`; a relative path starts at the project."""
    return project_root() / (os.environ.get("CLIPNB_DATA") or "data")


def cache_root() -> Path:
    """$CLIPNB_CACHE, else the user's cache folder. It holds sample photographs and embeddings and is safe to delete."""
    if named := os.environ.get("CLIPNB_CACHE"):
        return project_root() / named
    try:
        return Path(platformdirs.user_cache_dir("clipnb"))
    except RuntimeError as error:
        raise UserError("there is no home folder for the cache: set $CLIPNB_CACHE to a folder") from error


def expanded(path: str) -> Path:
    """A path with `~` replaced by the home folder; unlike `Path.expanduser`, it keeps `~name` of an unknown user as typed."""
    return Path(os.path.expanduser(path))  # noqa: PTH111


def results_root() -> Path:
    """$CLIPNB_RESULTS, else `results/` in the project. It holds one folder per run."""
    return project_root() / (os.environ.get("CLIPNB_RESULTS") or "results")


def runs_root() -> Path:
    """`book/runs/` in the project. It holds executed notebooks, which are pages of the book."""
    return project_root() / "book" / "runs"


def typed_path(text: str) -> Path:
    """`expanded` for a path that a person typed; a `UserError` if the drive refuses it: it is too long, or must not be read."""
    path = expanded(text)
    with one_line(f"{text[:80]!r} cannot be read"):
        path.exists()
    return path


def shown(path: Path) -> str:
    """A path as a person would type it: relative to the current folder if it is near, else absolute."""
    with suppress(ValueError):  # another drive on Windows
        if not (relative := os.path.relpath(path)).startswith(os.path.join(*[os.pardir] * 3)):  # noqa: PTH118
            return relative
    return str(path.absolute())


def normalized_dataset(dataset: str) -> str:
    """One spelling of a data set's name or path. A path in the current folder keeps `./`: a bare name is one in $CLIPNB_DATA."""
    if dataset.startswith("nested:"):
        return f"nested:{normalized_dataset(dataset.removeprefix('nested:'))}"
    settled = os.path.normpath(dataset) if dataset else ""
    kind = next((kind for kind in ("hf:", "wds:") if dataset.startswith(kind)), "")
    if not settled.startswith(kind):  # `..` took it for a part of the path
        settled = kind + os.path.normpath(dataset.removeprefix(kind))
    here = typed_as_path(dataset) or (dataset.endswith(("/", "\\")) and Path(dataset).is_dir())
    return settled if not here or settled.startswith((".", "/")) or Path(settled).is_absolute() else f"./{settled}"


def gallery_parts(gallery: str) -> list[str]:
    """The folders and data sets that a gallery names: commas separate them, unless the whole text is the path of a folder."""
    whole = gallery.strip()
    folder = os.path.isdir(whole)  # noqa: PTH112 - unlike `Path.is_dir`, no error for a name that is too long
    parts = [whole] if folder else [part.strip() for part in whole.split(",")]
    return [part for part in parts if part]


def normalized_gallery(gallery: str) -> str:
    """One spelling of a gallery: of the address of a service, or of each folder and data set."""
    if is_service(gallery.strip()):
        return base_address(gallery.strip())
    return ",".join(normalized_dataset(part) for part in gallery_parts(gallery))


def typed_as_path(dataset: str) -> bool:
    """Whether a data set is typed as a path from the current folder, so that it is never a name in $CLIPNB_DATA."""
    return dataset.startswith(("./", ".\\", "../", "..\\"))
