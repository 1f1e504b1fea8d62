"""Rankings against the field's own implementations, on random cases with ties; and cases worked out by hand."""

from __future__ import annotations

from unittest.mock import patch

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from clipnb.errors import UserError
from clipnb.metrics import ranking
from clipnb.metrics.ranking import average_precisions, codes, ordered_hits, precision_at_k, rank_all, recall_at_k, reciprocal_rank
from clipnb.metrics.validity import result_distances, shift
from clipnb.metrics.zero_shot import retrieved_by_text, zero_shot

NAN = float("nan")


def random_case(seed: int, queries: int = 30, images: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Similarities with many ties, relevance, junk."""
    rng = np.random.default_rng(seed)
    similarity = rng.integers(-8, 9, (queries, images)).astype(np.float32) / 8
    relevant = rng.random((queries, images)) < rng.random((queries, 1)) * 0.5
    junk = rng.random((queries, images)) < 0.05
    return similarity, relevant & ~junk, junk


def reference(measure: object, similarity: np.ndarray, relevant: np.ndarray, junk: np.ndarray) -> dict[int, float]:
    """ir_measures' value of a measure for each query.

    trec_eval puts equal scores in reverse order of their names: names that start with z for the irrelevant are its worst case.
    """
    run, truth = [], []
    for q, row in enumerate(similarity):
        for i, score in enumerate(row):
            if not junk[q, i]:
                name = f"{'a' if relevant[q, i] else 'z'}{i:03d}"
                run.append(ir_measures.ScoredDoc(str(q), name, float(score)))
                truth.append(ir_measures.Qrel(str(q), name, int(relevant[q, i])))
    return {int(m.query_id): m.value for m in ir_measures.iter_calc([measure], truth, run)}


@pytest.mark.parametrize("seed", range(4))
def test_ap_equals_trec_evals_with_ties(seed: int) -> None:
    similarity, relevant, junk = random_case(seed)
    ap, _, _ = average_precisions(ordered_hits(similarity, relevant, junk))
    expected = reference(ir_measures.AP, similarity, relevant, junk)
    some = relevant.any(axis=1)
    assert_array_equal(np.isnan(ap), ~some)
    assert_allclose(ap[some], [expected[q] for q in np.flatnonzero(some)], atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_ap_at_r_is_trec_evals_ap_cut_at_r(seed: int) -> None:
    similarity, relevant, junk = random_case(seed)
    _, ap_at_r, counts = average_precisions(ordered_hits(similarity, relevant, junk))
    for r in sorted(set(counts) - {0}):
        expected = reference(ir_measures.AP @ int(r), similarity, relevant, junk)
        for q in np.flatnonzero(counts == r):
            assert ap_at_r[q] == pytest.approx(expected[int(q)], abs=1e-9)


@pytest.mark.parametrize("k", [1, 5, 10])
def test_precision_and_recall_equal_trec_evals_with_ties(k: int) -> None:
    similarity, relevant, junk = random_case(k)
    hits, some = ordered_hits(similarity, relevant, junk)[:, :k], np.flatnonzero(relevant.any(axis=1))
    found = {ir_measures.P @ k: precision_at_k(hits), ir_measures.R @ k: recall_at_k(hits, relevant.sum(axis=1))}
    for measure, values in found.items():
        expected = reference(measure, similarity, relevant, junk)
        assert_allclose(values[some], [expected[int(q)] for q in some], atol=1e-9)


def test_ap_by_hand() -> None:
    # ranks 1, 3, 6 of R = 3: AP = (1/1 + 2/3 + 3/6) / 3; AP@R stops after place 3
    hits = np.array([[1, 0, 1, 0, 0, 1], [0, 0, 0, 0, 0, 0]], dtype=bool)
    ap, ap_at_r, counts = average_precisions(hits)
    assert_allclose(ap, [(1 + 2 / 3 + 1 / 2) / 3, NAN])
    assert_allclose(ap_at_r, [(1 + 2 / 3) / 3, NAN])
    assert counts.tolist() == [3, 0]


def test_a_tie_never_raises_a_score_and_both_zeros_are_equal() -> None:
    similarity = np.array([[0.5, 0.5, 0.5, 0.1]], dtype=np.float32)
    assert ordered_hits(similarity, np.array([[False, True, False, False]])).tolist() == [[False, False, True, False]]
    zeros = np.array([[0.0, -0.0]], dtype=np.float32)
    for relevant in ([[True, False]], [[False, True]]):
        assert ordered_hits(zeros, np.array(relevant)).tolist() == [[False, True]]


def test_a_query_with_nothing_to_find_has_no_recall_and_a_precision_of_0() -> None:
    hits = np.zeros((1, 3), dtype=bool)
    assert_array_equal(recall_at_k(hits, np.array([0])), [NAN])
    assert_array_equal(precision_at_k(hits), [0])


def test_reciprocal_rank_counts_equals_against_the_target() -> None:
    similarity = np.array([[0.9, 0.5, 0.5, 0.1]] * 3)
    junk = np.array([[False] * 4, [True, False, False, False], [False] * 4])
    assert_allclose(reciprocal_rank(similarity, np.array([0.5, 0.6, NAN]), junk), [1 / 4, 1, NAN])


@given(st.integers(1, 20), st.integers(2, 30), st.integers(1, 7), st.integers(0, 99))
def test_ranking_in_blocks_is_ranking_at_once(queries: int, images: int, rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    wanted, gallery = (rng.choice([-0.5, 0.5], (n, 4)) for n in (queries, images))  # of length 1, with exact products
    kinds = rng.integers(0, 3, queries), rng.integers(0, 3, images)
    same = np.arange(queries), np.arange(images)
    other = rank_all(wanted, gallery, kinds, same)
    with patch.object(ranking, "BLOCK_BYTES", rows * 8 * images):
        one = rank_all(wanted, gallery, kinds, same)
    assert_array_equal(one.self_rr, other.self_rr)
    for name in ("ap", "ap_at_r", "relevant"):
        assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize(
    ("wrong", "said"), [([3.0, 4.0], "has length 5"), ([0.0, 0.0], "has length 0"), ([NAN, 1.0], "is not finite")]
)
def test_vectors_of_another_length_are_not_measured(wrong: list[float], said: str) -> None:
    good, bad, one = np.array([[1.0, 0.0], [0.6, 0.8]]), np.array([[1.0, 0.0], wrong]), np.arange(2)
    for measured in (
        lambda x, y: rank_all(x, y, (one, one), (one, one)),
        lambda x, y: result_distances(x, y, np.array([[0, 1], [1, -1]])),
        shift,
        lambda x, y: zero_shot(x, y, one),
        lambda x, y: retrieved_by_text(x, y, one, 1),
    ):
        measured(good, good)
        for pair in ((good, bad), (bad, good)):
            with pytest.raises(UserError, match=f"^measures take vectors of length 1; wrong: . of .; the first {said}"):
                measured(*pair)


def test_the_own_image_and_its_copies_are_neither_found_nor_missed() -> None:
    gallery = np.array([[1, 0], [1, 0], [0.8, 0.6], [0, 1]], dtype=np.float32)
    found = rank_all(gallery[:1], gallery, codes(["a"], ["a", "a", "a", "b"]), codes(["x"], ["x", "x", "y", "z"]))
    assert found.relevant.tolist() == [1]
    assert found.ap.tolist() == [1]
    assert found.self_rr.tolist() == [1]
    absent = rank_all(gallery[:1], gallery[[0, 3]], codes(["a"], ["b", "b"]), codes(["x"], ["y", "z"]))
    assert_array_equal([absent.self_rr[0], absent.ap[0]], [NAN, NAN])


def test_a_near_copy_is_neither_found_nor_missed() -> None:
    gallery = np.array([[1, 0], [0.96, 0.28], [0.8, 0.6], [0, 1]], dtype=np.float32)
    labels = codes(["a"], ["a", "a", "a", "b"]), codes(["w"], ["w", "x", "y", "z"])
    near = rank_all(gallery[:1], gallery, *labels, lambda part: np.array([[True, True, False, False]]))
    assert near.copies.tolist() == [1]
    assert near.relevant.tolist() == [1]
    assert near.ap.tolist() == [1]
    assert near.self_rr.tolist() == [1]
    assert rank_all(gallery[:1], gallery, *labels).relevant.tolist() == [2]
