"""The notebooks: fit to be committed, in step with their golden copy, and able to run alone in Colab."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest

from built_book import CACHE
from clipnb.errors import UserError
from clipnb.execution.notebook import executed
from clipnb.execution.papermill_command import default_parameters
from clipnb.spec import FIELDS, RunSpec, spec_of
from clipnb_book.repository import address_of

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted([*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "book").glob("*.ipynb")])


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code(path: Path) -> list[str]:
    """Code cells, without the parameters that papermill injected."""
    return [c.source for c in read(path).cells if c.cell_type == "code" and "injected-parameters" not in c.metadata.get("tags", [])]


def test_the_golden_copy_has_the_code_of_the_run_notebook() -> None:
    assert code(ROOT / "tests" / "run.ipynb") == code(ROOT / "notebooks" / "run.ipynb")


def test_committed_notebooks_have_no_outputs_and_install_themselves_in_colab() -> None:
    for path in NOTEBOOKS:
        cells = [c for c in read(path).cells if c.cell_type == "code"]
        assert not any(c.outputs or c.execution_count for c in cells), path
        parts = ('if "google.colab" in sys.modules:', "%pip install", "from IPython")
        assert sorted(parts, key=cells[0].source.index) == list(parts), path


def test_every_parameter_is_typed_explained_and_named_like_the_specification() -> None:
    notebook = json.loads((ROOT / "notebooks" / "run.ipynb").read_text(encoding="utf-8"))
    cell = next(c for c in notebook["cells"] if "parameters" in c["metadata"].get("tags", []))
    lines = "".join(cell["source"]).splitlines()
    assert all(isinstance(node, ast.AnnAssign) for node in ast.parse("\n".join(lines)).body)
    said = {line.split(":")[0]: line.partition("  # ")[2] for line in lines}
    assert {name: said[name] for name in FIELDS} == {name: field.metadata["help"] for name, field in FIELDS.items()}
    assert all(said.values())
    assert set(FIELDS) <= set(default_parameters(notebook))
    assert spec_of(default_parameters(notebook)) == RunSpec("sample-figures", "grey")


@pytest.mark.skipif(sys.platform == "win32", reason="has no sockets that are files")
def test_a_kernel_needs_no_port_that_another_process_may_take(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cells = [nbformat.v4.new_code_cell("import clipnb; number = 6", metadata={"tags": ["parameters"]})]
    cells.append(nbformat.v4.new_code_cell("if number < 0:\n    raise clipnb.UserError('too few')\nprint(7 * number)"))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), tmp_path / "a.ipynb")
    monkeypatch.setattr("jupyter_client.connect.socket", None)
    one, same = (executed(tmp_path / "a.ipynb", {"number": 5}, clipnb_state="x") for _ in range(2))
    assert one == same
    made = json.loads(one)
    assert made["cells"][-1]["outputs"][0]["text"] == ["35\n"]
    assert made["metadata"]["clipnb_state"] == "x"
    with pytest.raises(UserError, match=r"^too few$"):
        executed(tmp_path / "a.ipynb", {"number": -1})


@pytest.fixture(scope="module")
def colab(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a machine that looks like Colab: an empty folder, google.colab loaded, clipnb not installed.

    The repository cannot be reached from a test, so `%pip install` finds a stand-in for pip that notes what it was asked
    for and then really installs this checkout, as a wheel and without its dependencies.
    """
    home = tmp_path_factory.mktemp("colab")
    site = home / "site"
    for package in ("google", "google/colab", "pip"):
        (site / package).mkdir(parents=True)
        (site / package / "__init__.py").touch()
    (site / "sitecustomize.py").write_text("import google.colab\n")
    source = home / "source"
    without = shutil.ignore_patterns(".git", ".venv*", "_build", "results", "book", "tests", ".*_cache")
    shutil.copytree(ROOT, source, ignore=without)
    shutil.copytree(ROOT / "book" / "clipnb_book", source / "book" / "clipnb_book")  # the wheel carries it
    (site / "pip" / "__main__.py").write_text(
        "import os, subprocess, sys\n"
        f"open({str(home / 'asked')!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')\n"
        f"if os.path.isdir({str(site / 'clipnb')!r}):\n    sys.exit()  # as for the notebook before\n"
        "clean = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}\n"
        f"command = ['install', '-q', '--no-deps', '--upgrade', '--target', {str(site)!r}, {str(source)!r}]\n"
        "sys.exit(subprocess.run([sys.executable, '-m', 'pip', *command], env=clean).returncode)\n"
    )
    (home / "content").mkdir()
    return {"home": str(home), "PYTHONPATH": str(site)}


ALONE = [ROOT / "notebooks" / f"{name}.ipynb" for name in ("run", "dataset", "card")] + sorted((ROOT / "book").glob("*.ipynb"))
CHAPTERS = [path.relative_to(ROOT).as_posix() for path in ALONE]


def test_every_notebook_runs_in_an_empty_colab(colab: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One kernel runs them all, each in a folder and with names of its own; the book runs each in a kernel of its own."""
    home, content = Path(colab["home"]), Path(colab["home"]) / "content"
    together = nbformat.v4.new_notebook(metadata=read(ROOT / CHAPTERS[0]).metadata)
    for chapter in CHAPTERS:
        folder = content / Path(chapter).stem
        folder.mkdir()
        together.cells.append(nbformat.v4.new_code_cell(f"%reset -f\n%cd -q {folder}", metadata={"chapter": chapter}))
        for at, cell in enumerate(c for c in read(ROOT / chapter).cells if c.cell_type == "code"):
            cell["id"], cell.metadata["chapter"] = f"{folder.name}-{at}", chapter
            together.cells.append(cell)
    nbformat.write(together, content / "chapters.ipynb")
    monkeypatch.setenv("PYTHONPATH", colab["PYTHONPATH"])
    monkeypatch.delenv("CLIPNB_RESULTS", raising=False)
    if CACHE:  # of this machine: what is embedded already is not embedded again
        monkeypatch.setenv("CLIPNB_CACHE", CACHE)
    monkeypatch.chdir(content)
    cells = papermill.execute_notebook("chapters.ipynb", None, progress_bar=False).cells
    assert {c.metadata["chapter"] for c in cells for o in c.outputs if o.output_type != "stream"} == set(CHAPTERS)

    address = address_of(ROOT)
    asked = "install -q clipnb[clip,efficientnet,samples]" + (f" @ git+{address}" if address else "")
    assert (home / "asked").read_text().splitlines()[0] == asked
    assert (content / "run" / "results" / "sample-figures-grey-efficientnet-lite2" / "run.json").is_file()
    outputs = [o for c in cells if c.metadata["chapter"] == CHAPTERS[0] for o in c.outputs]
    assert sum("image/png" in o.get("data", {}) for o in outputs) == 4
    command = [sys.executable, "-c", "import clipnb; print(clipnb.__file__)"]
    installed = subprocess.run(command, cwd=home, capture_output=True, text=True).stdout
    assert str(home) in installed, "the notebooks should have used the installed package, not the checkout"
