"""Data cards: what they count, on sets made by hand."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import imagehash
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clipnb import RunSpec, run
from clipnb.cli import main
from clipnb.datasets.card import Card, card_of, near_pairs
from clipnb.datasets.picture_hash import BITS, CELL, CELLS, FEWEST, NEAR, near_copies, picture_hash
from clipnb.errors import DatasetError
from clipnb.report.cards import card_table, card_warnings, files_left_out, shapes
from clipnb_book import extension
from clipnb_book.measured import records
from clipnb_book.tables import cards_table
from conftest import REPOSITORY, PhotoFolder, Printed, picture


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four photographs, one of them copied, one saved again as JPEG under another category, a grey square and a broken file."""
    folder = tmp_path / "set"
    for name in ("cats", "dogs"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(3):
        patches = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        patches.resize((100, 80), Image.Resampling.BICUBIC).save(folder / "cats" / f"{i}.png")
    (folder / "cats" / "copy.png").write_bytes((folder / "cats" / "0.png").read_bytes())
    Image.open(folder / "cats" / "1.png").save(folder / "dogs" / "again.jpg", quality=70)
    Image.fromarray(picture(5, 64, 64)).convert("L").save(folder / "dogs" / "grey.png")
    (folder / "dogs" / "broken.jpg").write_bytes(b"no image")
    return folder


def test_a_card_counts_photographs_copies_and_files(root: Path) -> None:
    card = card_of(str(root), progress=False)
    assert (card.photographs, card.categories, list(card.unreadable)) == (6, 2, ["dogs/broken.jpg"])
    assert (card.per_category, card.width, card.aspect) == ([2, 3, 4], [64, 100, 100], [1, 1.25, 1.25])
    assert card.square == card.grey == pytest.approx(1 / 6)
    assert card.formats == {".png": 5, ".jpg": 1}
    assert (card.copies, card.near_copies, card.near_photographs, card.across) == (1, 1, 4, 1)
    assert card.examples == [["cats/copy.png", "=", "cats/0.png"], ["dogs/again.jpg", "~", "cats/1.png"]]
    assert [line.count("dogs/broken.jpg") for line in files_left_out(card)] == [1]
    read_by_path = {"dogs/a.png": "a.png: Permission denied", "dogs/b.png": "b.png has 2 bytes"}
    named = files_left_out(replace(card, unreadable=read_by_path))
    assert named == ["dogs/a.png: unreadable (Permission denied)", "dogs/b.png: unreadable (has 2 bytes)"]
    said = " ".join(card_warnings(card))
    assert "1 pair of copies or near-copies lies in different categories" in said
    assert "67% of the photographs have a copy or near-copy" in said
    shown = card_table(card)
    for line in ("| photographs | 6 |", "100 (64 to 100)", "at most 24 of 256 bits"):
        assert line in shown
    assert len(shapes(card).axes) == 2
    assert "| `set` | 6 | 2 |" in cards_table([card])


def test_the_command_names_files_that_are_not_used_and_copies(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = ["cats/copy.png = cats/0.png", "dogs/again.jpg ~ cats/1.png"]
    assert main(["card", str(root), "--files"]) == 0
    broken, *lines = capsys.readouterr().out.splitlines()[-3:]
    assert broken.startswith("dogs/broken.jpg: unreadable")
    assert lines == pairs
    (root / "dogs" / "broken.jpg").unlink()
    monkeypatch.setattr("clipnb.datasets.card.EXAMPLES", 1)
    assert main(["card", str(root), "--files"]) == 0
    assert capsys.readouterr().out.splitlines()[-3:] == ["every file is used", pairs[0], "and 1 more"]


def test_a_flat_folder_has_no_pairs_across_categories_and_plain_names(root: Path, printed: Printed) -> None:
    shutil.copy(root / "dogs" / "broken.jpg", root / "cats")
    said = printed("card", str(root / "cats"), "--files")
    assert "broken.jpg: unreadable" in said
    assert "copy.png = 0.png" in said.splitlines()
    assert not [line for line in said.splitlines() if "broken.jpg/" in line or "across" in line or "different categories" in line]


def test_a_card_is_kept_made_anew_when_files_change_and_bears_the_name_of_its_own_folder(root: Path, tmp_path: Path) -> None:
    first = card_of(str(root), progress=False)
    assert card_of(str(root), progress=False) == first
    assert Card(**json.loads(json.dumps(asdict(first)))) == first
    copied = shutil.copytree(root, tmp_path / "copied")
    assert (first.name, card_of(str(copied), progress=False).name) == (root.name, "copied")
    (root / "dogs" / "grey.png").unlink()
    assert card_of(str(root), progress=False).photographs == 5


@given(st.integers(0, 999), st.integers(0, 12), st.integers(0, BITS), st.integers(1, 5))
def test_near_copies_are_those_of_a_plain_loop(seed: int, n: int, most: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 256, (1, CELLS)) * (rng.random(CELLS) < 0.2)
    hashes = np.clip(base + rng.integers(0, rng.choice([3, 50]), (n, CELLS)), 0, 255).astype(np.uint8)

    def near(one: np.ndarray, other: np.ndarray) -> bool:
        a, b = (np.diff(h.reshape(16, 17).astype(int), axis=1) for h in (one, other))
        votes = (abs(a) >= 2) | (abs(b) >= 2)
        apart = votes & ((a > 0) != (b > 0))
        few = votes.sum() < FEWEST or 256 * apart.sum() > most * votes.sum()
        return not few and abs(one.astype(int) - other).max() <= CELL

    expected = [[near(one, other) for other in hashes] for one in hashes]
    assert near_copies(hashes, hashes, most).tolist() == expected
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n) if near_copies(hashes[i : i + 1], hashes[j : j + 1])[0, 0]]
    assert near_pairs(hashes, block) == pairs


def test_cards_and_runs_have_one_hash_and_one_threshold() -> None:
    image = picture(5, 64, 64)
    cells = picture_hash(image).reshape(16, 17)
    np.testing.assert_array_equal(cells[:, 1:] > cells[:, :-1], imagehash.dhash(Image.fromarray(image), hash_size=16).hash)
    assert RunSpec("sample-figures").duplicates == NEAR


def test_measured_cards_hold_numbers_and_no_names() -> None:
    cards = {card.name: card for card in records.cards()}
    assert {"athletes", "miniplaces"} <= set(cards)
    assert cards["miniplaces"].square == 1
    assert all(not card.examples for card in cards.values())


def test_a_folder_without_readable_images_is_one_line(photo_folder: PhotoFolder) -> None:
    root = photo_folder({"cats": 2})
    for path in (root / "cats").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DatasetError, match="none of the 2 images"):
        card_of(str(root), progress=False)


def test_a_run_without_its_photographs_has_no_card_and_does_not_stop_the_book(photo_folder: PhotoFolder, tmp_path: Path) -> None:
    kept, gone = (photo_folder({"cats": 2}, name) for name in ("kept", "gone"))
    results = [run(RunSpec(str(folder), "original", "tiny", 1), progress=False) for folder in (kept, gone)]
    shutil.copytree(REPOSITORY / "notebooks", tmp_path / "notebooks")

    def cards() -> list[str]:
        extension.write_cards(tmp_path, results)
        return sorted(p.name for p in (tmp_path / "book" / "cards").iterdir())

    assert cards() == ["gone.ipynb", "kept.ipynb"]
    shutil.rmtree(gone)
    assert cards() == ["kept.ipynb"]
