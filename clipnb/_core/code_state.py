"""Find the source files that a module needs, by its import statements, and compute a digest of them."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def _file(folder: Path, name: str) -> Path | None:
    """The file of a module in a folder, or None if the folder has no such module."""
    places = (folder / f"{name}.py", folder / name / "__init__.py")
    return next((path for path in places if path.is_file()), None)


def _statements(node: ast.AST) -> Iterator[ast.ImportFrom]:
    """Yield the relative imports of a module, inside functions too, except those that only a type checker reads."""
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
    """The files of some modules and of everything that they import, inside functions too.

    Args:
        modules: dotted names within the package.

    Returns:
        Paths in sorted order.
    """
    found: set[Path] = set()
    due: list[Path] = []
    for name in modules:
        *folders, last = name.split(".")
        module = _file(PACKAGE.joinpath(*folders), last)
        assert module is not None, f"no module {name!r}"
        due.append(module)
    while due:
        if (path := due.pop()) not in found:
            found.add(path)
            due += _imported(path)
    return tuple(sorted(found))


def digest_of(paths: Iterable[Path], *, comments: bool = True) -> str:
    """SHA-256 over the names and contents of source files.

    Args:
        paths: files of the package.
        comments: include comments, docstrings and layout; otherwise only the code that Python executes counts.
    """
    sha = hashlib.sha256()
    for path in paths:
        content = path.read_bytes() if comments else ast.dump(_bare(ast.parse(path.read_bytes()))).encode()
        sha.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + content)
    return sha.hexdigest()


def _bare(tree: ast.AST) -> ast.AST:
    """Remove docstrings and other statements that are only a constant from a syntax tree."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [s for s in body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]  # type: ignore[attr-defined]
    return tree
