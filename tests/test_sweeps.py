"""Sweeps: what a grid asks for, what it will cost, and that it runs, goes on and reports what failed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import pytest

from clipnb import RunSpec, UserError, run
from clipnb._core.paths import results_root
from clipnb.cli import main
from clipnb.execution import pages
from clipnb.execution.sweep import Grid, cost, read_grid, typed_grid
from clipnb.result import load_results
from clipnb_book.severities import read_table
from clipnb_book.tables import sources_table
from conftest import HANGS, PhotoFolder, Printed, TinyEncoder, one_line


def test_a_grid_is_every_combination_once_clean_first() -> None:
    grid = Grid(("a", "b"), ("grey", "flip", "gray", "original"), (0, 3), ("tiny", "histogram"))
    specs = grid.specs()
    asked = [(s.dataset, s.manip, s.severity, s.encoder) for s in specs]
    assert len(asked) == len(set(asked)) == 2 * 2 * (1 + 2 + 1)
    assert {s.manip for s in specs[:4]} == {"original"}
    assert "original" not in {s.manip for s in specs[4:]}


def test_names_in_a_grid_are_the_texts_that_stand_there(tmp_path: Path) -> None:
    file = tmp_path / "grid.yml"
    file.write_text("datasets: [no, 010, 2024_05]\nseverities: [0, 3]\nsettings: {k: 3, tau: 1e-1, deduplicate: false}\n")
    grid = typed_grid([str(file)])
    assert (grid.datasets, grid.severities) == (("no", "010", "2024_05"), (0, 3))
    spec = grid.specs()[0]
    assert (spec.dataset, spec.k, spec.tau, spec.deduplicate) == ("no", 3, 0.1, False)
    for name in ("datasets", "manips", "severities", "encoders"):
        for nothing in ("", " []"):
            file.write_text(f"{name}:{nothing}\n")
            with pytest.raises(UserError, match=f"{name} is empty: list some, or leave the line out"):
                read_grid(file)


def test_a_grid_is_typed_with_data_sets_and_flags_which_win(tmp_path: Path) -> None:
    file = tmp_path / "grid.yml"
    file.write_text("datasets: [a, b]\nseverities: 2\nencoders: tiny\nsettings: {k: 3, seed: 1}\n")
    assert typed_grid([str(file)]).datasets == ("a", "b")
    grid = typed_grid(["c", str(file), "d"], manips=("blurred",), settings={"k": 4})
    assert grid == Grid(("c", "d"), ("blurred",), (2,), ("tiny",), {"k": 4, "seed": 1})
    assert RunSpec("c", "blurred", "tiny", 4, seed=1, severity=2) in grid.specs()
    with pytest.raises(UserError, match=r"takes one grid, not 2: a\.yml, b\.yaml"):
        typed_grid(["a.yml", "b.yaml"])


@pytest.mark.parametrize("error", [BrokenProcessPool, OSError])
def test_a_worker_that_cannot_start_leaves_the_answer_to_an_interrupt(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def submit(*_: object) -> None:
        raise error

    monkeypatch.setattr(pages.ProcessPoolExecutor, "submit", submit)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises((UserError, OSError)):
        list(pages._pages({RunSpec("sample-figures"): ""}, 2, None))
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("datasets: [a\n", "cannot be read as a grid"),
        ("- a\n", "must hold some of"),
        ("dataset: a\n", r"must hold some of .*\(dataset\) \(did you mean 'datasets'\?\)\Z"),
        ("manips: [grey]\nmanips: [blurred]\n", "line 2 has the key 'manips' again: join the two"),
        ("datasets: [a]\nsettings: {K: 5}\n", r"unknown settings: K \(did you mean 'k'"),
        ("datasets: [a]\nsettings: {keep: true}\n", "unknown settings: keep; choose from aesthetic_score, "),
        ("datasets: [a]\nk: 3\ntau: 1\n", r"must hold some of .* nothing else \(k, tau\): put k, tau into settings\Z"),
        ("datasets: [a]\nsettings: {strength: 2.5}\n", r"\Aa sweep has no strength: list severities \(1 3 5\), or pass -p"),
        ("manips: []\nseverities: [high]\n", "manips is empty: .*; severities must be whole numbers"),
        ("datasets: [a, b]\nencoders: [histgram]\nsettings: {k: 0}\n", r"unknown encoder 'histgram' [^;]*; k must be [^;]*\Z"),
        ("settings: 3\n", "settings must be"),
        ("settings: {draws: [1, 3], tau: {a: 1}}\n", r"draws in settings must be one value, .*; tau in settings must be"),
        ("manips: &a [grey]\nencoders: *a\n", r"line 2 has an alias \(\*a\): write the value out"),
        ("settings: " + "{a: " * 400 + "}" * 400, "line 1 nests more than 10 lists or tables"),
        ("[" * 30_000, "line 1 nests more than 10 lists or tables"),  # PyYAML alone takes minutes
        ("a: b\n" * 30_000, "grid.yml has 150,000 bytes, more than 100,000"),
    ],
)
def test_a_wrong_grid_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "grid.yml"
    file.write_text(text)
    with one_line(said):
        typed_grid([str(file)]).specs()
    with pytest.raises(UserError, match=r"there is no file gird\.yml"):
        typed_grid(["gird.yml"])


def test_two_spellings_of_a_folder_are_one_data_set(photo_folder: PhotoFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = photo_folder({"cats": 3})
    monkeypatch.chdir(folder.parent)
    names = ("photos", "./photos", str(folder), "nested:photos", "sample-figures")
    assert {spec.dataset for spec in Grid(names, ("grey",)).specs()} == {"photos", "nested:photos", "sample-figures"}


def test_a_grid_that_makes_no_sense_is_refused() -> None:
    for grid, said in (
        (Grid(()), "needs data sets"),
        (Grid(("a",), ("gry",)), "unknown manipulation"),
        (Grid(("a",), ("blurred=2.5",)), "a sweep has no strength: "),
        (Grid(("a",), severities=(6,)), "severity must be"),
        (Grid(("a",), settings={"severity": 2}), "settings hold severity"),
        (Grid(("a",), settings={"kk": 2}), "unknown settings: kk"),
        (Grid(("a",), ("gry",), settings={"kk": 2, "k": 0}), "unknown settings: kk .*; unknown manipulation 'gry'.*; k must be"),
    ):
        with pytest.raises(UserError, match=said):
            grid.specs()


def test_the_cost_counts_photographs_draws_and_batches(photo_folder: PhotoFolder, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(photo_folder({"cats": 5, "dogs": 5}))
    settings = ({"manip": "original"}, {"manip": "cropped", "draws": 3}, {"manip": "grey", "per_category": 2, "step": 1})
    found = cost([RunSpec(root, encoder="tiny", k=2, **s) for s in settings], 2)  # type: ignore[arg-type]
    assert re.fullmatch(r"3 runs to do: at most 42 embeddings \(.*\), about a minute or two on 2 processes, pages included", found)
    assert capsys.readouterr().err == "timing tiny on 6 photographs, because no run embedded enough to tell its speed\n"


def test_the_cost_is_that_of_the_runs_own_engine(photo_folder: PhotoFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    root, asked = str(photo_folder({"cats": 70, "dogs": 70})), []

    def load(*arguments: str) -> TinyEncoder:
        asked.append(arguments)
        return TinyEncoder()

    monkeypatch.setattr("clipnb.execution.sweep.load_encoder", load)
    monkeypatch.setenv("CLIPNB_RESULTS", f"{root}-results")
    by_torch = RunSpec(root, "original", "tiny", 2, tau=0.7)
    others = [replace(by_torch, engine="openvino"), replace(by_torch, precision="bf16")]
    for spec in (by_torch, *others):
        cost([spec], 1)
    assert asked == [("tiny", "fp32", "torch", "auto"), ("tiny", "fp32", "openvino", "auto"), ("tiny", "bf16", "torch", "auto")]
    run(by_torch, progress=False).save()  # tells how long it takes, but not the others
    for spec in (by_torch, *others):
        cost([spec], 1)
    assert asked[3:] == asked[1:3]


COMMAND = (str(Path(sys.executable).parent / "clipnb"), "sweep")


def test_a_sweep_without_pages_makes_only_results(
    bare_project: Path, photo_folder: PhotoFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    root, small = str(photo_folder({"cats": 5, "dogs": 5})), str(photo_folder({"cats": 1, "dogs": 1}, "small"))
    flags = [root, small, "--manips", "grey", "--severities", "5", "--encoders", "histogram", "--k", "3"]
    flags += ["--engine", "compile"]
    assert main(["sweep", *flags, "--no-pages", "--table", "numbers.json"]) == 1
    said = capsys.readouterr()
    assert "2 of 4 results are there" in said.out
    assert said.err.count("small-") == 2
    table, sources = read_table(bare_project / "numbers.json")
    assert list(zip(table["manip"], table["severity"], strict=True)) == [("original", 0), ("grey", 5)]
    assert list(sources) == ["photos, histogram"]
    assert sources["photos, histogram"]["settings"] == {
        "k": 3, "tau": 0.8, "seed": 0, "precision": "fp32", "engine": "compile", "categories": 0, "per_category": 0
    }  # fmt: skip
    assert "| k 3, tau 0.8, compile |" in sources_table(sources)
    assert not (bare_project / "book").exists()


def test_a_dry_run_only_says_what_it_would_cost(bare_project: Path, photo_folder: PhotoFolder, printed: Printed) -> None:
    flags = ["--severities", "1", "5", "--encoders", "histogram", "--k", "2", "--dry-run", "--jobs", "1"]
    sweep = ["sweep", str(photo_folder({"cats": 3, "dogs": 3})), *flags]
    assert re.match(r"7 runs to do: at most 42 embeddings .*, about a minute or two on 1 process, pages included$", printed(*sweep))
    assert printed(*sweep, "--no-pages").endswith(" on 1 process\n"), "without the time for pages"
    assert not (bare_project / "results").exists()
    assert not (bare_project / "book").exists()


def kept(project: Path, pages: bool) -> dict[str, list[tuple[int, int, bytes]]]:
    """What each finished run has on disk, run -> inode, time and content of its files; with pages, a run without one is not."""
    found = {}
    for folder in (project / "results").glob("[!.]*"):
        page = project / "book" / "runs" / f"{folder.name}.ipynb"
        if page.is_file() or not pages:
            files = [*sorted(folder.iterdir()), *[page] * pages]
            found[folder.name] = [(p.stat().st_ino, p.stat().st_mtime_ns, p.read_bytes()) for p in files]
    return found


@pytest.mark.parametrize("how", [["--jobs", "2"], ["--no-pages"]], ids=" ".join)
def test_a_killed_sweep_is_resumed_reports_failures_and_goes_on(
    bare_project: Path, photo_folder: PhotoFolder, printed: Printed, monkeypatch: pytest.MonkeyPatch, how: list[str]
) -> None:
    pages = "--no-pages" not in how
    manips, severities = (("grey", "flipped"), (2,)) if pages else (("grey", "blurred", "cropped"), (1, 2, 3, 4, 5))
    good, small = str(photo_folder({"cats": 6, "dogs": 6})), str(photo_folder({"cats": 2, "dogs": 2}, "small"))
    monkeypatch.setenv("CLIPNB_CACHE", str(bare_project / "cache"))
    specs = Grid((good,), manips, severities, ("histogram",), {"k": 5}).specs()
    flags = ["--manips", *manips, "--severities", *map(str, severities), "--encoders", "histogram", "--k", "5", *how]
    grid = [good, small, "nowhere", *flags]

    with subprocess.Popen([*COMMAND, *grid], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) as first:
        started = time.monotonic()
        while not kept(bare_project, pages) and first.poll() is None and time.monotonic() - started < 500:
            time.sleep(0.01)
        os.killpg(first.pid, signal.SIGKILL)  # the workers too
    assert first.returncode == -signal.SIGKILL
    finished = kept(bare_project, pages)
    assert 1 <= len(finished) < len(specs)

    second = subprocess.run([*COMMAND, *grid], capture_output=True, text=True, timeout=HANGS)
    assert second.returncode == 1, second.stderr
    assert f"{len(specs)} of {3 * len(specs)} {'runs' if pages else 'results'} are there" in second.stdout
    failed = [line for line in second.stderr.splitlines() if line.startswith("clipnb: ")]
    assert len(failed) == 2, "one for each reason"
    assert failed[0].startswith("clipnb: small-original-histogram-k5, small-grey-s")
    assert " cannot start: k = 5 is more than the 3 other images" in failed[0]
    assert " cannot start: no data set 'nowhere'" in failed[1]
    now = kept(bare_project, pages)
    assert {name: now[name] for name in finished} == finished
    assert set(now) == {spec.run_id for spec in specs}
    if pages:
        assert {p.stem for p in (bare_project / "book" / "runs").iterdir()} == set(now)

    monkeypatch.setenv("CLIPNB_CACHE", str(bare_project / "another cache"))
    found = {result.spec: result for result in load_results(bare_project / "results")}
    assert set(found) == set(specs)
    for spec, result in found.items():
        assert result.scores == run(spec, progress=False).scores
    said = printed("sweep", good, *flags)
    assert f"{len(specs)} of {len(specs)} runs are up to date" in said or not pages
    assert kept(bare_project, pages) == now


@pytest.mark.parametrize("text", ["[]", "5", '{"metadata": []}', "[" * 100_000, None])
def test_files_of_somebody_else_are_neither_pages_nor_results(
    bare_project: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    spec = RunSpec("sample-figures", "grey", "tiny")
    monkeypatch.setattr("clipnb.execution.sweep.load_encoder", lambda *arguments: TinyEncoder())
    for path in (pages.page(spec), results_root() / "theirs" / "run.json"):
        path.parent.mkdir(parents=True)
        path.write_text(text) if text else os.mkfifo(path)  # a pipe has no end
    assert not pages.is_current(spec, "state")
    assert "1 run to do" in cost([spec], 1)
