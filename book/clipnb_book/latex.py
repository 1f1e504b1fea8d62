"""The book on paper (`make pdf`): settings for LaTeX, and pages without what needs a screen.

- charts are vector graphics; pictures of photographs stay bitmaps;
- every table gets the columns and the size of type that fit the page (`clipnb_book.latex_tables`);
- the reference of every module and the code of the run pages are left out: they are for looking up and for clicking;
- the first page gets the heading that a screen shows, and the bibliography only one heading.

All of it happens when the LaTeX is written, so that the web pages, which share the parsed pages, do not change.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.texescape import escape
from sphinx_jupyterbook_latex.nodes import RootHeader

from clipnb.report import plots
from clipnb.result import Result

from . import latex_tables

LEFT_OUT = ("api/",)
"""Folders of pages that are not printed."""

WITHOUT_CODE = ("runs/",)
"""Folders of pages that are printed without their cells: the same few lines on each."""

CHARTS: dict[str, Callable[[Result], Any]] = {"categories": plots.categories, "distances": plots.distances}
"""Cells of an executed run that show a chart -> the same chart, from the result."""

SCALE = 82
"""Size of a figure in percent of its size on the screen."""

KERNEL = 'c.InlineBackend.figure_formats = {"png", "pdf"}\n'
"""IPython's settings while a book is made for paper."""


def prepare(app: Sphinx) -> None:
    """Make executed notebooks give vector graphics too, and set code in black on white."""
    if app.builder.format != "latex":
        return
    app.config.pygments_style = "bw"
    profile = Path(app.doctreedir) / "ipython" / "profile_default"
    profile.mkdir(parents=True, exist_ok=True)
    (profile / "ipython_kernel_config.py").write_text(KERNEL, encoding="utf-8")
    os.environ["IPYTHONDIR"] = str(profile.parent)


def notebooks_again(app: Sphinx, env: Any, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """Execute notebooks again that were read for the screen."""
    return [name for name in env.found_docs if env.doc2path(name).endswith(".ipynb")] if app.builder.format == "latex" else []


def add_charts(notebook: dict[str, Any], result: Result | None) -> None:
    """Put the charts of an executed run beside its pictures, as vector graphics drawn from its result."""
    for cell in notebook["cells"]:
        draw = CHARTS.get(cell.get("id", ""))
        for output in cell.get("outputs", []) if draw and result else []:
            if draw and result and "image/png" in output.get("data", {}):
                file = io.BytesIO()
                draw(result).savefig(file, format="pdf", bbox_inches="tight", metadata={"CreationDate": None})
                output["data"]["application/pdf"] = base64.b64encode(file.getvalue()).decode()


def _photographs_as_pixels(document: Any) -> None:
    """Keep the JPEG of a picture with photographs: as vector graphics it is ten times as large."""
    for bundle in list(document.findall(nodes.container)):
        if bundle.get("nb_element") != "mime_bundle":
            continue
        images = {part["mime_type"]: part for part in bundle.children if any(part.findall(nodes.image))}
        png, pdf = images.get("image/png"), images.get("application/pdf")
        if png and pdf and any(image["uri"].endswith(".jpg") for image in png.findall(nodes.image)):
            bundle.remove(pdf)


def _smaller(document: Any) -> None:
    """Make figures smaller: they are drawn for a screen, and paper is read from nearer."""
    for image in document.findall(nodes.image):
        if not {"width", "height", "scale"}.intersection(image.attributes):
            image["scale"] = SCALE


def _keep_together(document: Any) -> None:
    """Keep a paragraph on one page with the table or figure that it introduces, and a heading with its text."""
    for node in [*document.findall(nodes.table), *document.findall(nodes.figure)]:
        while node.parent.index(node) == 0 and not isinstance(node.parent, nodes.section):
            node = node.parent
        at = node.parent.index(node)
        if at and isinstance(node.parent[at - 1], nodes.paragraph):
            node.parent.insert(at, nodes.raw("", r"\par\nopagebreak", format="latex"))
    for line in list(document.findall(nodes.paragraph)):
        said = [part for part in line if part.astext()]
        if len(said) == 1 and isinstance(said[0], nodes.strong) and not isinstance(line.parent, nodes.entry | nodes.list_item):
            line.parent.insert(line.parent.index(line) + 1, nodes.raw("", r"\clipnbkeep", format="latex"))


def _leave_out(document: Any) -> None:
    """Remove the pages and cells that are not printed."""
    for page in list(document.findall(addnodes.start_of_file)):
        if page["docname"].startswith(LEFT_OUT):
            page.parent.remove(page)
        elif page["docname"].startswith(WITHOUT_CODE):
            page.insert(0, nodes.raw("", r"\clearpage", format="latex"))
            for cell in list(page.findall(nodes.container)):
                if "cell_input" in cell.get("classes", []):
                    cell.parent.remove(cell)


def _unlink(document: Any) -> None:
    """Replace a link to a page that is not printed by its text."""
    for link in list(document.findall(nodes.reference)):
        if link.get("refuri", "").lstrip("%").startswith(LEFT_OUT):
            link.replace_self(link.children)


def _headings(document: Any, title: str) -> None:
    """Headings on the first page, and none over the page whose bibliography LaTeX puts at the end under its own."""
    for part in list(document.findall(RootHeader)):
        part.replace_self(nodes.raw("", rf"\section*{{{escape(part.astext(), 'xelatex')}}}", format="latex"))
    first = next(iter(document.findall(nodes.section)))
    first.insert(1, nodes.raw("", rf"\clipnbfirst{{{escape(title, 'xelatex')}}}", format="latex"))
    for page in list(document.findall(addnodes.start_of_file)):
        if page["docname"] == "references":
            page.parent.remove(page)


def _cell(entry: Any, heading: bool) -> list[latex_tables.Run]:
    """The texts of a cell, each with its style; a link is followed by its page."""
    found: list[latex_tables.Run] = []
    for text in entry.findall(nodes.Text):
        around = [text.parent, text.parent.parent, text.parent.parent.parent]
        code, strong = (any(isinstance(up, kind) for up in around) for kind in (nodes.literal, nodes.strong))
        found.append((text.astext(), "code" if code else "bold" if strong or heading else "text"))
    links = [link for link in entry.findall(nodes.reference) if link.get("internal")]
    return found + [(" (page\N{NO-BREAK SPACE}000)", "text") for _ in links]


def _set_tables(document: Any) -> None:
    """Set the columns and the type size of every table."""
    for table in list(document.findall(nodes.table)):
        rows = [list(row) for row in table.findall(nodes.row)]
        if any("morecols" in entry or "morerows" in entry for row in rows for entry in row):
            continue  # no table of ours joins cells
        cells = [[_cell(entry, isinstance(entry.parent.parent, nodes.thead)) for entry in row] for row in rows]
        right = ["text-right" in entry.get("classes", []) for entry in rows[-1]]
        found = latex_tables.layout(latex_tables.columns(cells, right))
        if found.lines >= latex_tables.BREAKABLE:
            table["classes"].append("longtable")
        for entry in (entry for row in rows for entry in row if not entry.astext()):
            entry.clear()  # an empty paragraph is a line
        at = table.parent.index(table)
        table.parent.insert(at, nodes.raw("", rf"\begingroup\clipnbtable\{found.size}", format="latex"))
        table.parent.insert(at + 1, addnodes.tabular_col_spec(spec=found.spec))
        table.parent.insert(at + 3, nodes.raw("", r"\endgroup", format="latex"))


class BeforeLinks(SphinxPostTransform):  # type: ignore[misc]
    default_priority = 3  # before myst-nb chooses among the forms of an output, and Sphinx resolves links
    formats = ("latex",)

    def run(self, **kwargs: Any) -> None:
        _photographs_as_pixels(self.document)
        _leave_out(self.document)


class AfterLinks(SphinxPostTransform):  # type: ignore[misc]
    default_priority = 750  # after sphinx-jupyterbook-latex has made parts of the contents
    formats = ("latex",)

    def run(self, **kwargs: Any) -> None:
        _unlink(self.document)
        _smaller(self.document)
        _keep_together(self.document)
        _set_tables(self.document)
        _headings(self.document, self.env.titles[self.config.master_doc].astext())


def connect(app: Sphinx) -> None:
    """Connect this to a Sphinx build."""
    app.add_post_transform(BeforeLinks)
    app.add_post_transform(AfterLinks)
    app.connect("builder-inited", prepare)
    app.connect("env-get-outdated", notebooks_again)
