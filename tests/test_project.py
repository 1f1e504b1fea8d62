"""A project of one's own, and a book that is built only where something changed."""

from __future__ import annotations

import ast
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import papermill  # noqa: F401 - it loads the plug-in, not the reverse
import pytest

from clipnb import RunSpec, run
from clipnb._core.paths import shown
from clipnb.checks import warnings
from clipnb.cli import main
from clipnb.cli.project import PARTS
from clipnb.encoders import MODULES
from clipnb.errors import MissingExtra, UserError
from clipnb.execution import pages
from clipnb.execution.papermill_command import planned
from clipnb.execution.papermill_plugin import Handler
from clipnb.possible import require_possible
from conftest import REPOSITORY, PhotoFolder, Printed, let_torchvision_load


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


def test_init_names_the_folder_of_photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: Printed) -> None:
    monkeypatch.chdir(tmp_path)
    for variable, folder in (("", "mine/data"), ("/elsewhere", "/elsewhere")):
        monkeypatch.setenv("CLIPNB_DATA", variable)
        assert f"put photographs into {folder}/<set>/<category>/" in printed("init", "mine")


def test_the_wheel_carries_the_files_of_a_project() -> None:
    hook = ast.parse((REPOSITORY / "hatch_build.py").read_text())
    (parts,) = (node.value for node in hook.body if isinstance(node, ast.Assign))
    assert ast.literal_eval(parts) == PARTS


def test_init_keeps_what_is_there(project: Path, printed: Printed) -> None:
    (project / "_config.yml").write_text("title: mine\n")
    (project / "_toc.yml").unlink()
    assert "1 files written" in printed("init", ".")
    assert (project / "_config.yml").read_text() == "title: mine\n"
    assert printed("init", "_toc.yml", status=1).startswith("clipnb: _toc.yml is a file: ")


def test_init_refuses_what_is_no_folder_for_a_project_and_quotes_its_name(
    tmp_path: Path, photo_folder: PhotoFolder, monkeypatch: pytest.MonkeyPatch, printed: Printed
) -> None:
    photo_folder({"cats": 1}, "holiday")
    monkeypatch.chdir(tmp_path)
    for folder, said in (
        ("", "clipnb: the name of the folder is empty: name one, or . for this folder\n"),
        ("holiday/cats/00.png/x", "clipnb: holiday/cats/00.png is a file: name a folder\n"),
        ("holiday", "clipnb: holiday holds pictures: name a folder for the project, and put photographs into its data/\n"),
    ):
        assert printed("init", folder, status=1) == said
    assert [path.name for path in tmp_path.iterdir()] == ["holiday"]
    assert [path.name for path in (tmp_path / "holiday").iterdir()] == ["cats"]
    cd = printed("init", "it's mine").partition("then: ")[2].partition(" && ")[0]
    assert shlex.split(cd) == ["cd", "it's mine"]


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

    def build(code: str, *arguments: str) -> int:
        builds.append(arguments)
        first = project / "_build" / "html" / "index.html"
        first.parent.mkdir(parents=True, exist_ok=True)
        first.write_text("<html>")
        (project / "book" / "cards").mkdir(exist_ok=True)
        (project / "book" / "cards" / f"{len(builds)}.md").write_text("# made by the build\n")
        return 0

    monkeypatch.setattr(pages, "run_attached", build)
    for path in project.rglob("*"):
        os.utime(path, (1e9, 1e9))
    first = pages.build_book()
    assert pages.build_book() == first
    assert len(builds) == 1
    change(project)
    assert pages.build_book() == first
    assert len(builds) == 2


def planned_error(*parameters: str) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIPNB_PROJECT", str(REPOSITORY))  # `planned` sets it
        with pytest.raises(UserError) as caught:
            planned([str(REPOSITORY / "notebooks" / "run.ipynb"), *parameters])
    return str(caught.value)


def test_a_missing_package_is_reported_before_the_kernel_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODULES, "clip", "a_module_that_is_not_installed")
    assert "pip install 'clipnb[clip]'" in planned_error("-p", "encoder", "ViT-B/32")
    with pytest.raises(MissingExtra):
        require_possible(RunSpec("sample-figures", encoder="ViT-B/32"))
    both = planned_error("-p", "encoder", "ViT-B/32", "-p", "dataset", "nowhere")
    assert "pip install 'clipnb[clip]'" in both
    assert "; no data set 'nowhere'" in both


def test_a_data_set_that_is_too_small_names_the_files_that_it_does_not_use(photo_folder: PhotoFolder) -> None:
    root = photo_folder({"deeper": 1})
    for i in range(3):
        shutil.copy(root / "deeper" / "00.png", root / f"{i}.png")
    said = r"k = 2 is more than the 0 other images in the gallery: add photographs \(not used: 3 outside the category folders\)"
    with pytest.raises(UserError, match=said):
        require_possible(RunSpec(str(root), encoder="histogram", k=2))


def test_two_data_sets_of_one_name_are_reported_before_the_kernel_starts(
    photo_folder: PhotoFolder, tmp_path: Path, own_results: Path
) -> None:
    first, second = photo_folder({"a": 2}, name="first/beach"), photo_folder({"b": 2}, name="second/beach")
    spec = RunSpec(str(first), encoder="histogram", k=1)
    run(spec, progress=False).save()
    require_possible(spec)
    typed = {"dataset": str(second), "manip": "original", "encoder": "histogram", "k": "1"}
    message = planned_error(*(word for name, value in typed.items() for word in ("-p", name, value)))
    assert f"holds a run on another folder, {str(first)!r}, than this {str(second)!r}" in message
    shutil.copytree(first, tmp_path / "moved" / "beach")
    require_possible(RunSpec(str(tmp_path / "moved" / "beach"), encoder="histogram", k=1))  # the same photographs


def test_a_typing_mistake_is_answered_before_the_kernel_starts(
    photo_folder: PhotoFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo_folder({"a": 1}, name="holiday")
    monkeypatch.chdir(tmp_path)
    assert "did you mean 'holiday'?" in planned_error("-p", "dataset", "holidy", "-p", "encoder", "histogram")
    let_torchvision_load()
    pytest.importorskip("timm")
    message = planned_error("-p", "dataset", "sample-figures", "-p", "encoder", "timm:resnet19")
    assert message.startswith("timm knows no model 'resnet19' (did you mean 'resnet")


def test_report_says_what_it_would_do(
    project: Path, photo_folder: PhotoFolder, monkeypatch: pytest.MonkeyPatch, printed: Printed
) -> None:
    monkeypatch.setattr(pages, "sample_specs", list)
    photo_folder({"cats": 3, "dogs": 3}, "mine/data/holiday")
    said = printed("report", "holiday", "--dry-run", "--encoder", "histogram", "--k", "3").splitlines()
    assert said[:4] == [f"run   holiday-{manip}-histogram-k3" for manip in ("original", "blurred", "cropped", "grey")]
    assert said[4].startswith("4 runs to do: at most 24 embeddings")
    assert said[5:] == ["0 of 4 runs are up to date", "book  would be built: the pages that changed"]
    assert not (project / "results").exists()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_shell_completes_commands_flags_and_folders(tmp_path: Path, printed: Printed) -> None:
    (tmp_path / "holiday").mkdir()
    completion = printed("completion", "bash")
    for typed, completed in {
        "clipnb tol": "tolerance",
        "clipnb tolerance holiday --meas": "--measure",
        "clipnb tolerance holiday --measure ''": "found p1 map zero_shot",
        "clipnb card hol": "holiday",
    }.items():
        last = len(typed.split()) - 1
        script = f"{completion}\nCOMP_WORDS=({typed}); COMP_CWORD={last}; _shtab_clipnb; echo ${{COMPREPLY[@]}}"
        done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout == f"{completed}\n"


def test_the_answer_of_a_flat_folder_leaves_out_what_has_no_value(photo_folder: PhotoFolder, own_results: Path) -> None:
    spec = RunSpec(str(photo_folder({"cats": 4}) / "cats"), encoder="histogram", k=2)
    run(spec, progress=False).save()
    answer = Handler(spec).answer("page.ipynb")
    assert "original found first 100.0%, valid@k" in answer
    assert "nan" not in answer


def test_the_answer_of_a_batch_names_the_next_one_or_the_merger(photo_folder: PhotoFolder, own_results: Path) -> None:
    root = str(photo_folder(dict.fromkeys("abcde", 2)))
    batches = [RunSpec(root, encoder="histogram", k=2, start=start, step=2) for start in (4, 0, 2)]
    said = []
    for spec in batches:
        run(spec, progress=False).save()
        said.append(Handler(spec).next_commands())
    assert said[:2] == ["the same with -p start 0", "the same with -p start 2"]
    assert said[2].endswith("clipnb merge")
    assert "start" not in said[2]
    rest = RunSpec(root, encoder="histogram", k=3, start=3)
    run(rest, progress=False).save()
    assert Handler(rest).next_commands() == "the same with -p start 0 -p step 3"


def test_the_answer_for_one_category_says_that_its_kind_cannot_be_missed(photo_folder: PhotoFolder, own_results: Path) -> None:
    root = photo_folder({"cats": 4, "pets/dogs": 4})
    spec = RunSpec(str(root), encoder="histogram", k=2)
    result = run(spec, progress=False)
    result.save()
    assert "P@1 by category 100.0% (by construction: one category alone), valid@k" in Handler(spec).answer("page.ipynb")
    alone = "one category alone gives no interval, and every result is of it by construction (P@1 is 100%): add another folder"
    assert alone in " ".join(warnings(result))
    assert "the data set `nested:<folder>` uses them" in " ".join(warnings(result))
    batch = run(RunSpec(f"nested:{root}", encoder="histogram", k=2, step=1), progress=False)
    assert "by construction" not in " ".join(warnings(batch)), "the other category is searched too"


def test_the_answer_states_the_number_of_queries_with_a_value(photo_folder: PhotoFolder, own_results: Path) -> None:
    spec = RunSpec(str(photo_folder({"cats": 4, "one": 1})), encoder="histogram", k=2)
    run(spec, progress=False).save()
    assert "original found first 100.0%, P@1 by category 100.0% (4 of 5 queries), valid@k" in Handler(spec).answer("page.ipynb")


def test_a_path_is_shown_relative_where_that_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "a" / "b" / "c"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    assert shown(here / "d") == "d"
    assert Path(shown(tmp_path / "a" / "x")) == Path("../../x")
    assert shown(tmp_path / "x") == str(tmp_path / "x")
