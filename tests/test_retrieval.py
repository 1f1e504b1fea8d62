"""Exact search, and the rule that a query never finds itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from clipnb.errors import UserError
from clipnb.retrieval import faiss_index
from clipnb.retrieval.duplicates import COLUMN, same_content
from clipnb.retrieval.folder import GalleryFolder
from clipnb.retrieval.neighbours import Ties, retrieve
from clipnb.retrieval.sources import from_folder
from clipnb.spec import RunSpec
from conftest import TinyEncoder, one_line, unit_vectors


def found_by(
    gallery: NDArray[np.float32], asked: NDArray[np.float32], k: int, own: list[str], held: list[str], exact: bool = True
) -> NDArray[np.int64]:
    """Results, each query's own content left out."""
    ties = Ties(asked, gallery, np.zeros(len(asked)), np.ones(len(gallery)), np.arange(len(gallery)))
    index = faiss_index.build("exact", [gallery], *gallery.shape)
    return retrieve(index, asked, k, same_content(own, held), ties, exact=exact)


def largest_k(digests: list[str]) -> int:
    return len(digests) - max(digests.count(d) for d in digests)


@given(st.integers(1, 40), st.integers(1, 30), st.integers(1, 48), st.integers(0, 999))
def test_search_is_brute_force(n: int, queries: int, dim: int, seed: int) -> None:
    gallery, asked = unit_vectors(n, dim, seed), unit_vectors(queries, dim, seed + 1)
    k = 1 + seed % n
    rows = faiss_index.build("exact", [gallery], *gallery.shape).search(asked, k)
    similarity = asked.astype(np.float64) @ gallery.T.astype(np.float64)
    assert rows.shape == (queries, k)
    assert all(len(set(row)) == k for row in rows.tolist())
    assert_allclose(np.take_along_axis(similarity, rows, axis=1), -np.sort(-similarity, axis=1)[:, :k], atol=1e-6)


@given(st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=20), st.integers(0, 999))
def test_the_k_nearest_other_images_are_found(contents: list[str], seed: int) -> None:
    if not largest_k(contents):
        contents = [*contents, "z"]
    gallery = unit_vectors(len(contents), 6, seed)
    asked = unit_vectors(len(contents), 6, seed + 1)  # manipulated: a query's own image need not be its nearest
    k = 1 + seed % largest_k(contents)
    rows = found_by(gallery, asked, k, contents, contents)
    similarity = asked.astype(np.float64) @ gallery.T.astype(np.float64)
    for query, own in enumerate(contents):
        others = [row for row, content in enumerate(contents) if content != own]
        expected = sorted((similarity[query, row] for row in others), reverse=True)[:k]
        assert set(rows[query].tolist()) <= set(others)
        assert len(set(rows[query].tolist())) == k
        assert_allclose(similarity[query, rows[query]], expected, atol=1e-6)


@pytest.mark.parametrize("exact", [True, False])
def test_copies_that_were_left_out_are_replaced(exact: bool) -> None:
    gallery = unit_vectors(8, 4, 0)[[0, 0, 0, *range(1, 8)]]
    rows = found_by(gallery, gallery[:1], 3, ["a"], list("aaabcdefgh"), exact)
    assert len(set(rows[0].tolist()) - {-1, 0, 1, 2}) == 3


def test_a_query_from_outside_the_gallery_may_take_all_of_it() -> None:
    gallery = unit_vectors(5, 4, 0)
    rows = found_by(gallery, unit_vectors(2, 4, 1), 5, ["x", "y"], list("abcde"))
    assert all(sorted(row) == [0, 1, 2, 3, 4] for row in rows.tolist())


@pytest.mark.parametrize("contents", [list("abcdef"), list("aabcde"), list("aaabbc")])
def test_a_k_that_is_too_large_is_answered_with_the_largest(contents: list[str]) -> None:
    gallery, most = unit_vectors(6, 4, 0), largest_k(contents)
    with one_line(rf"k = {most + 1} .*-p k {most}\)"):
        found_by(gallery, gallery, most + 1, contents, contents)
    assert found_by(gallery, gallery, most, contents, contents).shape == (6, most)


@pytest.mark.parametrize("contents", [["a"], ["a", "a", "a"]])
def test_where_no_k_would_do_none_is_suggested(contents: list[str]) -> None:
    gallery = unit_vectors(len(contents), 4, 0)
    with pytest.raises(UserError) as caught:
        found_by(gallery, gallery, 1, contents, contents)
    assert "-p k" not in str(caught.value)


@pytest.mark.parametrize(("column", "known"), [(COLUMN, [True, True]), ("dhash_16x16", [False, False])])
def test_a_gallery_with_hashes_of_another_kind_is_opened_without_them(tmp_path: Path, column: str, known: list[bool]) -> None:
    encoder = TinyEncoder()
    (tmp_path / "img_emb").mkdir()
    np.save(tmp_path / "img_emb" / "img_emb_0.npy", unit_vectors(2, encoder.dim, 0))
    folder = GalleryFolder(tmp_path, pd.DataFrame({column: ["00" * 272] * 2}), {})
    assert from_folder(folder, encoder, "", RunSpec("photos")).known.tolist() == known
