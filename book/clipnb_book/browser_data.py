"""The retrieval browser of the book: what a few queries find under each condition, as static files.

`write` leaves `data.js` (one assignment of JSON to `RETRIEVAL`; a script, because a page opened from disk may not fetch)
and small pictures; `book/_static/browse.js` shows them. Only sample photographs are written, whose licences allow it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from clipnb._core.files import write_text
from clipnb.datasets.dataset import Photo, load_dataset
from clipnb.datasets.images import RGB, decode, digest, read
from clipnb.datasets.samples import SAMPLES
from clipnb.embedding.embed import embed, kept_embeddings
from clipnb.encoders import OFFLINE, load_encoder
from clipnb.manipulations import CLEAN, MANIPULATIONS, SEVERITIES, STUDY, Condition
from clipnb.result import Result
from clipnb.retrieval.search import opened
from clipnb.runs import run, saved_result, score
from clipnb.spec import RunSpec

QUERIES = 2
"""Queries of each category: one of low and one of high valid@k when clean."""

THUMBNAIL, PICTURE = 112, 200
"""Longest side of a result and of a query, in pixels."""

QUALITY = 80


def conditions() -> list[Condition]:
    """The conditions of the browser: the clean one, the study's manipulations at their fixed settings, then at each severity."""
    fixed = [Condition(name) for name in STUDY]
    return fixed + [Condition(name, severity) for name in STUDY if MANIPULATIONS[name].levels for severity in SEVERITIES]


def _key(condition: Condition) -> str:
    return str(condition).replace("/", "-")


def _level(condition: Condition) -> str:
    if not condition.severity:
        return "none" if condition.manip == CLEAN else "as in the study"
    return f"{condition.severity} of {len(SEVERITIES)}: {condition.manipulation.level(condition.severity)}"


def _shrunk(image: RGB, side: int) -> Image.Image:
    small = Image.fromarray(image)
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return small


def _chosen(clean: Result) -> list[str]:
    """The photograph ids of the queries to show."""
    chosen = []
    for category, part in clean.rows.sort_values(["category", "valid", "image"], kind="stable").groupby("category", sort=True):
        places = np.linspace(0, len(part) - 1, QUERIES + 2).round().astype(int)[1:-1]
        chosen += [f"{category}/{image}" for image in part["image"].iloc[np.unique(places)]]
    return chosen


def answers(name: str, offered: Sequence[Condition]) -> tuple[list[Photo], dict[Condition, pd.DataFrame]]:
    """The queries to show of a sample set, and the rows of their results under each condition."""
    dataset = load_dataset(name)
    usual = RunSpec(name, CLEAN, OFFLINE)
    chosen = _chosen(saved_result(usual) or run(usual, progress=False))
    photos = [photo for photo in dataset.photos if photo.id in chosen]
    encoder = load_encoder(OFFLINE)
    store = kept_embeddings(encoder)
    gallery = embed(dataset.photos, [CLEAN], encoder, store, progress=False)
    asked = embed(photos, list(map(str, offered)), encoder, store, progress=False)
    searched = opened(usual, asked, gallery, encoder, store, False)
    return photos, {c: score(usual.under(c.manip, c.severity), asked, searched.look_up) for c in offered}


def describe_set(name: str, offered: Sequence[Condition], folder: Path) -> dict[str, Any]:
    """The data of one sample set for the browser; its pictures are written below `folder`."""
    gallery = load_dataset(name).photos
    where = {photo.id: at for at, photo in enumerate(gallery)}
    shown, rows = answers(name, offered)
    used = {photo.id for photo in shown}
    queries = []
    for at, photo in enumerate(shown):
        content = read(photo.path)
        pixels = decode(content, photo.id)
        found: dict[str, Any] = {}
        for condition in offered:
            row = rows[condition].iloc[at]
            file = f"{photo.category}-{photo.path.stem}-{_key(condition)}.jpg"
            _shrunk(condition(pixels, 0, digest(content)), PICTURE).save(folder / file, quality=QUALITY)
            pairs = [[where[other], round(float(d), 3)] for other, d in zip(row["results"], row["distances"], strict=True)]
            found[_key(condition)] = {"picture": file, "shift": round(float(row["shift"]), 3), "results": pairs}
            used.update(row["results"])
        queries.append({"photo": where[photo.id], "category": photo.category, "answers": found})
    photos = []
    for photo in gallery:
        file = f"{photo.category}-{photo.path.stem}.jpg"
        if photo.id in used:
            _shrunk(decode(read(photo.path), photo.id), THUMBNAIL).save(folder / file, quality=QUALITY)
        photos.append([photo.category, photo.path.stem, file if photo.id in used else ""])
    return {"name": name, "photos": photos, "queries": queries}


def write(folder: Path) -> None:
    """Write the browser's data and pictures to `folder`; the same runs give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    offered = conditions()
    usual = RunSpec(encoder=OFFLINE)
    data = {
        "k": usual.k,
        "tau": usual.tau,
        "encoder": OFFLINE,
        "conditions": [{"key": _key(c), "manip": c.manip, "label": c.manipulation.label, "level": _level(c)} for c in offered],
        "sets": [describe_set(name, offered, folder) for name in SAMPLES],
    }
    write_text(folder / "data.js", f"const RETRIEVAL = {json.dumps(data, separators=(',', ':'), ensure_ascii=False)};\n")
