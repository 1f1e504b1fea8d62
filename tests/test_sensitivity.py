"""What a number depends on besides the manipulation; and a mixed model beside the tests over categories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from clipnb import RunSpec, UserError, run
from clipnb.analysis.contrasts import contrast
from clipnb.analysis.scores import of_result
from clipnb.analysis.sensitivity import nested_interval
from clipnb.stats.intervals import t_interval
from clipnb_book.measured import draws, gallery_size
from clipnb_book.measured.gallery_size import gallery_curve, gallery_curve_of
from conftest import PhotoFolder, Printed, tiny_run


def clusters(groups: int, each: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    kinds = np.repeat(np.arange(groups), each)
    vectors = rng.normal(size=(groups, 6))[kinds] + 0.7 * rng.normal(size=(len(kinds), 6))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), kinds


def test_at_its_whole_size_the_curve_is_the_run(photo_folder: PhotoFolder) -> None:
    spec = RunSpec(str(photo_folder({"cats": 5, "dogs": 5, "owls": 5})), "grey", "tiny", 3, duplicates=-1)
    whole = run(spec, progress=False)
    curve = gallery_curve_of(spec, [5, 10, 15], progress=False)
    last = curve[curve["size"] == 15].set_index("measure")
    for measure in ("valid", "p_at_k", "found"):
        expected = whole.macro(measure)
        assert last["value"][measure] == pytest.approx(expected.point), measure
        np.testing.assert_allclose([last["low"][measure], last["high"][measure]], [expected.low, expected.high])
    assert len(gallery_size.figure(curve).axes) == 3


def test_a_larger_gallery_finds_nearer_results_and_hides_the_original() -> None:
    clean, kinds = clusters(10, 12)
    moved = clean + np.random.default_rng(1).normal(size=clean.shape).astype(np.float32) * 0.4
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    curve = gallery_curve(moved, clean, kinds, np.arange(120), [10, 30, 120], k=5)
    by = curve.pivot_table(index="size", columns="measure", values="value")
    assert by["valid"].is_monotonic_increasing
    assert by["found"].is_monotonic_decreasing
    order = np.random.default_rng(2).permutation(120)
    again = gallery_curve(moved[order], clean[order], kinds[order], order, [10, 30, 120], k=5)
    pd.testing.assert_frame_equal(again, curve)
    for size in (5, 121):
        with pytest.raises(UserError, match=f"at most all 120 photographs, not {size}"):
            gallery_curve(moved, clean, kinds, np.arange(120), [size], k=5)


def percentile(values: np.ndarray) -> Any:
    """The percentile bootstrap over categories."""
    rng = np.random.default_rng(1)
    return stats.bootstrap((values,), np.mean, method="percentile", n_resamples=2_000, rng=rng).confidence_interval


def test_draws_and_images_are_levels_of_their_own() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=30)
    images = centres[:, None, None] + rng.normal(size=(30, 8, 1))
    draws = images + rng.normal(size=(30, 8, 2)) * 3
    one, three = nested_interval(list(images)), nested_interval(list(draws))
    over = percentile(draws.mean(axis=(1, 2)))
    assert three.point == pytest.approx(draws.mean())
    assert three.high - three.low > over.high - over.low, "images and draws add to the spread of categories"
    assert three.high - three.low > one.high - one.low
    alone = nested_interval([np.full((2, 2), v) for v in centres])  # nothing varies within a category
    expected = percentile(centres)
    np.testing.assert_allclose([alone.low, alone.high], [expected.low, expected.high], atol=0.05)
    assert not nested_interval(list(draws[:5])).bounded
    assert not nested_interval([np.zeros((2, 2))] * 7).bounded


def test_analyse_says_how_far_a_change_depends_on_the_draw(
    photo_folder: PhotoFolder, tmp_path: Path, printed: Printed, own_results: Path
) -> None:
    root = str(photo_folder(dict.fromkeys("abcdef", 3)))
    clean, edited, steady = (
        tiny_run(root, manip, 3, severity=severity, draws=4) for manip, severity in (("original", 0), ("cropped", 3), ("grey", 3))
    )
    for result in (clean, edited, steady):
        result.save()
    asked = ["analyse", root, "--encoder", "tiny", "--k", "3", "--measure", "shift", "--out", str(tmp_path)]
    assert "Several draws: lowest and highest change of a single draw; nested:" in printed(*asked, "--primary", "cropped/3")
    roles = pd.read_csv(tmp_path / "contrasts.csv").set_index("after")["role"].to_dict()
    assert roles == {"cropped/3-draws4": "primary", "grey/3": "exploratory"}
    (row,) = pd.read_csv(tmp_path / "draws.csv").to_dict("records")
    assert (row["run"], row["categories"], row["draws"]) == (edited.spec.run_id, 6, 4)
    by_draw = edited.rows.groupby(["draw", "category"])["shift"].mean().groupby("draw").mean() - clean.mean("shift")
    assert (row["lowest"], row["highest"]) == (pytest.approx(by_draw.min()), pytest.approx(by_draw.max()))
    (changed,) = pd.read_csv(tmp_path / "contrasts.csv").query("after.str.startswith('cropped')").to_dict("records")
    for column, same in (("change", "change"), ("change_low", "low"), ("change_high", "high")):
        assert row[column] == pytest.approx(changed[same])
    assert row["nested_low"] < row["change"] < row["nested_high"]
    assert "cropped/3, 4 draws" in printed("runs", root)


def test_no_nested_interval_is_announced_where_categories_are_too_few(
    photo_folder: PhotoFolder, printed: Printed, own_results: Path
) -> None:
    root = str(photo_folder(dict.fromkeys("abc", 3)))
    for manip in ("original", "cropped"):
        tiny_run(root, manip, 3, severity=3 * (manip == "cropped"), draws=2).save()
    said = printed("analyse", root)
    assert "Several draws: lowest and highest change of a single draw\n" in said
    assert "nested" not in said


@pytest.mark.parametrize("sizes", [np.full(12, 10), np.array([4, 4, 5, 6, 8, 10, 10, 12, 15, 20, 25, 30])])
def test_a_mixed_model_agrees_with_the_interval_over_categories(sizes: np.ndarray) -> None:
    """With a random effect of the category, the change is the mean over categories, exactly where sizes are equal.

    Where sizes differ the model weighs a category by its precision, and the interval over categories weighs all alike.
    """
    rng = np.random.default_rng(3)
    centres = rng.normal(-0.1, 0.15, len(sizes))
    changes = {str(c): list(centre + rng.normal(0, 0.2, n)) for c, (centre, n) in enumerate(zip(centres, sizes, strict=True))}
    point, spread, p = draws.mixed_model(changes)
    over = t_interval([np.mean(values) for values in changes.values()])
    error = (over.high - over.low) / 2 / 2.201  # t(11)
    equal = len(set(sizes.tolist())) == 1
    assert point == pytest.approx(over.point, abs=1e-6 if equal else error)
    assert spread == pytest.approx(error, rel=0.01 if equal else 0.35)
    assert p == pytest.approx(2 * stats.norm.sf(abs(point) / spread))


def test_the_mixed_model_is_found_where_categories_do_not_vary() -> None:
    values = [-0.5, 0.5, 0.25, -0.25]
    point, spread, _ = draws.mixed_model(dict.fromkeys("abcde", values))
    assert point == pytest.approx(0, abs=1e-9)
    assert spread == pytest.approx(np.std(values * 5, ddof=1) / 20**0.5, rel=0.1)


def test_draws_and_models_are_measured_as_analyse_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = {"SETS": {"sample-scenes": 4}, "OFFLINE": "histogram", "ENGINE": "torch", "FILE": tmp_path / "draws.json"}
    for name, value in of.items():
        monkeypatch.setattr(draws, name, value)
    draws.measure()
    (found, p1), models = draws.rows("draws").to_dict("records"), draws.rows("models")
    spec = RunSpec("sample-scenes", "cropped", "histogram", severity=3, draws=draws.DRAWS, per_category=4)
    edited, clean = run(spec, progress=False), run(RunSpec("sample-scenes", encoder="histogram", per_category=4), progress=False)
    assert found["change"] == pytest.approx(edited.mean("found") - clean.mean("found"), abs=1e-6)
    assert found["lowest"] <= found["change"] <= found["highest"]
    assert p1["draws"] == draws.DRAWS
    over = contrast(of_result(clean, "p1"), of_result(edited, "p1"))
    row = models.query("condition == 'cropped' and measure == 'p1'").iloc[0]
    assert [row["change"], row["p"]] == pytest.approx([over.interval.point, over.p], abs=1e-6)
    assert row["model"] == pytest.approx(row["change"], abs=1e-4), "sizes are equal"


def test_the_page_says_where_the_mixed_model_and_the_test_over_categories_part() -> None:
    models = draws.rows("models")
    many, few = (models[models["dataset"] == name] for name in draws.SETS)
    assert set(few["categories"]) == {5}
    assert (few["p"] > 0.05).all(), "five categories cannot decide"
    tested = len(many.dropna(subset=["model_p"]))
    assert f"{tested} of {tested} changes on scenes" in draws.agreement()
    assert f"{100 * (draws.rows('draws')['highest'] - draws.rows('draws')['lowest']).max():.1f} points" in draws.reading()
