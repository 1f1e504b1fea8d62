"""`clipnb embed`: the store is filled for runs that then only score, here and on Ray."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from clipnb import RunSpec, UserError, run
from clipnb.execution.fill import fill, tasks_of
from conftest import HANGS, PhotoFolder, Printed, slow_encoder

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
    tasks = tasks_of(asked, photos=5)
    assert [(task.spec.encoder, len(task.photos), task.conditions) for task in tasks] == [
        ("histogram", 5, ("original", "blurred/2", "jpeg=30.0")),
        ("histogram", 3, ("original", "blurred/2", "jpeg=30.0")),
        ("tiny", 5, ("original", "typographic/4", "cropped/3", "cropped/3#1")),
        ("tiny", 3, ("original", "typographic/4", "cropped/3", "cropped/3#1")),
    ]
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


def test_no_readable_photograph_is_one_line(photo_folder: PhotoFolder) -> None:
    folder = photo_folder({"cats": 1})
    for path in (folder / "cats").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(UserError, match="no photograph can be read; the first: cats/"):
        fill([RunSpec(str(folder), "grey", "histogram")])


def test_the_command_says_what_it_did(
    photo_folder: PhotoFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: Printed
) -> None:
    monkeypatch.setenv("CLIPNB_CACHE", str(tmp_path / "cache"))
    command = ["embed", str(photo_folder({"cats": 3, "dogs": 3})), "--encoders", "histogram", "--conditions", "grey", "blurred=20"]
    assert printed(*command) == "18 embeddings are stored; 18 were computed now\n"
    assert printed(*command, "typographic/1") == "24 embeddings are stored; 6 were computed now\n"
    said = "the strength of blurred (sigma in pixels at a short side of 224) is a number from 0.1 to 50"
    assert said in printed(*command, "blurred=0.01", status=1)


def kept(cache: Path) -> dict[bytes, tuple[bytes, bytes]]:
    """What the stores in a cache hold: key -> input and vector."""
    found = {}
    for path in sorted(cache.glob("embeddings/*.sqlite")):
        with suppress(sqlite3.OperationalError), sqlite3.connect(path) as db:  # another process is just making it
            rows = db.execute("SELECT key, input, vector FROM embeddings")
            found |= {path.name.encode() + key: (seen, vector) for key, seen, vector in rows}
    return found


def ray_workers(cache: Path) -> list[int]:
    """Processes of Ray that work for the command with this cache."""
    found = []
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            named = process.name.isdigit() and "MapWorker" in (process / "cmdline").read_text()
            if named and f"CLIPNB_CACHE={cache}" in (process / "environ").read_text().split("\0"):
                found.append(int(process.name))
    return found


def killed_on_ray(command: list[str], cache: Path, done: Callable[[], int], first: int, more: int) -> None:
    """Type a command; kill one of two workers when `first` pieces are done, and the command itself after `more`."""
    environment = os.environ | {"CLIPNB_CACHE": str(cache)}
    with subprocess.Popen(
        [*command, "--engine", "ray"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while process.poll() is None and (done() < first or len(ray_workers(cache)) < 2):
            time.sleep(0.05)
        ours = {child.pid for child in psutil.Process(process.pid).children(recursive=True)}
        listening = [c for c in psutil.net_connections("tcp") if c.pid in ours and c.status == psutil.CONN_LISTEN]
        assert {c.laddr.ip for c in listening} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
        assert listening
        os.kill(ray_workers(cache)[0], signal.SIGKILL)
        enough = done() + more
        while process.poll() is None and done() < enough:
            time.sleep(0.05)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert done() >= enough
    while ray_workers(cache):
        time.sleep(0.05)  # Ray ends what belonged to the command


@pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")
def test_on_ray_the_vectors_are_the_same_after_a_worker_and_the_command_are_killed(
    photo_folder: PhotoFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="needs Ray: pip install 'clipnb[scale]'")
    folder = photo_folder({f"kind {n}": 50 for n in range(8)})
    encoder = slow_encoder(tmp_path, 0.3, monkeypatch)
    command = [sys.executable, "-m", "clipnb", "embed", str(folder), "--encoders", encoder, "--conditions", *CONDITIONS]

    def typed(how: Sequence[str], cache: str) -> str:
        environment = os.environ | {"CLIPNB_CACHE": str(tmp_path / cache)}
        done = subprocess.run([*command, *how], capture_output=True, text=True, timeout=HANGS, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    assert "2000 embeddings are stored; " in typed([], "whole")
    whole = kept(tmp_path / "whole")
    killed_on_ray(command, tmp_path / "ray", lambda: len(kept(tmp_path / "ray")), first=100, more=400)
    before = len(kept(tmp_path / "ray"))
    assert before < len(whole)
    (computed,) = re.findall(r"2000 embeddings are stored; (\d+) were computed now", typed(["--engine", "ray"], "ray"))
    assert int(computed) <= 2000 - before
    found = kept(tmp_path / "ray")
    assert found.keys() == whole.keys()
    for key, (seen, vector) in whole.items():
        assert found[key][0] == seen
        np.testing.assert_allclose(np.frombuffer(found[key][1], np.float32), np.frombuffer(vector, np.float32), atol=1e-6)
