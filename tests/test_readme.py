"""The README can be typed: its commands run in order in one small project, its Python block runs, its links lead to files."""

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

import clipnb
from clipnb._core.text import is_service
from clipnb.cli import main, parser
from clipnb.datasets.dataset import KNOWN
from clipnb.datasets.samples import ensure
from clipnb.encoders import ENCODERS, efficientnet
from clipnb.execution.papermill_command import default_parameters, read_command_line
from clipnb.spec import spec_of
from conftest import REPOSITORY as ROOT
from conftest import TinyEncoder

README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
FENCE, INLINE = r"```shell\n(.*?)```", r"`((?:clipnb|conda|make|papermill) [^`\n]+)`"

PARSED_ONLY = ("fetch", "report")
"""Commands of clipnb that need the network or minutes."""


def commands() -> list[str]:
    """All shell commands of the README, fenced or inline, in order."""
    text = re.sub(r"```python\n.*?```", "", README, flags=re.DOTALL)
    found = (match[1] or match[2] for match in re.finditer(f"{FENCE}|{INLINE}", text, re.DOTALL))
    lines = (line.split("  #")[0].strip() for block in found for line in block.splitlines())
    return [line for line in lines if line]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with the files that the README assumes, as the current folder.

    The default encoder is `histogram`. A tiny encoder stands in for `efficientnet-lite2`: it needs no PyTorch.
    """
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    shutil.copy(ROOT / "_config.yml", folder)
    for name in ("holiday", "photographs"):
        for category in sorted(ensure("sample-figures").iterdir())[:2]:
            (folder / name / category.name).mkdir(parents=True)
            for photo in sorted(category.iterdir())[:7]:
                shutil.copy(photo, folder / name / category.name)
    (folder / "grid.yml").write_text("datasets: [holiday]\nmanips: [grey]\nencoders: [histogram]\nseverities: [1]\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("CLIPNB_RESULTS", raising=False)
        patch.setenv("CLIPNB_ENCODER", "histogram")
        patch.setenv("CLIPNB_CACHE", str(folder / "cache"))  # the usual one may know the real encoder
        patch.setattr(efficientnet, "load", lambda name, compute: TinyEncoder())
        yield folder


def check(command: str, project: Path) -> None:
    """Run a command of the README, or check it in another way if it needs the network or minutes."""
    words = shlex.split(command)
    if command in recipes():
        return  # a command without make is a line of the Makefile
    if words[0] == "make":
        assert re.search(rf"^{re.escape(words[1])}:.*## ", MAKEFILE, re.MULTILINE)
    elif words[0] == "clipnb":
        run_clipnb(words[1:], project)
    elif words[0] == "papermill":
        run_papermill(words, project)
    elif words[0] == "export":
        name, _, value = words[1].partition("=")
        assert name == "CLIPNB_ENCODER"
        assert value in ENCODERS
    else:
        assert words[:-1] == ["conda", "env", "create", "-f"], "no test tries this command"
        assert (ROOT / words[-1]).is_file()


def recipes() -> set[str]:
    """The commands of the Makefile as a person types them."""
    text = MAKEFILE.replace("$(BIN)", "bin").replace("$(PYTHON)", "python3").replace(" $(TESTS)", "").replace("'", '"')
    return {line.strip() for line in text.splitlines() if line.startswith("\t")}


def run_clipnb(words: list[str], project: Path) -> None:
    if words[0] not in PARSED_ONLY:
        assert main(words) == 0
        return
    options = parser(words[0]).parse_args(words)
    assert all(name in KNOWN or (project / name).is_dir() for name in getattr(options, "datasets", []))
    assert getattr(options, "name", "nba") in KNOWN


def run_papermill(words: list[str], project: Path) -> None:
    """Execute the notebook for the first command. For later ones, run what its parameters ask for, if the data are there."""
    notebook = next(word for word in words if word.endswith(".ipynb"))
    known = default_parameters(json.loads((project / notebook).read_text(encoding="utf-8")))
    (_, *others), given = read_command_line(words[1:], known)
    assert not others
    assert given.keys() <= known.keys()
    spec = spec_of(known | given)
    pages = project / "book" / "runs"
    asks_for_help = "--help-notebook" in words
    if asks_for_help or not pages.exists():
        program = Path(sys.executable).parent / words[0]
        done = subprocess.run([program, *words[1:]], cwd=project, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert asks_for_help or (pages / f"{spec.run_id}.ipynb").is_file()
    elif not is_service(spec.gallery) and spec.dataset not in KNOWN:
        clipnb.run(spec, progress=False).save()


def test_the_commands_of_the_readme_run_in_order(project: Path) -> None:
    found = commands()
    assert len(found) > 15
    for command in found:
        try:
            check(command, project)
        except (Exception, SystemExit) as error:
            raise AssertionError(f"{command!r} fails: {error}") from error


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_a_python_block_of_the_readme_runs(code: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= code.count("print(")
    assert not list(tmp_path.iterdir())


def test_every_block_of_the_readme_is_of_a_kind_that_is_tried() -> None:
    assert set(re.findall(r"^```(\w*)", README, re.MULTILINE)) == {"", "python", "shell"}
    assert "OWNER" not in README


def test_the_readme_names_files_that_exist() -> None:
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", README)
    assert links
    for target in links:
        assert (ROOT / target).exists(), target
    named = re.findall(r"`(?:clipnb/)?(\w+)`(?=[,:])", README.partition("## The code")[2])
    for name in named:
        assert (ROOT / "clipnb" / name).is_dir() or (ROOT / "clipnb" / f"{name}.py").is_file(), name
