"""Fetching images that strangers' pages hold: many at once, each within bounds, each once ever.

A fetch ends in one of three ways: an image file in the cache, *dead* (no answer, an error, too large, not allowed), or
*unreadable* (an answer that is no image, or one of too many pixels). Only http and https are spoken; an address that is
private, loopback or the like is refused unless its host was allowed by name. The address that was checked is the one
connected to, at every redirect anew. No proxy, cookie or credential of this machine is used.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urljoin, urlsplit

from PIL import Image
from tqdm import tqdm

from .._core.files import atomic, write_text
from ..datasets.images import FORMATS
from . import network

Status = Literal["ok", "dead", "unreadable"]

TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class Limits:
    """Bounds of one fetch.

    Attributes:
        seconds: for one URL, with all attempts and redirects.
        attempt: for one attempt.
        attempts: how often a server that fails, or does not answer, is asked.
        pause: seconds before the second attempt; doubled before each further one.
        size: bytes.
        pixels: width x height.
        redirects: followed.
        at_once: fetches under way.
        per_host: of them to one host.
    """

    seconds: float = 30.0
    attempt: float = 10.0
    attempts: int = 3
    pause: float = 0.5
    size: int = 20 * 2**20
    pixels: int = 50_000_000
    redirects: int = 5
    at_once: int = 32
    per_host: int = 4


@dataclass(frozen=True)
class Fetched:
    """What became of a URL.

    Attributes:
        status: ok, dead or unreadable.
        path: the image file, if it is ok.
        problem: why it is not.
        final: whether asking again would give the same; such answers are kept, others are asked for again next time.
    """

    status: Status
    path: Path | None = None
    problem: str = ""
    final: bool = True


class _Stop(Exception):
    """Ends the attempts on one URL."""

    def __init__(self, status: Status, problem: str, final: bool = True) -> None:
        super().__init__(problem)
        self.fetched = Fetched(status, None, problem, final)


class ImageCache:
    """Fetched images and final answers, a file each, by the digest of the URL."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, url: str) -> Path:
        name = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
        return self.folder / name[:2] / name

    def get(self, url: str) -> Fetched | None:
        """What is known of a URL, or None."""
        path = self._path(url)
        try:
            about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if about["status"] == "ok" and not path.is_file():
            return None
        return Fetched(about["status"], path if about["status"] == "ok" else None, about["problem"])

    def put(self, url: str, fetched: Fetched, content: bytes = b"") -> Fetched:
        """Keep a final answer, and the image if there is one."""
        path = self._path(url)
        if fetched.status == "ok":
            with atomic(path) as file:
                file.write(content)
            fetched = Fetched("ok", path)
        if fetched.final:
            about = {"url": url, "status": fetched.status, "problem": fetched.problem}
            write_text(path.with_suffix(".json"), json.dumps(about) + "\n")
        return fetched


def fetch_images(
    urls: Iterable[str], cache: ImageCache, *, allow: Iterable[str] = (), limits: Limits | None = None, progress: bool = False
) -> dict[str, Fetched]:
    """Fetch images; none is fetched that the cache has, and no URL can stop the others.

    Args:
        urls: http or https; duplicates are fetched once.
        cache: where images and final answers are kept as they come.
        allow: host names, or host:port, whose addresses may be private.
        limits: bounds of one fetch.
        progress: show a bar.

    Returns:
        URL -> what became of it, for every URL.

    Raises:
        MissingExtra: the HTTP library is not installed.
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
    bar = tqdm(total=len(urls), desc="fetching", unit="image", disable=not progress, mininterval=0.5)
    waiting = iter(urls)
    sized = {"limit": limits.at_once, "limit_per_host": limits.per_host, "happy_eyeballs_delay": None}
    common = {
        "headers": {"User-Agent": "clipnb", "Accept": "image/*", "Accept-Encoding": "identity"},
        "auto_decompress": False,
        "cookie_jar": aiohttp.DummyCookieJar(),
        "trust_env": False,
    }

    def session(**options: Any) -> Any:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(**sized, **options), **common)

    with bar:
        async with session(socket_factory=network.public_socket) as public, session() as trusted:

            async def work() -> None:
                for url in waiting:
                    try:
                        async with asyncio.timeout(limits.seconds):
                            content = await _fetch(url, public, trusted, allow, limits)
                        found[url] = cache.put(url, Fetched("ok"), content)
                    except TimeoutError:
                        found[url] = Fetched("dead", None, f"not complete after {limits.seconds:g} s", final=False)
                    except _Stop as stop:
                        found[url] = cache.put(url, stop.fetched)
                    except Exception as error:  # one page must not cost the others
                        found[url] = Fetched("dead", None, f"{type(error).__name__}: {error}", final=False)
                    bar.update()

            async with asyncio.TaskGroup() as group:
                for _ in range(min(limits.at_once, len(urls))):
                    group.create_task(work())
    return found


async def _fetch(url: str, public: Any, trusted: Any, allow: frozenset[str], limits: Limits) -> bytes:
    """The image's bytes.

    Raises:
        _Stop: there is none to be had.
    """
    aiohttp = network.aiohttp()
    problem = ""
    for attempt in range(limits.attempts):
        if attempt:
            await asyncio.sleep(limits.pause * 2 ** (attempt - 1))
        try:
            async with asyncio.timeout(limits.attempt):
                content, problem = await _attempt(url, public, trusted, allow, limits)
            if not problem:
                return _checked(content, limits)
        except TimeoutError:
            problem = f"not complete after {limits.attempt:g} s"
        except aiohttp.InvalidURL as error:
            raise _Stop("dead", f"not a URL: {error}") from error
        except aiohttp.ClientError as error:
            problem = str(error) or type(error).__name__
            if "is not a public address" in problem:
                raise _Stop("dead", f"{problem}: allow its host by name to fetch from it", final=False) from error
    raise _Stop("dead", problem, final=False)


async def _attempt(url: str, public: Any, trusted: Any, allow: frozenset[str], limits: Limits) -> tuple[bytes, str]:
    """Follow redirects and read the body: (content, "") or (b"", why it may be worth another attempt)."""
    for _ in range(limits.redirects + 1):
        try:
            parts = urlsplit(url)
            names = {(parts.hostname or "").lower(), parts.netloc.rpartition("@")[2].lower()}
        except ValueError as error:
            raise _Stop("dead", f"not a URL: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise _Stop("dead", f"only http and https are fetched, not {url[:100]!r}")
        session = trusted if names & allow else public
        async with session.get(url, allow_redirects=False) as response:
            if response.status in REDIRECTS and "Location" in response.headers:
                url = urljoin(url, response.headers["Location"])
                continue
            if response.status in TRANSIENT:
                return b"", f"HTTP {response.status}"
            if response.status != 200:
                raise _Stop("dead", f"HTTP {response.status}")
            too_large = f"larger than {limits.size / 2**20:g} MiB"
            if (response.content_length or 0) > limits.size:
                raise _Stop("dead", too_large)
            body = bytearray()
            async for chunk in response.content.iter_chunked(65536):
                body += chunk
                if len(body) > limits.size:
                    raise _Stop("dead", too_large)
            return bytes(body), ""
    raise _Stop("dead", f"more than {limits.redirects} redirects")


def _checked(content: bytes, limits: Limits) -> bytes:
    """The content, if its first bytes are those of an image of bounded size; it is decoded later, elsewhere."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            width, height = image.size
    except Image.DecompressionBombError as error:
        raise _Stop("unreadable", str(error)) from error
    except Exception as error:  # what Pillow raises on hostile headers is not one kind
        raise _Stop("unreadable", "not an image, whatever it is called") from error
    if width * height > limits.pixels:
        raise _Stop("unreadable", f"{width} x {height} pixels are more than {limits.pixels:,}")
    return content
