"""The pictures of manipulations by severity: one photograph, ever stronger, the same bytes each time."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipnb.manipulations import SEVERITIES, STUDY
from clipnb.manipulations.imagenet_c import CORRUPTIONS
from clipnb_book.slider import EVERYDAY, GRADED, KEPT, corruptions, grid, jpeg, kept_corruptions, write
from conftest import most_changed


def drawn(figure: object) -> list[list[np.ndarray]]:
    """The pictures of a grid, row by row."""
    axes = np.array(figure.axes)  # type: ignore[attr-defined]
    columns = figure.axes[0].get_gridspec().ncols  # type: ignore[attr-defined]
    return [[np.asarray(ax.images[0].get_array()) for ax in row if ax.images] for row in axes.reshape(-1, columns)]


def test_a_grid_starts_with_the_photograph_and_grows_stronger() -> None:
    assert set(GRADED) == set(STUDY) - {"original"}
    rows = drawn(grid())
    assert [len(row) for row in rows] == [6] * len(GRADED)
    assert all(np.array_equal(row[0], rows[0][0]) for row in rows)
    for name, row in zip(GRADED, rows, strict=True):
        if name == "cropped":
            sizes = [picture.shape[0] * picture.shape[1] for picture in row]
            assert sizes == sorted(sizes, reverse=True)
            continue
        moved = [float(np.abs(picture.astype(float) - row[0]).mean()) for picture in row]
        assert moved == sorted(moved)
        assert moved[0] == 0 < moved[1] < moved[-1], name


def test_blocks_stand_side_by_side_and_the_last_row_may_be_short() -> None:
    assert [len(row) for row in drawn(grid(("blurred", "grey", "jpeg"), (1, 5), blocks=2))] == [4, 2]
    pytest.importorskip("imagecorruptions")
    rows = drawn(grid(tuple(CORRUPTIONS)[:2], (1, 5), blocks=2))
    assert not np.array_equal(rows[0][0], rows[0][1])


def test_the_kept_picture_of_the_corruptions_is_the_one_that_the_code_draws() -> None:
    pytest.importorskip("imagecorruptions")
    now, kept = (
        np.asarray(Image.open(io.BytesIO(data)).convert("L"), dtype=float) for data in (jpeg(corruptions()), KEPT.read_bytes())
    )
    assert now.shape == kept.shape, "run `python -m clipnb_book.slider`"
    assert most_changed(now, kept) < 12, "run `python -m clipnb_book.slider`"
    assert KEPT.stat().st_size < 300_000
    assert kept_corruptions().format == "jpeg"


def test_the_slider_has_a_picture_for_each_severity_and_the_same_bytes_twice(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b")
    files = {p.name: p.read_bytes() for p in (tmp_path / "a").iterdir()}
    assert files == {p.name: p.read_bytes() for p in (tmp_path / "b").iterdir()}
    data = json.loads(files.pop("data.js").decode().removeprefix("const SLIDER = ").rstrip(";\n"))
    assert [m["name"] for m in data] == [*GRADED, *EVERYDAY]
    for manipulation in data:
        assert len(manipulation["pictures"]) == len(SEVERITIES) + 1
        for file, said, width, height in manipulation["pictures"]:
            assert said
            assert Image.open(tmp_path / "a" / file).size == (width, height)
    assert {file for m in data for file, *_ in m["pictures"]} == files.keys()
    assert sum(map(len, files.values())) < 1_000_000
