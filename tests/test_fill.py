"""`clipnb embed`: the store is filled for runs that then only score, here and on Ray."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from clipnb import RunSpec, UserError, run
from clipnb.cli import main
from clipnb.execution.fill import fill, tasks_of
from conftest import HANGS, PhotoFolder

CONDITIONS = ("blurred/2", "jpeg=30", "typographic/4", "cropped/3")


def specs(folder: Path, **settings: int) -> list[RunSpec]:
    return [
        RunSpec(str(folder), "blurred", "histogram", severity=2, k=2, **settings),
        RunSpec(str(folder), "jpeg", "histogram", strength=30.0, k=2, **settings),
        RunSpec(str(folder), "typographic", "tiny", severity=4, k=2, **settings),
        RunSpec(str(folder), "cropped", "tiny", severity=3, draws=2, k=2, **settings),
    ]


def test_runs_find_all_their_embeddings(photo_folder: PhotoFolder) -> None:
    folder = photo_folder({"cats": 4, "dogs": 3})
    (folder / "cats" / "broken.jpg").write_bytes(b"no image")
    asked = specs(folder, seed=3)
    done = fill(asked, photos=3)
    assert done.wanted == 7 * 3 + 7 * 4
    assert 0 < done.computed <= done.wanted
    assert list(done.unreadable) == ["cats/broken.jpg"]
    assert fill(asked).computed == 0
    for spec in asked:
        assert run(spec, progress=False).provenance["embedded_now"] == 0


def test_a_sample_is_what_its_runs_draw(photo_folder: PhotoFolder) -> None:
    folder = photo_folder({"cats": 5, "dogs": 5, "yards": 5})
    asked = RunSpec(str(folder), "typographic", "histogram", severity=2, categories=2, per_category=3, k=2)
    assert fill([asked]).wanted == 2 * 3 * 2
    assert run(asked, progress=False).provenance["embedded_now"] == 0


def test_tasks_share_what_runs_share(photo_folder: PhotoFolder) -> None:
    tasks = tasks_of(specs(photo_folder({"cats": 4, "dogs": 3})), photos=5)
    assert [(task.spec.encoder, len(task.photos), task.conditions) for task in tasks] == [
        ("histogram", 5, ("original", "blurred/2", "jpeg=30.0")),
        ("histogram", 2, ("original", "blurred/2", "jpeg=30.0")),
        ("tiny", 5, ("original", "typographic/4", "cropped/3", "cropped/3#1")),
        ("tiny", 2, ("original", "typographic/4", "cropped/3", "cropped/3#1")),
    ]


def test_no_readable_photograph_is_one_line(photo_folder: PhotoFolder) -> None:
    folder = photo_folder({"cats": 1})
    for path in (folder / "cats").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(UserError, match="no photograph can be read; the first: cats/"):
        fill([RunSpec(str(folder), "grey", "histogram")])


def test_the_command_says_what_it_did(
    photo_folder: PhotoFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLIPNB_CACHE", str(tmp_path / "cache"))
    command = ["embed", str(photo_folder({"cats": 3, "dogs": 3})), "--encoders", "histogram", "--conditions", "grey", "blurred=20"]
    assert main(command) == 0
    assert capsys.readouterr().out == "18 embeddings are stored; 18 were computed now\n"
    assert main([*command, "typographic/1"]) == 0
    assert capsys.readouterr().out == "24 embeddings are stored; 6 were computed now\n"
    assert main([*command, "blurred=0.01"]) == 1
    assert "the strength of blurred (sigma in pixels at a short side of 224) is a number from 0.1 to 50" in capsys.readouterr().err


def kept(cache: Path) -> dict[bytes, tuple[bytes, bytes]]:
    """What the stores in a cache hold: key -> input and vector."""
    found = {}
    for path in sorted(cache.glob("embeddings/*.sqlite")):
        with suppress(sqlite3.OperationalError), sqlite3.connect(path) as db:  # another process is just making it
            found |= {path.name.encode() + key: (seen, vector) for key, seen, vector in db.execute(_SELECT)}
    return found


_SELECT = "SELECT key, input, vector FROM embeddings"


def workers(cache: Path) -> list[int]:
    """Processes of Ray that work for a cache."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            named = process.name.isdigit() and "MapWorker" in (process / "cmdline").read_text()
            if named and f"CLIPNB_CACHE={cache}" in (process / "environ").read_text().split("\0"):
                found.append(int(process.name))
        except OSError:
            pass
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")
def test_on_ray_the_vectors_are_the_same_after_a_worker_and_the_command_are_killed(
    photo_folder: PhotoFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers; one is killed at work; the command is killed, and typed again."""
    pytest.importorskip("ray", reason="needs Ray: pip install 'clipnb[scale]'")
    (tmp_path / "slow.py").write_text(
        "import time\n"
        "from clipnb.encoders.histogram import Histogram\n"
        "class Slow(Histogram):\n"
        "    def encode(self, batch):\n"
        "        time.sleep(0.3)\n"
        "        return super().encode(batch)\n"
    )
    folder = photo_folder({f"kind {n}": 50 for n in range(8)})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-m", "clipnb", "embed", str(folder), "--encoders", "slow:Slow", "--conditions", *CONDITIONS]

    def environment(cache: str) -> dict[str, str]:
        return os.environ | {"CLIPNB_CACHE": str(tmp_path / cache)}

    def typed(how: Sequence[str], cache: str) -> str:
        done = subprocess.run([*command, *how], capture_output=True, text=True, timeout=HANGS, env=environment(cache))
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    assert typed([], "whole").startswith("2000 embeddings are stored; ")
    whole = kept(tmp_path / "whole")
    with subprocess.Popen([*command, "--engine", "ray"], env=environment("ray"), stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and (len(kept(tmp_path / "ray")) < 100 or len(workers(tmp_path / "ray")) < 2):
            time.sleep(0.05)
        ours = {child.pid for child in psutil.Process(process.pid).children(recursive=True)}
        listening = [c for c in psutil.net_connections("tcp") if c.pid in ours and c.status == psutil.CONN_LISTEN]
        assert {c.laddr.ip for c in listening} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
        assert listening
        os.kill(workers(tmp_path / "ray")[0], signal.SIGKILL)
        at_the_kill = len(kept(tmp_path / "ray"))
        while process.poll() is None and len(kept(tmp_path / "ray")) < at_the_kill + 400:
            time.sleep(0.05)
        process.kill()
    while workers(tmp_path / "ray"):
        time.sleep(0.05)  # Ray ends what belonged to the command
    before = len(kept(tmp_path / "ray"))
    assert at_the_kill + 400 <= before < len(whole)
    said = typed(["--engine", "ray"], "ray")
    assert said.startswith("2000 embeddings are stored; ")
    assert int(said.split(";")[1].split()[0]) <= 2000 - before
    found = kept(tmp_path / "ray")
    assert found.keys() == whole.keys()
    for key, (seen, vector) in whole.items():
        assert found[key][0] == seen
        np.testing.assert_allclose(np.frombuffer(found[key][1], np.float32), np.frombuffer(vector, np.float32), atol=1e-6)
