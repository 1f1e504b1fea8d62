"""Prompts, zero-shot classification, text-to-image retrieval, and words written on photographs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from clipnb import RunSpec, UserError, load_dataset, run
from clipnb.analysis.tolerance import by_chance
from clipnb.datasets.dataset import readable
from clipnb.datasets.images import decode, digest, read
from clipnb.embedding.embed import TEXTS, embed_names
from clipnb.embedding.store import EmbeddingStore
from clipnb.encoders.prompts import BARE, templates
from clipnb.manipulations import Condition, View, apply, condition
from clipnb.metrics.zero_shot import retrieved_by_text, zero_shot
from clipnb.possible import require_possible
from clipnb.report.photos import before_after
from clipnb.report.text import summary
from conftest import PhotoFolder, TinyEncoder, let_torchvision_load, picture

let_torchvision_load()


class Reader(TinyEncoder):
    """Mean colours, and texts as random vectors; it keeps what it embeds."""

    identity = "reader|8x8 mean colours"

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def encode_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        assert len(texts) <= TEXTS
        self.texts += texts
        seeds = (int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) for text in texts)
        vectors = np.stack([np.random.default_rng(seed).normal(size=self.dim) for seed in seeds])
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


KINDS = {"amusement_park": 4, "Federer, Roger": 3, "cat": 2}


def measured(folder: Path, manip: str = "original", encoder: Reader | None = None, **settings: Any) -> Any:
    return run(RunSpec(str(folder), manip, k=2, **settings), encoder=encoder or Reader(), progress=False)


def test_names_of_categories_as_a_person_writes_them() -> None:
    changed = {"amusement_park": "amusement park", "Federer, Roger": "Roger Federer", "n02123045_tabby": "tabby"}
    assert {name: readable(name) for name in changed} == changed
    for name in ("Antetokounmpo", "n02123045", "tench, Tinca tinca", "T-shirt", "_"):
        assert readable(name) == name


def test_the_ensemble_is_that_of_open_clip() -> None:
    from open_clip import OPENAI_IMAGENET_TEMPLATES

    assert [t.replace("{}", "cat") for t in templates("imagenet")] == [t("cat") for t in OPENAI_IMAGENET_TEMPLATES]
    assert len(templates("imagenet")) == 80


def test_prompts_have_a_place_for_the_name_and_are_part_of_the_identity_of_a_run() -> None:
    for prompts in ("", "a photo", "a photo of {}|a drawing"):
        with pytest.raises(UserError, match=r"prompts must be photo, imagenet, or templates with \{\}"):
            RunSpec("photos", encoder="histogram", prompts=prompts)
    ids = [RunSpec("photos", encoder="histogram", prompts=p).run_id for p in ("photo", "imagenet", "a {}", "the {}")]
    assert len(set(ids)) == 4
    assert ids[0] == "photos-original-histogram"


def test_a_name_is_the_mean_of_its_templates(tmp_path: Path) -> None:
    reader, store = Reader(), EmbeddingStore(tmp_path, Reader.identity, Reader.dim)
    found = embed_names(["cat", "dog"], templates("imagenet"), reader, store)
    for name, vector in zip(("cat", "dog"), found, strict=True):
        mean = Reader().encode_text([t.replace("{}", name) for t in templates("imagenet")]).mean(axis=0)
        assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-6)
    assert len(reader.texts) == 160
    assert_array_equal(embed_names(["cat", "dog"], templates("imagenet"), reader, store), found)
    assert len(reader.texts) == 160  # kept


def test_more_texts_than_a_batch_come_in_batches(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path, Reader.identity, Reader.dim)
    names = [f"kind {n}" for n in range(TEXTS + 3)]
    assert_allclose(embed_names(names, BARE, Reader(), store)[-1], Reader().encode_text(names[-1:])[0], atol=1e-6)


def test_ties_count_against_the_query() -> None:
    twice = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert not zero_shot(np.array([[1.0, 0.0]]), twice, np.array([0])).any()
    photos = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert not retrieved_by_text(photos, np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1]), k=1)[0]


def test_recall_of_a_text_by_sorting() -> None:
    rng = np.random.default_rng(0)
    photos, prompts = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (rng.normal(size=(60, 5)), rng.normal(size=(6, 5))))
    labels = rng.integers(6, size=60)
    found = retrieved_by_text(photos, prompts, labels, k=7)
    for kind, prompt in enumerate(prompts):
        first = set(np.argsort(-photos @ prompt)[:7])
        assert found[labels == kind].mean() == pytest.approx(np.mean([i in first for i in np.flatnonzero(labels == kind)]))


def test_a_run_reports_prompts_beside_bare_names(photo_folder: PhotoFolder) -> None:
    reader, folder = Reader(), photo_folder(KINDS)
    result = measured(folder, "grey", reader)
    assert {"a photo of a Roger Federer.", "Roger Federer", "a photo of a amusement park."} <= set(reader.texts)
    words = load_dataset(str(folder)).words
    photos = load_dataset(str(folder)).photos
    images = [apply(decode(read(p.path), p.id), "grey") for p in photos]
    vectors = Reader().encode(np.stack([Reader().prepare(image) for image in images]))
    for column, texts in (("zero_shot", [f"a photo of a {w}." for w in words]), ("zero_shot_bare", words)):
        nearest = [words[i] for i in np.argmax(vectors @ Reader().encode_text(texts).T, axis=1)]
        expected = [float(word == readable(p.category)) for word, p in zip(nearest, photos, strict=True)]
        assert result.rows[column].tolist() == expected
    assert "misread" not in result.rows
    assert "| zero-shot prompts | `photo` |" in summary(result)
    assert result.macro("text_r_at_k").point <= 1


def test_a_batch_of_queries_is_no_gallery_for_texts(photo_folder: PhotoFolder) -> None:
    result = measured(photo_folder(KINDS), start=0, step=1)
    assert "zero_shot" in result.rows
    assert "text_r_at_k" not in result.rows


def test_chance_of_naming_is_one_of_the_categories() -> None:
    assert by_chance([3, 2], "zero_shot").tolist() == [0.5, 0.5]


def test_the_word_is_another_category_and_the_same_at_every_strength() -> None:
    words = ["cat", "dog", "yard"]
    for seed in range(30):
        written = {
            condition(c).on(words, "dog", seed, "digest").word for c in ("typographic/1", "typographic=0.4", "typographic/5")
        }
        assert len(written) == 1
        assert written <= {"cat", "yard"}
    drawn = {condition(f"typographic/1#{draw}").on(words, "dog", 0, "digest").word for draw in range(9)}
    assert drawn == {"cat", "yard"}
    assert condition("blurred/3").on(words, "dog", 0, "digest") == Condition("blurred", 3)


def test_the_key_of_an_embedding_depends_on_the_word() -> None:
    keys = [Condition("typographic", 3, word=word).key(0) for word in ("cat", "dog", "cat")]
    assert keys[0] == keys[2] != keys[1]
    assert "cat" in Condition("grey+typographic", 3, word="cat").key(0)


@pytest.mark.parametrize(("width", "height"), [(300, 200), (200, 300), (640, 100)])
@pytest.mark.parametrize("share", [0.1, 0.3])
def test_the_height_of_the_line_is_the_strength_and_a_centre_crop_keeps_it(width: int, height: int, share: float) -> None:
    plain = np.full((height, width, 3), 128, np.uint8)
    for word in ("lp", "Giannis Antetokounmpo of the Milwaukee Bucks"):
        changed = np.abs(apply(plain, "typographic", strength=share, word=word).astype(int) - 128).max(axis=2) > 8
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        short = min(width, height)
        assert rows[-1] - rows[0] + 1 == pytest.approx(share * short, abs=2 + 0.05 * share * short)
        assert (width - short) / 2 <= columns[0]
        assert columns[-1] <= (width + short) / 2
        assert (height - short) / 2 <= rows[0]
        assert rows[-1] <= (height + short) / 2
    assert Condition("typographic", strength=share).at_input(plain.shape, plain.shape, View(224), 0.0) == share


def test_a_run_with_written_words(photo_folder: PhotoFolder) -> None:
    folder = photo_folder(KINDS, size=(96, 64))
    result = measured(folder, "typographic", severity=5)
    data = load_dataset(str(folder))
    photo = data.photos[-1]
    content = read(photo.path)
    key = digest(content)
    written = condition("typographic/5").on(data.words, readable(photo.category), 0, key)
    assert written.word in {"Roger Federer", "amusement park"}
    vector = Reader().encode(Reader().prepare(written(decode(content, photo.id), 0, key))[None])[0]
    prompts = Reader().encode_text([f"a photo of a {w}." for w in data.words])
    named = data.words[int(np.argmax(prompts @ vector))]
    row = result.rows.iloc[-1]
    assert row["misread"] == (named == written.word)
    assert row["zero_shot"] == (named == "cat")
    assert row["strength"] == pytest.approx(0.3)
    assert not row["noop"]
    before_after(result.spec, columns=2)


def test_other_categories_give_other_words_and_new_embeddings(photo_folder: PhotoFolder) -> None:
    two = photo_folder({"cat": 3, "dog": 3}, "two", size=(96, 64))
    measured(two, "typographic")
    assert measured(two, "typographic").provenance["embedded_now"] == 0
    (two / "dog").rename(two / "yard")
    again = measured(two, "typographic")
    assert again.provenance["embedded_now"] == 3  # the cats, with another word; what is written on the yards is still "cat"


def test_what_cannot_be_written_is_one_line(photo_folder: PhotoFolder) -> None:
    with pytest.raises(UserError, match="typographic writes the name of another category: the data set needs at least two"):
        measured(photo_folder({"cat": 3}, "one"), "typographic")
    with pytest.raises(UserError, match="cannot write 'a猫': its fonts lack '猫'; rename the category"):
        apply(picture(0), "typographic", 3, word="a猫")
    with pytest.raises(UserError, match="cannot write '猫'"):
        require_possible(RunSpec(str(photo_folder({"cat": 3, "猫": 3}, "cats")), "typographic", "histogram", k=2))
    written = [apply(picture(0), "typographic", 3, word=word) for word in ("Köln", "Kln", "Łódź", "Москва")]
    assert len({image.tobytes() for image in written}) == 4
