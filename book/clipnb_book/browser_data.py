"""The retrieval browser of the book: the results of every sample photograph under each condition, as static files.

`write` writes `data.js` (one assignment of JSON to `RETRIEVAL`; a script, because a page opened from disk may not fetch)
and small pictures; `book/_static/browse.js` shows them. Only sample photographs are written, whose licences allow it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from clipnb._core.files import write_text
from clipnb.datasets.dataset import Photo, load_dataset
from clipnb.datasets.images import RGB, decode, digest, read
from clipnb.datasets.samples import SAMPLES
from clipnb.embedding.embed import embed, kept_embeddings
from clipnb.encoders import OFFLINE, load_encoder
from clipnb.manipulations import CLEAN, MANIPULATIONS, STUDY, Condition
from clipnb.retrieval.in_process import open_search
from clipnb.runs import score
from clipnb.spec import RunSpec

SHOWN_SEVERITIES = (3, 5)
"""Severities that the browser offers, beside the study's setting."""

THUMBNAIL, PICTURE = 112, 160
"""Longest side of a result and of a query, in pixels."""

QUALITY = 75


def conditions() -> list[Condition]:
    """The conditions of the browser: the clean one, the study's manipulations at their fixed settings, then at severities."""
    fixed = [Condition(name) for name in STUDY]
    return fixed + [
        Condition(name, severity) for name in STUDY if MANIPULATIONS[name].parameter.levels for severity in SHOWN_SEVERITIES
    ]


def _key(condition: Condition) -> str:
    return str(condition).replace("/", "-")


def _level(condition: Condition) -> str:
    """What the browser calls a setting: `blur of sigma 3 px (severity 3)`."""
    kind = condition.manipulation.parameter
    if not condition.severity:
        return "none" if condition.manip == CLEAN else "as in the study"
    return f"{kind.in_words(kind.levels[condition.severity - 1])} (severity {condition.severity})"


def _shrunk(image: RGB, side: int) -> Image.Image:
    small = Image.fromarray(image)
    small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return small


def answers(name: str, offered: Sequence[Condition]) -> tuple[list[Photo], dict[Condition, pd.DataFrame]]:
    """All photographs of a sample set as queries, and the rows of their results under each condition."""
    photos = load_dataset(name).photos
    spec, encoder = RunSpec(name, CLEAN, OFFLINE), load_encoder(OFFLINE)
    store = kept_embeddings(encoder)
    asked = embed(photos, list(map(str, offered)), encoder, store, progress=False)
    look_up, _ = open_search(spec, asked, asked, encoder, store, progress=False)
    return list(asked.photos), {c: score(spec.under(c.manip, c.severity), asked, look_up) for c in offered}


def describe_set(name: str, offered: Sequence[Condition], folder: Path) -> dict[str, Any]:
    """The data of one sample set for the browser; its pictures are written below `folder`."""
    photos, rows = answers(name, offered)
    where = {photo.id: at for at, photo in enumerate(photos)}
    shown, queries = [], []
    for at, photo in enumerate(photos):
        content = read(photo.path)
        pixels, stem = decode(content, photo.id), f"{photo.category}-{photo.path.stem}"
        _shrunk(pixels, THUMBNAIL).save(folder / f"{stem}.jpg", quality=QUALITY)
        shown.append([photo.category, photo.path.stem, f"{stem}.jpg"])
        found: dict[str, Any] = {}
        for condition in offered:
            row, file = rows[condition].iloc[at], f"{stem}-{_key(condition)}.jpg"
            _shrunk(condition(pixels, 0, digest(content)), PICTURE).save(folder / file, quality=QUALITY)
            pairs = [[where[other], round(float(d), 3)] for other, d in zip(row["results"], row["distances"], strict=True)]
            shift, rank = round(float(row["shift"]), 3), round(1 / row["found_rr"])
            found[_key(condition)] = {"picture": file, "shift": shift, "rank": rank, "results": pairs}
        queries.append(found)
    return {"name": name, "photos": shown, "queries": queries}


def clearest_example(described: dict[str, Any], keys: Sequence[str], tau: float) -> tuple[int, str]:
    """The query, and its condition among `keys`, whose results lose the most valid photographs and gain the most of another kind.

    Only queries whose unedited results are all of their own category are considered, so that the edit explains the results.
    """
    kinds = [category for category, *_ in described["photos"]]

    def of_other_kinds(at: int, key: str) -> int:
        return sum(kinds[other] != kinds[at] for other, _ in described["queries"][at][key]["results"])

    def effect(choice: tuple[int, str]) -> tuple[int, int]:
        valid = [sum(d < tau for _, d in described["queries"][choice[0]][key]["results"]) for key in (CLEAN, choice[1])]
        return min(valid[0] - valid[1], of_other_kinds(*choice)), -choice[0]

    clean = [at for at in range(len(kinds)) if not of_other_kinds(at, CLEAN)] or range(len(kinds))
    return max(((at, key) for at in clean for key in keys), key=effect)


def write(folder: Path) -> None:
    """Write the browser's data and pictures to `folder`; the same photographs give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    offered = conditions()
    usual = RunSpec(encoder=OFFLINE)
    sets = [describe_set(name, offered, folder) for name in SAMPLES]
    query, key = clearest_example(sets[0], [_key(c) for c in offered if c.severity], usual.tau)
    data = {
        "k": usual.k,
        "tau": usual.tau,
        "encoder": OFFLINE,
        "conditions": [{"key": _key(c), "manip": c.manip, "label": c.manipulation.label, "level": _level(c)} for c in offered],
        "sets": sets,
        "start": {"query": query, "key": key, "beside": CLEAN},
    }
    write_text(folder / "data.js", f"const RETRIEVAL = {json.dumps(data, separators=(',', ':'), ensure_ascii=False)};\n")
