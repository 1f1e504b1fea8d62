"""Preprocessing by the packages' own transforms: a torchvision Compose or an image processor of transformers.

The transform is split in two where possible. The package scales and crops, which gives an 8-bit image; the network's device
normalises. Any other transform is called as a whole and gives float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .._core.typed import misfit
from ..datasets.images import RGB, centre_of_strip
from ..errors import UserError
from .preprocessing import MOST, Preprocessing


@dataclass(frozen=True)
class Transform(Preprocessing):
    """A package's transform.

    Attributes:
        steps: PIL image -> (size, size, 3) uint8 before normalisation, or (3, size, size) float32 after it.
        text: description of the steps, as part of an encoder's identity.
    """

    steps: Callable[[Image.Image], Any] = field(default=np.asarray, repr=False)
    text: str = ""

    def __call__(self, image: RGB) -> NDArray[Any]:
        """Convert (h, w, 3) uint8 to the network's input. If it is a centre crop, only the middle of a long strip is used."""
        return np.asarray(self.steps(Image.fromarray(centre_of_strip(image) if self.resize == "shortest" else image)))


def of(transform: Any) -> Transform:
    """Wrap a transform: PIL image -> network's input. A `UserError` if the input is not a square of three channels."""
    if hasattr(transform, "image_processor"):  # of a processor for images and texts
        transform = transform.image_processor
    if hasattr(transform, "rescale_factor"):
        return _of_processor(transform)
    steps = list(getattr(transform, "transforms", ()))
    names = [type(step).__name__ for step in steps]
    at = next((i for i, name in enumerate(names) if name.endswith("ToTensor")), None)
    if at is not None and names[at + 1 :] == ["Normalize"]:

        def scaled(image: Image.Image) -> Any:
            for step in steps[:at]:
                image = step(image)
            return image

        normalise = steps[-1]
        return _made(scaled, np.asarray(normalise.mean).tolist(), np.asarray(normalise.std).tolist(), 255.0, str(transform))
    return _made(lambda image: np.asarray(transform(image), np.float32), (0.0,) * 3, (1.0,) * 3, 1.0, str(transform))


def _of_processor(processor: Any) -> Transform:
    """Wrap an image processor of transformers."""
    mean, std = (processor.image_mean, processor.image_std) if processor.do_normalize else ((0.0,) * 3, (1.0,) * 3)
    scale = 1 / processor.rescale_factor if processor.do_rescale else 1.0
    sides = [side for sizes in (processor.size, getattr(processor, "crop_size", None)) for side in dict(sizes or {}).values()]
    if any(misfit(side, int) or not 0 < side <= MOST for side in sides if side is not None):
        raise UserError(f"the image processor makes an input of {max(sides, key=str)!r:.40} pixels, and clipnb at most {MOST}")

    def scaled(image: Image.Image) -> Any:
        pixels = processor(images=image, do_rescale=False, do_normalize=False, return_tensors="np")["pixel_values"][0]
        return np.moveaxis(np.asarray(pixels), 0, -1).astype(np.uint8)

    return _made(scaled, mean, std, scale, str(processor))


def _made(steps: Callable[[Image.Image], Any], mean: Any, std: Any, scale: float, text: str) -> Transform:
    shape = np.asarray(steps(Image.new("RGB", (64, 48)))).shape
    sides = shape[:2] if shape[-1] == 3 else shape[1:]
    if len(shape) != 3 or 3 not in (shape[0], shape[-1]) or sides[0] != sides[1]:
        raise UserError(f"the transform makes an input of shape {shape}, but clipnb needs a square of three channels")
    crops = "crop" in text.lower().replace('do_center_crop": false', "")
    return Transform(sides[0], mean, std, scale, "shortest" if crops else "squash", "package", steps, " ".join(text.split()))
