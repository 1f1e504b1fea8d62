"""Fetching images from hosts that misbehave in every way that the web knows: nothing hangs, nothing is lost."""

from __future__ import annotations

import asyncio
import io
import re
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clipnb.retrieval import network
from clipnb.retrieval.image_fetcher import Fetched, ImageCache, Limits, fetch_images
from conftest import Answering, picture, serving

LIMITS = Limits(seconds=6, attempt=1.5, attempts=3, pause=0.05, size=200_000, pixels=1_000_000, redirects=3)


def jpeg(seed: int = 0) -> bytes:
    held = io.BytesIO()
    Image.fromarray(picture(seed, 64, 48)).save(held, "JPEG")
    return held.getvalue()


def bomb(side: int = 30_000) -> bytes:
    """A PNG of a few kilobytes whose header promises a thousand million pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100_000)) + chunk(b"IEND", b"")


class Host(Answering):
    """An image host: the path says how it behaves."""

    asked: ClassVar[Counter[str]] = Counter()

    def do_GET(self) -> None:
        Host.asked[self.path] += 1
        getattr(self, "on_" + self.path.strip("/").split("/")[0])()

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        super().answer(body, status, **{"Content-Type": "image/jpeg", **headers})

    def on_good(self) -> None:
        self.answer(jpeg(int(self.path.rsplit("/", 1)[1])))

    def on_patient(self) -> None:
        time.sleep(0.3)
        self.on_good()

    def on_missing(self) -> None:
        self.answer(b"not here", 404)

    def on_flaky(self) -> None:
        self.answer(b"", 500) if Host.asked[self.path] == 1 else self.answer(jpeg())

    def on_broken(self) -> None:
        self.answer(b"", 503)

    def on_drip(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.keep_sending(jpeg()[:1], pause=0.1)

    def on_dripping_head(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        self.keep_sending(b"x", pause=0.1)

    def on_endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.keep_sending(b"x" * 65536)

    def keep_sending(self, piece: bytes, pause: float = 0.0) -> None:
        with suppress(OSError):
            for _ in range(10**6):
                self.wfile.write(piece)
                time.sleep(pause)

    def on_huge(self) -> None:
        self.answer(b"", **{"Content-Length": str(10**12)})

    def on_html(self) -> None:
        self.answer(b"<!DOCTYPE html><html><body>This image was moved</body></html>")

    def on_empty(self) -> None:
        self.answer(b"")

    def on_bomb(self) -> None:
        self.answer(bomb())

    def on_large(self) -> None:
        self.answer(bomb(1_001))

    def on_zipped(self) -> None:
        self.answer(zlib.compress(b"\0" * 10**6), **{"Content-Encoding": "gzip"})

    def on_truncated(self) -> None:
        self.answer(jpeg()[:-300])

    def on_cut(self) -> None:
        self.answer(jpeg(), **{"Content-Length": "100000"})

    def on_reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def on_moved(self) -> None:
        self.answer(b"", 302, Location="/good/7")

    def on_to_file(self) -> None:
        self.answer(b"", 302, Location="file:///etc/passwd")

    def on_to_private(self) -> None:
        self.answer(b"", 302, Location=f"http://localhost:{self.server.server_address[1]}/good/1")

    def on_to_metadata(self) -> None:
        self.answer(b"", 301, Location="http://169.254.169.254/latest/meta-data/")

    def on_round(self) -> None:
        self.answer(b"", 302, Location=self.path)


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    with serving(Host) as address:
        yield address


@pytest.fixture
def cache(tmp_path: Path) -> ImageCache:
    return ImageCache(tmp_path / "fetched")


def fetch(url: str, cache: ImageCache, allow: tuple[str, ...] = ("127.0.0.1",), limits: Limits = LIMITS) -> Fetched:
    return fetch_images([url], cache, allow=allow, limits=limits)[url]


BEHAVIOURS = {
    "good/1": ("ok", ""),
    "moved": ("ok", ""),
    "flaky": ("ok", ""),
    "truncated": ("ok", ""),  # the decoder will tell: its first bytes are those of an image
    "missing": ("dead", "HTTP 404"),
    "broken": ("dead", "HTTP 503"),
    "drip": ("dead", "not complete after 1.5 s"),
    "dripping_head": ("dead", "not complete after 1.5 s"),
    "endless": ("dead", "larger than"),
    "huge": ("dead", "larger than"),
    "cut": ("dead", ""),
    "reset": ("dead", ""),
    "round": ("dead", "more than 3 redirects"),
    "to_file": ("dead", "only http and https are fetched, not 'file:///etc/passwd'"),
    "to_private": ("dead", "is not a public address"),
    "to_metadata": ("dead", "169.254.169.254 is not a public address"),
    "html": ("unreadable", "not an image"),
    "empty": ("unreadable", "not an image"),
    "zipped": ("unreadable", "not an image"),
    "bomb": ("unreadable", "pixels"),
    "large": ("unreadable", "1001 x 1001 pixels are more than 1,000,000"),
}


def test_every_misbehaving_server_ends_in_time_and_affects_no_other(host: str, cache: ImageCache) -> None:
    urls = {f"{host}/{path}": expected for path, expected in BEHAVIOURS.items()}
    started = time.monotonic()
    found = fetch_images(urls, cache, allow=["127.0.0.1"], limits=LIMITS)
    assert time.monotonic() - started < 30  # a bound on hanging, not on speed
    assert list(found) == list(urls)
    assert {url: f.status for url, f in found.items()} == {url: status for url, (status, _) in urls.items()}
    for url, (_, problem) in urls.items():
        assert problem in found[url].problem
    assert found[f"{host}/good/1"].path.read_bytes() == jpeg(1)
    assert found[f"{host}/moved"].path.read_bytes() == jpeg(7)


def test_an_image_is_fetched_only_once(host: str, cache: ImageCache) -> None:
    for path in ("good/41", "missing/41", "html/41"):
        found = fetch_images([f"{host}/{path}"] * 5, cache, allow=["127.0.0.1"], limits=LIMITS)
        assert {f"{host}/{path}": fetch(f"{host}/{path}", cache)} == found
        assert Host.asked[f"/{path}"] == 1


def test_transient_failures_are_fetched_again(host: str, cache: ImageCache) -> None:
    assert fetch(f"{host}/broken/2", cache).status == "dead"
    assert Host.asked["/broken/2"] == LIMITS.attempts
    assert fetch(f"{host}/broken/2", cache).status == "dead"
    assert Host.asked["/broken/2"] == 2 * LIMITS.attempts


def test_no_private_address_is_contacted_unless_allowed(host: str, cache: ImageCache) -> None:
    port = host.rpartition(":")[2]
    before = sum(Host.asked.values())
    for name in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"):
        refused = fetch(f"http://{name}:{port}/good/60", cache, allow=())
        assert (refused.status, refused.final) == ("dead", False)
    assert sum(Host.asked.values()) == before
    assert fetch(f"{host}/good/60", cache, allow=(f"127.0.0.1:{port}",)).status == "ok"  # what was refused is not remembered


def test_dns_rebinding_reaches_no_private_address(host: str, cache: ImageCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the first look-up says a public address, every later one loopback."""
    port = int(host.rpartition(":")[2])
    answers = iter(["93.184.215.14"])
    real, made = socket.getaddrinfo, network.public_socket
    connected: list[str] = []

    def rebinding(name: Any, *rest: Any, **options: Any) -> Any:
        if name != "rebinding.example":
            return real(name, *rest, **options)
        address = next(answers, "127.0.0.1")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    def noted(info: Any) -> socket.socket:
        connected.append(info[4][0])
        return made(info)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    monkeypatch.setattr(network, "public_socket", noted)
    before = sum(Host.asked.values())
    assert fetch(f"http://rebinding.example:{port}/good/61", cache, allow=(), limits=Limits(2, 0.5, 2, 0.01)).status == "dead"
    assert connected
    assert sum(Host.asked.values()) == before


def test_the_wait_for_a_turn_does_not_count_as_time_of_the_host(host: str, cache: ImageCache) -> None:
    urls = [f"{host}/patient/{i}" for i in range(20)]
    limits = Limits(seconds=1.2, attempt=1.2, attempts=1, per_host=2)
    found = fetch_images(urls, cache, allow=["127.0.0.1"], limits=limits)
    assert Counter(each.status for each in found.values()) == {"ok": 20}


def test_an_image_that_was_cut_short_in_the_cache_is_fetched_again_also_where_a_loop_runs(host: str, cache: ImageCache) -> None:
    path = fetch(f"{host}/good/70", cache).path
    assert path is not None
    path.write_bytes(jpeg(70)[:50])

    async def as_in_a_notebook() -> Fetched:
        return fetch(f"{host}/good/70", cache)

    assert asyncio.run(as_in_a_notebook()).status == "ok"
    assert path.read_bytes() == jpeg(70)


FULL = """
import resource, sys
from pathlib import Path
from clipnb.errors import UserError
from clipnb.retrieval.image_fetcher import ImageCache, fetch_images
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    fetch_images(sys.argv[4:], ImageCache(Path(sys.argv[1])), allow=[sys.argv[2]])
except UserError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit of file sizes")
def test_a_full_disk_stops_the_run_is_no_dead_link_and_the_next_run_goes_on(host: str, cache: ImageCache) -> None:
    urls = [f"{host}/good/{i}" for i in range(90, 95)]
    code = [sys.executable, "-c", FULL, str(cache.folder), "127.0.0.1", "300", *urls]
    said = subprocess.run(code, capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(r".* cannot be written: File too large; make room .* run the same again: .* is kept\n", said)
    found = fetch_images(urls, cache, allow=["127.0.0.1"])
    assert Counter(each.status for each in found.values()) == {"ok": 5}


def test_other_schemes_and_nonsense_are_refused(cache: ImageCache) -> None:
    for url in ("file:///etc/passwd", "ftp://example.org/a.jpg", "javascript:alert(1)", "http://", "http://[", "", "data:,x"):
        assert fetch(url, cache).status == "dead"


PRIVATE = [
    *("127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.5.4", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1"),
    *("255.255.255.255", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:10.0.0.1"),
    *("64:ff9b::a00:1", "2002:7f00:1::1", "2001:db8::1"),
]
PUBLIC = ["93.184.215.14", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


def test_private_addresses_are_told_from_public_ones() -> None:
    assert [address for address in PRIVATE + PUBLIC if network.is_public(address)] == PUBLIC


@given(st.ip_addresses(network="10.0.0.0/8"))
def test_no_spelling_of_a_private_address_passes(address: Any) -> None:
    assert not network.is_public(str(address))
    assert not network.is_public(f"::ffff:{address}")
