"""Search through a service: query it, fetch and embed the images it names, and exclude the query's own image."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core.paths import cache_root
from .._core.text import base_address
from ..datasets.dataset import Photo
from ..datasets.picture_hash import near_copies
from ..embedding.embed import Embeddings, embed
from ..embedding.store import EmbeddingStore
from ..encoders import Encoder
from ..manipulations import CLEAN
from ..spec import NOTHING_LEFT_OUT, RunSpec
from .image_fetcher import Fetched, ImageCache, Limits, fetch_images, of_content
from .knn_client import KnnClient, Options, ServiceResult, key_of_sent
from .results import ABSENT, DEAD, UNREADABLE, USABLE, LookUp, SearchResults
from .sources import hashes_for, picture_hashes

DAY = 86_400  # seconds for which the answers of an unfinished search are used
SPARE = 10  # number of results requested beyond k; they replace the query's own image and its copies


def open_search(
    spec: RunSpec, asked: Embeddings, data: Embeddings, encoder: Encoder, store: EmbeddingStore, **options: Any
) -> tuple[LookUp, dict[str, Any]]:
    """Open a service for the search, as `in_process.open_search` does other galleries; its description is whole after the last one.

    The results of a query are the first k of the service's answer that are not copies of it; in mode study copies are results
    too. A result whose image cannot be fetched or decoded stays a result, with the status DEAD or UNREADABLE.
    """
    number = spec.num_images or spec.k + SPARE
    query = Options(number, spec.aesthetic_score, spec.aesthetic_weight, spec.deduplicate, spec.safety)
    client = KnnClient(spec.gallery, spec.index)
    hashes = hashes_for(spec, asked.photos, **options)
    about: dict[str, Any] = {"unusable": {}, "kind": "service", "address": base_address(spec.gallery), "index": spec.index}
    about |= {"options": asdict(query), "allow_hosts": spec.allow_hosts}

    def look_up(condition: str) -> SearchResults:
        kept = _answers_file(client, query)
        answers = client.query(asked.vectors[condition], query, options["progress"], kept)
        images = _Images(spec, encoder, store, Limits(), options)
        results, copies = _without_copies(spec, answers, images, asked.digests, hashes)
        rows = np.full((len(results), spec.k), -1, dtype=np.int64)
        status = np.full(rows.shape, ABSENT, dtype=np.uint8)
        for q, hits in enumerate(results):
            rows[q, : len(hits)] = [images.row.get(name_of(hit), -1) for hit in hits]
            status[q, : len(hits)] = [images.status[name_of(hit)] for hit in hits]
        kept.unlink(missing_ok=True)
        about.update(images=len(images.status), limits=asdict(images.limits), unusable=about["unusable"] | images.problems)
        ids, vectors = list(images.row), np.array(images.vectors, dtype=np.float32).reshape(-1, encoder.dim)
        return SearchResults(vectors, rows, status, ids, [""] * len(ids), copies)

    return look_up, about


def _without_copies(
    spec: RunSpec, answers: list[list[ServiceResult]], images: _Images, digests: list[str], hashes: NDArray[np.uint8]
) -> tuple[list[list[ServiceResult]], NDArray[np.int64] | None]:
    """The first k results of each answer that are no copies of the query, and the number of copies besides its own image."""
    kept: list[list[ServiceResult]] = [[] for _ in answers]
    copies, itself = np.zeros((2, len(answers)), dtype=np.int64)
    keeps_copies = spec.duplicates == NOTHING_LEFT_OUT
    while looked_at := {q: left[: spec.k - len(kept[q])] for q, left in enumerate(answers) if len(kept[q]) < spec.k and left}:
        images.get([hit for hits in looked_at.values() for hit in hits])
        for q, hits in looked_at.items():
            answers[q] = answers[q][len(hits) :]
            if keeps_copies:
                kept[q] += hits
                continue
            compared = [images.compare(hit, digests[q], hashes[q], spec.duplicates) for hit in hits]
            copies[q] += sum(map(any, compared))
            itself[q] |= any(same for same, _ in compared)
            kept[q] += [hit for hit, excluded in zip(hits, compared, strict=True) if not any(excluded)]
    return kept, None if keeps_copies else copies - itself


def _answers_file(client: KnnClient, options: Options) -> Path:
    """File with the answers of an unfinished search; one that is older than a day is deleted, since the service may differ."""
    name = hashlib.sha256(repr((client.address, client.index, options)).encode()).hexdigest()[:16]
    file = cache_root() / "answers" / f"{name}.jsonl"
    with suppress(OSError):
        if time.time() - file.stat().st_mtime > DAY:
            file.unlink()
    return file


def name_of(hit: ServiceResult) -> str:
    """Name of a result: its URL, else its file on the service's machine, else its row."""
    return hit.url or hit.image_path or f"#{hit.id}"


@dataclass
class _Images:
    """The result images so far; each is fetched, embedded (with `options` of `embed`) and hashed once."""

    spec: RunSpec
    encoder: Encoder
    store: EmbeddingStore
    limits: Limits
    options: dict[str, Any]
    vectors: list[NDArray[np.float32]] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    hashes: list[NDArray[np.uint8]] = field(default_factory=list)
    row: dict[str, int] = field(default_factory=dict)
    status: dict[str, int] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def get(self, hits: Sequence[ServiceResult]) -> None:
        """Add the images of these results."""
        new = {name_of(hit): hit for hit in hits if name_of(hit) not in self.status}
        cache = ImageCache(cache_root() / "fetched")
        sent = {name: self._from_answer(hit, cache) for name, hit in new.items() if hit.image or not hit.url}
        urls = [name for name in new if name not in sent]
        allow = [host.strip() for host in self.spec.allow_hosts.split(",") if host.strip()]
        found = sent | fetch_images(urls, cache, allow=allow, limits=self.limits, progress=self.options["progress"])
        photos: dict[str, Photo] = {}
        names: dict[str, list[str]] = {}  # several results may share an image
        for name, fetched in found.items():
            if fetched.path is None:
                self.status[name] = DEAD if fetched.status == "dead" else UNREADABLE
                self.problems[name] = fetched.problem
            else:
                photo = Photo(fetched.path.parent.name, fetched.path)
                photos[photo.id] = photo
                names.setdefault(photo.id, []).append(name)
        done = embed(list(photos.values()), [CLEAN], self.encoder, self.store, colour=self.spec.colour, **self.options)
        for bad, why in done.unreadable.items():
            for name in names[bad]:
                self.status[name] = UNREADABLE
                self.problems[name] = why
        hashes = picture_hashes(done.photos, **self.options | {"progress": False})
        for photo, vector, hashed, content in zip(done.photos, done.vectors[CLEAN], hashes, done.digests, strict=True):
            for name in names[photo.id]:
                self.status[name] = USABLE
                self.row[name] = len(self.row)
                self.vectors.append(vector)
                self.hashes.append(hashed)
                self.digests.append(content)

    def _from_answer(self, hit: ServiceResult, cache: ImageCache) -> Fetched:
        """Store an image that came with the answer as if it had been fetched."""
        if not hit.image:
            return Fetched("dead", None, "the service gives neither the image nor its address")
        key = key_of_sent(self.spec.gallery, self.spec.index, name_of(hit))
        return cache.put(key, of_content(hit.image, self.limits), hit.image)

    def compare(self, hit: ServiceResult, content: str, hashed: NDArray[np.uint8], bits: int) -> tuple[bool, bool]:
        """Whether the file of a result is the query's, and whether its picture is nearly the query's."""
        if (row := self.row.get(name_of(hit))) is None:
            return False, False
        return self.digests[row] == content, bool(near_copies(self.hashes[row][None], hashed[None], bits)[0, 0])
