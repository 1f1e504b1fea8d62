"""The study's JSON log: what is written is read again, and what the study printed is understood."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clipnb.errors import UserError
from clipnb.study_log import dumps, file_name, loads, read
from conftest import one_line

NAMES = [
    *("Adams, Steven", 'the "Greek Freak"', "Müller, Jörg", "空港", "", "total", "line\nbreak", "back\\slash\\", "slash/"),
    *("http://example.org // not a comment", "/* nor this */", '5" // not one either', "trailing comma, ]", 'a quote",]'),
]

categories = st.text().filter(lambda name: name != "total/")  # no folder is called so: that spelling stands for `total`
accuracies = st.lists(st.floats(0, 1), max_size=4)


@example("grey", {name: [i / 16] for i, name in enumerate(NAMES)})
@given(st.text(), st.dictionaries(categories, accuracies, max_size=6))
def test_any_log_survives_a_round_trip(manip: str, scores: dict[str, list[float]]) -> None:
    log = loads(dumps(manip, scores))
    assert (log.manip, list(log.scores.items())) == (manip, list(scores.items()))
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


MALFORMED = [
    *("", "not a log", "[]", "{}", "3", "\ufeff{}", '{"grey": [1.0]}', '{"grey": {}, "blurred": {}}', '{"grey": {"abbey": 1.0}}'),
    *('{"grey": {"abbey": ["a"]}}', '{"grey": {"abbey": [true]}}', '{"grey": {"abbey": [[1.0]]}}', '{"grey": {"abbey": [null]}}'),
    *('{"grey": {"total": 1.0}}', '{"grey": {"abbey": [1.0]}', '{"grey": {"abb', '{"grey": {"abbey": [1.0,,]}}'),
    '{"grey": {"abbey": [1.0]}} /* open',
]
TOLD = {
    '{"grey": {"abbey": [1], "abbey": [0]}}': "'abbey' occurs twice in one object",
    '{"abbey": {"alley": [1]}, "abbey": {"alley": [1]}}': "'abbey' occurs twice in one object",
    '{"grey": {\n/* two\nlines */\n"abbey": [1.0],\n"alley": oops\n}}': "line 5",
    **{f'{{"grey": {{"abbey": [{value}]}}}}': "not a JSON log" for value in ("1" * 5000, "[" * 100_000)},
    # with a second look from each quote these take hours
    **dict.fromkeys(['"' + '\\"' * 500_000, "/*" * 500_000], "not a JSON log"),
    **{f'{{"grey": {{"cats": [1]}}, "clipnb": {run}}}': "clipnb" for run in ("5", '{"group": {}}', '["a"]')},
}


def test_malformed_logs_are_a_one_line_error_that_names_the_file() -> None:
    for text, said in [*((text, "") for text in MALFORMED), *TOLD.items()]:
        with pytest.raises(UserError, match=rf"\Amine\.json: .*{said}.*\Z"):
            loads(text, "mine.json")


def test_files_round_trip_as_utf_8(tmp_path: Path) -> None:
    path = tmp_path / file_name("nba", "grey")
    assert path.name == "clip_output_nba_grey.json"
    path.write_text(dumps("grey", {"Müller, Jörg": [0.5]}), "utf-8")
    assert "Müller" in path.read_bytes().decode("utf-8")
    assert read(path).scores == {"Müller, Jörg": [0.5]}


@pytest.mark.parametrize("content", [None, b'{"grey": {"M\xfcller": [1.0]}}', b"\x80\x81", b"PK\x03\x04\x00\xff"])
def test_files_that_are_missing_or_no_text_are_a_one_line_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "log.json"
    if content is not None:
        path.write_bytes(content)
    with one_line(r"/log\.json cannot be read: (No such file or directory$|'utf-8' codec can't decode)"):
        read(path)


@pytest.mark.parametrize("score", ["7", "-5", "1e999", "NaN", "-Infinity", "100"])
@pytest.mark.parametrize("key", ["abbey", "total"])
def test_a_score_outside_0_to_1_is_refused_by_file_and_key(score: str, key: str) -> None:
    with pytest.raises(UserError, match=rf"^x\.json: '{key}' holds .*, which is not between 0 and 1$"):
        loads(f'{{"grey": {{"{key}": [0.5, {score}]}}}}', "x.json")


def test_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "log.json").write_text('{"grey": {"abbey": [1]}}', encoding="utf-8-sig")
    assert read(tmp_path / "log.json").scores == {"abbey": [1.0]}
