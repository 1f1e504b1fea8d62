"""One rule for images that are equally near: the order of the gallery changes no measure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from clipnb.metrics.measures import MEASURES
from clipnb.metrics.ranking import TIE, rank_all, tie_order
from clipnb.retrieval import faiss_index
from clipnb.retrieval.duplicates import any_of
from clipnb.retrieval.neighbours import Ties, retrieve
from clipnb.runs import run
from clipnb.spec import RunSpec
from conftest import picture


def write(root: Path, seed: int) -> Path:
    """Twelve photographs of two categories, three pictures in all: files of one picture differ only in a comment."""
    categories = ("a", "b") if seed % 2 else ("z", "b")
    for i, name in enumerate(np.random.default_rng(seed).permutation(12)):
        comment = PngImagePlugin.PngInfo()
        comment.add_text("number", str(i))
        (root / categories[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(i % 3)).save(root / categories[i % 2] / f"{name:02d}.png", pnginfo=comment)
    return root


def measured(root: Path, manip: str) -> pd.DataFrame:
    rows = run(RunSpec(str(root), manip, "tiny", k=2, duplicates=-1), progress=False).rows
    lists = rows["distances"].map(lambda row: [round(float(d), 9) for d in row])
    columns = ["n_valid", "distances", *(m for m in MEASURES if m in rows)]
    return rows.assign(distances=lists).set_index("sha256").sort_index()[columns]


@pytest.mark.parametrize("manip", ["original", "grey"])
def test_the_names_of_files_and_folders_change_no_measure(tmp_path: Path, manip: str) -> None:
    first, *others = (measured(write(tmp_path / str(seed) / "photos", seed), manip) for seed in range(4))
    assert {"valid", "found", "found_rr", "p1", "p_at_k", "r_at_k", "map", "map_at_r", "overlap", "rbo"} <= set(first)
    for other in others:
        pd.testing.assert_frame_equal(other, first)
    if manip == "original":
        assert (first[["overlap", "rbo"]] == 1).all(axis=None), "a condition agrees with itself"


@given(st.integers(0, 999), st.integers(1, 6))
def test_the_order_of_the_gallery_changes_no_list(seed: int, k: int) -> None:
    """Vectors of unit length with few values, so that many are equally near, in an order that is drawn."""
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-1, 2, (24, 5)) + np.array([0, 0, 0, 0, 3])
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    kinds, asked = rng.integers(0, 3, 24), vectors[:4]
    found = []
    for order in (np.arange(24), rng.permutation(24)):
        held = vectors[order]
        ties = Ties(asked[::-1], held, kinds[:4], kinds[order], order)
        rows = retrieve(faiss_index.build("exact", [held], *held.shape), asked, k, any_of(), ties)
        ranked = rank_all(asked, held, (kinds[:4], kinds[order]), (np.arange(4), order))
        found.append((order[rows].tolist(), ranked.ap.tolist(), ranked.self_rr.tolist()))
    np.testing.assert_equal(found[0], found[1])
    whole = asked.astype(np.float64) @ vectors.T.astype(np.float64)
    for query, row in enumerate(found[0][0]):  # against all 24, sorted at once
        distance = np.linalg.norm(vectors - asked[::-1][query], axis=1)
        keys = zip(-np.rint(whole[query] / TIE), kinds == kinds[query], -np.rint(distance / TIE), range(24), strict=True)
        assert row == [at for *_, at in sorted(keys)][:k]


def test_ties_are_broken_against_the_query() -> None:
    """Another kind first, then the farther from the clean query, then by name; below the step a difference is none."""
    similarity = np.array([[0.5, 0.5, 0.5 + TIE / 8, 0.5, 0.9]])
    own, distance = np.array([[True, False, False, False, True]]), np.array([[0.1, 0.2, 0.3, 0.3, 0.0]])
    assert tie_order(similarity, own, distance, np.array([[0, 1, 3, 2, 4]])).tolist() == [[4, 3, 2, 1, 0]]


def test_a_tie_across_the_last_place_is_searched_to_its_end() -> None:
    """Of 40 equal vectors, those of another kind come first, although the index returns the query's own kind first."""
    held = np.tile(np.float32([[0.6, 0.8]]), (40, 1))
    kinds, places = np.r_[np.zeros(20, int), np.ones(20, int)], np.arange(40)
    ties = Ties(held[:1], held, np.array([0]), kinds, places)
    rows = retrieve(faiss_index.build("exact", [held], 40, 2), held[:1], 3, any_of(), ties)
    assert rows.tolist() == [[20, 21, 22]]
