"""The commands as people type them: in a terminal, in a pipe, and wrongly."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import HANGS, PhotoFolder

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


@pytest.fixture
def project(bare_project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is typed is this environment's."""
    monkeypatch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")
    return bare_project


@pytest.fixture
def nba(photo_folder: PhotoFolder, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the players: the name resolves in $CLIPNB_DATA, the photographs are small."""
    folder = photo_folder({"Curry": 6, "Doncic": 6, "Müller, Jörg": 6}, name="nba")
    monkeypatch.setenv("CLIPNB_DATA", str(folder.parent))
    return folder


LITERAL = ["papermill", "notebooks/run.ipynb", "-p", "dataset", "nba", "-p", "manip", "grey"]
PAGE = Path("book/runs/nba-grey-efficientnet-lite2.ipynb")
RUN = Path("results/nba-grey-efficientnet-lite2")


def in_terminal(command: list[str]) -> tuple[int, str]:
    """Run a command on a pseudo-terminal; its status and what it showed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(command[0], command)
    shown = bytearray()
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode(errors="replace")


def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=HANGS, **options)  # type: ignore[call-overload, no-any-return]


def test_the_literal_command_works_in_a_terminal(project: Path, nba: Path) -> None:
    status, shown = in_terminal([*LITERAL, "-p", "k", "5"])
    assert status == 0, shown
    page = project / "book/runs/nba-grey-efficientnet-lite2-k5.ipynb"
    assert str(page.relative_to(project)) in shown
    assert json.loads(page.read_text())["metadata"]["papermill"]["parameters"]["k"] == 5


def test_the_literal_command_works_in_a_pipe_and_a_failure_does_not_replace_what_it_made(project: Path, nba: Path) -> None:
    done = run(LITERAL, stdin=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    finished = PAGE.read_bytes()
    assert {p.name for p in RUN.iterdir()} == {"run.json", "rows.parquet", "clip_output_nba_grey.json"}
    log = json.loads((RUN / "clip_output_nba_grey.json").read_text(encoding="utf-8"))
    assert list(log["grey"]) == ["Curry", "Doncic", "Müller, Jörg", "total"]
    assert run([LITERAL[0], LITERAL[1], "mine.ipynb", *LITERAL[2:]], stdin=subprocess.DEVNULL).returncode == 0
    assert Path("mine.ipynb").is_file()  # an explicit output wins
    assert PAGE.read_bytes() == finished
    for photo in nba.rglob("*.png"):
        photo.write_bytes(b"")
    done = run(LITERAL, stdin=subprocess.DEVNULL)
    assert done.returncode != 0
    assert "none of the 18 images" in done.stderr
    assert PAGE.read_bytes() == finished
    assert (RUN / "run.json").is_file()
    assert Path("results/failed", PAGE.name).is_file()


@pytest.mark.parametrize(
    ("extra", "wanted"),
    [
        (["-p", "manip", "gry"], "unknown manipulation 'gry'; choose from original, blurred, cropped, grey, jpeg"),
        (["-p", "k", "none"], "k must be a whole number from 1 up, not 'none'"),
        (["-p", "dataset", "nowhere/at/all"], "no data set 'nowhere/at/all'"),
        (["-p", "k", "400"], "k = 400 is more than the 17 other images in the gallery: pass a smaller one (-p k 17)"),
    ],
)
def test_a_mistake_is_one_line(project: Path, nba: Path, extra: list[str], wanted: str) -> None:
    done = run([*LITERAL, *extra], stdin=subprocess.DEVNULL)
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if line.startswith("clipnb: ")]
    assert len(said) == 1
    assert wanted in said[0]
    assert "Traceback" not in done.stderr


def test_missing_players_are_one_line_that_says_what_to_do(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLIPNB_DATA", raising=False)
    done = run(LITERAL, stdin=subprocess.DEVNULL)
    line = next(line for line in done.stderr.splitlines() if line.startswith("clipnb: "))
    assert "CLIPNB_DATA" in line
    assert "sample-figures" in line
    assert "djjerrish/nba-player-image-dataset-201920" in line


def test_an_interrupt_is_one_line_and_publishes_nothing(project: Path, nba: Path, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import time, numpy as np\n"
        "from clipnb.encoders.histogram import Histogram\n"
        "class Slow(Histogram):\n"
        "    identity = 'slow'\n"
        "    def encode(self, batch):\n"
        "        print('asleep', flush=True); time.sleep(3600)\n"
        "        return super().encode(batch)\n"
        "def slow(): return Slow()\n"
    )
    shutil.copy(tmp_path / "slow.py", project)
    process = subprocess.Popen(
        [*LITERAL, "-p", "encoder", "slow:slow", "--log-output"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it, and hand that on
    )
    assert process.stdout is not None
    said = ""
    while "asleep" not in said and (line := process.stdout.readline()):
        said += line
    os.killpg(process.pid, signal.SIGINT)
    said += process.communicate(timeout=HANGS)[0]
    assert process.returncode != 0
    assert "clipnb: stopped; finished embeddings are kept" in said
    assert not list(Path("book/runs").glob("*.ipynb"))
    assert not Path("results").is_dir() or not list(Path("results").glob("*/run.json"))


def test_a_mistyped_parameter_is_refused(project: Path, nba: Path) -> None:
    done = run([*LITERAL, "-p", "manp", "blur"], stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert "the notebook has no parameter 'manp' (did you mean 'manip'?)" in done.stderr


def test_from_another_folder_the_run_goes_to_the_project(
    project: Path, nba: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    command = [sys.executable, "-m", *LITERAL]
    done = run([str(project / part) if part.startswith("notebooks/") else part for part in command], stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    assert (project / PAGE).is_file()
    assert (project / RUN / "run.json").is_file()
    assert not list(Path.cwd().iterdir())


def test_report_outside_a_checkout_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run([str(BIN / "clipnb"), "report"])
    assert done.returncode == 1
    assert done.stderr.strip().endswith("run this in a checkout of the clipnb repository")


def test_info_lists_what_is_at_hand(project: Path, nba: Path) -> None:
    shown = run(["clipnb", "info"]).stdout
    assert re.search(r"data sets +sample-figures, sample-scenes, .*nba", shown)
    assert "blurred (Gaussian blur" in shown
    assert "efficientnet-lite2" in shown
    assert "papermill notebooks/run.ipynb -p dataset" in " ".join(run(["clipnb", "--help"]).stdout.split())


def test_environment_yml_installs_this_project() -> None:
    yaml = pytest.importorskip("yaml")
    wanted = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(item["pip"] for item in wanted if isinstance(item, dict))
    assert "-e .[report]" in pip
    assert "python =3.11" in wanted
