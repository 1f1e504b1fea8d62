"""Every example in a docstring of the library and of the book's code gives what it shows."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import clipnb
from conftest import REPOSITORY as ROOT

FILES = [*(ROOT / "clipnb").rglob("*.py"), *(ROOT / "book" / "clipnb_book").rglob("*.py")]
WITH_EXAMPLES = sorted(path for path in FILES if ">>> " in path.read_text(encoding="utf-8"))
PUBLIC = [
    *("RunSpec", "run", "Result", "load_results", "study_runs"),
    *("compare", "calibrate", "load_dataset", "load_encoder", "embed_images"),
]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_examples_of_a_module_give_what_they_show(path: Path, own_results: Path) -> None:
    root = ROOT / "book" if path.is_relative_to(ROOT / "book") else ROOT
    parts = path.relative_to(root).with_suffix("").parts
    module = importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    done = doctest.testmod(module)
    assert done.attempted > 0
    assert done.failed == 0


def test_every_public_name_has_an_example() -> None:
    assert [name for name in PUBLIC if ">>> " not in (getattr(clipnb, name).__doc__ or "")] == []
