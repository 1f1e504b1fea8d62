"""Which of the package's files a piece of it needs, by reading their import statements."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent


def _file(folder: Path, name: str) -> Path | None:
    """The file of a module in a package's folder; None where the name is none."""
    places = (folder / f"{name}.py", folder / name / "__init__.py")
    return next((path for path in places if path.is_file()), None)


def _statements(node: ast.AST) -> Iterator[ast.ImportFrom]:
    """Relative imports anywhere in a module, but for those that only a type checker sees."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ImportFrom) and child.level:
            yield child
        elif isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        else:
            yield from _statements(child)


def _imported(path: Path) -> Iterator[Path]:
    for statement in _statements(ast.parse(path.read_bytes())):
        folder = path.parents[statement.level - 1]
        names = statement.module.split(".") if statement.module else []
        for name in names:
            yield folder / "__init__.py"
            module = _file(folder, name)
            assert module is not None, f"{path}: no module {name!r}"
            yield module
            folder = folder / name
        for alias in statement.names:
            if module := _file(folder, alias.name):
                yield module


@cache
def needed_by(*modules: str) -> tuple[Path, ...]:
    """The files of these modules of the package and of all that they import, at once or later, sorted."""
    found: set[Path] = set()
    due = [PACKAGE / f"{name}.py" for name in modules]
    while due:
        if (path := due.pop()) not in found:
            found.add(path)
            due += _imported(path)
    return tuple(sorted(found))
