"""The engineer's question, end to end: which threshold for these photographs and this encoder?"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clipnb import RunSpec
from clipnb.analysis.calibration import calibrate, calibration_of, settable, threshold_frame
from clipnb.datasets.card import card_of
from clipnb.metrics.validity import valid_at_k
from clipnb.report.plots import operating_points
from clipnb.report.threshold_tables import threshold_answer
from clipnb_book.measured.findings import paired_differences
from clipnb_book.tables import threshold_table
from clipnb_book.threshold_sweep import sweep
from conftest import PhotoFolder, Printed, tiny_run

MANY = {f"kind{i:02d}": 4 for i in range(12)}


def test_the_answer_names_a_threshold_its_interval_and_what_the_studys_does(photo_folder: PhotoFolder) -> None:
    found = calibration_of(RunSpec(str(photo_folder(MANY)), encoder="tiny"), progress=False)
    said = threshold_answer(found)
    assert "Calibrated on 6 categories, and checked on 6 others" in said
    pairs = settable(found.values["tau_fpr_1"].point)
    assert f"**Take {pairs:.3f}**" in said
    assert "At 0.8," in said
    assert f"{found.prevalence:.1%} of pairs are of one kind" in said
    assert "This rate over pairs does not control what a search returns: of the 10 nearest photographs, " in said
    assert f"{found.results.curve.at(pairs)[2]:.1%} of those below {pairs:.3f} are of the query's kind" in said
    assert f"**Take {settable(found.results.tau.point):.3f}**" in said
    assert f"{found.results.precision:.1%}" in said
    frame = threshold_frame(found)
    assert frame["threshold"].tolist()[-1] == "tau"
    assert frame["tau"].tolist()[-1] == 0.8
    assert frame["fpr"][0] <= 0.01
    assert {"recall_held_out", "fpr_held_out", "precision_held_out"} <= set(frame.columns)
    assert frame["prevalence"][0] == pytest.approx(3 / 23)  # 6 kinds of 4 photographs
    assert threshold_table(found).count("\n") == 7
    assert operating_points(found, 0.8).axes


def test_the_rates_of_a_threshold_are_those_of_the_number_that_is_typed() -> None:
    rng = np.random.default_rng(5)
    kinds = np.repeat(np.arange(6), 8)
    vectors = rng.normal(size=(6, 12))[kinds] + rng.normal(size=(48, 12))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = calibrate(vectors, list(map(str, kinds)), list(map(str, range(48))), k=5)
    distances = np.linalg.norm(vectors[:, None] - vectors, axis=2)
    alike, others = (kinds[:, None] == kinds) & ~np.eye(48, dtype=bool), kinds[:, None] != kinds
    frame = threshold_frame(found).set_index("threshold")
    for row in frame.to_dict("records"):
        typed = float(f"{row['tau']:.4g}")
        assert row["recall"] == pytest.approx((distances[alike] < typed).mean(), abs=1e-12)
        assert row["fpr"] == pytest.approx((distances[others] < typed).mean(), abs=1e-12)
    assert frame["fpr"]["tau_fpr_1"] <= 0.01 < (distances[others] < found.values["tau_fpr_1"].point + 0.001).mean()


def test_few_categories_are_not_divided_and_it_says_so(photo_folder: PhotoFolder) -> None:
    found = calibration_of(RunSpec(str(photo_folder({"a": 4, "b": 4, "c": 4})), encoder="tiny"), progress=False)
    said = threshold_answer(found)
    assert "Calibrated on all 3 categories; of 10 or more, half would be held out as a check" in said
    assert "Checked on each category in turn, with the threshold that the others set" in said
    unbounded = "the area, uAP, the threshold for pairs, the threshold for results"
    assert said.endswith(f"\nWithout an interval: {unbounded} (3 categories are too few).")
    apart = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0)
    images, names = [str(i) for i in range(12)], [kind for kind in "abc" for _ in range(4)]
    said = threshold_answer(calibrate(apart, names, images, k=3, wanted=0.5))
    assert "Of all results, 100.0% are of the query's kind: 50% needs no threshold." in said
    angles = np.deg2rad([0, 1, 60, 63, 120, 123])  # only the first kind has two; without it, no threshold is precise
    fan = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    said = threshold_answer(calibrate(fan, list("aabcde"), images[:6], k=2))
    assert "with the threshold that the others set, no result is accepted: take none for this." in said
    assert "recall_held_out" not in threshold_frame(found)
    said = threshold_answer(calibrate(apart[:8], names[:8], images[:8], k=5, wanted=0.9))
    assert said.endswith("(2 categories are too few).")
    assert "Two kinds are too few to check it on another one." in said
    assert "Checked on" not in said


def test_a_number_without_an_interval_is_named_with_the_reason() -> None:
    kinds = np.repeat(np.arange(6), 4)
    at = [4] * 4 + [0, 1, 2, 3] * 5  # the first kind alone is close together: without it, no threshold is precise
    vectors = np.hstack([np.eye(5)[at], 0.2 * np.eye(6)[kinds]]).astype(np.float32) / np.float32(math.hypot(1, 0.2))
    said = threshold_answer(calibrate(vectors, list(map(str, kinds)), list(map(str, range(24))), k=3))
    assert "Without an interval: the threshold for pairs, the threshold for results (leaving out one of the categories " in said


def test_the_command_prints_and_writes(photo_folder: PhotoFolder, tmp_path: Path, printed: Printed) -> None:
    root = photo_folder(MANY)
    said = printed("threshold", str(root), "--encoder", "tiny", "--out", str(tmp_path / "out"))
    assert said.startswith("photos, tiny: Calibrated on ")
    assert "Take" in said
    near = card_of(str(root)).near_copies
    assert f"{near} pairs of near-copies are counted; runs leave such pairs out. `clipnb card --files {root}` names them." in said
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"threshold.csv", "threshold.tex", "threshold.md", "threshold.png"}
    assert pd.read_csv(tmp_path / "out" / "threshold.csv")["tau"].between(0, 2).all()
    assert "two categories" in printed("threshold", str(photo_folder({"a": 4}, "one kind")), "--encoder", "tiny", status=1)


def test_photographs_that_are_left_out_are_counted(photo_folder: PhotoFolder, printed: Printed) -> None:
    root = photo_folder({"a": 4, "b": 4})
    (root / "a" / "broken.png").write_bytes(b"no photograph")
    spec = RunSpec(str(root), encoder="tiny", k=3)
    left_out = "photos: 1 of 9 photographs could not be read: left out; the first: a/broken.png: "
    with pytest.warns(UserWarning, match=left_out) as said:
        calibration_of(spec, progress=False)
    assert said[0].filename == __file__
    for photo in root.glob("*/*.png"):
        photo.write_bytes(b"no photograph")
    why = printed("threshold", str(root), "--encoder", "tiny", "--k", "3", status=1)
    assert "none of the 9 images in " in why
    assert "photos can be used; the first: a/00.png: " in why


def test_the_sweep_at_the_runs_threshold_is_the_runs_own_change(photo_folder: PhotoFolder) -> None:
    root = photo_folder({"cats": 6, "dogs": 6, "owls": 6})
    clean, grey = tiny_run(root, "original", 3), tiny_run(root, "grey", 3)
    found = sweep(clean, grey)
    at = int(np.argmin(np.abs(found.taus - 0.8)))
    assert found.changes[at].point == pytest.approx(np.mean(paired_differences(clean.category_means, grey.category_means)))
    other = float(found.taus[at + 7])
    valid = [pd.Series(valid_at_k(np.stack(r.rows["distances"].to_list()), other)) for r in (clean, grey)]
    before, after = (part.groupby(clean.rows["category"]).mean().mean() for part in valid)
    assert found.changes[at + 7].point == pytest.approx(after - before)
    low, high = found.holds
    assert low <= 0.8 <= high
    assert all(v == found.verdict for tau, v in zip(found.taus, found.verdicts, strict=True) if low <= tau <= high)
