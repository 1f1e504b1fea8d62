"""What a run's page depends on: neither less than it loads, nor code that has no part in it."""

from __future__ import annotations

import json
import subprocess
import sys

from clipnb.dependencies import PACKAGE, needed_by
from clipnb.report import IN_A_RUN

RUN = """
import json, sys, tempfile
import clipnb
spec = clipnb.RunSpec("sample-figures", "grey", "efficientnet-lite2", per_category=3, k=3)
clipnb.pictures.before_after(spec)
result = clipnb.run(spec, progress=False)
result.save()
result._repr_markdown_()
clipnb.figures.categories(result)
clipnb.figures.distances(result)
clipnb.pictures.query_results(result)
print(json.dumps([m.__file__ for n, m in sys.modules.items() if n.split(".")[0] == "clipnb" and m.__file__]))
"""
"""What `notebooks/run.ipynb` does."""


def test_every_module_that_a_run_loads_is_one_that_its_page_depends_on() -> None:
    done = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    needed = {str(path) for path in needed_by(*IN_A_RUN)}
    assert loaded - needed == set()
    assert len(loaded) > 30
    later = {"encoders/openai_clip.py", "encoders/open_clip_models.py", "galleries/remote.py", "galleries/service.py"}
    assert later <= {path.relative_to(PACKAGE).as_posix() for path in needed_by(*IN_A_RUN)}  # other encoders, other galleries


def test_a_page_does_not_depend_on_what_only_the_book_or_the_commands_do() -> None:
    names = {path.relative_to(PACKAGE).as_posix() for path in needed_by(*IN_A_RUN)}
    assert not names & {
        "answer.py",
        "batches.py",
        "book.py",
        "cli.py",
        "claims.py",
        "sweeps.py",
        "severity_pictures.py",
        "report.py",
    }


def test_the_notebook_calls_no_other_module() -> None:
    notebook = json.loads((PACKAGE.parent / "notebooks" / "run.ipynb").read_text(encoding="utf-8"))
    code = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    called = {part.split("(")[0].split(".")[0] for part in code.split("clipnb.")[1:]}
    assert called <= {*IN_A_RUN, "run", "spec_of"}
