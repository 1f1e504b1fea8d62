"""Find the source files that a module needs, by its import statements, and compute a digest of them."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def module_file(folder: Path, name: str) -> Path | None:
    """The file of a module in a folder, or None if the folder has no such module."""
    return next((path for path in (folder / f"{name}.py", folder / name / "__init__.py") if path.is_file()), None)


def _statements(node: ast.AST) -> Iterator[ast.ImportFrom]:
    """Yield the relative imports of a module, inside functions too, except those that only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ImportFrom) and child.level:
            yield child
        elif not (isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING"):
            yield from _statements(child)


def _imported(path: Path) -> Iterator[Path]:
    for statement in _statements(ast.parse(path.read_bytes())):
        folder = path.parents[statement.level - 1]
        for name in statement.module.split(".") if statement.module else []:
            yield folder / "__init__.py"
            module = module_file(folder, name)
            assert module is not None, f"{path}: no module {name!r}"
            yield module
            folder = folder / name
        yield from filter(None, (module_file(folder, alias.name) for alias in statement.names))


@cache
def needed_by(*modules: str) -> tuple[Path, ...]:
    """Sorted paths of some modules (dotted names within the package) and of all that they import, inside functions too."""
    found: set[Path] = set()
    due: list[Path] = []
    for name in modules:
        module = module_file(PACKAGE, name.replace(".", "/"))
        assert module is not None, f"no module {name!r}"
        due.append(module)
    while due:
        if (path := due.pop()) not in found:
            found.add(path)
            due += _imported(path)
    return tuple(sorted(found))


@cache
def digest_of(paths: tuple[Path, ...], *, comments: bool = True) -> str:
    """SHA-256 over names and contents of files of the package; without `comments`, only the code that Python executes counts."""
    sha = hashlib.sha256()
    for path in paths:
        content = path.read_bytes() if comments else ast.dump(_bare(ast.parse(path.read_bytes()))).encode()
        sha.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + content)
    return sha.hexdigest()


def _bare(tree: ast.AST) -> ast.AST:
    """Remove docstrings and other statements that are only a constant from a syntax tree."""
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [s for s in body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]  # type: ignore[attr-defined]
    return tree
