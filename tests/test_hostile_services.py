"""Services that lie: each hostile answer is one line."""

from __future__ import annotations

import gzip
import json
from http.server import BaseHTTPRequestHandler

import pytest

from clipnb import RunSpec, UserError, run
from conftest import PhotoFolder, serving

pytest.importorskip("aiohttp", reason="needs pip install 'clipnb[service]'")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, b"[" * 200_000, {}), "does not answer in JSON"),
        ((200, b'[{"id": Infinity, "similarity": 1}]', {}), "answered with an invalid result"),
        ((200, b"[]", {}), "not one result of .* can be scored"),
        ((200, b'[{"id": 1, "similarity": 1, "image_path": "/etc/hostname"}]', {}), "not one result of .* can be scored"),
        ((500, b"no \x1b[2J", {}), r"HTTP 500: no \\x1b\[2J"),
        ((200, gzip.compress(bytes(80 * 2**20)), {"Content-Encoding": "gzip"}), "answers with more than 64 MiB"),
        ((307, b"", {"Location": "http://localhost:9/"}), "HTTP 307"),
    ],
    ids=["deep", "infinite", "nothing", "local", "control", "swelling", "redirect"],
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
