"""The four conditions: what they do to pixels, and what they never do."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image
from scipy import ndimage

from clipnb.datasets.images import RGB
from clipnb.errors import UserError
from clipnb.manipulations import MANIPULATIONS, Condition
from conftest import picture

WIDE, SQUARE = picture(0, 48, 32), picture(0, 40, 40)


def apply(name: str, image: RGB, seed: int = 0, digest: str = "d") -> RGB:
    return Condition(name)(image, seed, digest)


def test_other_spellings_are_understood() -> None:
    greys = dict.fromkeys(("gray", "greyscale", "grayscale"), "grey")
    for spelling, name in {**greys, "crop": "cropped", "blur": "blurred", "clean": "original"}.items():
        assert MANIPULATIONS.canonical(spelling) == name
        assert MANIPULATIONS[spelling] is MANIPULATIONS[name]
    for typo, answer in (("blurr", r"did you mean 'blurred'\?"), ("xyz", "choose from original, blurred, cropped, grey")):
        with pytest.raises(UserError, match=f"unknown manipulation '{typo}'.*{answer}"):
            MANIPULATIONS[typo]


@pytest.mark.parametrize("image", [WIDE, SQUARE, picture(2, 300, 200), picture(3, 3, 7), picture(4, 1, 90), picture(5, 1, 1)])
def test_blurred_is_scipys_gaussian_on_each_8_bit_channel_to_one_grey_level(image: RGB) -> None:
    scipys = np.stack([ndimage.gaussian_filter(image[:, :, c], sigma=3) for c in range(3)], axis=2)
    difference = np.abs(apply("blurred", image).astype(int) - scipys)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.05


def test_a_flat_image_keeps_its_grey_when_blurred() -> None:
    for grey in range(256):
        flat = np.full((30, 20, 3), grey, dtype=np.uint8)
        assert_array_equal(apply("blurred", flat), flat)  # scipy's own rounding darkens seven of the 256 by one level


def test_grey_is_pillows_luma_in_three_equal_channels() -> None:
    luma = np.asarray(Image.fromarray(WIDE).convert("L"))
    assert_array_equal(apply("grey", WIDE), np.stack([luma] * 3, axis=2))


@pytest.mark.parametrize("image", [picture(1, 9, 5), picture(1, 5, 9)])
def test_cropped_is_a_window_of_the_image_of_side_min_w_h(image: RGB) -> None:
    crop = apply("cropped", image, digest="some image")
    windows = [image[y : y + 5, x : x + 5] for y in range(image.shape[0] - 4) for x in range(image.shape[1] - 4)]
    assert any(np.array_equal(crop, window) for window in windows)


def places(seeds: range, digests: range) -> list[int]:
    """Where crops of side 1 fall on a row of five pixels."""
    row = np.repeat(np.arange(5, dtype=np.uint8)[None, :, None], 3, axis=2)
    return [int(apply("cropped", row, s, f"image {d}")[0, 0, 0]) for s in seeds for d in digests]


@pytest.mark.parametrize(("seeds", "digests"), [(range(1), range(500)), (range(500), range(1))])
def test_crops_of_other_images_and_of_other_seeds_fall_everywhere_alike(seeds: range, digests: range) -> None:
    counts = np.bincount(places(seeds, digests), minlength=5)
    assert counts.min() > 60  # 100 expected, standard deviation 9
    assert counts.max() < 140


def test_the_original_and_the_crop_of_a_square_are_the_photograph() -> None:
    assert_array_equal(apply("original", WIDE), WIDE)
    for digest in ("a", "b", "c"):
        assert_array_equal(apply("cropped", SQUARE, digest=digest), SQUARE)
