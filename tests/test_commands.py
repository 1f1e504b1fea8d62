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
import termios
import time
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import papermill  # noqa: F401 - it loads the plug-in, not the reverse
import pytest

from clipnb import RunSpec
from clipnb._core.progress import ticking
from clipnb.cli import main
from clipnb.errors import UserError
from clipnb.execution import pages, sweep
from clipnb.execution.papermill_command import as_options, planned
from clipnb.execution.papermill_plugin import Handler
from conftest import HANGS, PhotoFolder, Printed, one_line, slow_encoder

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
    termios.tcsetwinsize(terminal, (40, 120))
    shown = bytearray()
    with suppress(OSError):
        while piece := os.read(terminal, 65536):
            shown += piece
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode(errors="replace")


def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=HANGS, **options)  # type: ignore[call-overload, no-any-return]


def test_the_documented_command_works_in_a_pipe_and_a_failure_keeps_its_output(project: Path, nba: Path) -> None:
    done = run(LITERAL, stdin=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    finished = PAGE.read_bytes()
    assert {p.name for p in RUN.iterdir()} == {"run.json", "rows.parquet", "clip_output_nba_grey.json"}
    log = json.loads((RUN / "clip_output_nba_grey.json").read_text(encoding="utf-8"))
    assert list(log["grey"]) == ["Curry", "Doncic", "Müller, Jörg", "total"]
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
        (["-p", "manip", "gry"], "unknown manipulation 'gry' (did you mean 'grey'?)"),
        (["-p", "k", "none"], "k must be a whole number from 1 up, not 'none'"),
        (["-p", "dataset", "nowhere/at/all"], "no data set 'nowhere/at/all'"),
        (["-p", "keep", "maybe"], "keep must be True or False, not 'maybe'"),
        (["-p", "batch_size", "8.5"], "batch_size must be a whole number, not '8.5'"),
        (["-y", "gallery: 2020"], "gallery must be a text, not 2020: put it in quotes"),
        (
            ["-p", "k", "400"],
            "k = 400 is more than the 15 other images in the gallery (2 left out as copies of a query; with -p duplicates -1 only "
            "equal files are): pass a smaller one (-p k 15)",
        ),
        (["-p", "manp", "blur"], "no parameter 'manp' (did you mean 'manip'?); papermill --help-notebook notebooks/run"),
        (["-r", "k", "3"], "-r passes a text, which k is not: -p k 3"),
        (["-b", "!!!"], "the parameters in '!!!' cannot be read"),
        (["-k", "nosuch"], "there is no kernel 'nosuch'; Jupyter has "),
        (["-p", "dataset", "my", "notebooks"], "put a name with spaces in quotes: -p dataset 'my notebooks'"),
        (["dataset=holiday"], "'dataset=holiday' would be the path of the output: a parameter is -p dataset holiday"),
        (["notebooks"], "'notebooks' would be the path of the output, but it is a folder: a data set is -p dataset notebooks"),
        (["-p", "dataset", "notebooks/run.ipynb"], "'notebooks/run.ipynb' is a file: a data set is the folder of its photographs"),
    ],
)
def test_a_mistake_is_one_line(project: Path, nba: Path, extra: list[str], wanted: str) -> None:
    (project / "my notebooks").mkdir()
    with one_line(re.escape(wanted)):
        planned([*LITERAL[1:], *extra])


def test_a_notebook_is_prepared_without_a_run_also_after_two_dashes(project: Path, nba: Path) -> None:
    (nba / "Curry" / "broken.png").write_bytes(b"no image")
    with one_line(r"k = 30 is more than the 15 other images .*pass a smaller one \(-p k 15\).*not used: 1 unreadable"):
        planned([*LITERAL[1:], "-p", "k", "30"])
    with one_line("typographic writes the name of another category: the data set needs at least two"):
        planned([*LITERAL[1:4], str(nba / "Curry"), "-p", "manip", "typographic", "-p", "k", "3"])
    for words, place in ([], PAGE), (["--", "out.ipynb"], Path("out.ipynb")):
        done = run([*LITERAL, "--prepare-only", *words], stdin=subprocess.DEVNULL)
        assert (done.returncode, "stopped" in done.stderr) == (0, False), done.stderr
        assert 'dataset = "nba"' in place.read_text(encoding="utf-8").replace('\\"', '"')


def test_a_mistake_is_reported_before_the_kernel_starts(project: Path, nba: Path) -> None:
    done = run([*LITERAL, "-p", "k", "400", "-k", "no-such-kernel"], stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    (said,) = done.stderr.splitlines()
    assert said.startswith("clipnb: k = 400 is more than the 15 other images")


@pytest.mark.parametrize("name", ["007", "2024_05", "1e5", "no"])
def test_the_type_in_the_notebook_decides_the_type_of_a_value(
    photo_folder: PhotoFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    photo_folder({"cats": 3, "dogs": 3}, name)
    monkeypatch.setenv("CLIPNB_PROJECT", str(ROOT))
    monkeypatch.setenv("CLIPNB_DATA", str(tmp_path))
    typed = ["-p", "dataset", name, "-p", "keep", "false", "-p", "batch_size", "8.0", "-p", "k", "3", "-p", "tau", "1e-1"]
    plan = planned([str(ROOT / "notebooks" / "run.ipynb"), "out.ipynb", *typed])
    assert plan is not None
    assert (plan.spec.dataset, plan.spec.k, plan.spec.tau) == (name, 3, 0.1)
    assert plan.output is None, "the output that is stated wins"
    given = f"-r dataset {name} -p keep False -p batch_size 8 -p k 3 -p tau 0.1"
    assert as_options(plan.parameters) == given.split()


def test_a_run_ends_with_its_numbers_its_page_and_what_comes_next(
    project: Path, nba: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nba / "Curry" / "broken.jpg").write_text("no picture")
    status, shown = in_terminal([*LITERAL, "-p", "encoder", "histogram", "-p", "k", "3"])
    assert status == 0, shown
    assert "warning: 1 unreadable image was left out, as queries and as results: Curry/broken.jpg: not an image" in shown
    assert "embedding" in shown, "the bar of the kernel"
    assert re.search(r"nba-grey-histogram-k3: original found first \d+\.\d%, P@1 by category \d", shown)
    assert "page: book/runs/nba-grey-histogram-k3.ipynb" in shown
    page = project / "book/runs/nba-grey-histogram-k3.ipynb"
    assert json.loads(page.read_text())["metadata"]["papermill"]["parameters"]["k"] == 3
    spec = RunSpec("nba", "grey", "histogram", 3)
    assert pages.outstanding([spec, spec.clean])[0].keys() == {spec.clean}, "clipnb report does not make the page again"
    assert "next: the same with -p manip original, then clipnb analyse nba-histogram-k3" in shown
    at_strength = RunSpec("nba", "blurred", "histogram", 4, strength=2.5)
    assert Handler(at_strength).next_commands().startswith("the same with -p manip original and without -p strength, then")
    monkeypatch.setenv("CLIPNB_PROJECT", str(project))
    monkeypatch.chdir(project.parent)  # outside the project of the notebook
    assert Handler(spec).next_commands().endswith(f" then cd {project.name} && clipnb analyse nba-histogram-k3")


def test_the_time_of_a_bar_passes_on_a_terminal_while_it_does_not_move(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clipnb._core.progress.EVERY", 0.01)
    for terminal, least, most in ((True, 3, 1000), (False, 0, 0)):
        refreshed: list[float] = []
        bar = SimpleNamespace(disable=False, fp=SimpleNamespace(isatty=lambda shown=terminal: shown))
        bar.refresh = lambda times=refreshed: times.append(time.monotonic())
        with ticking(bar):
            time.sleep(0.3)
        seen = len(refreshed)
        time.sleep(0.05)
        assert least <= seen == len(refreshed) <= most


def test_an_output_that_is_typed_is_written_and_the_run_ends_with_its_numbers(project: Path, nba: Path) -> None:
    typed = [*LITERAL[:2], "out.ipynb", *LITERAL[2:], "-p", "encoder", "histogram"]
    shown = run([*typed, "-p", "k", "3"], stdin=subprocess.DEVNULL).stdout
    assert re.search(r"nba-grey-histogram-k3: original found first \d+\.\d%.*\n(warning: .*\n)*page: out.ipynb\nnext: ", shown)
    done = json.loads(Path("out.ipynb").read_text(encoding="utf-8"))
    assert done["metadata"]["papermill"]["exception"] is None
    failed = run([*typed, "-p", "manip", "blurred", "-p", "batch_size", "-1"], stdin=subprocess.DEVNULL)
    assert failed.returncode != 0
    assert "The incomplete notebook is in out.ipynb" in failed.stderr
    assert json.loads(Path("out.ipynb").read_text(encoding="utf-8"))["metadata"]["papermill"]["exception"] is True


def test_a_closed_pipe_is_no_traceback(project: Path, nba: Path) -> None:
    done = run(["bash", "-c", f"set -o pipefail; {sys.executable} -m clipnb info | true"])
    assert done.stderr == ""


def test_results_alone_need_no_project_and_name_what_they_leave_out(
    tmp_path: Path, photo_folder: PhotoFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (photo_folder({"cats": 3, "dogs": 3}, "mine") / "cats" / "broken.jpg").write_text("no picture")
    sweep = ["sweep", "mine", "--encoders", "histogram", "--manips", "grey", "--k", "2"]
    assert main([*sweep, "--dry-run"]) == 0
    left_out = "clipnb: mine: 1 of 7 photographs could not be read: left out; the first: cats/broken.jpg: not an image of "
    capsys.readouterr()
    shutil.copy("mine/cats/00.png", "mine/loose.png")
    not_used = "clipnb: mine: not used: 1 outside the category folders (`clipnb card --files mine` names them)\n"
    two = ["mine-original-histogram-k2", "mine-grey-histogram-k2"]
    for command in ([*sweep, "--no-pages"], ["analyse", "mine"], ["compare", *two]):
        assert main(command) == 0
        err = capsys.readouterr().err
        assert (err.count(left_out), err.count(not_used)) == (1, 1)
    for command in (
        ["leaderboard", "mine", "--encoders", "histogram", "--manips", "grey", "--k", "2"],
        ["threshold", "mine", "--k", "2"],
    ):
        assert main([*command, *["--encoder", "histogram"] * (command[0] == "threshold")]) == 0
        assert sum(not_used[14:] in part for part in capsys.readouterr()) == 1
    assert main(sweep) == 1


def test_a_run_of_many_photographs_shows_them_on_a_terminal(project: Path, nba: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, shown = in_terminal(["clipnb", "sweep", "nba", "--manips", "grey", "--encoders", "histogram", "--no-pages"])
    assert status == 0, shown
    assert "/18 [" in shown, "photographs, below the bar of the runs"
    assert "/2 [" in shown
    assert main(["sweep", "nba", "--manips", "blurred", "--encoders", "histogram", "--no-pages"]) == 0
    assert "/18 [" not in capsys.readouterr().err, "in a pipe"


def test_report_says_which_settings_it_ignores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("clipnb.execution.pages.ensure", lambda specs, **options: {})
    monkeypatch.setenv("CLIPNB_PROJECT", str(ROOT))
    assert main(["report", "--k", "5", "--no-book"]) == 0
    out, err = capsys.readouterr()
    assert "--k ignored: name a data set" in err
    assert out.startswith("8 of 8 runs are there; `clipnb runs` lists them, `jb build ")


def test_a_report_says_what_it_would_run_as_soon_as_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPNB_PROJECT", str(ROOT))
    said = []

    def state_of(spec: RunSpec) -> str:
        said.append(sys.stdout.getvalue())  # type: ignore[attr-defined]
        return "none"

    monkeypatch.setattr(pages, "state_of", state_of)
    monkeypatch.setattr(sweep, "cost", lambda specs, jobs: f"{len(specs)} runs to do")
    with redirect_stdout(StringIO()) as out:
        assert main(["report", "--no-book", "--dry-run"]) == 0
    assert [shown.count("run   sample-") for shown in said] == list(range(8))
    assert out.getvalue().endswith("8 runs to do\n0 of 8 runs are up to date\n")


def test_a_report_on_a_mistyped_data_set_runs_nothing(project: Path, nba: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "nba", "nab", "--encoder", "tiny"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "and 1 more cannot start: no data set 'nab' (did you mean 'nba'?)" in line
    assert not Path("results").exists()


def test_a_mistyped_notebook_is_one_line_with_those_that_are_there(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for typed in ("notebooks/rum.ipynb", "notebooks/run"):
        said = f"^there is no notebook {typed}; the project has notebooks/card.ipynb, notebooks/data"
        with pytest.raises(UserError, match=said):
            planned([typed, "-p", "manip", "grey"])
    monkeypatch.chdir(tmp_path)
    said = r"^there is no notebook notebooks/run.ipynb; this folder is in no project \(clipnb init <folder> makes one\)$"
    with pytest.raises(UserError, match=said):
        planned(LITERAL[1:])


def test_missing_players_are_one_line_that_says_what_to_do(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLIPNB_DATA", raising=False)
    with pytest.raises(UserError) as caught:
        planned(LITERAL[1:])
    for said in ("CLIPNB_DATA", "sample-figures", "djjerrish/nba-player-image-dataset-201920"):
        assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def interrupted(command: list[str], begun: str) -> str:
    """What a command prints that is interrupted when it has printed `begun`."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it, and hand that on
    )
    assert process.stdout is not None
    said = ""
    while begun not in said and (line := process.stdout.readline()):
        said += line
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    said += process.communicate(timeout=HANGS)[0]
    assert process.returncode != 0
    return said


def test_an_interrupt_before_the_first_embedding_is_one_line(project: Path, nba: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While papermill's command line is completed, and while the processes of a sweep import."""
    monkeypatch.setenv("PYTHONPATH", str(project), prepend=os.pathsep)
    (project / "mine.py").write_text("import time\nprint('asleep', flush=True)\ntime.sleep(3600)\n")
    said = interrupted([*LITERAL, "-p", "encoder", "mine:encoder"], "asleep")
    assert said == "asleep\nclipnb: stopped; finished embeddings are kept, type the same command to continue\n"
    said = interrupted(["clipnb", "sweep", "nba", "--encoders", "histogram", "--jobs", "2"], "0%|")
    assert "Traceback" not in said
    assert "clipnb: stopped; finished work is kept, and the same command continues from there\n" in said


def test_an_interrupt_is_one_line_and_publishes_nothing(project: Path, nba: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = interrupted([*LITERAL, "-p", "encoder", slow_encoder(project, 3600, monkeypatch), "--log-output"], "asleep")
    assert "clipnb: stopped; finished embeddings are kept" in said
    assert not list(Path("book/runs").glob("*.ipynb"))
    assert not Path("results").is_dir() or not list(Path("results").glob("*/run.json"))


def test_from_another_folder_the_run_goes_to_the_project(
    project: Path, photo_folder: PhotoFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name of its data set looks like a number, and reaches the notebook as a text."""
    photo_folder({"cats": 3, "dogs": 3}, "checkout/007")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    notebook = str(project / "notebooks" / "run.ipynb")
    typed = ["-p", "dataset", "007", "-p", "manip", "grey", "-p", "encoder", "histogram", "-p", "k", "3"]
    done = run([sys.executable, "-m", "papermill", notebook, *typed], stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    page = json.loads((project / "book/runs/007-grey-histogram-k3.ipynb").read_text())
    assert page["metadata"]["papermill"]["parameters"]["dataset"] == "007"
    assert (project / "results/007-grey-histogram-k3/run.json").is_file()
    assert not list(Path.cwd().iterdir())


def test_report_outside_a_checkout_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report"]) == 1
    assert capsys.readouterr().err.endswith("run this in a project (clipnb init <folder> makes one)\n")


def test_info_lists_what_is_at_hand(project: Path, nba: Path, capsys: pytest.CaptureFixture[str], printed: Printed) -> None:
    shown = printed("info")
    assert re.search(r"data sets +sample-figures, sample-scenes, .*nba", shown)
    assert "blurred (Gaussian blur" in shown
    assert "efficientnet-lite2" in shown
    capsys.readouterr()
    main(["info", "--format", "json"])
    about = json.loads(capsys.readouterr().out)
    assert (about["manipulations"]["blurred"]["severities"], about["encoders"]["histogram"]) == (5, {"missing extra": None})
    assert "timm:<model>" in about["other encoders"]
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "papermill notebooks/run.ipynb -p dataset" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ([], "the following arguments are required: command; clipnb --help"),
        (["threshold", "x", "--k", "many"], "argument --k: invalid int value: 'many'; clipnb threshold --help"),
        (["sweep", "x", "--mnips", "grey"], "sweep does not take --mnips grey (did you mean '--manips'?); clipnb sweep --help"),
        (["compare", "a", "b", "--format", "json"], "compare does not take --format json; clipnb compare --help"),
        (
            ["card", "-lea"],
            "the following arguments are required: dataset (is -lea a name? type it last, after --); clipnb card --help",
        ),
        (
            ["tolerance", "-lead", "--manips", "grey"],
            "the following arguments are required: dataset (is -lead a name? type it last, after --); clipnb tolerance --help",
        ),
        (
            ["tolerance", "--", "-lead", "--k", "3"],
            "tolerance does not take --k 3 (all words after -- are names: type flags before it); clipnb tolerance --help",
        ),
        (["sweep", "-lead"], "sweep does not take -lead (is -lead a name? type it last, after --); clipnb sweep --help"),
        (
            ["tolerance", "--manips", "blurred", "jpeg", "holiday"],
            "the following arguments are required: dataset (--manips blurred jpeg holiday is a list: put the data set first, "
            "or -- before it); clipnb tolerance --help",
        ),
        (
            ["sweep", "ok.yml", "--severities", "1", "2", "scenes"],
            "argument --severities: invalid int value: 'scenes' (--severities 1 2 scenes is a list: put the data set first, "
            "or -- before it); clipnb sweep --help",
        ),
        (
            ["export", "--format", "xls"],
            "argument --format: invalid choice: 'xls' (choose from 'csv', 'parquet', 'tex', 'md'); clipnb export --help",
        ),
        (["thresold", "x"], "there is no command 'thresold' (did you mean 'threshold'?); clipnb --help"),
    ],
)
def test_a_wrong_command_line_is_one_line(typed: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(typed) == 1
    assert capsys.readouterr().err.startswith(f"clipnb: {said} lists what ")


def test_lists_of_a_flag_that_is_typed_twice_are_joined(bare_project: Path, photo_folder: PhotoFolder, printed: Printed) -> None:
    typed = ["embed", str(photo_folder({"cats": 2})), "--encoders", "tiny", "--encoders", "histogram", "--conditions", "grey"]
    assert "8 embeddings are stored" in printed(*typed)


def test_a_hint_is_spelled_as_the_command_takes_it(nba: Path, printed: Printed) -> None:
    """papermill takes `-p k 3`, a command `--k 3`, and the data set as a word."""
    for words in (["tolerance", "nba", "--encoder", "tiny"], ["sweep", "nba", "--encoders", "tiny", "--no-pages"]):
        assert "pass a smaller one (--k 15) or add photographs" in printed(*words, "--k", "90", status=1)


def test_an_unknown_encoder_is_a_short_line_with_the_nearest_names() -> None:
    with pytest.raises(UserError) as caught:
        RunSpec("sample-figures", encoder="efficientnet-lite")
    assert str(caught.value).startswith("unknown encoder 'efficientnet-lite' (did you mean 'efficientnet-lite")
    assert str(caught.value).endswith("`clipnb info` lists the names")
    assert len(str(caught.value)) < 160
    with pytest.raises(UserError, match=r"'my_enc': `clipnb info` lists the names; write one of your own as package\.module:name$"):
        RunSpec("sample-figures", encoder="my_enc")


def test_environment_yml_installs_this_project() -> None:
    yaml = pytest.importorskip("yaml")
    wanted = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(item["pip"] for item in wanted if isinstance(item, dict))
    assert "-e .[report]" in pip
    assert "python =3.11" in wanted
