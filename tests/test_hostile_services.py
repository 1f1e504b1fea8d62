"""Services that lie: each hostile answer is one line."""

from __future__ import annotations

import base64
import gzip
import io
import json
import time
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from clipnb import RunSpec, UserError, run
from clipnb.errors import ServiceError
from clipnb.report.photos import query_results
from clipnb.report.text import summary
from clipnb.retrieval import knn_client
from clipnb.retrieval.knn_client import KnnClient
from conftest import Answering, PhotoFolder, TinyEncoder, one_line, picture, serving

pytest.importorskip("aiohttp", reason="needs pip install 'clipnb[service]'")


class Service(Answering):
    """A service with one index, `x`, that answers each query with the same results."""

    results: ClassVar[list[dict[str, object]]] = []

    def do_GET(self) -> None:
        self.answer(b'["x"]')

    def do_POST(self) -> None:
        self.reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def reply(self, asked: dict[str, Any]) -> None:
        self.answer(json.dumps(self.results).encode())


def asking(address: str, photos: Path, manip: str = "grey", k: int = 2) -> RunSpec:
    return RunSpec(str(photos), manip, "tiny", k=k, gallery=address, index="x")


HOSTILE = {
    "deep": (200, b"[" * 200_000, {}, "does not answer in JSON"),
    "infinite": (200, b'[{"id": Infinity, "similarity": 1}]', {}, "answered with an invalid result"),
    "nan": (200, b'[{"id": 1, "similarity": NaN}]', {}, "invalid result .*similarity must be float, not nan"),
    "huge": (200, b'[{"id": 1, "similarity": 1e400}]', {}, "invalid result .*similarity must be float, not inf"),
    "text": (200, b'[{"id": "1", "similarity": 1}]', {}, "invalid result .*id must be int, not '1'"),
    "nothing": (200, b"[]", {}, "not one result of .* can be scored"),
    "local": (200, b'[{"id": 1, "similarity": 1, "image_path": "/etc/hostname"}]', {}, "not one result of .* can be scored"),
    "surrogate": (200, b'[{"id": 1, "similarity": 1, "url": "http://127.0.0.1/\\ud800"}]', {}, "not one .* can be scored"),
    "control": (500, b"no \x1b[2J", {}, r"HTTP 500: no \\x1b\[2J"),
    "swelling": (200, gzip.compress(bytes(80 * 2**20)), {"Content-Encoding": "gzip"}, "answers with more than 64 MiB"),
    "redirect": (307, b"", {"Location": "http://localhost:9/"}, "HTTP 307"),
    "not gzip": (200, b"[]", {"Content-Encoding": "gzip"}, "message: Can not decode"),
    "length": (200, b"[]", {"Content-Length": "-1"}, "Content-Length: -1"),
}
"""Status, body and headers of an answer, and what is said of it."""


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_answer_is_one_line(photo_folder: PhotoFolder, kind: str) -> None:
    status, body, headers, said = HOSTILE[kind]

    class Hostile(Service):
        def reply(self, asked: dict[str, Any]) -> None:
            self.answer(body, status, **headers)

    photos = photo_folder({"cats": 3, "dogs": 3})
    with serving(Hostile) as address, pytest.raises(UserError, match=said) as caught:
        run(asking(address, photos), progress=False)
    assert str(caught.value).isprintable()


def encoded(image: Image.Image) -> str:
    held = io.BytesIO()
    image.save(held, "PNG")
    return base64.b64encode(held.getvalue()).decode()


def test_images_sent_inside_an_answer_are_the_ones_drawn(photo_folder: PhotoFolder) -> None:
    """Neither the file of that name on this machine, nor what another service sent under it, nor one above the pixel limit."""
    photos = photo_folder({"cats": 3, "dogs": 3})
    name = str(photos / "cats" / "00.png")
    colours = {"first": (200, 30, 30), "second": (30, 30, 200)}
    runs = {}
    for which, colour in colours.items():
        sent = encoded(Image.new("RGB", (48, 32), colour))
        too_large = encoded(Image.new("L", (10_001, 5_000)))
        Service.results = [
            {"id": 1, "similarity": 0.9, "image_path": name, "image": sent},
            {"id": 2, "similarity": 0.8, "image_path": "/large.png", "image": too_large},
        ]
        with serving(Service) as address:
            runs[which] = run(asking(address, photos), progress=False)
    for which, colour in colours.items():
        result = runs[which]
        assert result.rows["results"].tolist() == [[name]] * 6
        assert "10001 x 5000 pixels are more than 50,000,000" in result.provenance["gallery"]["unusable"]["/large.png"]
        drawn = query_results(result, queries=1).axes[2].images[0].get_array()
        assert np.asarray(drawn).shape == (32, 48, 3)
        assert (np.asarray(drawn) == colour).all()


def test_copies_lost_for_each_query_are_counted_with_a_service_and_warned_about(photo_folder: PhotoFolder) -> None:
    """The query's own file counts as no copy; two near-copies of 12 results are more than one in ten."""
    photos = photo_folder({"cats": 2, "dogs": 2}, size=(192, 128))
    file = photos / "cats" / "00.png"
    with Image.open(file) as own:
        near = [encoded(own.resize(size)) for size in ((180, 120), (120, 80))]
    others = [encoded(Image.fromarray(picture(at, 192, 128, kind=50 + at))) for at in range(3)]
    images = [base64.b64encode(file.read_bytes()).decode(), *near, *others]
    Service.results = [{"id": at, "similarity": 1 - at / 10, "image": image} for at, image in enumerate(images)]
    with serving(Service) as address:
        result = run(asking(address, photos), progress=False)
    assert result.rows["n_copies"].tolist() == [2, 0, 0, 0]
    assert result.rows["results"][0] == ["#3", "#4"]
    assert "| copies left out per query | 0 (median), 2 (most) |" in summary(result)
    said = "1 of 4 queries lose more than 10% of the results as copies (at most 17%)"
    assert any(said in warning for warning in result.provenance["warnings"])


class Failing(Service):
    """Answers some queries, then fails; notes what it was asked."""

    asked: ClassVar[list[str]] = []
    good: ClassVar[int] = 0

    def reply(self, asked: dict[str, Any]) -> None:
        if asked["num_images"] > 1:  # no probe
            self.asked.append(str(asked["embedding_input"]))
        if len(self.asked) > self.good:
            time.sleep(0.5)  # until the good answers have arrived
            self.answer(b'"failed"', 500)
        else:
            result = {"id": 1, "similarity": 0.5, "image": encoded(Image.fromarray(picture(99)))}
            self.answer(json.dumps([result]).encode())


def test_a_service_that_is_not_there_is_one_line() -> None:
    with one_line(r"127\.0\.0\.1:9/indices-list failed", ServiceError):
        KnnClient("http://127.0.0.1:9", "x", attempts=1).check(64)


def test_a_service_that_is_not_there_costs_no_embedding(photo_folder: PhotoFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TinyEncoder, "encode", lambda *_: pytest.fail("embedded"))
    with one_line(r"127\.0\.0\.1:9/indices-list failed", ServiceError):
        run(RunSpec(str(photo_folder({"cats": 3})), encoder="tiny", k=2, gallery="http://127.0.0.1:9", index="x"), progress=False)


def test_another_web_server_is_told_in_short(tmp_path: Path) -> None:
    with (
        serving(partial(SimpleHTTPRequestHandler, directory=str(tmp_path))) as address,
        one_line(rf"\A{address} answers but is no clip-retrieval back end \(HTTP 404 at /indices-list\)\Z", ServiceError),
    ):
        KnnClient(address, "x").check(64)


@pytest.mark.parametrize(("status", "body"), [(500, b"\n<!doctype html><title>Error</title>"), (502, b"<html>"), (307, b"")])
def test_the_text_of_a_page_is_not_quoted(status: int, body: bytes) -> None:
    class Page(Service):
        def do_GET(self) -> None:
            self.answer(body, status)

    with serving(Page) as address, one_line(rf"/indices-list failed \(HTTP {status}\): check", ServiceError):
        KnnClient(address, "x", attempts=1).check(64)


def test_the_names_of_indices_are_printable_and_short() -> None:
    class Naming(Service):
        def do_GET(self) -> None:
            self.answer(json.dumps(["\x1b[2J" + "x" * 10_000]).encode())

    with serving(Naming) as address, pytest.raises(ServiceError, match=r"it has \\x1b\[2Jx") as caught:
        KnnClient(address, "mine").check(8)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("damaged", [False, True])
def test_answers_before_a_failure_are_kept_and_only_the_damaged_are_asked_for_again(
    photo_folder: PhotoFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: bool
) -> None:
    """Of four kept ones, three are then damaged: cut, of other bytes than UTF-8, and of another form."""
    monkeypatch.setenv("CLIPNB_CACHE", str(tmp_path / "cache"))
    Failing.asked, Failing.good = [], 4
    with serving(Failing) as address:
        spec = asking(address, photo_folder({"cats": 3, "dogs": 3}), "original", k=1)
        with pytest.raises(UserError, match=r"HTTP 500: .*failed"):
            run(spec, progress=False)
        answered = set(Failing.asked[:4])
        if damaged:
            (kept,) = (tmp_path / "cache" / "answers").iterdir()
            first, second, third, whole = kept.read_bytes().splitlines()
            kept.write_bytes(b"\n".join([first[:-9], second.replace(b'"id"', b'"\xff"'), third.replace(b'"id"', b'"no"'), whole]))
        Failing.asked, Failing.good = [], 100
        run(spec, progress=False)
    assert len(Failing.asked) == (5 if damaged else 2)
    assert len(answered & set(Failing.asked)) == (3 if damaged else 0)


def test_an_answer_that_comes_a_byte_at_a_time_has_a_time_limit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Dripping(Service):
        def do_GET(self) -> None:
            self.answer(b"", **{"Content-Length": "1000"})
            with suppress(OSError):
                for _ in range(1000):
                    self.wfile.write(b" ")
                    time.sleep(0.05)

    monkeypatch.setattr(knn_client, "SILENCE", 0.3)
    said = r"/indices-list failed \(no answer within 1 s\)"
    with serving(Dripping) as address, pytest.raises(ServiceError, match=said):
        KnnClient(address, "x", timeout=1, attempts=1).check(192)
    assert capsys.readouterr().err == f"clipnb: waiting for {address}, at most 1 x 1 s\n"


def test_https_typed_for_http_is_one_line_that_says_so() -> None:
    with serving(Service) as address, pytest.raises(ServiceError, match=r"failed .type http:// if it has no certificate"):
        KnnClient(address.replace("http:", "https:"), "x", attempts=1).check(192)


def test_a_service_that_does_not_answer_the_probe_is_asked_no_other_length() -> None:
    probes = []

    class Silent(Service):
        def reply(self, asked: dict[str, Any]) -> None:
            probes.append(asked)
            self.close_connection = True  # without an answer

    with serving(Silent) as address, pytest.raises(ServiceError, match="failed"):
        KnnClient(address, "x", timeout=2, attempts=2).check(192)
    assert len(probes) <= 2 * 2  # the library may repeat a request whose connection is lost
