"""Reading photographs: any file that a person may have, to upright 8-bit RGB."""

from __future__ import annotations

import hashlib
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import UnreadableImage, UserError

RGB = NDArray[np.uint8]

SUFFIXES = frozenset([".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"])
"""Files that count as images of a data set; others in its folders are passed over."""


FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What is decoded, whatever a file is called: no format that would start another program (PostScript)."""

DECODER = 1
"""Raised when `decode` gives other pixels, so that kept embeddings are not mistaken for new ones."""


LONGEST = 16
"""Of a strip longer than this many times its width the middle is scaled, so that memory stays bounded."""


def middle(image: RGB) -> RGB:
    """The middle of a strip, so much that it is `LONGEST` times as long as wide; any other image as it is."""
    height, width = image.shape[:2]
    keep = min(max(height, width), LONGEST * min(height, width))
    top, left = max(0, height - keep) // 2, max(0, width - keep) // 2
    return image[top : top + keep, left : left + keep]


def digest(content: bytes) -> str:
    """SHA-256 of a file's bytes: what identifies an image, whatever its name."""
    return hashlib.sha256(content).hexdigest()


def read(path: Path) -> bytes:
    """The bytes of an image file.

    Raises:
        UnreadableImage: the file cannot be opened.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableImage(f"{path.name}: {error.strerror or error}") from error


def decode(content: bytes, name: str = "image") -> RGB:
    """Decode an encoded image to an upright RGB array.

    EXIF rotation is applied, so that every condition sees the same way up. 16-bit greys are scaled to 8 bits,
    CMYK and palettes converted, transparency laid over white, and the first frame of an animation taken.

    Returns:
        uint8 array of shape (height, width, 3).

    Raises:
        UnreadableImage: empty, truncated, unknown, or too large to be an honest photograph.
    """
    if not content:
        raise UnreadableImage(f"{name}: the file is empty")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > (
                Image.MAX_IMAGE_PIXELS or math.inf
            ):  # Pillow only warns of it, and filters of warnings are not per thread
                raise UnreadableImage(f"{name}: {image.width} x {image.height} pixels are more than Pillow takes for a photograph")
            image.load()
            upright = ImageOps.exif_transpose(image)
        return np.array(_to_rgb(upright, name), dtype=np.uint8)
    except UnreadableImage:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImage(f"{name}: not an image that Pillow knows") from error
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, bomb warnings, ...
        raise UnreadableImage(f"{name}: {error}") from error


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode.startswith("F"):
        raise UnreadableImage(f"{name}: floating-point pixels, whose white is not defined: save it as 8 or 16 bits")
    if image.mode.startswith("I"):
        values = np.asarray(image, dtype=np.float64)
        deep = image.mode.startswith("I;16") or (image.mode == "I" and values.max(initial=0.0) > 255)
        scale = 257.0 if deep else 1.0
        image = Image.fromarray(np.clip(np.rint(values / scale), 0, 255).astype(np.uint8))
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def opencv() -> Any:
    """OpenCV, loaded when it is first asked for.

    Raises:
        UserError: its wheel is the one for desktops (`imagecorruptions-imaug` brings it), and this machine is none.
    """
    try:
        import cv2
    except ModuleNotFoundError:
        raise
    except ImportError as error:
        raise UserError(
            f"OpenCV cannot be loaded ({error}): install that library (Debian: apt-get install libgl1), "
            "or pip install --force-reinstall --no-deps opencv-python-headless"
        ) from error
    return cv2
