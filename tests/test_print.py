"""The book on paper: its LaTeX without TeX, the PDF where xelatex is, and the columns of its tables."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from built_book import environment, small
from clipnb_book.latex_tables import PADDING, PAGE, SIZES, Cell, columns, layout
from clipnb_book.published import original

ROOT = Path(__file__).resolve().parent.parent
MAKE = shutil.which("make") or pytest.skip("needs make", allow_module_level=True)

CHAPTERS = ("file: chart", "glob: runs/sample-figures-*", "file: api/clipnb.stats.intervals")
"""Of the small book: a notebook that is executed, runs, and a page that is not printed."""

PAGE_OF_ALL = """# A small book of 100% & more

The mean is {{ study.nba.mean }}, on [a page](api/clipnb.stats.intervals.md) that is not printed and [one](chart.ipynb) that is.

{{ claims.table }}

**A line that is a heading**

- and what it is over

| letters | what they are |
|:--|:--|
| `sample-figures-blurred-efficientnet-lite2-of-a-long-name` | → − ± · ≤ é ü, and a long sentence that has to be broken somewhere |
| | an empty cell |

```shell
papermill notebooks/run.ipynb -p dataset sample-figures -p manip grey -p encoder efficientnet-lite2 -p gallery gallery/ -p k 5
```

````{only} html
```{raw} html
<div id="browse"><noscript>needs a script</noscript></div>
```
````

````{only} latex
The web version is interactive.
````
"""

CHART = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    "cells": [
        {"cell_type": "markdown", "id": "title", "metadata": {}, "source": "# A chart"},
        {
            "cell_type": "code",
            "id": "chart",
            "metadata": {"mystnb": {"figure": {"caption": "A chart.", "name": "fig-chart"}, "image": {"alt": "A chart"}}},
            "execution_count": None,
            "outputs": [],
            "source": "from clipnb.report import plots\n\nplots.boxes({'one': [0.1, 0.4, 0.5], 'two': [0.2, 0.3, 0.9]})",
        },
    ],
}


def plain(*rows: list[str]) -> list[list[Cell]]:
    return [[[(text, "text")] for text in row] for row in rows]


def taken(spec: str, rows: list[list[Cell]], size: str) -> float:
    """Points that columns of a specification take."""
    kinds = re.findall(r"p\{([\d.]+)pt\}|([lr])", re.sub(r">\{.*?\}", "", spec))
    natural = [column.natural * SIZES[size] for column in columns(rows, [False] * len(rows[0]))]
    return sum(float(fixed) if fixed else own for (fixed, _), own in zip(kinds, natural, strict=True)) + PADDING * len(kinds)


def test_a_narrow_table_is_left_as_it_is() -> None:
    found = layout(columns(plain(["condition", "accuracy"], ["blurred", "0.7177"]), [False, True]))
    assert (found.size, found.spec, found.lines) == ("small", "lr", 2)


def test_long_sentences_wrap_and_short_cells_do_not() -> None:
    rows = plain(["claim", "n", "verdict"], ["Crop hurts figures more than anything else does " * 4, "51", "does not hold"])
    found = layout(columns(rows, [False, True, False]))
    assert re.fullmatch(r">\{\\raggedright\\arraybackslash\}p\{[\d.]+pt\}rl", found.spec)
    assert found.size == "small"


@given(st.lists(st.lists(st.text("abc -", max_size=90), min_size=7, max_size=7), min_size=2, max_size=4))
def test_every_table_fits_the_page(texts: list[list[str]]) -> None:
    rows = plain(*texts)
    found = layout(columns(rows, [False] * 7))
    assert taken(found.spec, rows, found.size) <= PAGE + 0.1 * 7


@pytest.fixture(scope="module")
def latex(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the LaTeX of a small book."""
    folder = small(project, tmp_path_factory.mktemp("print") / "checkout", *CHAPTERS)
    (folder / "book" / "small.md").write_text(PAGE_OF_ALL, encoding="utf-8")
    (folder / "book" / "chart.ipynb").write_text(json.dumps(CHART), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("jb")), "build", "book", "--builder", "latex", "-W", "-n", "--keep-going"]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "WARNING" not in done.stdout + done.stderr
    return folder / "_build" / "latex"


def test_the_latex_holds_what_is_for_paper_and_no_html(latex: Path) -> None:
    text = (latex / "clipnb.tex").read_text(encoding="utf-8")
    assert not re.search(r"<(?:div|script|noscript|table|span|img|p)\b", text)
    assert "The web version is interactive." in text
    assert original.list_facts(original.printed_log("NBA").total).mean.point == pytest.approx(
        float(re.findall(r"The mean is ([\d.]+),", text)[0]), abs=1e-4
    )
    assert r"\clipnbfirst{A small book of 100\% \& more}" in text
    assert r"\begin{longtable}" in text, "the table of all claims may go on on the next page"
    assert not re.search(r"\\begin\{tabulary\}\{\\linewidth\}\[t\]\{T", text), "no table is left to LaTeX"
    assert r"\PYG{n}{categories}" not in text, "the code of the runs is on their pages"
    assert "plots.boxes" in text.replace("\\PYG{o}{.}", ".").replace("\\PYG{n}{", "").replace("}", ""), "of others it is not"
    assert re.search(r"heading\}\s*\\clipnbkeep\s*\\begin\{itemize\}", text)
    assert "clipnb.stats.intervals" not in text, "the reference is not printed"


def test_charts_are_vector_graphics_and_photographs_are_not(latex: Path) -> None:
    text = (latex / "clipnb.tex").read_text(encoding="utf-8")
    shown = re.findall(r"sphinxincludegraphics(?:\[[^]]*\])?\{\{(\w+)\}\.(\w+)\}", text)
    kinds = [kind for _, kind in shown]
    assert kinds.count("pdf") == 4 * 2 + 1, "two charts a run, and one of the notebook that was executed"
    assert kinds.count("jpg") == 4 * 2, "two pictures of photographs a run"
    assert set(kinds) == {"pdf", "jpg"}
    for name, kind in shown:
        assert (latex / f"{name}.{kind}").stat().st_size > 2000


def test_the_pdf_is_made_and_nothing_in_it_is_lost_or_cut_off(latex: Path) -> None:
    if not (shutil.which("xelatex") and shutil.which("latexmk")):
        pytest.skip("needs TeX Live (`make tex` says which packages)")
    options = {"LATEXMKOPTS": "-interaction=nonstopmode -halt-on-error"}
    done = subprocess.run([MAKE, "all-pdf"], cwd=latex, env=os.environ | options, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    log = (latex / "clipnb.log").read_text(encoding="utf-8", errors="replace")
    assert "Missing character" not in log
    assert "undefined" not in log, "a reference leads nowhere"
    assert max(map(float, re.findall(r"Overfull \\hbox \(([\d.]+)pt", log)), default=0.0) < 20, "no line is too long"
    if not shutil.which("pdftotext"):
        pytest.skip("the PDF is made; to read it needs pdftotext (Debian: apt-get install poppler-utils)")
    text = subprocess.run(["pdftotext", "-layout", "clipnb.pdf", "-"], cwd=latex, capture_output=True, text=True, check=True).stdout
    assert re.search(r"The mean is 0\.\d{4}, on a page that is not printed and one \(page \d+\)", re.sub(r"\s+", " ", text))
    assert "sample-figures, blurred (efficientnet-lite2)" in text
    assert "valid@k by category (share of valid results)" in text, "the labels of charts are text"


def test_without_tex_one_line_says_what_to_install(tmp_path: Path) -> None:
    done = subprocess.run([MAKE, "-s", "pdf"], cwd=ROOT, env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode != 0
    (said,) = done.stdout.splitlines()
    assert said.startswith("clipnb: the PDF needs xelatex")
    assert "apt-get install latexmk texlive-xetex" in said
