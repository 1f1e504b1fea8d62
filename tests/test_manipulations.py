"""The four conditions: what they do to pixels, and what they never do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from scipy import ndimage

from clipnb.datasets.images import RGB, decode
from clipnb.errors import UserError
from clipnb.manipulations import CLEAN, MANIPULATIONS, STUDY, Condition
from conftest import picture

WIDE, SQUARE = picture(0, 48, 32), picture(0, 40, 40)


def apply(name: str, image: RGB, seed: int = 0, digest: str = "d") -> RGB:
    return Condition(name)(image, seed, digest)


def test_the_conditions_are_the_studys_in_its_order() -> None:
    assert list(STUDY) == list(MANIPULATIONS)[:4] == ["original", "blurred", "cropped", "grey"]
    assert CLEAN == "original"


def test_other_spellings_are_understood() -> None:
    greys = dict.fromkeys(("gray", "greyscale", "grayscale"), "grey")
    for spelling, name in {**greys, "crop": "cropped", "blur": "blurred", "clean": "original"}.items():
        assert MANIPULATIONS.canonical(spelling) == name
        assert MANIPULATIONS[spelling] is MANIPULATIONS[name]


@pytest.mark.parametrize(("typo", "meant"), [("blured", "blurred"), ("croped", "cropped"), ("orignal", "original"), ("xyz", "")])
def test_a_typo_is_answered_with_a_guess_or_the_choices(typo: str, meant: str) -> None:
    with pytest.raises(UserError, match=f"unknown manipulation '{typo}'") as caught:
        MANIPULATIONS[typo]
    assert ("choose from original, blurred, cropped, grey" in str(caught.value)) == (not meant)
    assert ("did you mean" in str(caught.value)) == bool(meant)
    assert f"did you mean '{meant}'" in str(caught.value) or not meant


def test_original_changes_nothing() -> None:
    assert_array_equal(apply("original", WIDE), WIDE)


def scipys_blur(image: RGB) -> RGB:
    """The study's own call: one channel at a time, on 8-bit values."""
    return np.stack([ndimage.gaussian_filter(image[:, :, c], sigma=3) for c in range(3)], axis=2)


def differs(a: RGB, b: RGB) -> tuple[int, float]:
    """Largest difference in grey levels, and the share of values that differ."""
    difference = np.abs(a.astype(int) - b.astype(int))
    return int(difference.max()), float((difference > 0).mean())


@pytest.mark.parametrize("image", [WIDE, SQUARE, picture(2, 300, 200), picture(3, 3, 7), picture(4, 1, 90), picture(5, 1, 1)])
def test_blurred_is_scipys_gaussian_on_each_8_bit_channel_to_one_grey_level(image: RGB) -> None:
    largest, share = differs(apply("blurred", image), scipys_blur(image))
    assert largest <= 1
    assert share < 0.05


def test_a_flat_image_keeps_its_grey_when_blurred() -> None:
    for grey in range(256):
        flat = np.full((30, 20, 3), grey, dtype=np.uint8)
        assert_array_equal(apply("blurred", flat), flat)  # scipy's own rounding darkens seven of the 256 by one level


def test_real_photographs_are_blurred_as_scipy_does_it(shared_data: Path) -> None:
    files = [*sorted(shared_data.glob("miniplaces/*/*.jpg"))[::400], *sorted(shared_data.glob("athletes/*/*.*"))[::50]]
    worst = [differs(apply("blurred", image), scipys_blur(image)) for image in (decode(f.read_bytes(), f.name) for f in files)]
    assert len(worst) >= 10
    assert max(largest for largest, _ in worst) <= 1
    assert np.mean([share for _, share in worst]) < 0.005


def test_blurring_never_mixes_channels() -> None:
    red = np.zeros((21, 21, 3), dtype=np.uint8)
    red[10, 10, 0] = 255
    red[:, :10, 2] = 200
    blurred = apply("blurred", red)
    assert blurred[:, :, 0].max() < 10 < blurred[:, :, 2].max()
    assert blurred[:, :, 1].max() == 0


def test_a_line_is_blurred_to_a_gaussian_of_3_pixels() -> None:
    line = np.zeros((81, 81, 3), dtype=np.uint8)
    line[40, :] = 255  # its profile becomes the Gaussian itself
    profile = apply("blurred", line)[:, 40, 0].astype(float)
    y = np.arange(81) - 40
    assert_allclose(np.sqrt((profile * y**2).sum() / profile.sum()), 3, atol=0.25)


def test_grey_is_pillows_luma_in_three_equal_channels() -> None:
    luma = np.asarray(Image.fromarray(WIDE).convert("L"))
    assert_array_equal(apply("grey", WIDE), np.stack([luma] * 3, axis=2))


def test_grey_weighs_the_channels_by_itu_r_601() -> None:
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], dtype=np.uint8)
    assert apply("grey", colours)[0, :, 0].tolist() == [76, 150, 29, 255]


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


def test_the_crop_of_a_square_is_the_square() -> None:
    for digest in ("a", "b", "c"):
        assert_array_equal(apply("cropped", SQUARE, digest=digest), SQUARE)


def test_only_a_condition_that_draws_is_kept_apart_by_seed() -> None:
    keys = {name: {Condition(name).key(seed) for seed in range(3)} for name in STUDY}
    assert {name: len(found) for name, found in keys.items()} == {"original": 1, "blurred": 1, "cropped": 3, "grey": 1}
    assert len(set().union(*keys.values())) == 6
