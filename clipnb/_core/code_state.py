"""Find the source files that modules need, by their import statements, and compute a digest of them."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.util import resolve_name
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def _statements(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports of a module, inside functions too, except those that only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif not (isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING"):
            yield from _statements(child)


@cache  # a page's text and its numbers need much of the same code
def _imports(package: str, source: bytes) -> list[str]:
    """Names that may be modules in the import statements of a module in a package, with the packages around them."""
    found: list[str] = []
    for node in _statements(ast.parse(source)):
        names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
            names = [base, *(f"{base}.{name}" for name in names)]
        for name in names:
            parts = name.split(".")
            found += [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
    return found


def sources(modules: Iterable[str], root: Path, is_own: Callable[[str], bool]) -> dict[str, Path]:
    """Name -> file of modules in the folder `root` and of all that they import from packages and modules that are `is_own`."""
    found: dict[str, Path] = {}
    due = list(modules)
    while due:
        name = due.pop()
        path = root / name.replace(".", "/")
        file = next((file for file in (path.with_name(f"{path.name}.py"), path / "__init__.py") if file.is_file()), None)
        if file and name not in found and is_own(name.partition(".")[0]):
            found[name] = file
            package = name if file.name == "__init__.py" else name.rpartition(".")[0]
            due += _imports(package, file.read_bytes())
    return found


@cache
def needed_by(*modules: str) -> tuple[Path, ...]:
    """Sorted paths of some modules (dotted names within the package) and of all that they import, inside functions too."""
    names = [f"{PACKAGE.name}.{module}" for module in modules]
    found = sources(names, PACKAGE.parent, lambda top: top == PACKAGE.name)
    assert found.keys() >= set(names), f"one of {names} is no module"
    return tuple(sorted(found.values()))


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
