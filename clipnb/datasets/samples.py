"""Sample data sets for machines without a network: seeded views of photographs that Python packages contain.

A category is one photograph, and each image a view of it. The samples demonstrate the tool. They do not represent photographs
in general and support no finding about them.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from .._core.files import replaced_folder
from .._core.paths import cache_root
from .._core.random import rng_for
from ..errors import MissingExtra
from .images import RGB, decode, opencv

VERSION = 2  # increase this when the views change, so that older cached views are not used

IMAGES_PER_CATEGORY = 16
LONG_SIDE = 320
JPEG_QUALITY = 92
PHOTOGRAPH_SIDE = 640
LEAST_CONTRAST = 18.0  # standard deviation of grey levels; a view below it shows nothing (plain sky): up to 19 more are drawn


class Source(NamedTuple):
    """A photograph inside an installed package: "package:path" of its file, or of the two of a stereo pair, which take turns."""

    files: tuple[str, ...]
    credit: str


SAMPLES: dict[str, dict[str, Source]] = {
    "sample-figures": {
        "astronaut": Source(("skimage:data/astronaut.png",), "Eileen Collins, NASA, public domain"),
        "cat": Source(("skimage:data/chelsea.png",), "Chelsea, Stefan van der Walt, CC0"),
        "coffee": Source(("skimage:data/coffee.png",), "Rachel Michetti, CC0"),
        "flower": Source(("sklearn:datasets/images/flower.jpg",), "vultilion, CC BY 2.0"),
        "motorcycle": Source(
            ("skimage:data/motorcycle_left.png", "skimage:data/motorcycle_right.png"),
            "Middlebury Stereo 2014 (Scharstein et al.), as shipped by scikit-image",
        ),
        "officer": Source(("matplotlib:mpl-data/sample_data/grace_hopper.jpg",), "Grace Hopper, US Navy, public domain"),
    },
    "sample-scenes": {
        "brick": Source(("skimage:data/brick.png",), "CC0Textures, CC0"),
        "deep-field": Source(("skimage:data/hubble_deep_field.jpg",), "NASA and ESA, public domain"),
        "grass": Source(("skimage:data/grass.png",), "Linolafett, CC0"),
        "gravel": Source(("skimage:data/gravel.png",), "CC0Textures, CC0"),
        "launch-pad": Source(("skimage:data/rocket.jpg",), "SpaceX, public domain"),
        "retina": Source(("skimage:data/retina.jpg",), "Mikael Häggström, CC0"),
        "temple": Source(("sklearn:datasets/images/china.jpg",), "danielbuechele, CC BY 2.0"),
        "tissue": Source(("skimage:data/ihc.png",), "colonic glands, CMMI, no known copyright restrictions"),
    },
}


def _photograph(file: str) -> RGB:
    package, _, inside = file.partition(":")
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra("the sample photographs", "samples")
    path = Path(spec.submodule_search_locations[0]) / inside
    image = Image.fromarray(decode(path.read_bytes(), file, "stored"))
    image.thumbnail((PHOTOGRAPH_SIDE, PHOTOGRAPH_SIDE), Image.Resampling.LANCZOS)
    return np.asarray(image)


def view(photograph: RGB, rng: np.random.Generator) -> RGB:
    """Draw one view: a quadrilateral window of the photograph, warped to a rectangle with a long side of 320 pixels.

    The aspect ratio is between 1:2 and 2:1, and the sides are 30 to 95 % of the largest window with that ratio. Each
    corner moves by up to 6 % of the sides, which gives a mild change of viewpoint.
    """
    cv2 = opencv()
    height, width = photograph.shape[:2]
    aspect = float(np.exp(rng.uniform(np.log(1 / 2), np.log(2))))
    scale = rng.uniform(0.3, 0.95)
    window_w, window_h = min(width, height * aspect) * scale, min(height, width / aspect) * scale
    left, top = rng.uniform(0, width - window_w), rng.uniform(0, height - window_h)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float64)
    source = np.array([left, top]) + corners * [window_w, window_h]
    source += rng.uniform(-0.06, 0.06, (4, 2)) * [window_w, window_h]
    source = np.clip(source, 0, [width - 1, height - 1])
    out_w, out_h = (LONG_SIDE, round(LONG_SIDE / aspect)) if aspect >= 1 else (round(LONG_SIDE * aspect), LONG_SIDE)
    target = corners * [out_w - 1, out_h - 1]
    warp = cv2.getPerspectiveTransform(source.astype(np.float32), target.astype(np.float32))
    flat = cv2.warpPerspective(photograph, warp, (out_w, out_h), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(flat, dtype=np.uint8)


def ensure(name: str) -> Path:
    """The folder of a sample set, written if it is not there; `MissingExtra` if a package with its photographs is absent."""
    folder = cache_root() / "samples" / f"v{VERSION}" / name
    if folder.is_dir():
        return folder
    with replaced_folder(folder, keep=True) as partial:
        for category, source in SAMPLES[name].items():
            (partial / category).mkdir()
            photographs = [_photograph(file) for file in source.files]
            for i in range(IMAGES_PER_CATEGORY):
                rng = rng_for(0, "sample", name, category, i)
                for _ in range(20):
                    image = view(photographs[i % len(photographs)], rng)
                    if image.mean(axis=2).std() >= LEAST_CONTRAST:
                        break
                Image.fromarray(image).save(partial / category / f"{i:03d}.jpg", quality=JPEG_QUALITY)
    return folder
