"""What the tests share: an environment of their own, small photographs, and an encoder that needs no network weights."""

from __future__ import annotations

import csv
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

# before torch is loaded: its threads otherwise spin, ten times slower, when another process has a core
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("RAY_raylet_start_wait_time_s", "300")  # Ray gives up after 60 on a busy machine
os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is loaded, which otherwise asks the network again and again

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray
from PIL import Image

from built_book import browser, html, project  # noqa: F401  (fixtures)
from clipnb import Result, RunSpec, run
from clipnb.datasets.images import RGB
from clipnb.embedding.store import EmbeddingStore
from clipnb.encoders import ENCODERS, Encoder, load_encoder
from clipnb.errors import UserError

settings.register_profile("clipnb", deadline=None, database=None, print_blob=True)
settings.load_profile("clipnb")


REPOSITORY = Path(__file__).resolve().parent.parent
_DATA = os.environ.get("CLIPNB_DATA")  # before the tests take it away


class TinyEncoder:
    """8 x 8 mean colours, scaled to unit length: pure numpy, so that its results are exact whatever the batch."""

    name = "tiny"
    dim = 192
    input_size = 8
    weights_sha256 = ""
    identity = "tiny|8x8 mean colours"

    def __init__(self) -> None:
        self.seen = 0

    def prepare(self, image: RGB) -> NDArray[np.uint8]:
        return np.asarray(Image.fromarray(image).resize((8, 8), Image.Resampling.BOX))

    def encode(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.seen += len(batch)
        flat = batch.reshape(len(batch), -1).astype(np.float64) - 127.5
        return (flat / np.linalg.norm(flat, axis=1, keepdims=True)).astype(np.float32)


ENCODERS.register(lambda name, compute: TinyEncoder(), "tiny")


def picture(seed: int, width: int = 48, height: int = 32, kind: int = 0) -> RGB:
    """A colour photograph, more or less: soft patches that those of one kind share, and some of its own."""
    patches = np.random.default_rng([7, kind]).integers(0, 256, (5, 6, 3))
    own = np.random.default_rng([8, kind, seed]).integers(-40, 41, (5, 6, 3))
    small = Image.fromarray(np.clip(patches + own, 0, 255).astype(np.uint8))
    return np.array(small.resize((width, height), Image.Resampling.BICUBIC))


def unit_vectors(n: int, dim: int, seed: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(n, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def tiny_run(root: Path | str, manip: str = "original", k: int = 2, encoder: str = "tiny", **settings: Any) -> Result:
    return run(RunSpec(str(root), manip, encoder, k, **settings), progress=False)


def as_a_user() -> list[str]:
    """Begin of a command that may not read or write everything, though root runs the tests."""
    if os.name == "nt" or (os.geteuid() == 0 and not shutil.which("setpriv")):
        pytest.skip("needs a user whom permissions bind: not root, or setpriv")
    return ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


def one_line(said: str, kind: type[UserError] = UserError) -> AbstractContextManager[pytest.ExceptionInfo[UserError]]:
    """Expect an error whose message is one line with this pattern."""
    return pytest.raises(kind, match=rf"\A.*(?:{said}).*\Z")


def most_changed(now: np.ndarray, kept: np.ndarray, side: int = 8) -> float:
    """Largest change of brightness over blocks of a picture: a digit that changed shows, how its edge is drawn does not."""
    height, width = (size // side * side for size in now.shape)
    blocks = (now - kept)[:height, :width].reshape(height // side, side, width // side, side)
    return float(np.abs(blocks.mean(axis=(1, 3))).max())


class Answering(BaseHTTPRequestHandler):
    """A request handler that logs nothing and sends whole answers."""

    def log_message(self, *_: object) -> None: ...

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


@contextmanager
def serving(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a web server on loopback whose answers are the handler's, until the block ends."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def full_drive(size: int) -> Iterator[None]:
    """No file can grow beyond a number of bytes."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def slow_encoder(folder: Path, seconds: float, patch: pytest.MonkeyPatch) -> str:
    """An encoder of one's own, found here and in other processes, that takes its time for each batch."""
    (folder / "slow.py").write_text(
        "import time\n"
        "from clipnb.encoders.histogram import Histogram\n"
        "class Slow(Histogram):\n"
        "    def encode(self, batch):\n"
        f"        print('asleep', flush=True); time.sleep({seconds})\n"
        "        return super().encode(batch)\n"
    )
    patch.syspath_prepend(folder)
    patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    return "slow:Slow"


@cache
def let_torchvision_load() -> object:
    """Beside a CPU torch the registry's torchvision misses two operators; their names alone let it be imported."""
    import torch

    if torch.version.cuda is not None:
        return None
    operators = torch.library.Library("torchvision", "DEF")  # kept by the cache: it unregisters when collected
    for name in ("nms", "qnms"):
        operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return operators


ROUNDING = 3e-7
"""Difference of single precision between one processor or batch and another."""


def stated(spelling: str, difference: float) -> None:
    """Check that the book's table of encoders gives a difference for this spelling that is not smaller than the measured one."""
    with (REPOSITORY / "book/clipnb_book/data/encoders.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if f"`{spelling}`" in row["`encoder`"]]
    assert len(rows) == 1
    assert difference <= max(4 * float(rows[0]["largest difference"]), ROUNDING)
    if place := os.environ.get("CLIPNB_STATED"):  # to write the table anew
        with Path(place).open("a") as file:
            file.write(f"{spelling}\t{difference:.2g}\n")


PhotoFolder = Callable[..., Path]
Printed = Callable[..., str]

HANGS = 1500
"""Seconds after which a command is taken to hang: many times what it needs where other work has the processor too."""


@pytest.fixture(autouse=True)
def _restored_environment() -> Iterator[None]:
    """What a command sets for its whole process, such as $CLIPNB_PROJECT, does not reach the next test."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session", autouse=True)
def _environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIPNB_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("CLIPNB_RESULTS", str(tmp_path_factory.mktemp("results")))
        patch.delenv("CLIPNB_DATA", raising=False)
        patch.setenv("CLIPNB_ENCODER", "efficientnet-lite2")
        yield


@pytest.fixture
def photo_folder(tmp_path: Path) -> PhotoFolder:
    """Writes a data set, such as `photo_folder({"cats": 3, "dogs": 2})`, and returns its folder."""

    def write(categories: Mapping[str, int], name: str = "photos", size: tuple[int, int] = (48, 32)) -> Path:
        for kind, (category, images) in enumerate(categories.items()):
            (tmp_path / name / category).mkdir(parents=True)
            for i in range(images):
                Image.fromarray(picture(i, *size, kind)).save(tmp_path / name / category / f"{i:02d}.png")
        return tmp_path / name

    return write


@pytest.fixture
def own_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of results of this test alone."""
    monkeypatch.setenv("CLIPNB_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


@pytest.fixture
def bare_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with nothing run yet, as the current folder, whose results go where they usually do."""
    folder = tmp_path / "checkout"
    shutil.copytree(REPOSITORY / "notebooks", folder / "notebooks")
    shutil.copy(REPOSITORY / "_config.yml", folder)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("CLIPNB_RESULTS")
    return folder


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Printed:
    """Runs a command, such as `printed("runs", "holiday")`, and returns what it prints; with `status=1`, its error."""

    def of(*words: str, status: int = 0) -> str:
        from clipnb.cli import main

        capsys.readouterr()
        assert main([*words]) == status
        out, err = capsys.readouterr()
        return err if status else out

    return of


@pytest.fixture
def tiny() -> TinyEncoder:
    return TinyEncoder()


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    """The encoder that works offline."""
    return load_encoder("efficientnet-lite2")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real photographs: $CLIPNB_DATA, else `shared/data` beside the checkout."""
    folder = Path(_DATA) if _DATA else REPOSITORY.parent / "shared" / "data"
    missing = [name for name in ("athletes", "miniplaces", "nba") if not (folder / name).is_dir()]
    if missing:
        pytest.skip(f"needs real photographs: set CLIPNB_DATA to a folder with {', '.join(missing)} in it")
    return folder.resolve()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--new-pictures", action="store_true", help="keep new pictures of the book's key pages")


def held(store: EmbeddingStore) -> int:
    """Number of embeddings in a store."""
    with closing(sqlite3.connect(store.path)) as db:
        return int(db.execute("SELECT count(DISTINCT key) FROM embeddings").fetchone()[0])
