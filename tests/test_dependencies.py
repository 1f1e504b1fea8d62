"""What a run's page depends on: neither less than it loads, nor code that has no part in it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clipnb._core.code_state import PACKAGE, needed_by
from clipnb.execution.pages import IN_A_RUN

RUN = """
import json, sys, tempfile
import clipnb
from clipnb.report import photos, plots, text
spec = clipnb.RunSpec("sample-figures", "grey", "efficientnet-lite2", per_category=3, k=3)
photos.before_after(spec)
result = clipnb.run(spec, progress=False)
result.save()
text.summary(result)
plots.categories(result)
plots.distances(result)
photos.query_results(result)
print(json.dumps([m.__file__ for n, m in sys.modules.items() if n.split(".")[0] == "clipnb" and m.__file__]))
"""
"""What `notebooks/run.ipynb` does."""


def test_every_module_that_a_run_loads_is_one_that_its_page_depends_on() -> None:
    done = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    needed = {str(path) for path in needed_by("runs", *IN_A_RUN)}
    assert loaded - needed == set()
    assert len(loaded) > 30
    needed = {path.relative_to(PACKAGE).as_posix() for path in needed_by("runs", *IN_A_RUN)}
    later = {"encoders/openai_clip.py", "encoders/open_clip_models.py", "retrieval/service.py", "retrieval/knn_client.py"}
    assert later <= {
        path.relative_to(PACKAGE).as_posix() for path in needed_by("runs", *IN_A_RUN)
    }  # other encoders, other galleries


def changed(tmp_path: Path, module: str, more: str) -> tuple[str, str]:
    """code_sha256 and the state of a run's page, in a copy of the project in which a module was added to."""
    for name in ("clipnb", "book/clipnb_book", "notebooks"):
        shutil.copytree(PACKAGE.parent / name, tmp_path / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "_config.yml").touch()
    path = tmp_path / module
    path.write_text(path.read_text(encoding="utf-8") + more, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", STATE],
        env=os.environ | {"PYTHONPATH": str(tmp_path), "CLIPNB_PROJECT": str(tmp_path)},
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    code, page, home = done.stdout.splitlines()
    assert Path(home).is_relative_to(tmp_path)
    return code, page


STATE = r"""
import clipnb
from clipnb.execution.pages import state_of
from clipnb.provenance import code_sha256
print(*[code_sha256(), state_of(clipnb.RunSpec("sample-figures", "grey", "histogram")), clipnb.__file__], sep="\n")
"""

COMMENT = "\n# a remark\n"


def test_a_remark_in_the_book_the_reports_or_the_commands_changes_nothing(tmp_path: Path) -> None:
    before = changed(tmp_path / "as it is", "clipnb/runs.py", "")
    modules = (
        "book/clipnb_book/values.py",
        "clipnb/report/plots.py",
        "clipnb/report/text.py",
        "clipnb/cli/runs.py",
        "clipnb/analysis/compare.py",
    )
    for at, module in enumerate(modules):
        assert changed(tmp_path / str(at), module, COMMENT) == before, module


@pytest.mark.parametrize(
    "module",
    ["clipnb/metrics/validity.py", "clipnb/stats/intervals.py", "clipnb/manipulations/study.py", "clipnb/retrieval/neighbours.py"],
)
def test_a_change_of_what_a_number_depends_on_changes_the_code_and_the_page(tmp_path: Path, module: str) -> None:
    before = changed(tmp_path / "as it is", module, "")
    after = changed(tmp_path / "changed", module, "\nMORE = 1\n")
    assert after[0] != before[0]
    assert after[1] != before[1]


def test_a_change_of_what_a_page_draws_changes_the_page_alone(tmp_path: Path) -> None:
    before = changed(tmp_path / "as it is", "clipnb/report/plots.py", "")
    code, page = changed(tmp_path / "changed", "clipnb/report/plots.py", "\nMORE = 1\n")
    assert code == before[0]
    assert page != before[1]


def test_the_notebook_calls_no_other_module() -> None:
    notebook = json.loads((PACKAGE.parent / "notebooks" / "run.ipynb").read_text(encoding="utf-8"))
    code = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    (line,) = re.findall(r"^from clipnb.report import (.*)$", code, re.MULTILINE)
    assert {f"report.{name}" for name in line.split(", ")} == set(IN_A_RUN)
    assert set(re.findall(r"clipnb\.(\w+)\(", code)) == {"run"}
