"""Measure the four conditions by clipnb against the study's loop, with the same photographs and encoder."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from measuring import Row, network, new_store, row, seconds
from tqdm import tqdm

import clipnb
from clipnb.datasets.dataset import Photo, load_dataset
from clipnb.datasets.images import decode, digest, read
from clipnb.embedding.embed import embed
from clipnb.embedding.store import EmbeddingStore
from clipnb.encoders import Encoder
from clipnb.manipulations import STUDY, condition

K, TAU = 10, 0.8


class StudyLoop:
    """The study's loop: it embeds one image at a time, and opens and embeds every result of every query again."""

    def __init__(self, encoder: Encoder, photos: Sequence[Photo], gallery: np.ndarray) -> None:
        self.encoder, self.photos, self.gallery = encoder, photos, gallery
        self.accuracy: dict[tuple[int, str], float] = {}
        self.embedded = 0

    def _embed(self, image: np.ndarray) -> np.ndarray:
        self.embedded += 1
        return self.encoder.encode(self.encoder.prepare(image)[None])[0]

    def query(self, at: int) -> None:
        """Compute the accuracy of a photograph under each condition."""
        content = read(self.photos[at].path)
        name, image = digest(content), decode(content)
        for manip in STUDY:
            clean = asked = self._embed(image)
            if manip != "original":
                asked = self._embed(condition(manip)(image, 0, name))
            nearest = [int(i) for i in np.argsort(-(self.gallery @ asked), kind="stable") if i != at][:K]
            results = [self._embed(decode(read(self.photos[i].path))) for i in nearest]
            self.accuracy[at, manip] = float(np.mean([np.linalg.norm(v - clean) < TAU for v in results]))


def grid(folder: Path, scratch: Path, queries: int) -> list[Row]:
    """Time clipnb in three configurations, each between two slices of the study's loop over some of the queries."""
    photos = load_dataset(str(folder)).photos
    ways = [("fp32", "torch", 11.0), ("fp32", "openvino", 11.0), ("bf16", "openvino", 20.0)]
    loops: list[float] = []
    ours: dict[tuple[str, str], float] = {}
    scores: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    plain = network("efficientnet-lite2")
    gallery = embed(photos, ["original"], plain, new_store(plain, scratch)).vectors["original"]
    loop = StudyLoop(plain, photos, gallery)
    order = np.random.default_rng(0).permutation(len(photos))[:queries]
    slices = np.array_split(order, len(ways) + 1)

    def go_on(asked: np.ndarray) -> None:
        loops.append(seconds(lambda: [loop.query(int(at)) for at in tqdm(asked, "the study's loop")]) / len(asked))

    go_on(slices[0])
    for (precision, engine, _), following in zip(ways, slices[1:], strict=True):
        encoder = network("efficientnet-lite2", precision, engine)
        cache = tempfile.mkdtemp(dir=scratch)
        os.environ["CLIPNB_CACHE"] = cache

        def whole(encoder: Encoder = encoder, cache: str = cache, precision: str = precision, engine: str = engine) -> None:
            store = EmbeddingStore(Path(cache) / "embeddings", encoder.identity, encoder.dim)
            embed(photos, STUDY, encoder, store)
            scores[precision, engine] = {
                manip: clipnb.run(
                    clipnb.RunSpec(str(folder), manip, "efficientnet-lite2", precision=precision, engine=engine, duplicates=-1),
                    progress=False,
                )
                .rows["valid"]
                .to_numpy()
                for manip in STUDY
            }

        ours[precision, engine] = seconds(whole)
        go_on(following)
    rows = []
    base = scores["fp32", "torch"]
    for i, (precision, engine, reach) in enumerate(ways):
        ratios = [each * len(photos) / ours[precision, engine] for each in loops[i : i + 2]]  # the slice before, the slice after
        found = scores[precision, engine]
        same = np.mean([abs(found[manip][at] - value) < 1e-9 for (at, manip), value in loop.accuracy.items()])
        changed = np.mean([np.abs(found[m] - base[m]) > 1e-9 for m in STUDY])
        moved = np.mean([np.abs(found[m] - base[m]) for m in STUDY])
        detail = (
            f"{len(photos)} photographs, four conditions; the loop timed on {queries} of its queries; {same:.1%} of those "
            f"{4 * queries} values of valid@k are the loop's own; against plain fp32, {changed:.2%} of all values and {moved:.3%} "
            "of the verdicts differ"
        )
        name = f"whole grid against the study's loop, {precision}" + ("" if engine == "torch" else f" by {engine}")
        rows.append(row(name, ratios, reach, detail))
    return rows
