"""The fifteen corruptions of ImageNet-C: any file, determined by its seed, and a strength that grows with the severity."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from clipnb.datasets.dataset import load_dataset
from clipnb.datasets.images import LONGEST, RGB, decode
from clipnb.datasets.samples import SAMPLES
from clipnb.errors import MissingExtra, UserError
from clipnb.manipulations import MANIPULATIONS, Condition, View
from clipnb.manipulations.imagenet_c import CORRUPTIONS, GLASS_SCATTER, ICE, at_reference
from conftest import picture
from test_severities import CLIP, ODD, keeps_the_rules

try:
    import imagecorruptions
except ModuleNotFoundError:
    imagecorruptions = None

needs_imagecorruptions = pytest.mark.skipif(imagecorruptions is None, reason="needs pip install 'clipnb[corruptions]'")

AS_MUCH = {"snow": 2, "fog": 3}
"""Severities whose next one looks different and is no stronger: what the docstring of imagenet_c says."""


SHAPES = {"a small one": (224, 321), "one pixel": (224, 224), "a line": (224, 224 * LONGEST), "a column": (224 * LONGEST, 224)}
"""What a corruption makes of the odd images, at a short side of 224."""


@needs_imagecorruptions
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruptions_take_any_file(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for kind, shape in SHAPES.items():
        if max(shape) > 400:  # seconds each, so it is made once
            made = [Condition(name, 3)(ODD[kind], 3, "digest")]
        else:
            made = [keeps_the_rules(MANIPULATIONS[name], ODD[kind], severity) for severity in (1, 5)]
        assert {image.shape for image in made} == {(*shape, 3)}, kind
    draws = [Condition(name, 5)(picture(0), seed, "d") for seed in (0, 1)]
    assert np.array_equal(*draws) != MANIPULATIONS[name].draws
    assert capsys.readouterr().out == ""  # the library prints where it cannot do what it should


@pytest.fixture(scope="module")
def photographs() -> list[RGB]:
    """A real photograph of every second category of the sample sets."""
    every = [photo for name in SAMPLES for photo in load_dataset(name).photos]
    return [decode(photo.path.read_bytes()) for photo in [*{photo.category: photo for photo in every}.values()][::2]]


def at_input(image: RGB) -> np.ndarray:
    """What CLIP sees of a photograph: its centre square at 224 pixels."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return at_reference(image[top : top + side, left : left + side]).astype(np.float64)


@pytest.mark.parametrize("name", [name for name in MANIPULATIONS if MANIPULATIONS[name].parameter.levels])
def test_on_real_photographs_every_severity_is_stronger_than_the_one_before(name: str, photographs: list[RGB]) -> None:
    if name in CORRUPTIONS and imagecorruptions is None:
        pytest.skip("needs pip install 'clipnb[corruptions]'")
    strengths = np.empty((len(photographs), 5))
    for at, image in enumerate(photographs):
        for severity in range(1, 6):
            asked = Condition(name, severity)
            made = asked(image, 0, str(at))
            difference = float(np.abs(at_input(image) - at_input(made)).mean() / 255)
            strengths[at, severity - 1] = asked.at_input(image.shape, made.shape, CLIP, difference)
    values = strengths.mean(axis=0)
    steps = np.diff(-values if name in ("cropped", "rescaled") else values)  # the share kept, and the short side
    if name in AS_MUCH:
        after = AS_MUCH[name] - 1
        assert abs(steps[after]) < 0.03 * values[after]
        steps = np.delete(steps, after)
    assert (steps > 0.003 * abs(values[:-1]).mean()).all(), values


@needs_imagecorruptions
@pytest.mark.parametrize(("severity", "scatter"), list(enumerate(GLASS_SCATTER, start=1)))
def test_frosted_glass_scatters_a_stripe_as_far_as_its_strength_says(severity: int, scatter: float) -> None:
    wide, at, variances, means = 9, np.arange(20, 204), [], []
    for turned in (False, True):
        stripe = np.zeros((224, 224, 3), np.uint8)
        stripe[:, 108 : 108 + wide] = 255
        made = [Condition("glass_blur", severity)(np.swapaxes(stripe, 0, turned), 0, str(i)) for i in range(10)]
        profile = np.mean(made, axis=0)[20:204, 20:204, 0].mean(axis=1 if turned else 0)
        means.append(np.average(at, weights=profile))
        variances.append(np.average((at - means[-1]) ** 2, weights=profile) - (wide**2 - 1) / 12)
    assert np.sqrt(np.mean(variances)) == pytest.approx(scatter, abs=0.12)
    assert 0.5 < abs(np.mean(means) - 112) < 2.5  # it moves the whole picture as well
    here = Condition("glass_blur", severity)
    assert here.at_input((400, 600, 3), (224, 336, 3), CLIP, 0.0) == scatter
    assert here.at_input((400, 600, 3), (224, 336, 3), View(112), 0.0) == scatter / 2


@needs_imagecorruptions
@pytest.mark.parametrize("severity", range(1, 6))
def test_frost_mixes_photograph_and_ice_as_its_strength_says(severity: int) -> None:
    def frosted(level: int, severity: int) -> np.ndarray:
        return Condition("frost", severity)(np.full((224, 224, 3), level, np.uint8), 0, "d").astype(np.float64)

    alone, weakest, over = frosted(0, severity), frosted(0, 1), frosted(100, severity)
    photograph, ice = ICE[severity - 1]
    seen = (weakest > 20) & (over < 255)
    assert seen.mean() > 0.2
    assert np.mean((over - alone)[seen]) / 100 == pytest.approx(photograph, abs=0.01)
    assert np.mean((alone / weakest)[seen]) == pytest.approx(ice / ICE[0][1], rel=0.03)


@needs_imagecorruptions
def test_threads_that_corrupt_at_once_get_what_each_would_alone() -> None:
    def work(i: int) -> RGB:
        return Condition("gaussian_noise", 3)(picture(i, 64, 64), 0, str(i))

    alone = [work(i) for i in range(8)]
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    with ThreadPoolExecutor(8) as pool:
        assert_array_equal(list(pool.map(work, range(8))), alone)
    assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_a_missing_library_is_one_line_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagecorruptions", None)
    with pytest.raises(MissingExtra, match=r"the corruption 'fog' needs .*pip install 'clipnb\[corruptions\]'"):
        Condition("fog", 1)(picture(0), 0, "d")


def test_a_machine_without_a_desktops_libraries_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')\n")
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("blurred", "rotated", "fog"):
        with pytest.raises(UserError, match=r"^OpenCV cannot be loaded: libGL\.so\.1.*opencv-python-headless.*\Z"):
            Condition(name, 1)(picture(0), 0, "d")
