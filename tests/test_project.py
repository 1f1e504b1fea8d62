"""A project of one's own, and a book that is built only where something changed."""

from __future__ import annotations

import ast
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import papermill  # noqa: F401 - it loads the plug-in, not the reverse
import pytest

from clipnb.cli import main
from clipnb.execution import pages
from clipnb.execution.papermill_plugin import planned
from clipnb.execution.template import PARTS
from conftest import REPOSITORY, PhotoFolder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `clipnb init` writes, as the current folder."""
    monkeypatch.delenv("CLIPNB_RESULTS", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["init", "mine"]) == 0
    monkeypatch.chdir(tmp_path / "mine")
    monkeypatch.setenv("CLIPNB_PROJECT", str(tmp_path / "mine"))
    return tmp_path / "mine"


def test_init_writes_a_project_in_which_runs_are_made(project: Path, photo_folder: PhotoFolder) -> None:
    assert (project / "data").is_dir()
    for name in ("_config.yml", "_toc.yml", "notebooks/run.ipynb", "book/index.ipynb", "book/_static/clipnb.css"):
        assert (project / name).read_bytes() == (REPOSITORY / name).read_bytes()
    assert not list(project.rglob("*.py"))
    photo_folder({"cats": 3, "dogs": 3}, "mine/data/holiday")
    plan = planned(["notebooks/run.ipynb", "-p", "dataset", "holiday", "-p", "k", "3"])
    assert plan is not None
    assert plan.output == project / "book" / "runs" / f"{plan.spec.run_id}.ipynb"
    assert pages.template() == project / "notebooks" / "run.ipynb"


def test_the_wheel_carries_the_files_of_a_project() -> None:
    hook = ast.parse((REPOSITORY / "hatch_build.py").read_text())
    (parts,) = (node.value for node in hook.body if isinstance(node, ast.Assign))
    assert ast.literal_eval(parts) == PARTS


def test_init_keeps_what_is_there(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "_config.yml").write_text("title: mine\n")
    (project / "_toc.yml").unlink()
    capsys.readouterr()
    assert main(["init", "."]) == 0
    assert "1 files written" in capsys.readouterr().out
    assert (project / "_config.yml").read_text() == "title: mine\n"
    assert main(["init", "_toc.yml"]) == 1
    assert capsys.readouterr().err.startswith("clipnb: _toc.yml: ")


@pytest.mark.parametrize(
    "change",
    [
        lambda project: (project / "book" / "limits.md").write_text("# Limits\n"),
        lambda project: (project / "_toc.yml").write_text("root: index\n"),
        lambda project: (project / "notebooks" / "dataset.ipynb").touch(),
        lambda project: (project / "_build" / "html" / "index.html").unlink(),
    ],
)
def test_the_book_is_built_where_something_changed(
    project: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], Any]
) -> None:
    builds = []

    def build(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        builds.append(command)
        first = project / "_build" / "html" / "index.html"
        first.parent.mkdir(parents=True, exist_ok=True)
        first.write_text("<html>")
        (project / "book" / "cards").mkdir(exist_ok=True)
        (project / "book" / "cards" / f"{len(builds)}.md").write_text("# made by the build\n")
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", build)
    for path in project.rglob("*"):
        os.utime(path, (1e9, 1e9))
    first = pages.build_book()
    assert pages.build_book() == first
    assert len(builds) == 1
    change(project)
    assert pages.build_book() == first
    assert len(builds) == 2
