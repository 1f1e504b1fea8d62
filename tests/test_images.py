"""Decoding: whatever a folder of photographs holds becomes upright 8-bit RGB, or a one-line reason why not."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image, ImageCms

from clipnb import RunSpec, run
from clipnb.datasets import images
from clipnb.datasets.images import PER_PIXEL, RGB, SUFFIXES, decode, digest, read, room_for
from clipnb.errors import UnreadableImage, UserError
from clipnb.manipulations import condition
from clipnb.report.text import summary
from clipnb.result import Result
from conftest import HANGS, picture

PHOTO = Image.fromarray(picture(0))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def icc(space: bytes, **tags: bytes) -> bytes:
    """A colour profile (ICC 4) of a display."""
    d50 = fixed(0.9642, 1, 0.8249)
    text = b"mluc" + struct.pack(">IIIHHII", 0, 1, 12, 0x656E, 0x5553, 2, 28) + b"\0x\0\0"
    held = {"desc": text, "cprt": text, "wtpt": b"XYZ \0\0\0\0" + d50, **tags}
    listed, body = struct.pack(">I", len(held)), b""
    for name, value in held.items():
        listed += name.encode() + struct.pack(">II", 132 + 12 * len(held) + len(body), len(value))
        body += value.ljust(-(-len(value) // 4) * 4, b"\0")
    head = b"\0\0\0\0\x04\x40\0\0mntr" + space + b"XYZ " + bytes(12) + b"acsp" + bytes(28) + d50 + bytes(48)
    return struct.pack(">I", 4 + len(head + listed + body)) + head + listed + body


CURVE = b"para\0\0\0\0" + struct.pack(">HH", 3, 0) + fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
DISPLAY_P3 = icc(
    b"RGB ",
    rXYZ=b"XYZ \0\0\0\0" + fixed(0.51512, 0.2412, -0.00105),
    gXYZ=b"XYZ \0\0\0\0" + fixed(0.29198, 0.69225, 0.04189),
    bXYZ=b"XYZ \0\0\0\0" + fixed(0.1571, 0.06657, 0.78407),
    **dict.fromkeys(("rTRC", "gTRC", "bTRC"), CURVE),
)
"""Primaries adapted to D50, and sRGB's curve."""
IN_DISPLAY_P3 = {(234, 51, 35): (255, 0, 0), (117, 251, 76): (0, 255, 0), (0, 0, 245): (0, 0, 255), (77, 77, 77): (77, 77, 77)}
"""Display P3 -> sRGB, of sRGB's primaries and a grey (CSS Color 4)."""


def png_header(width: int, height: int) -> bytes:
    """A PNG of a few bytes that declares any size."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


def refusal(content: bytes) -> str:
    with pytest.raises(UnreadableImage, match=r"\Acats/tom\.jpg: .+\Z") as caught:
        decode(content, "cats/tom.jpg")
    return str(caught.value)


def decoded_or_refused(content: bytes) -> RGB | None:
    try:
        return decode(content)
    except UnreadableImage as error:
        reason = str(error)
    assert "\n" not in reason
    return None


ODD = {
    "RGB": (Image.new("RGB", (1, 1), (1, 2, 3)), [[1, 2, 3]]),
    "palette": (Image.new("P", (2, 1)), [[255, 0, 0], [0, 0, 255]]),
    "transparent": (Image.new("RGBA", (3, 1)), [[255, 255, 255], [200, 100, 0], [128, 128, 128]]),  # laid over white
}
ODD["palette"][0].putpalette([255, 0, 0, 0, 0, 255])
ODD["palette"][0].putdata([0, 1])
ODD["transparent"][0].putdata([(0, 0, 0, 0), (200, 100, 0, 255), (0, 0, 0, 127)])


def test_pixels_are_those_that_a_person_sees() -> None:
    for image, seen in ODD.values():
        assert decode(encoded(image, "PNG")).tolist() == [seen]
    for transparent in (1, bytes([255, 0])):
        pixels = decode(encoded(ODD["palette"][0], "PNG", transparency=transparent))
        assert pixels.tolist() == [[[255, 0, 0], [255, 255, 255]]]
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    assert_allclose(decode(encoded(cyan, "JPEG", quality=95)).mean(axis=(0, 1)), [0, 255, 255], atol=3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I"])
def test_every_kind_of_tiff_becomes_rgb(mode: str) -> None:
    grey = np.asarray(PHOTO.convert("L"))
    deep = Image.fromarray(grey.astype(np.uint16) * 257)  # 16-bit values fill their range
    image = deep if mode == "I;16" else PHOTO.convert("L" if mode == "I" else "RGB").convert(mode)
    assert image.mode == mode
    content = encoded(image, "TIFF")
    pixels = decode(content)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (32, 48, 3))
    assert np.ptp(pixels) > 100


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (encoded(PHOTO.convert("F"), "TIFF"), "floating-point"),
        (encoded(Image.fromarray(np.full((4, 4), 70_000, dtype=np.int32)), "TIFF"), "32-bit"),
        (b"", "empty"),
        (encoded(PHOTO, "JPEG")[:-100], "truncated"),
        (b"<!DOCTYPE html><title>404 Not Found</title>", "not an image"),
        (png_header(30_000, 11_000), "30000 x 11000 pixels are more than 300,000,000: set CLIPNB_MAX_PIXELS"),
        (png_header(60_000, 60_000), "pixels"),  # a bomb is refused before it is unpacked
    ],
    ids=["floats", "32 bits", "empty", "truncated", "text", "bomb", "larger bomb"],
)
def test_what_is_no_photograph_is_refused(content: bytes, said: str) -> None:
    assert said in refusal(content)


def test_phone_pictures_of_200_megapixels_are_read() -> None:
    assert decode(encoded(Image.new("L", (20_000, 10_000), 90), "PNG")).shape == (10_000, 20_000, 3)


@pytest.mark.parametrize(("kind", "off"), [("AVIF", 6), ("JPEG2000", 6), ("HEIF", 8)])
def test_newer_formats_are_photographs(kind: str, off: float) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    assert {".avif", ".jp2", ".heic", ".heif"} <= SUFFIXES
    assert np.abs(decode(encoded(PHOTO, kind, quality=95)).astype(int) - picture(0)).mean() < off


def test_the_first_frame_of_an_animation_is_taken() -> None:
    red, blue = Image.new("RGB", (8, 6), "red"), Image.new("RGB", (8, 6), "blue")
    pixels = decode(encoded(red, "GIF", save_all=True, append_images=[blue, blue]))
    assert_array_equal(pixels, np.broadcast_to([255, 0, 0], (6, 8, 3)))


STORED = {  # EXIF 2.3: which side of the picture the file's first row and first column are
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", STORED)
def test_every_exif_orientation_gives_the_same_upright_picture(orientation: int) -> None:
    upright = picture(0, 64, 40)
    exif = Image.Exif()
    exif[274] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    pixels = decode(encoded(stored, "JPEG", quality=97, subsampling=0, exif=exif))
    assert pixels.shape == upright.shape
    assert np.abs(pixels.astype(int) - upright).mean() < 3


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0junk junk junk", b"Exif\0\0MM\0*\0\0\0\x08\0\x05\1\x12", b"Exif\0\0II*\0\xff\xff\xff\xff"]
)
def test_damaged_exif_does_not_cost_the_photograph(exif: bytes) -> None:
    assert decode(encoded(PHOTO, "JPEG", exif=exif)).shape == (32, 48, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_a_file_cut_anywhere_is_decoded_or_refused(kind: str) -> None:
    content = encoded(PHOTO, kind)
    for cut in range(0, len(content), max(1, len(content) // 60)):
        pixels = decoded_or_refused(content[:cut])
        assert pixels is None or pixels.shape == (32, 48, 3)


@pytest.mark.filterwarnings("ignore")
@given(
    st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "WEBP"]), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1)
)
def test_damaged_bytes_are_decoded_or_refused(kind: str, damage: list[tuple[float, int]]) -> None:
    content = bytearray(encoded(PHOTO, kind))
    for at, value in damage:
        content[int(at * (len(content) - 1))] = value
    pixels = decoded_or_refused(bytes(content))
    assert pixels is None or (pixels.dtype == np.uint8 and pixels.shape[2] == 3)


def test_bombs_are_refused_in_every_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPNB_MAX_PIXELS", str(32 * 48 - 1))  # so that the photograph counts as one
    bomb, honest = encoded(PHOTO, "PNG"), encoded(PHOTO.crop((0, 0, 20, 20)), "PNG")
    filters = list(warnings.filters)

    def work(content: bytes) -> list[RGB | None]:
        return [decoded_or_refused(content) for _ in range(100)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, [bomb, honest] * 8))
    assert all(pixels is None for row in found[::2] for pixels in row)
    assert all(pixels is not None for row in found[1::2] for pixels in row)
    assert list(warnings.filters) == filters


def test_only_a_regular_file_of_limited_size_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")  # without the check, this waits for a writer for ever
    (tmp_path / "device.jpg").symlink_to("/dev/null")
    with (tmp_path / "large.jpg").open("wb") as file:
        file.truncate(2**30 + 1)  # a sparse file
    for name, said in (
        ("gone.jpg", r": No such file"),
        ("pipe.jpg", r" is not a regular file$"),
        ("device.jpg", r" is not a regular file$"),
        ("large.jpg", r" has 1,073,741,825 bytes, more than 1,073,741,824$"),
    ):
        with pytest.raises(UnreadableImage, match=f"^{name}{said}"):
            read(tmp_path / name)


@pytest.mark.parametrize(
    "tag",
    [(282, 10, 1, struct.pack("<ii", -72, 1)), (256, 9, 1, struct.pack("<i", -5))],
    ids=["a negative resolution", "a negative width"],
)
def test_an_odd_tag_does_not_keep_a_photograph_from_being_turned(tag: tuple[int, int, int, bytes]) -> None:
    entries, data = sorted([(274, 3, 1, struct.pack("<H", 6)), tag]), b""
    listed = struct.pack("<H", len(entries))
    for number, kind, count, value in entries:
        if len(value) > 4:
            data, value = value, struct.pack("<I", 8 + 2 + 12 * len(entries) + 4)
        listed += struct.pack("<HHI", number, kind, count) + value.ljust(4, b"\0")
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + listed + b"\0" * 4 + data
    content = encoded(PHOTO, "JPEG")
    content = content[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + content[2:]
    assert decode(content).shape == (48, 32, 3)


@pytest.mark.parametrize("brightest", [255, 256, 65535])
def test_the_depth_of_a_pgm_is_the_declared_one(brightest: int) -> None:
    content = b"P5 2 1 65535\n" + struct.pack(">HH", 0, brightest)
    assert decode(content)[0, :, 0].tolist() == [0, round(brightest / 257)]


def test_the_digest_is_that_of_the_bytes() -> None:
    assert digest(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_limit_that_is_no_number_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPNB_MAX_PIXELS", "many")
    with pytest.raises(UserError, match="CLIPNB_MAX_PIXELS must be a whole number of pixels, not 'many'"):
        decode(encoded(PHOTO, "PNG"))
    monkeypatch.setenv("CLIPNB_MEMORY", "2G")
    with pytest.raises(UserError, match="CLIPNB_MEMORY must be a whole number of MiB, not '2G'"), room_for(encoded(PHOTO, "PNG")):
        pass


def test_pictures_wait_for_their_share_of_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(Image.new("L", (1000, 1000)), "PNG")  # 28 MB
    monkeypatch.setenv("CLIPNB_MEMORY", "60")
    together, most = [], []

    def work(content: bytes) -> None:
        with room_for(content):
            together.append(1)
            most.append(len(together))
            time.sleep(0.02)
            together.pop()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [content] * 16))
    assert max(most) == 2
    monkeypatch.setenv("CLIPNB_MEMORY", "1")  # alone, above the budget
    most.clear()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [content] * 8))
    assert max(most) == 1
    with room_for(b"no image"), room_for(b""):
        pass


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="only Linux says how much memory one process had at most")
def test_the_memory_of_a_run_with_large_pictures_stays_within_the_budget(tmp_path: Path) -> None:
    """Nine threads, pictures of 9 megapixels and one of 18 with 16 bits: 1.3 GB without a budget."""
    for i in range(9):
        (tmp_path / "set" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8))
        small.resize((3600, 2400)).save(tmp_path / "set" / "ab"[i % 2] / f"{i}.jpg", quality=50)
    deep = np.zeros((3000, 6000), np.uint16)
    deep[:1500] = 40_000
    Image.fromarray(deep).save(tmp_path / "set" / "a" / "deep.png", compress_level=1)
    script = (
        "import re, sys, clipnb\n"
        "from clipnb.runs import run\n"
        "def peak(): return int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) / 2**10\n"
        "before = peak()\n"
        "run(clipnb.RunSpec(sys.argv[1], 'blurred', 'histogram', k=2), workers=9, progress=False)\n"
        "print(peak() - before)\n"
    )
    environment = os.environ | {"CLIPNB_MEMORY": "512", "CLIPNB_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "set")], env=environment, capture_output=True, text=True, timeout=HANGS
    )
    assert done.returncode == 0, done.stderr
    assert 300 < float(done.stdout) < 512 + 256  # and the code that the run loads; 969 if freed memory does not go back


@pytest.mark.parametrize("name", ["blurred", "blurred/3", "grey/3", "tinted/3", "screenshot/5"])
def test_a_manipulation_takes_no_more_than_the_stated_memory_for_each_pixel(name: str) -> None:
    image, manipulate = np.zeros((1000, 1500, 3), np.uint8), condition(name)
    manipulate(image[:50, :50], 0, "0" * 64)  # what it loads
    tracemalloc.start()
    manipulate(image, 0, "0" * 64)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most + image.nbytes <= PER_PIXEL * image[..., 0].size


def test_in_one_of_several_processes_a_picture_above_its_part_waits_for_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    lock = threading.Lock()
    monkeypatch.setattr(images, "_share", (20 << 20, lock))
    with room_for(encoded(Image.new("L", (1000, 1000)), "PNG")):  # 28 MB
        assert lock.locked()
    with room_for(encoded(Image.new("L", (100, 100)), "PNG")):
        assert not lock.locked()


def test_heic_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_reads_heif", lambda: False)
    assert "pip install 'clipnb[heif]'" in refusal(b"\0\0\0\x18ftypheic" + b"\0" * 40)


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=30))
def test_sixteen_bits_are_scaled_to_the_nearest_of_eight(values: list[int]) -> None:
    grey = np.array([values], dtype=np.uint16)
    assert decode(encoded(Image.fromarray(grey), "PNG"))[0, :, 0].tolist() == np.rint(grey[0] / 257).astype(int).tolist()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "AVIF", "HEIF"])
def test_display_p3_is_converted_to_srgb(kind: str) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind in ("JPEG", "AVIF", "HEIF") else {}
    for stored, shown in IN_DISPLAY_P3.items():
        content = encoded(Image.new("RGB", (16, 16), stored), kind, icc_profile=DISPLAY_P3, **options)
        assert_allclose(decode(content).reshape(-1, 3).mean(axis=0), shown, atol=4)
        assert_allclose(decode(content, colour="stored").reshape(-1, 3).mean(axis=0), stored, atol=3)


def test_a_photograph_in_adobe_rgb_is_converted_as_littlecms_does() -> None:
    skimage = pytest.importorskip("skimage")
    path = Path(skimage.__file__).parent / "data" / "rocket.jpg"
    with Image.open(path) as image:
        assert b"Adobe RGB" in image.info["icc_profile"]
        converted = ImageCms.profileToProfile(image, io.BytesIO(image.info["icc_profile"]), ImageCms.createProfile("sRGB"))
        assert_array_equal(decode(read(path)), converted)
        assert_array_equal(decode(read(path), colour="stored"), image)
    assert np.abs(np.asarray(converted, np.int16) - decode(read(path), colour="stored")).max() > 30


def test_grey_is_converted_by_its_profile_and_stays_grey() -> None:
    levels = np.arange(256, dtype=np.uint8)[None]
    gamma = icc(b"GRAY", kTRC=b"curv\0\0\0\0" + struct.pack(">IH", 1, round(1.8 * 256)))
    linear = (levels[0] / 255) ** (round(1.8 * 256) / 256)
    wanted = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    pixels = decode(encoded(Image.fromarray(levels), "PNG", icc_profile=gamma))[0]
    assert_allclose(pixels, np.repeat(wanted[:, None], 3, axis=1), atol=2)
    assert (np.ptp(pixels, axis=1) == 0).all()


def test_a_profile_of_srgb_and_one_that_cannot_be_used_change_no_pixel() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (srgb, b"\xff" * 600, DISPLAY_P3[:200], icc(b"GRAY", kTRC=CURVE)):
        assert_array_equal(decode(encoded(PHOTO, "PNG", icc_profile=profile)), PHOTO)


def test_a_run_converts_colours_and_with_colour_stored_it_does_not(tmp_path: Path) -> None:
    converted = Image.fromarray(decode(encoded(PHOTO, "PNG", icc_profile=DISPLAY_P3)))
    for folder, image, options in (("wide", PHOTO, {"icc_profile": DISPLAY_P3}), ("srgb", converted, {}), ("plain", PHOTO, {})):
        (tmp_path / folder).mkdir()
        image.save(tmp_path / folder / "tom.png", **options)
        PHOTO.rotate(180).save(tmp_path / folder / "rot.png")

    def seen(**settings: str) -> tuple[Result, dict[str, str]]:
        result = run(RunSpec(str(tmp_path), "grey", "tiny", k=1, duplicates=-1, **settings), progress=False)
        tom = result.rows[result.rows["image"] == "tom.png"]
        return result, dict(zip(tom["category"], tom["input"], strict=True))

    result, inputs = seen()
    assert inputs["wide"] == inputs["srgb"] != inputs["plain"]
    assert result.provenance["versions"]["littlecms"]
    as_stored, inputs = seen(colour="stored")
    assert inputs["wide"] == inputs["plain"] != inputs["srgb"]
    assert as_stored.spec.run_id == result.spec.run_id + "-colour-stored"
    assert "| colour profiles | ignored |" in summary(as_stored)
    assert RunSpec(str(tmp_path), mode="study").colour == "stored"

    about = result.save(tmp_path / "results") / "run.json"
    record = json.loads(about.read_text())
    assert record["spec"].pop("colour") == "srgb"  # as in a run of an earlier version
    about.write_text(json.dumps(record))
    assert Result.load(about.parent).spec == result.spec
