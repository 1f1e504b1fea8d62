"""Files and folders appear whole or not at all, and what killed processes leave is cleaned."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from clipnb._core.files import _clean, _runs, atomic, replaced_folder, write_text
from clipnb.datasets import samples
from clipnb.errors import UserError
from clipnb.retrieval.build import array_bytes
from conftest import full_drive

WRITES = """
import sys, time
from pathlib import Path
from clipnb._core.files import atomic, replaced_folder
here = Path(sys.argv[1])
with replaced_folder(here / "run") as folder, atomic(here / "page.json") as file:
    (folder / "half").write_text("x")
    print("writes", flush=True)
    time.sleep(600)
"""
STOPS_HALFWAY = """
import os, sys
from pathlib import Path
from clipnb._core.files import replaced_folder
with replaced_folder(Path(sys.argv[1]) / "run") as folder:
    (folder / "new").write_text("x")
    Path.rename, rename = lambda path, to: os.kill(os.getpid(), 9) if path == folder else rename(path, to), Path.rename
"""
BUILDS = """
from clipnb.execution.pages import run_attached
run_attached("import time; print(os.getpid(), flush=True); time.sleep(600)")
"""
ALONE = """
import sys, time
from pathlib import Path
from clipnb._core.files import alone_in
from clipnb.errors import UserError
folder, until, entered = Path(sys.argv[1]), time.monotonic() + 3, 0
while time.monotonic() < until:
    try:
        with alone_in(folder):
            with folder.with_name("inside").open("x"):
                pass
            entered += 1
            folder.with_name("inside").unlink()
    except UserError:
        pass
print(entered)
"""


def started(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def killed(process: subprocess.Popen[str]) -> None:
    with process:
        process.kill()


def test_temporary_files_of_killed_processes_are_deleted_and_those_of_live_ones_kept(tmp_path: Path) -> None:
    dead, live = started(WRITES, tmp_path), started(WRITES, tmp_path)
    for process in (dead, live):
        assert process.stdout
        assert process.stdout.readline() == "writes\n"
    (tmp_path / ".page.json.mine").touch()
    killed(dead)
    assert len(list(tmp_path.iterdir())) == 5
    write_text(tmp_path / "other.json", "{}")
    left = {path.name for path in tmp_path.iterdir()}
    assert sum(f"-{live.pid}." in name for name in left) == 2
    assert {name for name in left if f"-{live.pid}." not in name} == {".page.json.mine", "other.json"}
    killed(live)
    _clean.cache_clear()  # as in another process
    with replaced_folder(tmp_path / "run") as folder:
        (folder / "whole").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".page.json.mine", "other.json", "run"]


def test_a_folder_that_a_killed_process_had_moved_aside_comes_back(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "kept").touch()
    with started(STOPS_HALFWAY, tmp_path) as process:
        assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "run").exists()
    write_text(tmp_path / "other.json", "{}")
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["other.json", "run", "run/kept"]


def test_of_two_processes_that_write_the_samples_the_first_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPNB_CACHE", str(tmp_path))
    folder = samples.ensure("sample-figures")
    inode, files = folder.stat().st_ino, len(list(folder.rglob("*.jpg")))
    with replaced_folder(folder, keep=True) as late:
        (late / "cup").mkdir()
    assert (folder.stat().st_ino, len(list(folder.rglob("*.jpg")))) == (inode, files)
    assert [path.name for path in folder.parent.iterdir()] == ["sample-figures"]


def test_a_build_of_the_book_ends_with_the_process_that_started_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPNB_PROJECT", str(tmp_path))
    parent = started(BUILDS)
    assert parent.stdout
    build = int(parent.stdout.readline())
    killed(parent)
    until = time.monotonic() + 30
    while (runs := _runs(build)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not runs


def test_one_process_at_a_time_is_alone_in_a_folder_and_the_lock_is_deleted(tmp_path: Path) -> None:
    processes = [started(ALONE, tmp_path / "gallery") for _ in range(4)]
    entered = [int(process.communicate()[0]) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert min(entered) > 0
    assert not list(tmp_path.iterdir())


def test_an_array_that_a_full_drive_cuts_short_is_one_line(tmp_path: Path) -> None:
    with full_drive(1024), pytest.raises(UserError, match="cannot be written: File too large"), atomic(tmp_path / "a.npy") as file:
        file.write(array_bytes(np.zeros(1000, np.float32)))
    assert not list(tmp_path.iterdir())
