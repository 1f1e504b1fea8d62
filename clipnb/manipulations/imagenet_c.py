"""The fifteen corruptions of ImageNet-C (Hendrycks & Dietterich 2019) at their five severities, by `imagecorruptions`.

Their parameters are chosen for images of 224 x 224 pixels, so a photograph is first scaled to a short side of 224 pixels, as
in CLIP's own preprocessing. The strength of most is the mean colour difference. It hardly changes, and may fall, where a
severity changes the kind of a corruption: `snow` from 2 to 3 (longer, brighter streaks) and `fog` from 3 to 4 (finer wisps).
"""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from ..datasets.images import RGB, centre_of_strip, opencv
from ..errors import needs
from .base import REFERENCE, SEVERITIES, Manipulation, Parameter

CORRUPTIONS = {
    "gaussian_noise": "Gaussian noise",
    "shot_noise": "Poisson (shot) noise",
    "impulse_noise": "salt-and-pepper noise",
    "defocus_blur": "the blur of a lens out of focus",
    "glass_blur": "frosted glass",
    "motion_blur": "motion blur in a random direction",
    "zoom_blur": "zooming during exposure",
    "snow": "falling snow",
    "frost": "ice crystals on the lens",
    "fog": "fog",
    "brightness": "overexposure",
    "contrast": "less contrast",
    "elastic_transform": "small elastic distortions",
    "pixelate": "too few pixels",
    "jpeg_compression": "JPEG artefacts",
}

STEADY = ("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression")
"""Corruptions without random choices."""

GLASS_SCATTER = (1.2, 1.7, 2.5, 3.1, 4.4)  # standard deviation of the displacement on one axis, in pixels at 224
ICE = ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))  # weights of photograph and ice in `frost`, by severity
_ONE_AT_A_TIME = threading.Lock()  # lock for numpy's global generator, which the library uses and all threads share


def _corrupted(image: RGB, rng: np.random.Generator, value: float, name: str) -> RGB:
    opencv()
    with needs(f"the corruption {name!r}", "corruptions"):
        from imagecorruptions import corrupt
    scaled = at_reference(image)
    options: dict[str, Any] = {"seed": int(rng.integers(2**31))} if name in ("impulse_noise", "glass_blur") else {}
    with _ONE_AT_A_TIME:
        before = np.random.get_state()  # noqa: NPY002
        np.random.seed(int(rng.integers(2**32)))  # noqa: NPY002
        try:
            return np.asarray(corrupt(scaled, severity=int(value), corruption_name=name, **options), dtype=np.uint8)
        finally:
            np.random.set_state(before)  # noqa: NPY002


def at_reference(image: RGB) -> RGB:
    """Scale a photograph to a short side of 224 pixels (bicubic). Of a long strip, only the middle is used."""
    picture = Image.fromarray(centre_of_strip(image))
    return np.asarray(ImageOps.scale(picture, REFERENCE / min(picture.size), Image.Resampling.BICUBIC))


_OWN: dict[str, dict[str, Any]] = {
    "glass_blur": {
        "unit": "scatter in input pixels",
        "at_input": lambda value, before, after, view: GLASS_SCATTER[int(value) - 1] * view.scale(*after[:2]),
        "version": 2,
    },
    "frost": {
        "unit": "share of ice",
        "at_input": lambda value, *_: ICE[int(value) - 1][1] / sum(ICE[int(value) - 1]),
        "version": 2,
    },
}
"""Corruptions whose strength is not the mean colour difference.

`glass_blur` also shifts the image, furthest at severity 3. `frost` at 4 has less of the photograph but no more ice than at 3.
"""

ENTRIES = tuple(
    Manipulation(
        name,
        f"{what} (ImageNet-C)",
        partial(_corrupted, name=name),
        name.replace("_", " "),
        draws=name not in STEADY,
        parameter=Parameter("severity of ImageNet-C", tuple(map(float, SEVERITIES)), wording="severity {:.1f}"),
        **_OWN.get(name, {}),
    )
    for name, what in CORRUPTIONS.items()
)
