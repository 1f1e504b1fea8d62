"""Services that lie: each hostile answer is one line."""

from __future__ import annotations

import base64
import gzip
import io
import json
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from clipnb import RunSpec, UserError, run
from clipnb.errors import ServiceError
from clipnb.report.photos import query_results
from clipnb.report.text import summary
from clipnb.retrieval.knn_client import KnnClient
from conftest import PhotoFolder, picture, serving

pytest.importorskip("aiohttp", reason="needs pip install 'clipnb[service]'")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, b"[" * 200_000, {}), "does not answer in JSON"),
        ((200, b'[{"id": Infinity, "similarity": 1}]', {}), "answered with an invalid result"),
        ((200, b'[{"id": 1, "similarity": NaN}]', {}), "invalid result .*similarity must be float, not nan"),
        ((200, b'[{"id": 1, "similarity": 1e400}]', {}), "invalid result .*similarity must be float, not inf"),
        ((200, b'[{"id": "1", "similarity": 1}]', {}), "invalid result .*id must be int, not '1'"),
        ((200, b"[]", {}), "not one result of .* can be scored"),
        ((200, b'[{"id": 1, "similarity": 1, "image_path": "/etc/hostname"}]', {}), "not one result of .* can be scored"),
        ((200, b'[{"id": 1, "similarity": 1, "url": "http://127.0.0.1/\\ud800"}]', {}), "not one result of .* can be scored"),
        ((500, b"no \x1b[2J", {}), r"HTTP 500: no \\x1b\[2J"),
        ((200, gzip.compress(bytes(80 * 2**20)), {"Content-Encoding": "gzip"}), "answers with more than 64 MiB"),
        ((307, b"", {"Location": "http://localhost:9/"}), "HTTP 307"),
        ((200, b"[]", {"Content-Encoding": "gzip"}), "message: Can not decode"),
        ((200, b"[]", {"Content-Length": "-1"}), "Content-Length: -1"),
    ],
    ids=[
        "deep",
        "infinite",
        "nan",
        "huge",
        "text",
        "nothing",
        "local",
        "surrogate",
        "control",
        "swelling",
        "redirect",
        "not gzip",
        "length",
    ],
)
def test_a_hostile_answer_is_one_line(photo_folder: PhotoFolder, answer: tuple[int, bytes, dict[str, str]], said: str) -> None:
    class Service(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            self.answer(200, json.dumps(["x"]).encode(), {})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(*answer)

        def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    with serving(Service) as server:
        gallery = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(UserError, match=said) as caught:
            run(RunSpec(str(photo_folder({"cats": 3, "dogs": 3})), "grey", "tiny", k=2, gallery=gallery, index="x"), progress=False)
    assert str(caught.value).isprintable()


def encoded(image: Image.Image) -> str:
    held = io.BytesIO()
    image.save(held, "PNG")
    return base64.b64encode(held.getvalue()).decode()


class Sending(BaseHTTPRequestHandler):
    """Answers each query with the same results."""

    results: ClassVar[list[dict[str, object]]] = []

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        self.answer(["x"])

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(self.results)

    def answer(self, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_images_sent_inside_an_answer_are_the_ones_drawn(photo_folder: PhotoFolder) -> None:
    """Neither the file of that name on this machine, nor what another service sent under it, nor one above the pixel limit."""
    photos = photo_folder({"cats": 3, "dogs": 3})
    name = str(photos / "cats" / "00.png")
    colours = {"first": (200, 30, 30), "second": (30, 30, 200)}
    runs = {}
    for which, colour in colours.items():
        sent = encoded(Image.new("RGB", (48, 32), colour))
        too_large = encoded(Image.new("L", (10_001, 5_000)))
        Sending.results = [
            {"id": 1, "similarity": 0.9, "image_path": name, "image": sent},
            {"id": 2, "similarity": 0.8, "image_path": "/large.png", "image": too_large},
        ]
        with serving(Sending) as server:
            gallery = f"http://127.0.0.1:{server.server_port}"
            runs[which] = run(RunSpec(str(photos), "grey", "tiny", k=2, gallery=gallery, index="x"), progress=False)
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
    Sending.results = [{"id": at, "similarity": 1 - at / 10, "image": image} for at, image in enumerate(images)]
    with serving(Sending) as server:
        gallery = f"http://127.0.0.1:{server.server_port}"
        result = run(RunSpec(str(photos), "grey", "tiny", k=2, gallery=gallery, index="x"), progress=False)
    assert dict(zip(result.rows["category"] + result.rows["image"], result.rows["n_copies"], strict=True)) == {
        "cats00.png": 2,
        "cats01.png": 0,
        "dogs00.png": 0,
        "dogs01.png": 0,
    }
    assert result.rows["results"][0] == ["#3", "#4"]
    assert "| copies left out per query | 0 (median), 2 (most) |" in summary(result)
    assert any(
        "1 of 4 queries lose more than 10% of the results as copies (at most 17%)" in w for w in result.provenance["warnings"]
    )


class Failing(BaseHTTPRequestHandler):
    """Answers some queries, then fails; notes what it was asked."""

    asked: ClassVar[list[str]] = []
    good: ClassVar[int] = 0

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        self.answer(200, ["x"])

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if body["num_images"] > 1:  # no probe
            self.asked.append(str(body["embedding_input"]))
        if len(self.asked) > self.good:
            time.sleep(0.5)  # until the good answers have arrived
            return self.answer(500, "failed")
        return self.answer(200, [{"id": 1, "similarity": 0.5, "image": encoded(Image.fromarray(picture(99)))}])

    def answer(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_the_names_of_indices_are_printable_and_short() -> None:
    class Service(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(["\x1b[2J" + "x" * 10_000]).encode())

    with serving(Service) as server, pytest.raises(ServiceError, match=r"it has \\x1b\[2Jx") as caught:
        KnnClient(f"http://127.0.0.1:{server.server_port}", "mine").check(8)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_answers_before_a_failure_are_kept_and_not_asked_for_again(photo_folder: PhotoFolder) -> None:
    Failing.asked, Failing.good = [], 4
    with serving(Failing) as server:
        gallery = f"http://127.0.0.1:{server.server_port}"
        spec = RunSpec(str(photo_folder({"cats": 3, "dogs": 3})), "original", "tiny", k=1, gallery=gallery, index="x")
        with pytest.raises(UserError, match=r"HTTP 500: .*failed"):
            run(spec, progress=False)
        answered = set(Failing.asked[:4])
        Failing.asked, Failing.good = [], 100
        run(spec, progress=False)
        assert len(Failing.asked) == 2
        assert not answered & set(Failing.asked)


def test_kept_answers_that_are_damaged_are_asked_for_again(
    photo_folder: PhotoFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of four: cut, of other bytes than UTF-8, of another form, and whole."""
    monkeypatch.setenv("CLIPNB_CACHE", str(tmp_path / "cache"))
    Failing.asked, Failing.good = [], 4
    with serving(Failing) as server:
        gallery = f"http://127.0.0.1:{server.server_port}"
        spec = RunSpec(str(photo_folder({"cats": 3, "dogs": 3})), "original", "tiny", k=1, gallery=gallery, index="x")
        with pytest.raises(UserError, match="HTTP 500"):
            run(spec, progress=False)
        (kept,) = (tmp_path / "cache" / "answers").iterdir()
        first, second, third, whole = kept.read_bytes().splitlines()
        kept.write_bytes(b"\n".join([first[:-9], second.replace(b'"id"', b'"\xff"'), third.replace(b'"id"', b'"no"'), whole]))
        Failing.asked, Failing.good = [], 100
        run(spec, progress=False)
    assert len(Failing.asked) == 5


def test_an_answer_that_comes_a_byte_at_a_time_has_a_time_limit() -> None:
    class Dripping(Failing):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            with suppress(OSError):
                for _ in range(1000):
                    self.wfile.write(b" ")
                    time.sleep(0.05)

    with serving(Dripping) as server:
        client = KnnClient(f"http://127.0.0.1:{server.server_port}", "x", timeout=1, attempts=1)
        with pytest.raises(ServiceError, match=r"/indices-list failed \(no answer within 1 s\)"):
            client.check(192)


def test_a_service_that_does_not_answer_the_probe_is_asked_no_other_length() -> None:
    class Silent(Failing):
        def do_POST(self) -> None:
            self.asked.append("probe")
            self.close_connection = True  # without an answer

    Failing.asked = []
    with serving(Silent) as server:
        client = KnnClient(f"http://127.0.0.1:{server.server_port}", "x", timeout=2, attempts=2)
        with pytest.raises(ServiceError, match="failed"):
            client.check(192)
    assert len(Failing.asked) <= 2 * 2  # the library may repeat a request whose connection is lost
