"""Our own manipulations at every severity: on any image, determined by its seed, and the stronger the severity the stronger."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from PIL import Image
from scipy import ndimage

from clipnb import RunSpec, UserError
from clipnb.datasets.images import RGB
from clipnb.manipulations import DIFFERENCE, MANIPULATIONS, STUDY, Condition, Manipulation, View, condition
from clipnb.manipulations.base import REFERENCE
from clipnb.manipulations.imagenet_c import CORRUPTIONS
from clipnb.manipulations.study import BLUR_SIGMAS, CROP_KEPT
from conftest import one_line, picture

OWN = [name for name in MANIPULATIONS if name not in CORRUPTIONS]
CLIP = View(224)


def severities(manipulation: Manipulation) -> range:
    return range(0 if manipulation.fixed else 1, 6 if manipulation.parameter.levels else 1)


ODD = {
    name: np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    for name, size in {"one pixel": (1, 1), "a line": (1, 5000), "a column": (5000, 1), "a small one": (37, 53)}.items()
}


def keeps_the_rules(manipulation: Manipulation, image: RGB, severity: int, seed: int = 3) -> RGB:
    before = image.copy()
    made = Condition(manipulation.name, severity)(image, seed, "digest")
    assert made.dtype == np.uint8
    assert made.ndim == 3
    assert made.shape[2] == 3
    assert min(made.shape) >= 1
    assert_array_equal(image, before)
    assert_array_equal(Condition(manipulation.name, severity)(image.copy(), seed, "digest"), made)
    return made


@pytest.mark.parametrize("name", OWN)
def test_any_image_comes_out_as_rgb_the_same_each_time(name: str) -> None:
    for image in ODD.values():
        for severity in severities(MANIPULATIONS[name]):
            keeps_the_rules(MANIPULATIONS[name], image, severity)


@example("rotated", 1, 500, 4)
@example("blurred", 1, 1, 0)
@example("cropped", 1, 500, 0)
@example("cropped", 500, 1, 0)
@given(st.sampled_from(OWN), st.integers(1, 60), st.integers(1, 60), st.integers(0, 5))
def test_sizes_follow_rules(name: str, height: int, width: int, severity: int) -> None:
    manipulation = MANIPULATIONS[name]
    severity = manipulation.settle(severity)[0]
    image = np.random.default_rng(height * 61 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    made = keeps_the_rules(manipulation, image, severity)
    if name == "cropped" and not severity:
        assert made.shape == (*(min(height, width),) * 2, 3)
    elif name == "cropped":
        kept = made.shape[0] * made.shape[1] / (height * width)
        slack = 0.5 / made.shape[0] + 0.5 / made.shape[1] + 0.25 / (made.shape[0] * made.shape[1])
        assert abs(kept - CROP_KEPT[severity - 1]) <= slack * kept + 1 / (height * width) + 1e-9
        assert any(
            np.array_equal(image[y : y + made.shape[0], x : x + made.shape[1]], made)
            for y in range(height - made.shape[0] + 1)
            for x in range(width - made.shape[1] + 1)
        )
    elif name in ("bordered", "screenshot"):
        assert made.shape[0] >= height
        assert made.shape[1] >= width
    elif name == "rescaled":
        assert max(made.shape[:2]) <= max(height, width)
    elif name != "rotated":
        assert made.shape == image.shape


@settings(max_examples=60)
@given(
    st.sampled_from(["blurred", "cropped", "grey", "rescaled", "rotated"]),
    st.integers(1, 400),
    st.integers(1, 400),
    st.booleans(),
    st.integers(0, 2**16),
)
def test_severity_is_monotone_in_its_own_strength(name: str, height: int, width: int, whole: bool, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)

    def seen(image: RGB) -> np.ndarray:
        return np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BOX), dtype=np.float64)

    values = []
    for asked in (Condition(name, severity) for severity in range(1, 6)):
        made = asked(image, seed, "digest")
        difference = float(np.abs(seen(image) - seen(made)).mean() / 255)
        values.append(asked.at_input(image.shape, made.shape, View(224, whole), difference))
    steps = np.diff(values) * (-1 if name in ("cropped", "rescaled") else 1)
    assert (steps >= (-1 / 255 if MANIPULATIONS[name].unit == DIFFERENCE else -1e-12)).all()


@pytest.mark.parametrize(("height", "width"), [(128, 128), (480, 640), (1024, 768)])
def test_a_blur_is_as_strong_at_the_encoders_input_whatever_the_photograph_measures(height: int, width: int) -> None:
    for severity, sigma in enumerate(BLUR_SIGMAS, start=1):
        assert Condition("blurred", severity).at_input((height, width, 3), (height, width, 3), CLIP, 0.0) == pytest.approx(sigma)
    study = Condition("blurred").at_input((height, width, 3), (height, width, 3), CLIP, 0.0)
    assert study == pytest.approx(3 * 224 / min(height, width))


def test_the_studys_crop_takes_nothing_away_from_what_clip_sees() -> None:
    for height, width in ((128, 128), (300, 640), (640, 300)):
        image = np.zeros((height, width, 3), np.uint8)
        made = Condition("cropped")(image, 0, "d")
        assert Condition("cropped").at_input(image.shape, made.shape, CLIP, 0.0) == 1.0
        kept = min(height, width) / max(height, width)
        assert Condition("cropped").at_input(image.shape, made.shape, View(64, whole=True), 0.0) == kept


@settings(max_examples=25)
@given(st.integers(1, 80), st.integers(1, 80), st.integers(1, 5), st.integers(0, 99))
def test_the_scaled_blur_is_scipys(height: int, width: int, severity: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    sigma = BLUR_SIGMAS[severity - 1] * min(height, width) / REFERENCE
    expected = ndimage.gaussian_filter(image.astype(np.float64), (sigma, sigma, 0))  # 0: never across channels
    made = Condition("blurred", severity)(image, 0, "d")
    assert np.abs(made - expected).max() <= 0.51


def test_full_desaturation_is_the_studys_grey() -> None:
    image = picture(0)
    assert_array_equal(Condition("grey", 5)(image, 0, "d"), Condition("grey")(image, 0, "d"))


def test_severities_of_a_draw_share_it_and_draws_differ() -> None:
    row = np.repeat(np.arange(200, dtype=np.uint8)[None, :, None], 3, axis=2)
    middles = {draw: [Condition("cropped", s, draw)(row, 0, "d")[0, :, 0].mean() for s in (4, 5)] for draw in range(6)}
    assert len({round(m[1]) for m in middles.values()}) > 3
    assert np.corrcoef([m[0] for m in middles.values()], [m[1] for m in middles.values()])[0, 1] > 0.8


def test_a_composition_is_one_after_the_other() -> None:
    image = picture(0)
    for severity in (0, 2):
        grey = Condition("grey", severity)(image, 0, "d")
        assert_array_equal(Condition("gray + blur", severity)(image, 0, "d"), Condition("blurred", severity)(grey, 0, "d"))
    assert RunSpec(manip="gray+blur", encoder="tiny").run_id == "sample-figures-grey+blurred-tiny"
    for typed, parameter in (("blurred/3", "severity 3"), ("blurred=2.5", "strength 2.5")):
        with one_line(f"'{typed}' is blurred at a .*: type blurred alone, and -p {parameter}"):
            RunSpec("sample-figures", typed)
    with pytest.raises(UserError, match="unknown manipulation 'gry'"):
        RunSpec(manip="gry+blurred", encoder="tiny")


def test_conditions_are_told_apart_in_the_store() -> None:
    names = [*MANIPULATIONS, "grey+blurred", "blurred+grey", "grey+cropped"]
    keys = [
        Condition(name, severity, draw).key(seed)
        for name in names
        for severity in severities(MANIPULATIONS[name])
        for seed, draw in ([(0, 0), (0, 1), (1, 0)] if MANIPULATIONS[name].draws else [(0, 0)])
    ]
    keys += [Condition("blurred", strength=strength).key(0) for strength in (0.5, 2.5)]
    assert len(set(keys)) == len(keys)
    shared = {name for name in names if Condition(name).key(0) == Condition(name).key(1)}
    assert shared == {name for name in names if not MANIPULATIONS[name].draws}, "only a condition that draws is kept apart by seed"


def test_a_conditions_text_is_its_identity() -> None:
    for text in ("blurred", "blurred/3", "cropped/3#1", "grey+blurred/2", "cropped#4"):
        assert str(condition(text)) == text
    for text in ("blurred/6", "flipped/2", "blurred/x", "blured", "cropped#x"):
        with one_line(""):
            condition(text)


def test_a_specification_settles_what_has_no_meaning() -> None:
    assert RunSpec(manip="original", severity=3, draws=4, encoder="tiny") == RunSpec(manip="original", encoder="tiny")
    assert RunSpec(manip="flipped", severity=3, encoder="tiny").severity == 0
    assert RunSpec(manip="jpeg", encoder="tiny").severity == 3
    assert RunSpec(manip="blurred", severity=None, draws=5, encoder="tiny") == RunSpec(manip="blurred", encoder="tiny")  # type: ignore[arg-type]
    assert RunSpec(manip="cropped", severity=2, draws=3, encoder="tiny").run_id == "sample-figures-cropped-s2-draws3-tiny"
    assert set(STUDY) <= {name for name in MANIPULATIONS if MANIPULATIONS[name].fixed}
