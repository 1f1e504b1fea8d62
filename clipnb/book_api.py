"""Reference pages of the book, one a module, made from its docstrings by Sphinx's autodoc."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .files import write_generated
from .wording import table

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PACKAGE = Path(__file__).parent

NOT_PUBLIC = ("__main__",)

PAGE = """# {title}

```{{eval-rst}}
.. automodule:: {module}
{options}```
"""

MEMBERS = "   :members:\n   :member-order: bysource\n"

SETTINGS: dict[str, Any] = {
    "autodoc_typehints": "signature",
    "autodoc_typehints_format": "short",
    "autodoc_default_options": {"no-value": True},  # a value may hold a path of this machine
    "autodoc_preserve_defaults": True,
    "python_use_unqualified_type_names": True,
    "add_module_names": False,
    "default_role": "code",
    "napoleon_google_docstring": True,
    "napoleon_numpy_docstring": False,
    "napoleon_use_ivar": True,
    "autodoc_type_aliases": {"ArrayLike": "ArrayLike"},  # else all that NumPy takes for one, a line long
}
"""Of Sphinx, for these pages."""


def modules() -> Iterator[tuple[str, str]]:
    """(name, first sentence of its docstring) of every module of the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if parts[-1] in NOT_PUBLIC:
            continue
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        yield ".".join(parts), re.split(r"(?<=[.?!:])\s", " ".join(doc.split("\n\n")[0].split()))[0].rstrip(":")


def write_pages(folder: Path) -> None:
    """One page a module in `folder`, touched only if it changes; pages of modules that are gone are removed."""
    texts = {
        f"{name}.md": PAGE.format(title=f"`{name}`", module=name, options=MEMBERS if "." in name else "") for name, _ in modules()
    }
    write_generated(folder, "*.md", texts)


def modules_table() -> str:
    """A row a module, with a link to its page."""
    return table(["module", "what it answers"], [[f"[`{name}`](api/{name}.md)", what] for name, what in modules()], "ll")


_CODE = re.compile(r"(``[^`]*``|`[^`]*`)")


def plain_docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are written to be read as text: a star, a bar or an underscore in them is no mark-up."""
    for at, line in enumerate(lines):
        if line.lstrip().startswith((":", "..")) and not line.lstrip().startswith(":param"):
            continue
        pieces = _CODE.split(line)
        pieces[::2] = [re.sub(r"(?<!\\)([|*]|_(?=\W|$))", r"\\\1", piece) for piece in pieces[::2]]
        lines[at] = "".join(pieces)
    if what in ("data", "attribute") and lines:
        lines[0] = f": {lines[0]}"  # napoleon takes what stands before the first colon for a type: here, nothing
    _name_several(lines)
    if what == "module":
        lines[:] = [line for paragraph in _paragraphs(lines) for line in [*_listed(paragraph), ""]]


def _name_several(lines: list[str]) -> None:
    """Let attributes that are described together be one name: of "low, high" Sphinx would make a type and a name."""
    inside = False
    for at, line in enumerate(lines):
        inside = line.strip() == "Attributes:" or (inside and (not line or line.startswith(" ")))
        if inside and (names := re.match(r"    \w+(, \w+)+(?=:)", line)):
            lines[at] = names[0].replace(", ", ",\u200b") + line[names.end() :]


def _paragraphs(lines: list[str]) -> list[list[str]]:
    return [part.split("\n") for part in "\n".join(lines).strip("\n").split("\n\n")]


def _listed(paragraph: list[str]) -> list[str]:
    """A paragraph of lines that are continued by indentation keeps its lines; others are left alone."""
    if paragraph[0].startswith((" ", "- ")) or not any(line.startswith("  ") for line in paragraph):
        return paragraph
    return [f"   {line.strip()}" if line.startswith("  ") else f"| {line}" for line in paragraph]


def connect(app: Sphinx) -> None:
    """Hook this into a Sphinx build, before napoleon reads the docstrings."""
    import papermill  # noqa: F401  # loads its plug-ins; one of them, described here, cannot be imported before it

    app.connect("autodoc-process-docstring", plain_docstring, priority=100)
