"""The claim ledger: what it judges, and that a lie in it stops the book."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from clipnb import Result, RunSpec
from clipnb.errors import UserError
from clipnb.stats.intervals import mean_interval
from clipnb_book.claims.evidence import (
    ByCondition,
    ConditionMeans,
    Estimate,
    change,
    from_findings,
    from_runs,
    mean_of,
    of_categories,
    printed,
)
from clipnb_book.claims.ledger import Claim, LedgerError, judge, pages, read, settle
from clipnb_book.claims.tests import FAILS, HOLDS, NO_DIFFERENCE, UNDECIDED, in_words
from conftest import one_line


def group(**means: Any) -> ByCondition:
    """Conditions with category means around a centre."""
    return of_categories({name: {str(i): v for i, v in enumerate(values)} for name, values in means.items()})


def made(n: int = 12, **centres: float) -> ByCondition:
    noise = np.linspace(-0.02, 0.02, n)
    wobble = np.where(np.arange(n) % 2, 0.004, -0.004)
    return group(**{name: centre + noise + wobble * (at % 3) for at, (name, centre) in enumerate(centres.items())})


def claim(test: str, verdict: str = HOLDS, sentence: str = "so.", n: int = 1, **threshold: Any) -> Claim:
    return Claim("one", "It is so", "book", sentence, test, threshold, [{"made": f"set{i}"} for i in range(n)], verdict)


def verdict(test: str, *groups: ByCondition, **threshold: Any) -> str:
    look = {f"set{i}": g for i, g in enumerate(groups)}
    return judge(claim(test, n=len(groups), **threshold), {"made": lambda name, encoder: look[name]}).verdict


CLEAR = made(original=0.9, blurred=0.5, cropped=0.8, grey=0.85)


def test_lower_holds_fails_and_cannot_tell() -> None:
    assert verdict("lower", CLEAR, conditions=["blurred"], than=["cropped", "grey"]) == HOLDS
    assert verdict("lower", CLEAR, conditions=["grey"], than=["cropped"]) == FAILS
    assert verdict("lower", CLEAR, conditions=["blurred"], than=["blurred"]) == NO_DIFFERENCE
    assert verdict("lower", CLEAR, conditions=["blurred"], than=["blurred", "grey"]) == FAILS  # equal is not lower
    noisy = group(a=[0.1, 0.9, 0.5], b=[0.2, 0.7, 0.6])
    assert verdict("lower", noisy, conditions=["a"], than=["b"]) == UNDECIDED


def test_a_claim_of_several_parts_fails_if_one_fails_and_is_undecided_if_one_is() -> None:
    parts = group(a=[0.1, 0.9, 0.5] * 3, b=[0.2, 0.7, 0.6] * 3, c=[0.95, 0.99, 0.97] * 3)
    assert verdict("lower", parts, conditions=["a"], than=["c"]) == HOLDS
    assert verdict("lower", parts, conditions=["a"], than=["b", "c"]) == UNDECIDED
    spread = made(a=0.5, b=0.6, c=0.4)
    assert verdict("lower", spread, conditions=["a"], than=["b", "c"]) == FAILS


def test_a_change_is_decided_by_the_sign_flip_test_with_holms_adjustment_over_the_family() -> None:
    # six categories lose: p = 2 / 64, which Holm's adjustment doubles if the other condition belongs to the family
    before = np.array([0.5, 0.6, 0.7, 0.8, 0.6, 0.7])
    sets = group(original=before, blurred=before - [0.1, 0.2, 0.1, 0.3, 0.2, 0.1], grey=before - [0.1, -0.1, 0, 0, 0, 0])
    assert verdict("lower", sets, conditions=["blurred"], than=["original"]) == HOLDS
    asked = {"conditions": ["blurred"], "than": ["original"], "family": ["blurred", "grey"]}
    assert verdict("lower", sets, **asked) == UNDECIDED
    said = judge(claim("lower", sentence="{difference[blurred_original]}", **asked), {"made": lambda name, encoder: sets}).text
    assert "after Holm's adjustment 0.062" in said


def test_too_few_categories_decide_nothing() -> None:
    two = group(original=[0.5, 0.6], grey=[0.3, 0.4])  # the same change in both
    assert verdict("lower", two, conditions=["grey"], than=["original"]) == UNDECIDED
    assert verdict("within", two, conditions=["grey"], margin=0.5) == UNDECIDED
    assert verdict("normal", two, condition="grey") == UNDECIDED
    one, other = group(original=[0.5], grey=[0.3]), group(original=[0.6], grey=[0.5])
    assert verdict("costs_more", one, other, conditions=["grey"]) == UNDECIDED
    assert verdict("not_significant", one, other) == UNDECIDED
    assert verdict("steadier", one, condition="grey", than=["original"]) == NO_DIFFERENCE


def test_within_is_a_margin_for_every_condition_and_set() -> None:
    assert verdict("within", CLEAR, conditions=["cropped", "grey"], margin=0.2) == HOLDS
    assert verdict("within", CLEAR, conditions=["cropped", "blurred"], margin=0.2) == FAILS
    assert verdict("within", CLEAR, made(original=0.9, grey=0.3), conditions=["grey"], margin=0.2) == FAILS


def test_a_test_without_significance_never_makes_a_claim_hold() -> None:
    assert verdict("not_significant", made(original=0.9), made(original=0.901)) == UNDECIDED
    assert verdict("not_significant", made(original=0.9), made(original=0.5)) == FAILS
    bell = stats.norm.ppf((np.arange(40) + 0.5) / 40, 0.5, 0.1)
    assert verdict("normal", group(original=bell), condition="original") == UNDECIDED
    assert verdict("normal", group(original=bell**8), condition="original") == FAILS


def test_steadier_compares_paired_spreads() -> None:
    rng = np.random.default_rng(0)
    calm, wild = 0.5 + 0.02 * rng.normal(size=30), 0.5 + 0.15 * rng.normal(size=30)
    sets = group(calm=calm, wild=wild, like=np.roll(calm, 1))
    assert verdict("steadier", sets, condition="calm", than=["wild"]) == HOLDS
    assert verdict("steadier", sets, condition="wild", than=["calm"]) == FAILS
    assert verdict("steadier", sets, condition="calm", than=["like"]) == UNDECIDED
    assert verdict("steadier", sets, condition="calm", than=["calm"]) == NO_DIFFERENCE


def test_costs_more_is_the_interaction() -> None:
    figures, scenes = made(original=0.9, grey=0.4), made(original=0.9, grey=0.8)
    assert verdict("costs_more", figures, scenes, conditions=["grey"]) == HOLDS
    assert verdict("costs_more", scenes, figures, conditions=["grey"]) == FAILS
    assert verdict("costs_more", made(original=0.9, grey=0.8, x=1), scenes, conditions=["grey"]) == UNDECIDED


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_no_list_of_a_mean_varies_more_than_the_bound(values: list[float]) -> None:
    mean, n = float(np.mean(values)), len(values)
    known, unknown = ConditionMeans(mean, n, {str(at): v for at, v in enumerate(values)}), ConditionMeans(mean, n)
    assert known.sd <= unknown.sd + 1e-9


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=20))
def test_a_change_without_lists_has_an_error_at_least_as_large(pairs: list[tuple[float, float]]) -> None:
    before, after = ({str(i): p[side] for i, p in enumerate(pairs)} for side in (0, 1))
    lists = of_categories({"a": before, "b": after})
    bare = {name: ConditionMeans(c.mean, c.n) for name, c in lists.items()}
    known, bound = change(lists["a"], lists["b"]), change(bare["a"], bare["b"])
    assert bound.point == pytest.approx(known.point)
    assert bound.se >= known.se - 1e-9
    assert bound.bound
    assert not known.bound


def test_estimates_have_the_intervals_of_every_table() -> None:
    a, b = [0.4, 0.5, 0.7, 0.8] * 2, [0.1, 0.2, 0.2, 0.5, 0.6] * 2
    one, other = (mean_of(group(x=v)["x"]) for v in (a, b))
    expected = stats.ttest_ind(a, b, equal_var=False)
    difference = one.subtract(other)
    assert difference.p == pytest.approx(expected.pvalue)
    found = difference.interval(0.95)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert one.interval(0.95) == mean_interval(a, bounds=(0, 1))
    assert math.isnan(Estimate(0.0, 0.0, 3, "4").p)


PRINTED = [c for c in read() if all("printed" in where for where in c.data)]
MEASURED = [c for c in read() if all("findings" in where for where in c.data)]


def test_the_studys_print_is_two_lists_and_six_means() -> None:
    players, scenes = printed("NBA"), printed("MiniPlaces")
    assert [c for c, cell in players.items() if cell.categories] == ["original"]
    assert [c for c, cell in scenes.items() if cell.categories] == ["cropped"]
    assert players["original"].mean == pytest.approx(0.9615034774998419)
    assert (players["grey"].mean, players["grey"].n) == (0.8631, 51)
    with pytest.raises(UserError, match="choose from NBA, MiniPlaces"):
        printed("Birds")


def test_the_books_ledger_is_true_of_what_was_measured() -> None:
    judged = settle(MEASURED, {"findings": from_findings})
    found = {j.claim.id: j.verdict for j in judged}
    assert found["interaction_blur_grey_ours"] == UNDECIDED  # five people
    assert found["crop_figures_ours"] == UNDECIDED
    assert found["crop_harmless_ours"] == HOLDS  # on square photographs the crop is no manipulation
    assert {j.n for j in judged} <= {"5", "100", "5 and 100", "100 and 5"}
    ours, theirs = ({c.claim for c in part if c.by == "study"} for part in (MEASURED, PRINTED))
    assert ours == theirs, "every claim of the study is judged on our own numbers too"


def test_two_verdicts_of_the_book_on_one_claim_that_contradict_each_other_are_caught() -> None:
    found = {"clear": CLEAR, "reverse": made(original=0.5, blurred=0.9)}
    told = claim("lower", conditions=["blurred"], than=["original"])
    entries = [replace(told, data=[{"made": "clear"}]), replace(told, id="two", data=[{"made": "reverse"}], verdict=FAILS)]
    sources = {"made": lambda name, encoder: found[name]}
    with pytest.raises(LedgerError, match="'It is so' holds by one and does not hold by two"):
        settle(entries, sources)
    assert len(settle([entries[0], replace(entries[1], claim="It is not so")], sources)) == 2


def test_the_books_ledger_is_true_of_what_the_study_prints() -> None:
    judged = settle(PRINTED, {})
    found = {j.claim.id: j.verdict for j in judged}
    assert found["crop_figures_printed"] == UNDECIDED
    assert found["blur_grey_scenes_printed"] == HOLDS
    assert found["no_difference_printed"] == FAILS
    assert found["normal_scenes"] == FAILS
    assert len({j.claim.claim for j in judged if j.claim.by == "study"}) == 8
    said = {j.claim.id: j.text for j in judged}
    assert "t = −4.75" in said["no_difference_printed"]
    assert "p = 0.092" in said["normal_players"].replace("\u00a0", " ")


def test_every_wrong_verdict_is_caught() -> None:
    for entry in {c.verdict: c for c in PRINTED}.values():
        for lie in {HOLDS, FAILS, UNDECIDED} - {entry.verdict}:
            with pytest.raises(LedgerError, match=f"{entry.id} says '{lie}', but the numbers say '{entry.verdict}'"):
                settle([replace(entry, verdict=lie)], {})


def ledger(tmp_path: Path, **changes: Any) -> Path:
    entry: Mapping[str, Any] = {
        "id": "one",
        "claim": "It is so",
        "by": "book",
        "sentence": "Players have {mean[original]}.",
        "test": "lower",
        "threshold": {"conditions": ["cropped"], "than": ["original"]},
        "data": {"printed": "NBA"},
        "verdict": "holds",
    }
    path = tmp_path / "claims.yml"
    path.write_text(yaml.safe_dump([{**entry, **changes}]), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"sentence": "Players have 0.96."}, "a number is typed"),
        ({"test": "magic"}, "unknown test 'magic'"),
        ({"verdict": "perhaps"}, "unknown verdict 'perhaps'"),
        ({"id": "one.two"}, "an id is a word"),
        ({"extra": 1}, "extra"),
        ({"sentence": "Players have {mean[purple]}."}, "^claim one: .*purple"),
        ({"sentence": "Players have {median}."}, "^claim one: .*median"),
        ({"threshold": {"conditions": ["purple"], "than": ["original"]}}, "^claim one: .*no condition 'purple'"),
        ({"threshold": {"colour": 1}}, "^claim one: .*colour"),
        ({"data": {"printed": "Birds"}}, "^claim one: .*Birds"),
        ({"data": {"guessed": "NBA"}}, "^claim one: .*none of printed"),
    ],
)
def test_a_mistake_in_the_ledger_is_one_line(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    with one_line(why):
        judge(read(ledger(tmp_path, **changes))[0], {})
    with pytest.raises(UserError, match="No such file"):
        read(tmp_path / "none.yml")
    (tmp_path / "bad.yml").write_text("- {id: [", encoding="utf-8")
    with pytest.raises(UserError, match="not YAML"):
        read(tmp_path / "bad.yml")


def test_pages_name_sentences_and_lists(tmp_path: Path) -> None:
    (entry,) = read(ledger(tmp_path, threshold={"conditions": ["blurred"], "than": ["original"]}))
    found = pages(settle([entry], {}))
    assert found["one"] == "Players have 0.9615. **Holds** (n = 51 categories)."
    assert "printed by the study, NBA" in found["book"]
    assert found["table"].count("\n") == 2


@pytest.mark.parametrize("point", [0.409, 0.009, 0.09])
def test_numbers_that_contain_the_digits_of_the_level_are_kept(point: float) -> None:
    estimate = Estimate(point, 0.001, 20, "21")
    assert in_words(estimate, estimate.interval(0.9)).startswith(f"{100 * point:+.1f} points (90% interval +")


def test_runs_of_an_encoder_with_a_slash_in_its_name_are_found() -> None:
    rows = pd.DataFrame({"category": ["a", "b"], "image": ["1", "1"], "valid": [0.25, 0.75], "noop": False})
    about = {"data_fingerprint": "f", "encoder": {"identity": "e"}}
    found = from_runs([Result(RunSpec("sample-figures", "grey", "ViT-L/14"), about, rows)])("sample-figures", "ViT-L/14")
    assert found["grey"].mean == 0.5


@given(st.floats(0.02, 0.98), st.floats(0.02, 0.98), st.integers(2, 60), st.floats(0.5, 0.9999))
def test_no_interval_of_a_change_holds_what_no_change_can_be(before: float, after: float, n: int, level: float) -> None:
    found = change(ConditionMeans(before, n), ConditionMeans(after, n)).interval(level)
    assert -1 <= found.low <= after - before <= found.high <= 1
