"""Tables with a number and a caption: `Table: what it shows` on a line above a Markdown table, in a page or in an output.

Jupyter shows the line as it is; `clipnb.report.format.captioned` writes it.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

MARK = "Table: "


def number_tables(app: Sphinx, doctree: Any) -> None:
    """Make the paragraph that begins with the mark, above a table, the table's caption; captioned tables are numbered."""
    page = re.sub(r"\W+", "-", app.env.docname)
    for number, table in enumerate(doctree.findall(nodes.table), start=1):
        before = table.parent[table.parent.index(table) - 1] if table.parent.index(table) else None
        if not isinstance(before, nodes.paragraph) or not before.astext().startswith(MARK):
            continue
        title = nodes.title("", "", *before.children)
        title[0] = nodes.Text(str(title[0]).removeprefix(MARK))
        table.insert(0, title)
        before.parent.remove(before)
        if not table["ids"]:
            table["ids"].append(f"table-{page}-{number}")


def connect(app: Sphinx) -> None:
    """Connect this to a Sphinx build."""
    app.connect("doctree-read", number_tables)
