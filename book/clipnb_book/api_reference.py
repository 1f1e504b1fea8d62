"""The reference pages of the book: one for each public module, made from its docstrings by Sphinx's autodoc."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import clipnb
from clipnb._core.files import write_text
from clipnb.report.format import table

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PAGES = {
    "clipnb": "the public names: a run, its result, a data set, an encoder",
    "clipnb.spec": "the parameters of a run",
    "clipnb.result": "the result of a run, and its files",
    "clipnb.datasets.dataset": "data sets of photographs",
    "clipnb.manipulations.base": "manipulations of photographs",
    "clipnb.manipulations.conditions": "one manipulation at a severity or strength, applied to one image",
    "clipnb.encoders": "what an encoder is, and how to write one",
    "clipnb.metrics.measures": "the registry of measures",
    "clipnb.metrics.validity": "the study's measure, and how far an embedding moved",
    "clipnb.metrics.ranking": "precision, recall and average precision by category",
    "clipnb.metrics.zero_shot": "zero-shot classification and text-to-image retrieval",
    "clipnb.metrics.agreement": "agreement of two lists of results",
    "clipnb.metrics.corruption": "robustness over manipulations and severities",
    "clipnb.metrics.verification": "thresholds on pairs of photographs",
    "clipnb.stats.intervals": "means and their intervals over categories",
    "clipnb.stats.sign_flips": "the primary test of a change, its interval, and what it can detect",
    "clipnb.stats.hypothesis": "tests of equivalence and of interactions, Holm's adjustment",
    "clipnb.stats.effect_sizes": "effect sizes, intra-class correlation",
    "clipnb.analysis.contrasts": "changes between conditions, with interval, tests and effect size",
}
"""Modules with a page of the reference, and what each holds."""

PAGE = """# `{module}`

```{{eval-rst}}
{body}
```
"""

WHOLE = ".. automodule:: {module}\n   :members:\n   :member-order: bysource"

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
    "autodoc_type_aliases": {"ArrayLike": "ArrayLike"},  # else the whole union type is spelled out
}
"""Settings of Sphinx for these pages."""


def write_pages(folder: Path) -> None:
    """Write a page for each module of `PAGES` to `folder`; unchanged pages are not touched, other pages there are removed."""
    texts = {
        f"{name}.md": PAGE.format(module=name, body=_public() if name == "clipnb" else WHOLE.format(module=name)) for name in PAGES
    }
    write_generated(folder, "*.md", texts)


def write_generated(folder: Path, pattern: str, texts: Mapping[str, str]) -> None:
    """Write generated files (name -> content) where they change, and delete files that match `pattern` but are not generated."""
    for name, text in texts.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)
    for path in folder.glob(pattern):
        if path.name not in texts:
            path.unlink()


def _public() -> str:
    """The docstring of `clipnb`, and its public functions."""
    parts = [".. automodule:: clipnb\n"]
    for name in clipnb.__all__:
        thing = getattr(clipnb, name)
        if callable(thing) and not isinstance(thing, type):
            parts.append(f".. autofunction:: clipnb.{name}\n   :noindex:\n")
    return "\n".join(parts)


def modules_table() -> str:
    """A table with a row for each page of the reference."""
    return table(["module", "what it holds"], [[f"[`{name}`](api/{name}.md)", what] for name, what in PAGES.items()], "ll")


_CODE = re.compile(r"(``[^`]*``|`[^`]*`)")


def plain_docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Escape stars, bars, underscores and at signs (`R@P90` is no address): docstrings are plain text."""
    for at, line in enumerate(lines):
        if line.lstrip().startswith((":", "..")) and not line.lstrip().startswith(":param"):
            continue
        pieces = _CODE.split(line)
        pieces[::2] = [re.sub(r"(?<!\\)([|*@]|_(?=\W|$))", r"\\\1", piece) for piece in pieces[::2]]
        lines[at] = "".join(pieces)
    if what in ("data", "attribute") and lines:
        lines[0] = f": {lines[0]}"  # napoleon reads the text before the first colon as a type: here, none
    if what == "module":
        paragraphs = (part.split("\n") for part in "\n".join(lines).strip("\n").split("\n\n"))
        lines[:] = [line for paragraph in paragraphs for line in [*_listed(paragraph), ""]]


def _listed(paragraph: list[str]) -> list[str]:
    """Keep the lines of a paragraph whose lines are continued by indentation; leave other paragraphs alone."""
    if paragraph[0].startswith((" ", "- ")) or not any(line.startswith("  ") for line in paragraph):
        return paragraph
    return [f"   {line.strip()}" if line.startswith("  ") else f"| {line}" for line in paragraph]


def connect(app: Sphinx) -> None:
    """Connect to a Sphinx build, before napoleon reads the docstrings."""
    import papermill  # noqa: F401  # loads its plug-ins; one of them, described here, cannot be imported before it

    app.connect("autodoc-process-docstring", plain_docstring, priority=100)
