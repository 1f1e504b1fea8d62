"""The book's Sphinx extension: `jb build book` reads the project's own contents, results and runs.

- the table of contents is the top-level `_toc.yml` (Jupyter Book finds the top-level `_config.yml` by itself);
- sample runs that are missing or out of date are computed first, so that a fresh clone builds;
- every data set with a clean run gets a page, made from `notebooks/dataset.ipynb`;
- `{{ study.nba.mean }}` in a page is a computed number (`clipnb_book.values`); a changed result rebuilds the pages;
- a finding that `claims.yml` asserts and the numbers do not support stops the build (`clipnb_book.claims`);
- without an address of the repository there are no buttons that need one (`clipnb_book.repository`);
- pages are made light, complete without a network and accessible (`clipnb_book.html`), or fit for paper (`clipnb_book.latex`);
- an executed run in `book/runs/` gets its own title and labels, and shows one parameters cell instead of two.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError

from clipnb._core.paths import runs_root
from clipnb.datasets.dataset import load_dataset, slug
from clipnb.errors import UserError
from clipnb.execution import pages
from clipnb.manipulations import CLEAN, STUDY
from clipnb.result import Result, load_results
from clipnb.runs import saved_result
from clipnb.spec import spec_of

from . import api_reference, browser_data, captions, html, latex, slider
from .api_reference import write_generated
from .claims import ledger
from .measured import records
from .values import values

FOR_RUNNING = {"install", "what", "parameters"}
"""Ids or tags of the cells of a run notebook that its page does not show."""

MARK = "Table: "
"""A line that begins so, above a Markdown table, becomes its caption (`clipnb.report.format.captioned`)."""


UNDECLARED = ("sphinx_jupyterbook_latex", "sphinx_multitoc_numbering")
"""Extensions of Jupyter Book that keep no state while pages are read for HTML, but do not declare it."""


def configure(app: Sphinx, config: Config) -> None:
    """Compute what is missing, then tell Sphinx where the contents and the numbers are."""
    root = Path(app.srcdir).parent
    os.chdir(root)  # the folder from which paths in $CLIPNB_DATA and data set names are read
    try:
        failures = pages.ensure(pages.sample_specs(), jobs=pages.default_jobs())
    except UserError as error:
        raise ExtensionError(str(error)) from error
    if failures:
        raise ExtensionError("; ".join(f"{run} failed: {why}" for run, why in failures.items()))
    results = load_results()
    write_dataset_pages(root, results)
    write_cards(root, results)
    api_reference.write_pages(root / "book" / "api")
    write_generated(root / "book" / "generated", "*", generated(root))
    for name, value in api_reference.SETTINGS.items():
        setattr(config, name, value)
    offer_repository(config.html_theme_options)
    config.html_theme_options["extra_footer"] = html.footer(results)
    links = {path.stem: f"[`{path.stem}`](runs/{path.name})" for path in runs_root().glob("*.ipynb")}
    config.external_toc_path = (root / "_toc.yml").as_posix()
    config.mathjax_path = html.MATHJAX.as_posix()
    try:
        config.myst_substitutions = {**config.myst_substitutions, **values(results, links)}
    except UserError as error:  # the numbers contradict the claim ledger
        raise ExtensionError(str(error)) from error


def read_in_parallel(app: Sphinx) -> None:
    """Read, and so execute, several pages at a time, as `sphinx-build -j` does; `jb build` has no such option.

    Sphinx reads in forked processes, which is safe on Linux only.
    """
    from clipnb.execution.pages import default_jobs

    if sys.platform == "linux" and app.builder.format == "html":
        app.parallel = default_jobs()
        for name in UNDECLARED:
            app.extensions[name].parallel_read_safe = True


def tell_page(app: Sphinx, docname: str, source: list[str]) -> None:
    """Print the page that is read now: a process of Sphinx tells what it read only at its end."""
    if app.parallel > 1:
        print(f"reading {docname}", flush=True)


def spread(app: Sphinx, env: BuildEnvironment, docnames: list[str]) -> None:
    """Deal the notebooks, which take most of the time, evenly to the portions that are read in parallel."""
    docnames.sort(key=lambda name: not env.doc2path(name).endswith(".ipynb"))
    docnames[:] = [name for at in range(app.parallel) for name in docnames[at :: app.parallel]]


def offer_repository(options: dict[str, Any]) -> None:
    """Show the buttons that need the repository, in the theme's options, only if its address is set."""
    address = options.get("repository_url")
    options |= {"use_repository_button": bool(address), "use_issues_button": bool(address)}
    if not address:
        options.pop("launch_buttons", None)


def write_pictures(app: Sphinx, env: BuildEnvironment) -> None:
    """The data and pictures of the retrieval browser and of the slider of manipulations, if the book has their pages."""
    if app.builder.format == "html":
        for page, name, write in (("browse", "browse", browser_data.write), ("method", "slider", slider.write)):
            if page in env.found_docs:
                write(Path(app.outdir) / "_static" / name)


def write_dataset_pages(root: Path, results: Sequence[Result]) -> None:
    """One page for each clean run, with the runs that differ in the manipulation only."""
    pages, said = {}, {}
    for spec in (r.spec for r in results if r.spec.manip == CLEAN):
        fields = {name: value for name, value in spec.to_dict().items() if name != "manip"} | {"only_saved": True}
        pages[spec.group_id] = (f"{spec.dataset_name}, {spec.group_id.removeprefix(spec.dataset_name + '-')}", fields)
        own = [r for r in results if r.spec.group_id == spec.group_id and r.spec.manip in STUDY and not r.spec.condition.value]
        said[spec.group_id] = captions.of_dataset(own)
    _write_pages(root, "dataset", pages, said)


def write_cards(root: Path, results: Sequence[Result]) -> None:
    """One card for each data set that has a run and whose photographs are still there."""
    datasets = sorted(dataset for dataset in {r.spec.dataset for r in results} if _is_there(dataset))
    _write_pages(root, "card", {slug(dataset): (f"Card of {slug(dataset)}", {"dataset": dataset}) for dataset in datasets})


def generated(root: Path) -> dict[str, str]:
    """The changelog as a page, and files to download: name -> content."""
    path = root / "CHANGELOG.md"
    changelog = path.read_text(encoding="utf-8") if path.is_file() else "# Changelog\n\nIt is in the repository.\n"
    table, _ = records.severities()
    lists = [column for column in table.columns if column.endswith("_points") or column == "sizes"]
    return {
        "changelog.md": changelog,
        "severities.csv": table.drop(columns=lists).to_csv(index=False),
        "claims.yml": ledger.ledger_path().read_text(encoding="utf-8"),
    }


def _is_there(dataset: str) -> bool:
    try:
        return bool(load_dataset(dataset).photos)
    except UserError:
        return False


def _write_pages(
    root: Path,
    template: str,
    pages: Mapping[str, tuple[str, Mapping[str, object]]],
    said: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> None:
    """Pages from `notebooks/<template>.ipynb`, name -> (title, parameters), touched only if they change; others are removed.

    `said` maps the name of a page to the findings of its figures.
    """
    source = (root / "notebooks" / f"{template}.ipynb").read_text(encoding="utf-8")
    texts: dict[str, str] = {}
    for name, (title, parameters) in pages.items():
        page = json.loads(source)
        for cell in page["cells"]:
            if "parameters" in cell["metadata"].get("tags", []):
                cell["source"] = "\n".join(f"{parameter} = {value!r}" for parameter, value in parameters.items())
                cell["metadata"]["tags"].append("remove-cell")
        _relabel(page, name, said.get(name))
        _retitle(page, title)
        texts[f"{name}.ipynb"] = json.dumps(page, indent=1, ensure_ascii=False) + "\n"
    write_generated(root / "book" / f"{template}s", "*.ipynb", texts)


def _relabel(notebook: dict[str, Any], suffix: str, said: Mapping[str, str] | None = None) -> None:
    """Give the figures of a page from a template labels of their own, and captions that begin with what was found."""
    for cell in notebook["cells"]:
        figure = cell["metadata"].get("mystnb", {}).get("figure")
        if figure:
            figure["caption"] = " ".join(filter(None, ((said or {}).get(figure["name"]), figure["caption"])))
            figure["name"] += f"-{suffix}"


def _retitle(notebook: dict[str, Any], title: str) -> None:
    """Give a notebook made from a template its own title."""
    lines = "".join(notebook["cells"][0]["source"]).splitlines()
    notebook["cells"][0]["source"] = "\n".join([f"# {title}", *lines[1:]])


def mend_page(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Let the Colab button of a generated page open its template."""
    template = {"runs": "run", "datasets": "dataset", "cards": "card"}.get(pagename.partition("/")[0])
    if template:
        _replace_urls(context.get("header_buttons"), f"book/{pagename}.ipynb", f"notebooks/{template}.ipynb")


def _replace_urls(buttons: Any, old: str, new: str) -> None:
    for button in buttons or []:
        if "buttons" in button:
            _replace_urls(button["buttons"], old, new)
        elif old in str(button.get("url", "")):
            button["url"] = button["url"].replace(old, new)


def present_notebook(app: Sphinx, docname: str, source: list[str]) -> None:
    """Remove the Colab badge, a picture from the network, and prepare the page of an executed run."""
    if not Path(app.env.doc2path(docname)).name.endswith(".ipynb"):
        return
    notebook = json.loads(source[0])
    if docname.startswith("runs/"):
        _present_run(notebook, vectors=app.builder.format == "latex")
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            text = "".join(cell["source"])
            cell["source"] = "\n".join(line for line in text.split("\n") if "colab-badge" not in line)
    source[0] = json.dumps(notebook)


def _present_run(notebook: dict[str, Any], vectors: bool) -> None:
    """Give an executed run its own title and labels, and hide the cells that are only for running it."""
    try:
        spec = spec_of(notebook["metadata"]["papermill"]["parameters"])
    except (KeyError, UserError):
        return  # a notebook of the user: shown unchanged
    result = saved_result(spec)
    _relabel(notebook, spec.run_id, captions.of_run(result) if result else None)
    settings = spec.run_id.removeprefix(f"{spec.dataset_name}-{spec.condition_id}-")
    _retitle(notebook, f"{spec.dataset_name}, {spec.condition.label} ({settings})")
    for cell in notebook["cells"]:
        tags = cell["metadata"].setdefault("tags", [])
        if FOR_RUNNING.intersection([cell.get("id"), *tags]):
            tags.append("remove-cell")
        elif "injected-parameters" in tags:
            tags.append("hide-input")
    if vectors:
        latex.add_charts(notebook, result)


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


def forget_failure(app: Sphinx, error: Exception | None) -> None:
    """After a build with warnings, make the next one read every page: Sphinx does not repeat the warnings of pages that it kept."""
    if error or app._warncount:
        (Path(app.doctreedir) / "environment.pickle").unlink(missing_ok=True)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", read_in_parallel)
    app.connect("env-before-read-docs", spread)
    app.connect("env-updated", write_pictures)
    app.connect("config-inited", configure, priority=850)  # sphinx-external-toc reads the path at 900
    app.connect("source-read", tell_page)
    app.connect("source-read", present_notebook)
    app.connect("doctree-read", number_tables)
    app.connect("build-finished", forget_failure)
    app.connect("html-page-context", mend_page, priority=900)  # after the theme has made its buttons
    html.connect(app)
    api_reference.connect(app)
    latex.connect(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
