"""A client for the back end of clip-retrieval, with its wire format: POST /knn-service and GET /indices-list.

The client that clip-retrieval ships returns errors as if they were results, never times out, and requires numpy < 2.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from .._core.files import writing
from .._core.text import base_address, plain
from .._core.typed import misfit
from ..errors import NoAnswer, ServiceError
from . import network

PROBED = (64, 128, 192, 256, 384, 512, 640, 768, 1024, 1152, 1280, 1536, 2048)
"""Lengths of vectors to try when a service refuses a vector, so that the message names the right length."""
SILENCE = 5.0  # time in seconds after which a person is told that a service has not answered yet
TRANSIENT = (429, 502, 503, 504)
NO_PAGE = (404, 405, 501)  # status of a server without this page or, as `python -m http.server` puts it, without POST
MOST_BYTES = 64 * 2**20  # size of the largest answer that is read, after decompression


@dataclass(frozen=True)
class Options:
    """Options of a query. By default the service neither moves the query nor drops results."""

    num_images: int
    aesthetic_score: int = 9  # rating, 0 to 9, towards which the service moves the query
    aesthetic_weight: float = 0.0  # weight of the move; with 0 the query stays as it is
    deduplicate: bool = False  # drop a result whose cosine to a better one is above 0.94
    safety: bool = False  # drop results that the service's safety model or its violence detector rejects

    def body(self) -> dict[str, Any]:
        """The fields of the request."""
        moved = self.aesthetic_weight > 0
        return {
            "modality": "image",
            "num_images": self.num_images,
            "num_result_ids": self.num_images,
            "use_mclip": False,
            "deduplicate": self.deduplicate,
            "use_safety_model": self.safety,
            "use_violence_detector": self.safety,
            "aesthetic_score": self.aesthetic_score if moved else "",
            "aesthetic_weight": self.aesthetic_weight if moved else "",
        }


@dataclass(frozen=True)
class ServiceResult:
    """One result. A text is "" where the service does not know it."""

    id: int  # row in the service's index
    similarity: float  # inner product with the query, after the service moved the query
    url: str = ""
    image_path: str = ""  # on the service's machine
    image: bytes | None = None  # encoded again as JPEG by the service, if the service has the file


def key_of_sent(address: str, index: str, name: str) -> str:
    """Key, in the cache of images, of an image that came with the answer of a service; another service may use its name, too."""
    return f"{base_address(address)} {index} {name}"


@dataclass(frozen=True)
class KnnClient:
    """A client for one index of a service at `http://host:port`."""

    address: str
    index: str
    timeout: float = 60.0  # longest time for an answer in seconds
    attempts: int = 3  # largest number of requests if the service does not answer or is overloaded
    concurrency: int = 8  # number of requests at a time

    def check(self, dim: int) -> None:
        """Raise a `ServiceError` if the service does not answer, lacks the index, or holds vectors of another length than `dim`."""
        network.run(replace(self, timeout=min(self.timeout, 20.0))._check(dim))

    def query(
        self, vectors: NDArray[np.float32], options: Options, progress: bool = False, kept: Path | None = None
    ) -> list[list[ServiceResult]]:
        """Ask for the results of (q, dim) queries: q lists, best first. A list is short only if the service has no more results.

        Each answer is appended to the file `kept`; queries that it answers are not sent again. The error is a `ServiceError`, or a
        ValueError if a query is not finite (the service would answer it with an empty list).
        """
        if not np.isfinite(vectors).all():
            raise ValueError("a query is not finite")
        return network.run(self._query(vectors, options, progress, kept))

    def _session(self) -> Any:
        aiohttp = network.aiohttp()
        limits = {"timeout": aiohttp.ClientTimeout(total=self.timeout), "connector": aiohttp.TCPConnector(limit=self.concurrency)}
        return aiohttp.ClientSession(**limits)

    async def _check(self, dim: int) -> None:
        waiting = f"clipnb: waiting for {self.address}, at most {self.attempts} x {self.timeout:g} s"
        told = asyncio.get_running_loop().call_later(SILENCE, partial(print, waiting, file=sys.stderr, flush=True))
        try:
            await self._checked(dim)
        finally:
            told.cancel()

    async def _checked(self, dim: int) -> None:
        async with self._session() as session:
            names = await self._send(session, "GET", "/indices-list")
            if misfit(names, list[str]):
                raise ServiceError(f"{self.address} is not a clip-retrieval back end: /indices-list answers {_short(names)}")
            if self.index not in names:
                raise ServiceError(f"{self.address} has no index {self.index!r}; it has {_short(', '.join(names)) or 'none'}")
            try:
                await self._ask(session, _probe(dim), Options(1))
            except NoAnswer:
                raise
            except ServiceError as error:
                for other in PROBED:
                    try:
                        await self._ask(session, _probe(other), Options(1))
                    except NoAnswer:
                        break
                    except ServiceError:
                        continue
                    raise ServiceError(
                        f"index {self.index!r} of {self.address} holds vectors of {other} values, the encoder makes {dim}: "
                        "use the encoder that the index was made with"
                    ) from error
                raise

    async def _query(
        self, vectors: NDArray[np.float32], options: Options, progress: bool, kept: Path | None
    ) -> list[list[ServiceResult]]:
        texts = (repr((self.address, self.index, options, vector.tolist())) for vector in vectors)
        keys = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
        known = _answers(kept) if kept else {}
        waiting = iter((key, vector) for key, vector in zip(keys, vectors, strict=True) if key not in known)

        async def work() -> None:
            for key, vector in waiting:
                known[key] = await self._ask(session, vector, options)
                if kept:
                    _keep(kept, key, known[key])
                bar.update()

        with tqdm(total=len(vectors), desc="asking", unit="query", disable=not progress, mininterval=0.5) as bar:
            async with self._session() as session:
                await network.at_once(work, min(self.concurrency, len(vectors)))
        return [[_hit(item, self.address) for item in known[key]] for key in keys]

    async def _ask(self, session: Any, vector: NDArray[np.float32], options: Options) -> list[Any]:
        """The results as the service writes them, checked."""
        body = options.body() | {"indice_name": self.index, "embedding_input": vector.tolist()}
        answer = await self._send(session, "POST", "/knn-service", body)
        if not isinstance(answer, list):
            raise ServiceError(f"{self.address} answered with an error: {_short(answer)}")
        for item in answer:
            _hit(item, self.address)
        return answer

    async def _send(self, session: Any, method: str, page: str, body: dict[str, Any] | None = None) -> Any:
        """Send a request, and repeat it after a pause if the server does not answer or is overloaded."""
        aiohttp = network.aiohttp()
        problem, kind = "", ServiceError
        for attempt in range(self.attempts):
            if attempt:
                await asyncio.sleep(0.5 * 2**attempt)
            try:
                where = base_address(self.address) + page
                async with session.request(method, where, json=body, allow_redirects=False) as response:
                    if (content := await network.body_of(response, MOST_BYTES)) is None:
                        raise ServiceError(f"{self.address}{page} answers with more than {MOST_BYTES >> 20} MiB")
                    text = content.decode("utf-8", "replace")
                    if response.status == 200:
                        return json.loads(text)
                    problem = f"HTTP {response.status}"
                    if response.status in NO_PAGE:
                        raise ServiceError(f"{self.address} answers but is no clip-retrieval back end ({problem} at {page})")
                    if text.strip() and not text.lstrip().startswith("<"):  # a page in HTML says no more
                        problem += f": {_short(text)}"
                    if response.status not in TRANSIENT:
                        break
            except TimeoutError:
                problem, kind = f"no answer within {self.timeout:g} s" + f", {attempt + 1} times" * bool(attempt), NoAnswer
            except aiohttp.ClientSSLError as error:
                problem, kind = f"type http:// if it has no certificate; {_short(str(error))}", NoAnswer
            except aiohttp.ClientError as error:
                problem, kind = _short(str(error)) or type(error).__name__, NoAnswer
            except (ValueError, RecursionError):
                raise ServiceError(f"{self.address}{page} does not answer in JSON: is it a clip-retrieval back end?") from None
        raise kind(f"{self.address}{page} failed ({problem}): check that clip-retrieval back runs there, and read its log")


def _answers(kept: Path) -> dict[str, list[Any]]:
    """The answers in a file, by key; a line that was cut off or damaged is left out."""
    found: dict[str, list[Any]] = {}
    with suppress(OSError):
        for line in kept.read_bytes().splitlines():
            with suppress(ValueError, TypeError, RecursionError, ServiceError):
                key, answer = json.loads(line)
                found[key] = [item for item in answer if _hit(item, "")]
    return found


def _keep(kept: Path, key: str, answer: list[Any]) -> None:
    with writing(kept):
        kept.parent.mkdir(parents=True, exist_ok=True)
        with kept.open("a", encoding="utf-8") as file:
            file.write(json.dumps([key, answer]) + "\n")


def _probe(dim: int) -> NDArray[np.float32]:
    return np.full(dim, dim**-0.5, dtype=np.float32)


class _Result(TypedDict):
    id: int
    similarity: float


def _hit(item: Any, address: str) -> ServiceResult:
    """Read a result as the service writes it; without an id or a similarity, raise `ServiceError`."""
    try:
        if said := misfit(item, _Result, "result"):
            raise ValueError(said)
        url, image_path = (str(item.get(name) or "") for name in ("url", "image_path"))
        image = base64.b64decode(item["image"], validate=True) if item.get("image") else None
        return ServiceResult(item["id"], float(item["similarity"]), url, image_path, image)
    except (OverflowError, TypeError, ValueError) as error:
        raise ServiceError(f"{address} answered with an invalid result ({error!r}): {_short(item)}") from error


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return plain(" ".join(text.split())[:200])
