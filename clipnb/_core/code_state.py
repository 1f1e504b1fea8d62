"""Which source files a module needs, by reading the import statements of its package, and a digest of them."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


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
    """The files of these modules of the package, dotted, and of all that they import, at once or later, sorted."""
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
    """SHA-256 over the names and contents of source files of the package.

    Args:
        paths: the files.
        comments: whether comments, docstrings and layout count; else only what Python carries out.
    """
    sha = hashlib.sha256()
    for path in paths:
        content = path.read_bytes() if comments else ast.dump(_bare(ast.parse(path.read_bytes()))).encode()
        sha.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + content)
    return sha.hexdigest()


def _bare(tree: ast.AST) -> ast.AST:
    """A syntax tree without its docstrings and other statements that are a text alone."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [s for s in body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]  # type: ignore[attr-defined]
    return tree
