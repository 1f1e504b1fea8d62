"""How far: breaking points of a data set and the leaderboard, from the commands and from Python."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clipnb import RunSpec, UserError, run
from clipnb.analysis.leaderboard import leaderboard
from clipnb.analysis.tolerance import Tolerance, by_chance, measured, next_strength, position, saved, tolerance
from clipnb.cli import main
from clipnb.datasets.dataset import load_dataset
from clipnb.datasets.images import decode, read
from clipnb.manipulations import MANIPULATIONS
from clipnb.metrics.measures import MEASURES
from clipnb.metrics.ranking import average_precisions, expected_ap
from clipnb.report.coverage import COVERS
from clipnb.report.tolerance import curves, in_words
from clipnb.result import Result
from conftest import PhotoFolder, Printed, one_line, tiny_run

CATEGORIES = ("ants", "bees", "cats", "dogs", "eels", "foxes")


def made(spec: RunSpec, share_found: float) -> Result:
    """A result by hand: 10 images of each of six categories, a share of which is found first."""
    found = [float(i < round(10 * share_found)) for i in range(10)] * len(CATEGORIES)
    rows = pd.DataFrame(
        {
            "category": np.repeat(CATEGORIES, 10),
            "image": [f"{i}.jpg" for i in range(10)] * len(CATEGORIES),
            "draw": 0,
            "sha256": [f"{c}{i // 2}" for c in CATEGORIES for i in range(10)],  # every file has a copy
            "found": found,
            "noop": False,
            "valid": 0.0,
        }
    )
    about = {"data_fingerprint": "f", "encoder": {"identity": "e", "dim": 3}, "images": len(rows), "unreadable": {}}
    return Result(spec, about, rows)  # type: ignore[arg-type]


CLEAN = RunSpec("photos", encoder="tiny")
SIGMAS = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0)


def blurred(*curve: float, asked: list[RunSpec] | None = None, width: float = math.inf) -> Tolerance:
    """What is measured if these shares are found at severities 1 to 5, and those on the line between them in between."""

    def make(spec: RunSpec) -> Result:
        if asked is not None:
            asked.append(spec)
        return made(spec, float(np.interp(SIGMAS[spec.severity] or spec.strength, SIGMAS, (1.0, *curve))))

    return measured(CLEAN, "blurred", width=width, make=make)


def test_a_breaking_point_is_said_in_the_unit_of_the_edit() -> None:
    found = blurred(0.9, 0.8, 0.7, 0.3, 0.1)
    assert found.chance == pytest.approx(1 / 60)
    assert found.point.target == pytest.approx((1 + 1 / 60) / 2)
    assert found.point.strength == pytest.approx(3 + (0.7 - found.point.target) / 0.4)
    kept = MANIPULATIONS["cropped"].parameter
    assert [kept.text(share) for share in (0.0164, 0.05, 0.3064, 1.0)] == ["1.6%", "5%", "31%", "100%"]
    assert [MANIPULATIONS["jpeg"].parameter.text(quality) for quality in (3.52, 4.0, 41.3)] == ["3.5", "4", "41"]
    assert MANIPULATIONS["grey+blurred"].parameter.in_words(3.96) == "severity 4.0"
    assert in_words(found) == "a blur of sigma 3.5 px"  # all categories are equal: no interval


def test_ends_that_are_not_reached_are_named() -> None:
    never = blurred(*[0.9] * 5)
    at_once = blurred(*[0.1] * 5)
    assert (in_words(never), in_words(at_once)) == ("not reached at a blur of sigma 6 px", "before a blur of sigma 1 px")
    perhaps = replace(never, point=replace(never.point, low=5.5, high=math.inf))
    assert in_words(perhaps) == "not reached at a blur of sigma 6 px (interval from 5.5)"
    assert position(at_once) == 0.0 < 1.0 < 6.0 < position(never)


def test_the_bracket_is_halved_until_it_is_narrow() -> None:
    asked: list[RunSpec] = []
    found = blurred(0.9, 0.8, 0.7, 0.3, 0.1, asked=asked, width=0.1)
    assert [s.strength for s in asked if s.strength] == [3.5, 3.25]
    assert found.point.bracket == (3.25, 3.5)
    assert len(asked) == 8


def test_what_has_whole_values_is_halved_to_whole_values() -> None:
    found = measured(CLEAN, "captioned", width=0.0, make=lambda spec: made(spec, 1 - 0.15 * spec.severity))
    weak, strong = found.point.bracket
    assert (strong - weak, next_strength(found, 0.0)) == (1, None)


def test_the_level_of_chance_is_that_of_random_rankings() -> None:
    rng = np.random.default_rng(0)
    relevant, candidates = 3, 12
    drawn = np.array([rng.permutation(np.arange(candidates) < relevant) for _ in range(20_000)])
    assert float(average_precisions(drawn)[0].mean()) == pytest.approx(float(expected_ap(np.array([3]), 12)[0]), abs=0.005)
    assert MEASURES["p1"].chance(np.array([3]), 12)[0] == pytest.approx(drawn[:, 0].mean(), abs=0.01)  # type: ignore[misc]
    with pytest.raises(UserError, match="found, p1, map"):
        by_chance([2], "valid")


def test_no_run_and_nothing_in_common_are_one_line() -> None:
    with pytest.raises(UserError, match="no run of photos"):
        tolerance(made(CLEAN, 1.0), [])
    lost = made(CLEAN.under("blurred", 1), 1.0)
    lost.rows["found"] = math.nan
    with pytest.raises(UserError, match=r"no category of photos has a value of 'found'"):
        tolerance(made(CLEAN, 1.0), [lost])


def test_the_command_prints_a_table_and_leaves_json_and_a_figure(
    photo_folder: PhotoFolder, tmp_path: Path, printed: Printed
) -> None:
    folder = photo_folder(dict.fromkeys(CATEGORIES, 3))
    words = f"tolerance {folder} --encoder tiny --manips blur grey --width 0 --out {tmp_path / 'out'}".split()
    said = printed(*words).splitlines()
    assert (
        said[0]
        == "photos, tiny: the share of originals found first falls to 53% (half of the way from chance to the clean value) at"
    )
    assert sorted(line.split()[0] for line in said[1:]) == ["blurred", "grey"]
    (record,) = (tmp_path / "out").glob("*.json")
    rows = json.loads(record.read_text())
    assert {row["manip"]: len(row["means"]) for row in rows} == {"blurred": 5, "grey": 5}
    assert rows[0]["strength"] in ("before", "beyond") or isinstance(rows[0]["strength"], float)
    assert record.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert len(printed(*words, "--format", "csv").splitlines()) == 3
    words.remove("grey")
    printed(*words)
    assert json.loads(record.read_text()) == rows, "fewer manipulations have a file of their own"


def test_a_mistake_is_one_line_before_the_first_run(
    photo_folder: PhotoFolder, tmp_path: Path, printed: Printed, own_results: Path
) -> None:
    folder = str(photo_folder({"a": 2, "b": 2}))
    for words, why in (
        (f"tolerance {folder} --encoder tiny --manips flipped", "flipped: no severities"),
        (f"tolerance {folder} --encoder tiny --fraction 1.5", "--fraction must be between 0 and 1, not 1.5"),
        (f"tolerance {folder} --encoder tiny --width -1", "--width must be 0 or more, not -1"),
        ("tolerance nowhere --encoder tiny", "no data set 'nowhere'"),
        (f"tolerance {folder} --encoder tiny --manips blurred/3", "blurred/3: name the manipulation alone"),
        (f"sweep {folder} --manips blurred/3", "'blurred/3' is blurred at a severity: type blurred alone, and --severities 3"),
        (f"leaderboard {folder} --encoders tiny tinny", "unknown encoder 'tinny'"),
        (
            f"tolerance {folder} --encoder tiny --measure zero_shot --k 2",
            "the encoder tiny embeds no text, which zero_shot needs: ",
        ),
        (
            f"tolerance {folder} --encoder tiny --measure p1 --k 1 --per-category 1",
            "no category of photos has two photographs, which p1",
        ),
        (f"tolerance {folder}/a --encoder tiny --measure p1 --k 1", "a has no category folders, which p1 needs: make a folder for"),
    ):
        (line,) = printed(*words.split(), status=1).splitlines()
        assert why in line
    assert not (tmp_path / "results").exists()
    with one_line("has no 'misread': its encoder embeds no text"):
        tiny_run(folder).column("misread")


def test_the_leaderboard_has_a_column_an_encoder(photo_folder: PhotoFolder, printed: Printed) -> None:
    folder = str(photo_folder(dict.fromkeys(CATEGORIES, 3), name="board"))
    words = ["leaderboard", folder, "--encoders", "tiny", "histogram", "--manips", "rotated"]
    rows = json.loads(printed(*words, "--format", "json"))
    assert {row["encoder"] for row in rows} == {"tiny", "histogram"}
    assert rows[0]["p1"] >= rows[1]["p1"]
    assert rows[1]["p1_change"] == pytest.approx(rows[1]["p1"] - rows[0]["p1"])
    assert {row["mCE"] for row in rows if row["encoder"] == "histogram"} == {1.0}
    said = printed(*words).splitlines()
    assert said[0].split() == ["encoder", rows[0]["encoder"], rows[1]["encoder"]]
    assert said[1].startswith("P@1 ")
    assert float(next(line for line in said if line.startswith("images/s")).split()[1]) > 0
    assert any("; mCE: 1 - mAP at severities 1 to 5, divided by 1 - mAP of histogram" in line for line in said)
    assert ("; covers ≥" in said[4]) == (COVERS in said)
    assert "the share of originals found first falls to 53% (half of the way from chance to the clean value);" in said[-1]
    assert "breaking points lie between the severities 1 to 5; --width 0.1 measures finer, as clipnb tolerance does" in said
    finer = ["--manips", "rotated", "--width", "0.05", "--format", "json"]
    (alone,) = json.loads(printed("tolerance", folder, "--encoder", "tiny", *finer, "--out", f"{folder}-out"))
    (beside,) = json.loads(printed("leaderboard", folder, "--encoders", "tiny", *finer))
    assert alone["strength"] == beside["breaks: rotated"] != rows[0]["breaks: rotated"]


def test_the_change_is_from_the_best_encoder_to_the_others() -> None:
    def make(spec: RunSpec) -> Result:
        found = made(spec, 0.9 if spec.encoder == "tiny" else 0.6)
        return Result(spec, found.provenance, found.rows.assign(p1=found.rows["found"], map=found.rows["found"]))  # type: ignore[arg-type]

    frame, _ = leaderboard("photos", ["efficientnet-lite2", "tiny"], [], make=make, speed=lambda spec: len(spec.encoder))
    assert frame["encoder"].tolist() == ["tiny", "efficientnet-lite2"]
    assert frame["images_per_second"].tolist() == [4, 18]
    assert frame["p1_change"].tolist() == pytest.approx([math.nan, -0.3], nan_ok=True)


def test_encoders_are_compared_on_photographs_without_kinds(photo_folder: PhotoFolder, own_results: Path, printed: Printed) -> None:
    flat = str(photo_folder({"cats": 8}) / "cats")
    said = printed("leaderboard", flat, "--encoders", "tiny", "histogram", "--manips", "grey", "--k", "3").splitlines()
    assert [line.split()[0] for line in said[:2]] == ["encoder", "P@1"]
    assert said[0].split()[1:] == ["tiny", "histogram"]
    assert any(line.startswith("P@1 and mAP are empty, and mCE with them: the photographs have no kinds") for line in said)


SOME = """
import numpy as np
from PIL import Image

class Some:
    dim, input_size = 12, 2

    def prepare(self, image):
        if image.mean() {refused}:
            raise ValueError("not for me")
        return np.asarray(Image.fromarray(image).resize((2, 2)))

    def encode(self, batch):
        v = batch.reshape(len(batch), -1) / 255.0 + 0.1
        return v / np.linalg.norm(v, axis=1, keepdims=True)
"""


def test_encoders_with_different_photographs_are_not_compared(
    photo_folder: PhotoFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: Printed, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = photo_folder(dict.fromkeys(CATEGORIES, 3), name="board")
    light = sorted(decode(read(photo.path)).mean() for photo in load_dataset(folder).photos)
    (tmp_path / "some.py").write_text(SOME.format(refused=f"> {(light[-5] + light[-4]) / 2}"))
    monkeypatch.syspath_prepend(tmp_path)
    words = ["leaderboard", str(folder), "--encoders", "histogram", "some:Some", "--manips", "jpeg", "--k", "3"]
    rows = {row["encoder"]: row for row in json.loads(printed(*words, "--format", "json"))}
    assert {name: row["images"] for name, row in rows.items()} == {"histogram": 18, "some:Some": 14}
    assert (rows["histogram"]["mCE"], rows["some:Some"]["mCE"]) == (1.0, None)
    assert all(row.get("p1_change") is None for row in rows.values())
    lines = printed(*words).splitlines()
    assert ["photographs", *(str(row["images"]) for row in rows.values())] in [line.split() for line in lines]
    assert f"some:Some: {rows['some:Some']['left_out']}" in lines
    assert "encoders with different photographs are not compared with each other: no points from the best, no mCE" in lines
    said = r"4 of 18 photographs could not be read: left out; the first: \w+/0\d.png: ValueError: not for me \(some.py, line 10\)"
    assert re.fullmatch(said, rows["some:Some"]["left_out"])
    assert rows["histogram"]["left_out"] == ""
    assert main(["tolerance", str(folder), "--encoder", "some:Some", *words[5:], "--out", str(tmp_path / "out")]) == 0
    assert re.search(f"\nclipnb: board: {said}\n", capsys.readouterr().err)


def test_an_edited_photograph_that_cannot_be_read_is_named(
    photo_folder: PhotoFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: Printed
) -> None:
    folder = photo_folder(dict.fromkeys(CATEGORIES, 3), name="board")
    (tmp_path / "few.py").write_text(SOME.format(refused="< 0 or image.shape != (32, 48, 3) and image[0, 0, 0] % 2"))
    monkeypatch.syspath_prepend(tmp_path)
    words = ["leaderboard", str(folder), "--encoders", "few:Some", "--manips", "cropped", "--k", "3"]
    said = printed(*words, status=1)
    assert "-cropped-s1-" in said
    assert re.search(r": few:Some cannot read \d+ edited photographs; the first: ants/0\d.png: ValueError: not for me", said)
    assert said.endswith(" of 5 runs differ from the clean one)\n")


def test_curves_mark_every_breaking_point_that_is_reached() -> None:
    lines: list[list[Tolerance]] = [[blurred(0.9, 0.8, 0.7, 0.3, 0.1)], [blurred(*[0.9] * 5)]]
    (panel,) = curves(lines).axes  # no empty panels beside it
    crosses = [line for line in panel.lines if line.get_marker() == "X"]
    assert [float(cross.get_xdata()[0]) for cross in crosses] == [lines[0][0].point.strength]


def test_saved_runs_at_severities_and_strengths_give_the_breaking_points(photo_folder: PhotoFolder, own_results: Path) -> None:
    asked = RunSpec(str(photo_folder(dict.fromkeys(CATEGORIES, 3), name="kept")), encoder="tiny", k=3)
    assert saved(asked) == []
    for spec in (asked, asked.under("blurred", 1), asked.under("blurred", strength=2.5), asked.under("grey")):
        run(spec, progress=False).save()
    (found,) = saved(asked)
    assert (found.manip, found.strengths) == ("blurred", (1.0, 2.5))
    assert saved(asked.under("grey")) == [found]
