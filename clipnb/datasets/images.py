"""Read image files of common formats as upright 8-bit RGB arrays, as many at a time as a budget of memory allows."""

from __future__ import annotations

import ctypes
import hashlib
import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from .._core.files import read_bytes
from .._core.typed import number_in
from ..errors import UnreadableImage, UserError, one_line

RGB = NDArray[np.uint8]  # (height, width, 3) array of uint8

SUFFIXES = frozenset(
    ".avif .bmp .gif .heic .heif .hif .jfif .jp2 .jpeg .jpg .pgm .png .ppm .tif .tiff .webp".split()  # noqa: SIM905
)
"""Suffixes of the files that count as images of a data set; other files are skipped."""

FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Formats that are decoded, whatever the suffix. PostScript is not among them, because it would start another program."""

MAX_PIXELS = 300_000_000  # number of pixels of the largest picture that is decoded; `$CLIPNB_MAX_PIXELS` replaces it
DECODER = 3  # increase this when `decode` returns other pixels, so that older stored embeddings are not used
COLOURS = ("srgb", "stored")  # a photograph's colour profile (ICC): colours are converted to sRGB, or it is ignored
SAME_COLOUR = 2  # a profile that changes no colour by more levels, of 255, is sRGB, and is not applied
_TURNS = {at + 2: turn for at, turn in enumerate(map(Image.Transpose, (0, 3, 1, 5, 4, 6, 2)))}  # EXIF orientation -> turn
LONGEST = 16  # largest ratio of the sides of an image; only the middle of a longer strip is scaled, so that memory stays bounded

MEBIBYTES = 2048  # the budget; `$CLIPNB_MEMORY` replaces it

PER_PIXEL = 28  # bytes of memory for each pixel that is decoded, manipulated and scaled (39 for `screenshot` at severity 5)
RETURNED = 2**27  # bytes from which a picture's memory is given back to the system: the C library keeps what a thread has freed

_free = threading.Condition()
_taken = 0
_share: tuple[int, AbstractContextManager[Any]] | None = None


def rgb_array(image: Any) -> RGB:
    """A photograph in memory as an array; a `UserError` if it is no (height, width, 3) array of uint8."""
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        given = f"{pixels.shape} of {pixels.dtype}" if pixels.ndim else type(image).__name__
        raise UserError(f"an image is an RGB array (height, width, 3) of uint8, not {given}")
    return pixels


def centre_of_strip(image: RGB) -> RGB:
    """Crop a strip to its middle, `LONGEST` times as long as wide; return any other image unchanged."""
    height, width = image.shape[:2]
    keep = min(max(height, width), LONGEST * min(height, width))
    top, left = max(0, height - keep) // 2, max(0, width - keep) // 2
    return image[top : top + keep, left : left + keep]


def digest(content: bytes) -> str:
    """SHA-256 of a file's bytes. It identifies an image, whatever its name."""
    return hashlib.sha256(content).hexdigest()


def destination(plain: Path, content: bytes) -> Path:
    """Path for a photograph: `plain`, or another one if a different photograph lies there. A copy gets the same path."""
    if not plain.exists() or plain.read_bytes() == content:
        return plain
    return plain.with_name(f"{plain.stem}-{digest(content)[:8]}{plain.suffix}")


def read(path: Path) -> bytes:
    """The bytes of an image file; `UnreadableImage` if `read_bytes` cannot read it."""
    try:
        return read_bytes(path)
    except OSError as error:
        raise UnreadableImage(f"{path.name}: {error.strerror}" if error.strerror else str(error)) from error


def opened(content: bytes) -> Image.Image:
    """Open a picture and read its header, not its pixels."""
    Image.MAX_IMAGE_PIXELS = None  # `decode` checks the size: Pillow warns, and warning filters are shared by all threads
    _reads_heif()
    return Image.open(io.BytesIO(content), formats=[kind for kind in FORMATS if kind in Image.OPEN or kind != "HEIF"])


@cache
def _reads_heif() -> bool:
    """Whether HEIC is read: the package is registered with Pillow on first use."""
    try:
        import pillow_heif
    except ModuleNotFoundError:
        return False
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
    return True


def decode(content: bytes, name: str = "image", colour: str = "srgb") -> RGB:
    """Decode the bytes of an image file to an upright (height, width, 3) array of uint8; error messages use the name.

    EXIF rotation is applied, 16-bit grey is scaled to 8 bits, CMYK and palettes are converted, and transparent pixels are blended
    with white. Of an animation, the first frame is used. Colours are converted to sRGB by the profile in the file, unless `colour`
    is "stored"; a damaged profile is ignored. A JPEG file is decoded at full size: Pillow's draft mode, 2.7 to 5.8 times as fast
    at 1500 to 3000 pixels, changes an input of 224 pixels by up to 124 of 255 levels.

    Raises:
        UnreadableImage: the image is empty, truncated, of an unknown format, or has more than `MAX_PIXELS` pixels.
        UserError: `$CLIPNB_MAX_PIXELS` is not a number.
    """
    if not content:
        raise UnreadableImage(f"{name}: the file is empty")
    most = number_in("CLIPNB_MAX_PIXELS", MAX_PIXELS, "pixels")
    if content[4:8] == b"ftyp" and content[8:12] not in (b"avif", b"avis") and not _reads_heif():
        raise UnreadableImage(f"{name}: HEIC needs a package: pip install 'clipnb[heif]'")
    try:
        with opened(content) as image:
            if image.width * image.height > most:
                said = f"{image.width} x {image.height} pixels are more than {most:,}: set CLIPNB_MAX_PIXELS to read it"
                raise UnreadableImage(f"{name}: {said}")
            image.load()
            turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
            rgb = _to_rgb(image, name, image.info.get("icc_profile") if colour == "srgb" else None)
        return np.array(rgb if turn is None else rgb.transpose(turn), dtype=np.uint8)
    except UnreadableImage:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImage(f"{name}: not an image of a supported format ({', '.join(FORMATS)})") from error
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, bomb warnings, ...
        raise UnreadableImage(f"{name}: {error}") from error


def _to_rgb(image: Image.Image, name: str, profile: bytes | None) -> Image.Image:
    if image.mode.startswith("F"):
        raise UnreadableImage(f"{name}: floating-point pixels have no defined white: save the image with 8 or 16 bits")
    if image.mode.startswith("I"):
        values = np.array(image, dtype=np.int32)
        if values.max(initial=0) > 65535:
            raise UnreadableImage(f"{name}: 32-bit pixels have no defined white: save the image with 8 or 16 bits")
        # Pillow scales a PGM of more than 8 bits to 16; a TIFF of 32 bits declares no maximum
        deep = image.mode.startswith("I;16") or image.format in ("PNG", "PPM") or values.max(initial=0) > 255
        np.clip(values, 0, 65535, out=values)
        if deep:
            values += 128
            values //= 257  # to the nearest
        image = Image.fromarray(np.minimum(values, 255).astype(np.uint8))
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image if image.mode in ("L", "CMYK") else image.convert("RGB")
    conversion = _to_srgb(profile, image.mode) if profile else None
    return conversion.apply(image) if conversion else image.convert("RGB")


@lru_cache(maxsize=32)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The conversion of pixels to sRGB; None where the profile is that of sRGB, is damaged, or is for other pixels."""
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    cube = Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)).convert(mode)
    try:
        found = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        conversion = ImageCms.buildTransform(found, ImageCms.createProfile("sRGB"), mode, "RGB")
        change = np.asarray(conversion.apply(cube), np.int16) - np.asarray(cube.convert("RGB"))
    except (OSError, ImageCms.PyCMSError):
        return None
    return conversion if np.abs(change).max() > SAME_COLOUR else None


def opencv() -> Any:
    """Import OpenCV; a `UserError` if this machine lacks desktop libraries that the wheel of `imagecorruptions-imaug` needs."""
    library = "install the library (Debian: apt-get install libgl1)"
    with one_line("OpenCV cannot be loaded", f"{library}, or run pip install --force-reinstall --no-deps opencv-python-headless"):
        import cv2
    return cv2


def share(part: int, lock: AbstractContextManager[Any]) -> None:
    """Tell one of several processes its part of the budget in bytes. Pictures above it wait for the lock of all processes."""
    global _share
    _share = part, lock


@cache
def _trim() -> Callable[[int], object]:
    """The function of glibc that gives freed memory of all threads back; one that does nothing where there is none."""
    return getattr(ctypes.CDLL(None), "malloc_trim", lambda _: None) if os.name == "posix" else lambda _: None


def budget() -> int:
    """The budget in bytes; a `UserError` if `$CLIPNB_MEMORY` is not a number of MiB."""
    return number_in("CLIPNB_MEMORY", MEBIBYTES, "MiB") << 20


@contextmanager
def room_for(content: bytes) -> Iterator[None]:
    """Wait until the budget has room for a picture, by the size in its header. A picture above the budget is decoded alone."""
    global _taken
    try:
        with opened(content) as image:
            needed = image.width * image.height * PER_PIXEL
    except Exception:  # as in `decode`, which says what is wrong
        needed = 0
    if _share is not None:
        part, lock = _share
        with lock if needed > part else nullcontext():
            yield
        return
    most = budget()
    with _free:
        _free.wait_for(lambda: not _taken or _taken + needed <= most)
        _taken += needed
    try:
        yield
    finally:
        if needed > RETURNED:
            _trim()(0)
        with _free:
            _taken -= needed
            _free.notify_all()
