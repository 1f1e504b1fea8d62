"""How many copies of photographs the rule for near-copies finds, and how many different pictures it mistakes for copies.

`python benchmarks/copies.py` generates drawings on a flat background, and reads the photographs of the given data sets
(in `$CLIPNB_DATA`; each `STEP`-th photograph is copied). Writes `book/clipnb_book/data/copies.csv`.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from clipnb.datasets.dataset import load_dataset
from clipnb.datasets.images import decode, read
from clipnb.datasets.picture_hash import near_copies, picture_hash

DRAWN = 40
"""Number of pictures of each kind."""

STEP = 10
OUT = Path(__file__).resolve().parent.parent / "book" / "clipnb_book" / "data" / "copies.csv"
Picture = Image.Image


def _ints(values: np.ndarray) -> tuple[int, ...]:
    return tuple(int(value) for value in values)


def _words(rng: np.random.Generator, n: int) -> str:
    return " ".join("".join(chr(97 + int(c)) for c in rng.integers(0, 26, rng.integers(2, 9))) for _ in range(n))


def logo(rng: np.random.Generator) -> Picture:
    image = Image.new("RGB", (256, 256), "white")
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(1, 4)):
        (x, y), (w, h) = _ints(rng.integers(60, 150, 2)), _ints(rng.integers(20, 60, 2))
        shape = (draw.ellipse, draw.rectangle, draw.rounded_rectangle)[rng.integers(3)]
        shape((x, y, x + w, y + h), fill=_ints(rng.integers(0, 200, 3)))
    return image


def product_shot(rng: np.random.Generator) -> Picture:
    image = Image.new("RGB", (400, 400), "white")
    draw = ImageDraw.Draw(image)
    w, h = _ints(rng.integers(40, 100, 2))
    box, radius = (200 - w, 200 - h, 200 + w, 200 + h), int(rng.integers(5, 40))
    draw.rounded_rectangle(box, radius=radius, fill=_ints(rng.integers(30, 220, 3)))
    draw.rectangle((200 - w // 2, 200 - h // 2, 200 + w // 2, 200), fill=_ints(rng.integers(0, 255, 3)))
    return image


def line_drawing(rng: np.random.Generator) -> Picture:
    image = Image.new("RGB", (300, 300), "white")
    for _ in range(6):
        ImageDraw.Draw(image).line([_ints(point) for point in rng.integers(30, 270, (3, 2))], fill="black", width=2)
    return image


def icon(rng: np.random.Generator) -> Picture:
    image = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(image).polygon([_ints(point) for point in rng.integers(12, 52, (5, 2))], fill=_ints(rng.integers(0, 180, 3)))
    return image


def screenshot(rng: np.random.Generator) -> Picture:
    image = Image.new("RGB", (800, 500), (245, 245, 245))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 800, 40), fill=(50, 60, 90))
    draw.rectangle((0, 40, 160, 500), fill=(225, 228, 235))
    for entry in range(12):
        draw.text((10, 60 + 30 * entry), f"entry {entry}", fill="black")
    for y in range(60, 470, 16):
        draw.text((180, y), _words(rng, int(rng.integers(3, 14))), fill="black")
    return image


def scanned_text(rng: np.random.Generator) -> Picture:
    image = Image.new("RGB", (620, 877), (252, 252, 250))
    for y in range(80, 800, 16):
        ImageDraw.Draw(image).text((70, y), _words(rng, 13)[:80], fill=(20, 20, 20), font=ImageFont.load_default(12.0))
    return image


def night_sky(rng: np.random.Generator) -> Picture:
    sky = rng.normal(8, 1.5, (300, 400))
    for _ in range(rng.integers(40, 120)):
        y, x = rng.integers(0, (300, 400))
        sky[y : y + 2, x : x + 2] += rng.uniform(30, 230)
    return Image.fromarray(np.clip(sky, 0, 255).astype(np.uint8)).convert("RGB")


def digit(rng: np.random.Generator) -> Picture:
    image = Image.new("L", (28, 28))
    font, at = ImageFont.load_default(float(rng.uniform(17, 23))), rng.uniform(12.5, 15.5, 2)
    ImageDraw.Draw(image).text((at[0], at[1]), str(rng.integers(10)), fill=255, font=font, anchor="mm")
    return image.rotate(rng.uniform(-12, 12)).convert("RGB")


def jpeg(image: Picture, quality: int) -> Picture:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return Image.open(out).convert("RGB")


def half(image: Picture) -> Picture:
    return image.resize((max(1, image.width // 2), max(1, image.height // 2)), Image.Resampling.BICUBIC)


def cropped(image: Picture) -> Picture:
    """The middle 95 % of the area."""
    left, top = (round(side * (1 - 0.95**0.5) / 2) for side in image.size)
    return image.crop((left, top, image.width - left, image.height - top))


KINDS: dict[str, Callable[[np.random.Generator], Picture]] = {
    kind.__name__.replace("_", " "): kind
    for kind in (logo, product_shot, line_drawing, icon, screenshot, scanned_text, night_sky, digit)
}
"""Name -> draws a picture."""

COPIES: dict[str, Callable[[Picture], Picture]] = {
    "JPEG 70": lambda image: jpeg(image, 70),
    "JPEG 30": lambda image: jpeg(image, 30),
    "half size": half,
    "half size, JPEG 70": lambda image: jpeg(half(image), 70),
    "cropped 5 %": cropped,
    "grey": lambda image: image.convert("L").convert("RGB"),
}
"""Name -> makes a copy."""


def drawings(kind: str, n: int = DRAWN) -> list[Picture]:
    """n different pictures of a kind; the same in every call."""
    return [KINDS[kind](np.random.default_rng([sum(map(ord, kind)), i])) for i in range(n)]


def hashes(images: list[Picture]) -> np.ndarray:
    return np.stack([picture_hash(np.asarray(image)) for image in images])


def measured(name: str, images: list[Picture], step: int = 1) -> dict[str, object]:
    """A row of the table: the pairs that count as copies, and the share of each kind of copy that is found."""
    own = hashes(images)
    pairs = sum(int(np.triu(near_copies(own[i : i + 500], own[i:]), 1).sum()) for i in range(0, len(own), 500))
    found: dict[str, object] = {"pictures": name, "n": len(own), "pairs": len(own) * (len(own) - 1) // 2, "taken for copies": pairs}
    for copy, made in COPIES.items():
        copied = hashes([made(image) for image in images[::step]])
        hits = [near_copies(a[None], b[None])[0, 0] for a, b in zip(own[::step], copied, strict=True)]
        found[copy] = f"{np.mean(hits):.1%}"
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("datasets", nargs="*", help="data sets of real photographs")
    arguments.add_argument("--out", type=Path, default=OUT)
    given = arguments.parse_args()
    rows = [measured(kind, drawings(kind)) for kind in KINDS]
    for name in given.datasets:
        photos = [Image.fromarray(decode(read(photo.path), photo.id)) for photo in load_dataset(name).photos]
        rows.append(measured(name, photos, STEP if len(photos) > 100 * STEP else 1))
    pd.DataFrame(rows).to_csv(given.out, index=False)


if __name__ == "__main__":
    main()
