"""The study's JSON log: what is written is read again, and what the study printed is understood."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipnb.errors import UserError
from clipnb.study_log import dumps, file_name, loads, read, write

NAMES = [
    *("Adams, Steven", 'the "Greek Freak"', "Müller, Jörg", "空港", "", "total", "line\nbreak", "back\\slash\\", "slash/"),
    *("http://example.org // not a comment", "/* nor this */", '5" // not one either', "trailing comma, ]", 'a quote",]'),
]

categories = st.text().filter(lambda name: name != "total/")  # no folder is called so: that spelling stands for `total`
accuracies = st.lists(st.floats(0, 1), max_size=4)


def test_categories_survive_in_their_order_whatever_their_names() -> None:
    scores = {name: [i / 16] for i, name in enumerate(NAMES)}
    log = loads(dumps("grey", scores))
    assert list(log.scores.items()) == list(scores.items())
    assert log.total == [i / 16 for i in range(len(NAMES))]


@given(st.text(), st.dictionaries(categories, accuracies, max_size=6))
def test_any_log_survives_a_round_trip(manip: str, scores: dict[str, list[float]]) -> None:
    log = loads(dumps(manip, scores))
    assert (log.manip, log.scores) == (manip, scores)
    assert log.total == pytest.approx([sum(v) / len(v) if v else 0.0 for v in scores.values()])


def test_the_file_has_the_studys_shape() -> None:
    body = json.loads(dumps("blurred", {"abbey": [1.0, 0.5], "alley": [0.0]}))
    assert body == {"blurred": {"abbey": [1.0, 0.5], "alley": [0.0], "total": [0.75, 0.0]}}


def test_a_category_named_total_does_not_take_the_reserved_key() -> None:
    body = json.loads(dumps("blurred", {"total": [1.0], "abbey": [0.0]}))["blurred"]
    assert body.pop("total") == [1.0, 0.0]
    assert sorted(body.values()) == [[0.0], [1.0]]


def test_images_without_a_score_are_left_out_and_a_category_without_any_is_listed_empty_and_counts_0() -> None:
    log = loads(dumps("grey", {"abbey": [math.nan, 0.5, math.nan, 1.0], "empty": [], "lost": [math.nan]}))
    assert log.scores == {"abbey": [0.5, 1.0], "empty": [], "lost": []}
    assert log.total == [0.75, 0.0, 0.0]


def test_comments_and_trailing_commas_as_the_study_prints_them() -> None:
    log = loads(
        """{"original": {
  "Bacon, Dwayne": [1.0, 0.8571428571428571,],  // first of them
  // More Players
  "Adams, Steven": [1.0,
      1.0,  /* a comma, then a
               comment over lines */
  ],
  "total": [0.9855334538878843, 1.0],
}}"""
    )
    assert log.manip == "original"
    assert log.scores == {"Bacon, Dwayne": [1.0, 0.8571428571428571], "Adams, Steven": [1.0, 1.0]}
    assert log.total == [0.9855334538878843, 1.0]


def test_whole_numbers_are_read_as_numbers() -> None:
    assert loads('{"grey": {"abbey": [1, 0], "total": [0.5]}}').scores == {"abbey": [1.0, 0.0]}


MALFORMED = [
    *("", "not a log", "[]", "{}", "3", "\ufeff{}", '{"grey": [1.0]}', '{"grey": {}, "blurred": {}}', '{"grey": {"abbey": 1.0}}'),
    *('{"grey": {"abbey": ["a"]}}', '{"grey": {"abbey": [true]}}', '{"grey": {"abbey": [[1.0]]}}', '{"grey": {"abbey": [null]}}'),
    *('{"grey": {"total": 1.0}}', '{"grey": {"abbey": [1.0]}', '{"grey": {"abb', '{"grey": {"abbey": [1.0,,]}}'),
    '{"grey": {"abbey": [1.0]}} /* open',
]


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed_logs_are_a_one_line_error_that_names_the_file(text: str) -> None:
    with pytest.raises(UserError) as caught:
        loads(text, "mine.json")
    assert str(caught.value).startswith("mine.json: ")
    assert "\n" not in str(caught.value)


def test_the_error_names_the_line_of_the_file_itself() -> None:
    text = '{"grey": {\n/* two\nlines */\n"abbey": [1.0],\n"alley": oops\n}}'
    with pytest.raises(UserError, match="line 5"):
        loads(text)


def test_files_round_trip_as_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / file_name("nba", "grey")
    assert path.name == "clip_output_nba_grey.json"
    write(path, "grey", {"Müller, Jörg": [0.5]})
    assert "Müller" in path.read_bytes().decode("utf-8")
    assert read(path).scores == {"Müller, Jörg": [0.5]}


@pytest.mark.parametrize("content", [None, b'{"grey": {"M\xfcller": [1.0]}}', b"\x80\x81", b"PK\x03\x04\x00\xff"])
def test_files_that_are_missing_or_no_text_are_a_one_line_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "log.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"log\.json") as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("score", ["7", "-5", "1e999", "NaN", "-Infinity", "100"])
@pytest.mark.parametrize("key", ["abbey", "total"])
def test_a_score_outside_0_to_1_is_refused_by_file_and_key(score: str, key: str) -> None:
    with pytest.raises(UserError, match=rf"^x\.json: '{key}' holds .*, which is not between 0 and 1$"):
        loads(f'{{"grey": {{"{key}": [0.5, {score}]}}}}', "x.json")


@pytest.mark.parametrize("text", ['{"grey": {"abbey": [1], "abbey": [0]}}', '{"abbey": {"alley": [1]}, "abbey": {"alley": [1]}}'])
def test_a_duplicate_key_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"^x\.json: 'abbey' occurs twice in one object$"):
        loads(text, "x.json")


def test_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "log.json").write_text('{"grey": {"abbey": [1]}}', encoding="utf-8-sig")
    assert read(tmp_path / "log.json").scores == {"abbey": [1.0]}


@pytest.mark.parametrize("value", ["1" * 5000, "[" * 100_000])
def test_numbers_and_nesting_without_end_are_one_line(value: str) -> None:
    with pytest.raises(UserError, match=r"^x\.json: not a JSON log"):
        loads(f'{{"grey": {{"abbey": [{value}]}}}}', "x.json")


@pytest.mark.parametrize("text", ['"' + '\\"' * 500_000, "/*" * 500_000])
def test_an_unclosed_comment_is_read_in_linear_time(text: str) -> None:
    with pytest.raises(UserError, match="not a JSON log"):
        loads(text)  # with a second look from each quote this takes hours


@pytest.mark.parametrize("run", ["5", '{"group": {}}', '["a"]'])
def test_an_identity_that_is_no_table_of_texts_is_refused(run: str) -> None:
    with pytest.raises(UserError, match="clipnb"):
        loads(f'{{"grey": {{"cats": [1]}}, "clipnb": {run}}}')
