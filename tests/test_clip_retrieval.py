"""Beside the real clip-retrieval 2.45: its galleries open here, ours are served by it, and both clients agree.

Its environment is one of its own (it pins numpy < 2); $CLIPNB_CLIP_RETRIEVAL names it.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from clipnb._core.paths import cache_root
from clipnb.analysis.missing import account
from clipnb.checks import warnings
from clipnb.datasets.dataset import load_dataset
from clipnb.embedding.embed import embed
from clipnb.embedding.store import EmbeddingStore
from clipnb.encoders import load_encoder
from clipnb.errors import ServiceError
from clipnb.retrieval import service as search_service
from clipnb.retrieval.build import build_gallery
from clipnb.retrieval.folder import open_folder
from clipnb.retrieval.knn_client import KnnClient, Options
from clipnb.retrieval.study_protocol import move_queries, without_lookalikes
from clipnb.runs import run
from clipnb.spec import RunSpec
from conftest import HANGS, REPOSITORY, serving
from test_clip_encoders import Checkpoints
from test_fetch import LIMITS, Host

PYTHON = Path(os.environ.get("CLIPNB_CLIP_RETRIEVAL", "/nowhere")) / "bin" / "python"

pytestmark = pytest.mark.skipif(
    not PYTHON.is_file(), reason="needs clip-retrieval 2.45: set CLIPNB_CLIP_RETRIEVAL to an environment that has it"
)


def theirs(*arguments: object) -> list[str]:
    return [str(PYTHON), str(REPOSITORY / "tests" / "clip_retrieval_side.py"), *map(str, arguments)]


def offline() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}


def must(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS, env=offline())
    assert done.returncode == 0, done.stderr[-3000:]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Service:
    """A running back end, and what its three indexes hold."""

    address: str
    model: str  # the checkpoint that its galleries were made with
    photos: Path
    ours: Path  # the gallery that `clipnb index` built: the index `ours`
    theirs: Path  # the one that clip-retrieval built, index and metadata: the index `theirs`
    embeddings: Path  # where its inference wrote them
    aesthetic: np.ndarray  # its aesthetic vectors
    behaviours: list[str]  # how the image host behaves for each row of the index `urls`, which holds `ours` by URL


DEAD = ("missing", "broken", "drip", "reset", "cut", "endless", "to_file", "to_private")
UNREADABLE = ("html", "truncated", "bomb", "empty")


class PhotoHost(Host):
    """The image host that misbehaves, and also serves photographs: /photo/<row>."""

    files: ClassVar[list[str]] = []

    def on_photo(self) -> None:
        self.answer(Path(self.files[int(self.path.rpartition("/")[2])]).read_bytes())


@pytest.fixture(scope="module")
def photo_host() -> Iterator[str]:
    with serving(PhotoHost) as address:
        yield address


def by_url(ours: Path, out: Path, host: str) -> list[str]:
    """Write a gallery that names its images by URL, of which some lead nowhere; how each row behaves."""
    shutil.copytree(ours, out)
    PhotoHost.files = open_folder(ours).column("image_path")
    cycle = [*DEAD[:4], *UNREADABLE[:2], *["photo"] * 6, *DEAD[4:], *UNREADABLE[2:], *["photo"] * 7]
    behaviours = [cycle[row % len(cycle)] for row in range(len(PhotoHost.files))]
    row = 0
    for part in sorted((out / "metadata").glob("*.parquet")):
        size = len(pd.read_parquet(part))
        urls = [f"{host}/{behaviours[r]}/{r}" for r in range(row, row + size)]
        pd.DataFrame({"url": urls}).to_parquet(part)
        row += size
    return behaviours


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, photo_host: str) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    model = str(Checkpoints(folder).state)
    photos = load_dataset("sample-figures").root
    ours = build_gallery("sample-figures", folder / "ours", encoder=model, shard_size=40).path
    must(theirs("gallery", photos, folder / "embeddings", folder / "theirs", model))
    aesthetic = np.random.default_rng(0).normal(size=(10, 64)).astype(np.float32)
    aesthetic /= np.linalg.norm(aesthetic, axis=1, keepdims=True)
    np.save(folder / "aesthetic.npy", aesthetic)
    (folder / "indices.json").write_text(
        json.dumps({"ours": str(ours), "theirs": str(folder / "theirs"), "urls": str(folder / "urls")})
    )
    behaviours = by_url(ours, folder / "urls", photo_host)
    port = free_port()
    log = (folder / "log").open("wb")
    with subprocess.Popen(
        theirs("back", folder / "indices.json", port, model, folder / "aesthetic.npy"), stdout=log, stderr=log, env=offline()
    ) as server:
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(address, server, folder / "log")
            yield Service(address, model, photos, ours, folder / "theirs", folder / "embeddings", aesthetic, behaviours)
        finally:
            server.terminate()


def wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(2 * HANGS):
        try:
            urllib.request.urlopen(f"{address}/indices-list", timeout=5).close()
            return
        except OSError:
            assert server.poll() is None, log.read_text()[-3000:]
            time.sleep(0.5)
    pytest.fail(f"the back end did not start: {log.read_text()[-3000:]}")


def queries(service: Service, n: int = 8) -> np.ndarray:
    """Moved a little off photographs of the gallery, so that no two similarities are equal."""
    held = open_folder(service.ours).vectors[:][:: 96 // n][:n]
    off = held + 0.02 * np.random.default_rng(1).normal(size=held.shape)
    return (off / np.linalg.norm(off, axis=1, keepdims=True)).astype(np.float32)


def test_the_back_end_listens_on_loopback_only(service: Service) -> None:
    port = int(service.address.rpartition(":")[2])
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    at = {entry[1] for entry in listening if entry[1].endswith(f":{port:04X}") and entry[3] == "0A"}
    assert at == {f"0100007F:{port:04X}"}


def test_a_gallery_made_by_clip_retrieval_equals_one_made_by_clipnb(service: Service) -> None:
    ours, index_only, embeddings = (open_folder(p) for p in (service.ours, service.theirs, service.embeddings))
    assert index_only.vectors_from == "image.index"
    assert embeddings.vectors_from == "img_emb"
    assert embeddings.about == {}
    place = {path: row for row, path in enumerate(ours.column("image_path"))}
    for gallery in (index_only, embeddings):
        assert gallery.size == ours.size == 96
        row = [place[str(Path(path).resolve())] for path in gallery.column("image_path")]
        assert sorted(row) == list(range(96))
        np.testing.assert_allclose(gallery.vectors[:], ours.vectors[:][row], atol=2e-3)  # theirs were rounded to float16


@pytest.mark.parametrize("which", ["theirs", "embeddings", "ours"])
def test_a_run_on_a_gallery_of_clip_retrieval_gives_the_numbers_of_the_data_set(service: Service, which: str) -> None:
    spec = RunSpec("sample-figures", "grey", service.model, k=5)
    itself = run(spec, progress=False).rows
    there = run(RunSpec("sample-figures", "grey", service.model, k=5, gallery=str(getattr(service, which))), progress=False).rows
    np.testing.assert_allclose(np.stack(there["distances"]), np.stack(itself["distances"]), atol=0 if which == "ours" else 5e-3)
    assert (there["n_results"] == 5).all()
    if which == "ours":
        assert there["valid"].tolist() == itself["valid"].tolist()
        assert [list(c) for c in there["result_categories"]] == [list(c) for c in itself["result_categories"]]


def test_our_gallery_served_by_their_back_end_answers_as_in_process(service: Service) -> None:
    asked = queries(service)
    hits = KnnClient(service.address, "ours").query(asked, Options(10))
    similarity = asked @ open_folder(service.ours).vectors[:].T
    assert [[hit.id for hit in row] for row in hits] == np.argsort(-similarity, axis=1)[:, :10].tolist()
    np.testing.assert_allclose([[h.similarity for h in row] for row in hits], -np.sort(-similarity, axis=1)[:, :10], atol=1e-5)
    assert all(hit.image and hit.image_path for row in hits for hit in row)


def test_both_clients_get_the_same_results(service: Service, tmp_path: Path) -> None:
    asked = queries(service, 4)
    all_options = [
        Options(10),
        Options(10, aesthetic_score=9, aesthetic_weight=0.5, deduplicate=True, safety=True),
        Options(7, aesthetic_score=3, aesthetic_weight=0.25),
    ]
    requests = [
        {
            "num_images": options.num_images,
            "aesthetic_score": options.aesthetic_score if options.aesthetic_weight else "",
            "aesthetic_weight": options.aesthetic_weight or "",
            "deduplicate": options.deduplicate,
            "use_safety_model": options.safety,
            "use_violence_detector": options.safety,
        }
        for options in all_options
    ]
    (tmp_path / "request.json").write_text(json.dumps({"vectors": asked.tolist(), "options": requests}))
    must(theirs("client", f"{service.address}/knn-service", "ours", tmp_path / "request.json", tmp_path / "answer.json"))
    for options, answered in zip(all_options, json.loads((tmp_path / "answer.json").read_text()), strict=True):
        hits = KnnClient(service.address, "ours").query(asked, options)
        assert [[(h.id, h.similarity, h.image_path) for h in row] for row in hits] == [
            [(h["id"], h["similarity"], h["image_path"]) for h in row] for row in answered
        ]


def test_the_studys_options_do_there_what_mode_study_does_in_process(service: Service) -> None:
    asked = queries(service)
    held = open_folder(service.ours).vectors[:]
    hits = KnnClient(service.address, "ours").query(asked, Options(10, 9, 0.5, deduplicate=True))
    nudged = move_queries(asked, service.aesthetic[9], 0.5)
    assert not np.allclose(nudged, asked, atol=0.1)
    top = np.argsort(-(nudged @ held.T), axis=1)[:, :10]
    expected = [[row for row in without_lookalikes(rows, held).tolist() if row >= 0] for rows in top]
    assert [[hit.id for hit in row] for row in hits] == expected
    assert any(len(row) < 10 for row in expected)  # something was dropped


def test_a_run_through_the_service_is_a_run_in_process(service: Service) -> None:
    common = {"dataset": "sample-figures", "manip": "blurred", "encoder": service.model, "k": 5}
    there = run(RunSpec(**common, gallery=service.address, index="ours"), progress=False)
    here = run(RunSpec(**common, gallery=str(service.ours)), progress=False)
    # the back end sends its images as new JPEGs, whose embeddings lie a little off
    np.testing.assert_allclose(np.stack(there.rows["distances"]), np.stack(here.rows["distances"]), atol=0.25)
    assert there.valid.point == pytest.approx(here.valid.point, abs=0.1)
    assert (there.rows[["n_asked", "n_returned", "n_results"]] == 5).all(axis=None)
    assert not there.rows[["n_dead", "n_unreadable"]].any(axis=None)
    own = [f"{c}/{i}" for c, i in zip(there.rows["category"], there.rows["image"], strict=True)]
    assert not any(str(path).endswith(name) for name, found in zip(own, there.rows["results"], strict=True) for path in found)
    told = there.provenance["gallery"]
    assert told["index"] == "ours"
    assert told["options"] == {
        "num_images": 15, "aesthetic_score": 9, "aesthetic_weight": 0.0, "deduplicate": False, "safety": False,
    }  # fmt: skip


@pytest.mark.parametrize("manip", ["original", "blurred"])
def test_a_host_that_misbehaves_costs_nothing_but_the_results_it_keeps(
    service: Service, manip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_service, "Limits", lambda: LIMITS)
    common = {"dataset": "sample-figures", "manip": manip, "encoder": service.model, "k": 5}
    result = run(RunSpec(**common, gallery=service.address, index="urls", allow_hosts="127.0.0.1"), progress=False)
    rows, ours = result.rows, open_folder(service.ours)
    names = ours.column("id")

    def expected(query: np.ndarray, name: str) -> list[str]:
        """What becomes of the five best that are not the query itself; its own image is told only where it can be seen."""
        ranked = np.argsort(-(ours.vectors[:] @ query), kind="stable")[:15]
        return [service.behaviours[r] for r in ranked if names[r] != name or service.behaviours[r] != "photo"][:5]

    data = load_dataset("sample-figures")
    store = EmbeddingStore(cache_root() / "embeddings", load_encoder(service.model).identity, 64)
    asked = embed(data.photos, [manip], load_encoder(service.model), store, progress=False).vectors[manip]
    fates = [expected(query, photo.id) for query, photo in zip(asked, data.photos, strict=True)]
    assert rows["n_dead"].tolist() == [sum(fate in DEAD for fate in of) for of in fates]
    assert rows["n_unreadable"].tolist() == [sum(fate in UNREADABLE for fate in of) for of in fates]
    assert (rows["n_results"] + rows["n_dead"] + rows["n_unreadable"] == 5).all()
    reasons = result.provenance["gallery"]["unusable"]
    assert {url.split("/")[3] for url in reasons} == {*DEAD, *UNREADABLE}
    assert all(reasons.values())

    books = account(result)
    assert books.asked == 96 * 5
    assert books.fates["dead"] == rows["n_dead"].sum() > 0
    assert books.fates["unreadable"] == rows["n_unreadable"].sum() > 0
    assert books.worst < books.available.point <= books.best  # a network of random weights finds everything alike
    assert "dead" in " ".join(warnings(result))
    # what the host serves is re-read from its files, so that the distances are those of the gallery itself
    here = run(RunSpec(**common, gallery=str(service.ours)), progress=False).rows
    for there, alone, lost in zip(rows["distances"], here["distances"], fates, strict=True):
        if all(fate == "photo" for fate in lost):
            np.testing.assert_allclose(there, alone, atol=1e-5)


def test_an_error_of_the_service_is_an_error(service: Service) -> None:
    client = KnnClient(service.address, "ours", attempts=1)
    with pytest.raises(ServiceError, match="has no index 'nobody'; it has ours, theirs, urls"):
        KnnClient(service.address, "nobody").check(64)
    with pytest.raises(ServiceError, match="holds vectors of 64 values, the encoder makes 512"):
        client.check(512)
    with pytest.raises(ServiceError, match="HTTP 500"):
        client.query(np.full((2, 65), 65**-0.5, dtype=np.float32), Options(3))
    with pytest.raises(ServiceError, match="HTTP 500"):
        client.query(queries(service, 2), Options(0))
    with pytest.raises(ValueError, match="not finite"):
        client.query(np.full((1, 64), np.nan, dtype=np.float32), Options(3))
