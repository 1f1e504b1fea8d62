"""Digests of what determines the embeddings of a custom encoder: the source of its code, and its weights."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .._core.code_state import sources

_SOURCES: dict[str, str] = {}  # module of an encoder -> digest of its source when it was imported


def imported(module: str) -> str:
    """Import a module, again if its source has changed, and return the digest of its source."""
    importlib.invalidate_caches()
    try:
        found = find_spec(module)
    except ModuleNotFoundError:  # of a package that is a file, as in `mine.py`
        found = None
    if found is None:
        raise ModuleNotFoundError(f"No module named {module!r}")
    files = _sources(module, Path(found.origin)) if found.origin and Path(found.origin).is_file() else {}
    sha = hashlib.sha256()
    for name, file in sorted(files.items()):
        sha.update(name.encode() + b"\0" + file.read_bytes())
    if _SOURCES.get(module, sha.hexdigest()) != sha.hexdigest():
        for name in files:
            sys.modules.pop(name, None)
    importlib.import_module(module)
    _SOURCES[module] = sha.hexdigest()
    return sha.hexdigest()[:16]


def _sources(module: str, path: Path) -> dict[str, Path]:
    """Name -> file of a module and of those that it imports from its folder tree or, if it is installed, from its package."""
    root = path.parents[module.count(".") + (path.name == "__init__.py")]
    installed, top = root.name in ("site-packages", "dist-packages"), module.partition(".")[0]
    return sources([module], root, lambda own: own == top if installed or top == "clipnb" else own != "clipnb")


def weights_digest(encoder: object, module: str) -> str:
    """Digest of the arrays, tensors, files and plain values that an object holds, through lists, tables and other objects.

    Of the class and the module, only arrays and tensors count, because the source covers the rest.
    """
    sha = hashlib.sha256()
    seen: set[int] = set()

    def add(value: Any) -> None:
        if isinstance(value, str | Path) and len(str(value)) < 4096 and Path(value).is_file():
            sha.update(Path(value).read_bytes())
        elif value is None or isinstance(value, str | bytes | int | float | complex | Path):
            sha.update(repr(value).encode())
        elif id(value) not in seen and not isinstance(value, type | ModuleType) and not inspect.isroutine(value):
            seen.add(id(value))
            if hasattr(value, "detach"):
                value = value.detach().cpu().double()
            if hasattr(value, "state_dict"):
                value = value.state_dict()
            if hasattr(value, "__array__"):
                array = np.asarray(value)
                sha.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
            elif isinstance(value, Mapping):
                for key in sorted(value, key=str):
                    add(str(key))
                    add(value[key])
            elif isinstance(value, list | tuple):
                for part in value:
                    add(part)
            elif hasattr(value, "__dict__"):
                add(vars(value))

    add(encoder)
    for values in (vars(type(encoder)), vars(sys.modules[module])):
        add({name: value for name, value in values.items() if hasattr(value, "__array__") or hasattr(value, "state_dict")})
    return sha.hexdigest()[:16]
