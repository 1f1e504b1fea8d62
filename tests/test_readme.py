"""What the README says can be typed: every fenced command, and every Python block, in order in one small project."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import papermill  # noqa: F401  # loads its plug-in, which cannot be imported before it
import pytest

from clipnb.cli import parser
from clipnb.datasets.samples import ensure
from clipnb.errors import UserError
from clipnb.execution.papermill_plugin import default_parameters, read_command_line
from clipnb.spec import spec_of
from conftest import REPOSITORY as ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
NOT_RUN = (
    "export",
    "python3 -m venv",
    ".venv/bin/python -m pip",
    ".venv-test/bin/python -m pip",
    ".venv-test/bin/python -m pytest",
)
"""Commands that make an environment or set a variable."""

NETWORK_OR_MINUTES = ("report", "fetch", "sweep --datasets", "compare", "merge")
"""Commands of clipnb whose arguments are parsed alone: they fetch, take minutes, or need runs that a clone has not."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> Iterator[str]:
    for block in blocks("shell"):
        yield from (line.split("  #")[0].strip() for line in block.splitlines() if line.strip())


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the notebooks, two folders of photographs and a grid, as the README takes for granted."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    (folder / "_config.yml").touch()
    for name in ("holiday", "photographs"):
        for kind in sorted(ensure("sample-figures").iterdir())[:2]:
            (folder / name / kind.name).mkdir(parents=True)
            for photo in sorted(kind.iterdir())[:7]:
                shutil.copy(photo, folder / name / kind.name)
    (folder / "grid.yml").write_text("datasets: [holiday]\nmanips: [grey]\nencoders: [histogram]\nseverities: [1]\n")
    return folder


@pytest.mark.parametrize("command", list(dict.fromkeys(commands())))
def test_a_command_of_the_readme_works_as_typed(command: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    monkeypatch.delenv("CLIPNB_RESULTS", raising=False)
    monkeypatch.setenv("CLIPNB_ENCODER", "histogram")
    words = shlex.split(command)
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif words[0].endswith("clipnb"):
        options = parser(words[1]).parse_args(words[1:])
        if " ".join(words[1:]).startswith(NETWORK_OR_MINUTES):
            return
        if words[1] in ("analyse", "export"):
            finished_runs(project)
        if words[1] == "index":
            options.encoder = "histogram"
        assert options.go(options) == 0
    elif words[0] == "papermill":
        positional, given = read_command_line(words[1:])
        notebook = json.loads((project / positional[0]).read_text(encoding="utf-8"))
        known = default_parameters(notebook)
        assert given.keys() <= known.keys()
        spec_of(known | given)
    else:
        assert command.startswith(NOT_RUN), f"{command!r} is not tried by any test"


def finished_runs(project: Path) -> None:
    """All four conditions of the holiday, as `clipnb report holiday` leaves them."""
    import clipnb

    for manip in ("original", "blurred", "cropped", "grey"):
        clipnb.run(clipnb.RunSpec("holiday", manip, "histogram"), progress=False).save()


def test_a_mistyped_command_is_noticed() -> None:
    with pytest.raises(SystemExit):
        parser("sweep").parse_args(["sweep", "--severity", "1"])
    with pytest.raises(UserError):
        spec_of({"manip": "blured"})


@pytest.mark.parametrize("code", blocks("python"))
def test_a_python_block_of_the_readme_runs(code: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == code.count("print(")


def test_the_files_that_the_readme_names_are_there() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", README):
        assert (ROOT / target).exists(), target
    for package in re.findall(
        r"`(cli|execution|report|analysis|retrieval|embedding|encoders|manipulations|datasets|stats|metrics|_core)`", README
    ):
        assert (ROOT / "clipnb" / package / "__init__.py").is_file()
