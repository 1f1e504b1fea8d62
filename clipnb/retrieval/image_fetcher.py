"""Fetch images from web servers: many at once, within limits, and each image only once.

A fetch ends in one of three ways: *ok* (an image file in the cache), *dead* (no answer, an error, too large, not allowed)
or *unreadable* (not an image, or too many pixels). A private, loopback or similar address is refused unless its host is
allowed by name. The connection goes to the address that was checked, and every redirect is checked too. No proxy, cookie or
credential of this machine is used.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urljoin, urlsplit

from tqdm import tqdm

from .._core.files import atomic, write_text
from ..datasets.images import opened
from . import network

TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class Limits:
    """Limits of a fetch."""

    seconds: float = 30.0  # longest time for a URL in seconds, including all attempts and redirects
    attempt: float = 10.0  # longest time for an attempt in seconds
    attempts: int = 3  # largest number of requests to a server that fails or does not answer
    pause: float = 0.5  # seconds before the second attempt; the pause doubles before each further attempt
    size: int = 20 * 2**20  # largest size of an image file in bytes
    pixels: int = 50_000_000  # largest number of pixels, width x height
    redirects: int = 5  # largest number of redirects
    at_once: int = 32  # largest number of fetches at a time
    per_host: int = 4  # largest number of fetches from a host at a time; a URL waits for its turn before its time begins


@dataclass(frozen=True)
class Fetched:
    """Outcome of a fetch: the image file if the status is ok, and else the problem.

    `final` says whether another request would have the same outcome. The cache keeps final outcomes only.
    """

    status: Literal["ok", "dead", "unreadable"]
    path: Path | None = None
    problem: str = ""
    final: bool = True


class _Stop(Exception):
    """Ends the attempts on one URL."""

    def __init__(self, problem: str, final: bool = True) -> None:
        self.fetched = Fetched("dead", None, problem, final)


class ImageCache:
    """Fetched images and final outcomes, each in a file that is named by the digest of the URL."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, url: str) -> Path:
        name = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
        return self.folder / name[:2] / name

    def get(self, url: str) -> Fetched | None:
        """The stored outcome for a URL, or None."""
        path = self._path(url)
        try:
            about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            if about["status"] != "ok":
                return Fetched(about["status"], None, about["problem"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        whole = path.is_file() and path.stat().st_size == about.get("size")
        return Fetched("ok", path) if whole else None

    def put(self, url: str, fetched: Fetched, content: bytes = b"") -> Fetched:
        """Store a final outcome, and the image if there is one; a `UserError` if the folder cannot be written."""
        path = self._path(url)
        if fetched.status == "ok":
            with atomic(path) as file:
                file.write(content)
            fetched = Fetched("ok", path)
        if fetched.final:
            about = {"url": url, "status": fetched.status, "problem": fetched.problem, "size": len(content)}
            write_text(path.with_suffix(".json"), json.dumps(about) + "\n")
        return fetched


def fetch_images(
    urls: Iterable[str], cache: ImageCache, *, allow: Iterable[str] = (), limits: Limits | None = None, progress: bool = False
) -> dict[str, Fetched]:
    """Fetch the images that the cache does not have: URL -> outcome, for every URL. A failure does not affect the others.

    `allow` are hosts, as name or name:port, whose addresses may be private.
    """
    wanted = list(dict.fromkeys(urls))
    known = {url: kept for url in wanted if (kept := cache.get(url))}
    missing = [url for url in wanted if url not in known]
    if missing:
        known |= network.run(_fetch_all(missing, cache, frozenset(host.lower() for host in allow), limits or Limits(), progress))
    return {url: known[url] for url in wanted}


async def _fetch_all(
    urls: list[str], cache: ImageCache, allow: frozenset[str], limits: Limits, progress: bool
) -> dict[str, Fetched]:
    aiohttp = network.aiohttp()
    found: dict[str, Fetched] = {}
    waiting = iter(urls)
    turns: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(limits.per_host))

    def session(**options: Any) -> Any:
        sockets = aiohttp.TCPConnector(limit=limits.at_once, happy_eyeballs_delay=None, **options)
        headers = {"User-Agent": "clipnb", "Accept": "image/*", "Accept-Encoding": "identity"}
        jar = aiohttp.DummyCookieJar()
        return aiohttp.ClientSession(connector=sockets, headers=headers, auto_decompress=False, cookie_jar=jar, trust_env=False)

    with tqdm(total=len(urls), desc="fetching", unit="image", disable=not progress, mininterval=0.5) as bar:
        async with session(socket_factory=network.public_socket) as public, session() as trusted:

            async def outcome(url: str) -> tuple[Fetched, bytes]:
                try:
                    host = url.partition("//")[2].partition("/")[0].lower()
                    async with turns[host], asyncio.timeout(limits.seconds):  # the wait for a turn does not count
                        content = await _fetch(url, public, trusted, allow, limits)
                        return of_content(content, limits), content
                except TimeoutError:
                    return Fetched("dead", None, f"not complete after {limits.seconds:g} s", final=False), b""
                except _Stop as stop:
                    return stop.fetched, b""
                except Exception as error:  # one URL must not stop the others
                    return Fetched("dead", None, f"{type(error).__name__}: {error}", final=False), b""

            async def work() -> None:
                for url in waiting:
                    found[url] = cache.put(url, *await outcome(url))
                    bar.update()

            await network.at_once(work, min(limits.at_once, len(urls)))
    return found


async def _fetch(url: str, public: Any, trusted: Any, allow: frozenset[str], limits: Limits) -> bytes:
    """Fetch the bytes of an image; raise `_Stop` if they cannot be fetched."""
    aiohttp = network.aiohttp()
    problem = ""
    for attempt in range(limits.attempts):
        if attempt:
            await asyncio.sleep(limits.pause * 2 ** (attempt - 1))
        try:
            async with asyncio.timeout(limits.attempt):
                return await _attempt(url, public, trusted, allow, limits)
        except TimeoutError:
            problem = f"not complete after {limits.attempt:g} s"
        except aiohttp.InvalidURL as error:
            raise _Stop(f"not a URL: {error}") from error
        except aiohttp.ClientError as error:
            problem = str(error) or type(error).__name__
            if "is not a public address" in problem:
                raise _Stop(
                    f"{problem}: to fetch from it, pass -p allow_hosts {getattr(error, 'host', '<host>')}", final=False
                ) from error
    raise _Stop(problem, final=False)


async def _attempt(url: str, public: Any, trusted: Any, allow: frozenset[str], limits: Limits) -> bytes:
    """Follow redirects and read the body; raise `aiohttp.ClientError` where another attempt may succeed, else `_Stop`."""
    for _ in range(limits.redirects + 1):
        try:
            target = urlsplit(url)
            names = {(target.hostname or "").lower(), target.netloc.rpartition("@")[2].lower()}
        except ValueError as error:
            raise _Stop(f"not a URL: {error}") from error
        if target.scheme not in ("http", "https") or not target.hostname:
            raise _Stop(f"only http and https are fetched, not {url[:100]!r}")
        async with (trusted if names & allow else public).get(url, allow_redirects=False) as response:
            if response.status in REDIRECTS and "Location" in response.headers:
                url = urljoin(url, response.headers["Location"])
                continue
            if response.status in TRANSIENT:
                raise network.aiohttp().ClientError(f"HTTP {response.status}")
            if response.status != 200:
                raise _Stop(f"HTTP {response.status}")
            if (body := await network.body_of(response, limits.size)) is None:
                raise _Stop(f"larger than {limits.size / 2**20:g} MiB")
            return body
    raise _Stop(f"more than {limits.redirects} redirects")


def of_content(content: bytes, limits: Limits) -> Fetched:
    """The outcome for these bytes: ok if the header is that of an image within the limits. It is decoded later."""
    try:
        with opened(content) as image:
            width, height = image.size
    except Exception:  # Pillow raises many kinds of errors on hostile headers
        return Fetched("unreadable", None, "not an image")
    if width * height > limits.pixels:
        return Fetched("unreadable", None, f"{width} x {height} pixels are more than {limits.pixels:,}")
    return Fetched("ok")
