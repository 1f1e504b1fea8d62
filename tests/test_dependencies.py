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
    loaded = {Path(file).relative_to(PACKAGE).as_posix() for file in json.loads(done.stdout.splitlines()[-1])}
    needed = {path.relative_to(PACKAGE).as_posix() for path in needed_by("runs", *IN_A_RUN)}
    assert loaded - needed == set()
    assert len(loaded) > 30
    assert {"encoders/clip_models.py", "encoders/package_models.py", "retrieval/service.py", "retrieval/knn_client.py"} <= needed


NOTHING, REMARK, CODE = "", "\n# a remark\n", "\nMORE = 1\n"

CHANGES = {
    ("book/clipnb_book/values.py", REMARK): set(),
    ("clipnb/report/plots.py", REMARK): set(),
    ("clipnb/report/text.py", REMARK): set(),
    ("clipnb/cli/runs.py", REMARK): set(),
    ("clipnb/analysis/compare.py", REMARK): set(),
    ("clipnb/metrics/validity.py", CODE): {"code", "page"},
    ("clipnb/stats/intervals.py", CODE): {"code", "page"},
    ("clipnb/manipulations/study.py", CODE): {"code", "page"},
    ("clipnb/retrieval/neighbours.py", CODE): {"code", "page"},
    ("clipnb/report/plots.py", CODE): {"page"},
}
"""What is added to a module, and which digests change with it: `code_sha256`, and the state of a run's page."""

STATES = """
import json, sys
from pathlib import Path
import clipnb
from clipnb._core.code_state import digest_of, needed_by
from clipnb.execution.pages import state_of
from clipnb.provenance import code_sha256
assert Path(clipnb.__file__).is_relative_to(Path.cwd()), clipnb.__file__
spec, found = clipnb.RunSpec("sample-figures", "grey", "histogram"), []
for module, more in json.loads(sys.argv[1]):
    before = Path(module).read_text(encoding="utf-8")
    Path(module).write_text(before + more, encoding="utf-8")
    needed_by.cache_clear()
    digest_of.cache_clear()
    found.append({"code": code_sha256(), "page": state_of(spec)})
    Path(module).write_text(before, encoding="utf-8")
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, str]]:
    """The digests after each change, in one copy of the project."""
    copy = tmp_path_factory.mktemp("copy")
    for name in ("clipnb", "book/clipnb_book", "notebooks"):
        shutil.copytree(PACKAGE.parent / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "_config.yml").touch()
    asked = [("clipnb/runs.py", NOTHING), *CHANGES]
    environment = os.environ | {"PYTHONPATH": str(copy), "CLIPNB_PROJECT": str(copy)}
    command = [sys.executable, "-c", STATES, json.dumps(asked)]
    done = subprocess.run(command, env=environment, cwd=copy, capture_output=True, text=True, check=True)
    return dict(zip(asked, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change[0])
def test_the_states_of_page_and_code_change_only_with_their_dependencies(
    states: dict[tuple[str, str], dict[str, str]], change: tuple[str, str]
) -> None:
    before, after = states["clipnb/runs.py", NOTHING], states[change]
    assert {digest for digest in before if before[digest] != after[digest]} == CHANGES[change]


def test_the_notebook_calls_no_other_module() -> None:
    notebook = json.loads((PACKAGE.parent / "notebooks" / "run.ipynb").read_text(encoding="utf-8"))
    code = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    (line,) = re.findall(r"^from clipnb.report import (.*)$", code, re.MULTILINE)
    assert {f"report.{name}" for name in line.split(", ")} == set(IN_A_RUN)
    assert set(re.findall(r"clipnb\.(\w+)\(", code)) == {"run"}
