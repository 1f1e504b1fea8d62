"""`clipnb cache`: what a person sees of the cache, and what a pruned one costs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from clipnb.cli import main
from clipnb.datasets.dataset import load_dataset
from clipnb.embedding import cache
from clipnb.embedding.embed import embed
from clipnb.embedding.store import EmbeddingStore, Entry
from conftest import PhotoFolder, TinyEncoder


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLIPNB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fill(root: Path, identity: str, rows: int) -> EmbeddingStore:
    store = EmbeddingStore(root / "embeddings", identity, 8)
    store.add((bytes([n]) * 32, Entry(np.zeros(8, np.float32), bytes([n]) * 16)) for n in range(rows))
    return store


def age(folder: Path, days: float) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (time.time() - days * cache.DAY,) * 2)


def test_an_empty_cache_is_nothing_to_worry_about(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache"]) == 0
    assert capsys.readouterr().out == f"{root} ($CLIPNB_CACHE): 0 B\n"


def test_encoders_and_the_rest_are_listed_with_counts_and_sizes(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(root, "ViT-L/14|weights|preprocessing|bf16", 5)
    fill(root, "histogram|x", 3)
    (root / "samples" / "v2").mkdir(parents=True)
    (root / "samples" / "v2" / "a.jpg").write_bytes(bytes(2_500_000))
    assert main(["cache"]) == 0
    lines = capsys.readouterr().out.splitlines()
    sizes = {part.count: cache.readable(part.size) for part in cache.contents()}
    assert [line.split() for line in lines[1:]] == [
        ["kind", "encoder", "holds", "size", "last", "used"],
        ["samples", "1", "files", "2.5", "MB", "0", "days", "ago"],
        ["embeddings", "ViT-L/14", "bf16", "5", "embeddings", *sizes[5].split(), "0", "days", "ago"],
        ["embeddings", "histogram", "3", "embeddings", *sizes[3].split(), "0", "days", "ago"],
    ]
    listed = sum(part.size for part in cache.contents())
    assert listed == sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def test_one_encoder_is_pruned_and_the_others_stay(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for identity in ("ViT-L/14|w|p|fp32", "ViT-L/14|w|p|bf16", "histogram|x"):
        fill(root, identity, 3)
    assert main(["cache", "prune", "ViT-L/14 bf16"]) == 0
    assert "1 parts of the cache deleted" in capsys.readouterr().out
    assert sorted(part.name for part in cache.contents()) == ["ViT-L/14", "histogram"]
    assert main(["cache", "prune", "ViT-L/14"]) == 0
    assert [part.name for part in cache.contents()] == ["histogram"]


def test_what_was_not_used_for_long_is_pruned(root: Path) -> None:
    age(fill(root, "old|x", 2).folder, 40)
    age(fill(root, "new|x", 2).folder, 5)
    assert main(["cache", "prune", "--older-than", "30"]) == 0
    assert [part.name for part in cache.contents()] == ["new"]


def test_opening_a_store_is_using_it(root: Path) -> None:
    age(fill(root, "old|x", 2).folder, 40)
    EmbeddingStore(root / "embeddings", "old|x", 8)
    assert main(["cache", "prune", "--older-than", "30"]) == 0
    assert [part.name for part in cache.contents()] == ["old"]


def test_embeddings_of_an_older_layout_are_marked_and_pruned_first(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fill(root, "tiny|x", 2).folder
    folder.rename(folder.with_name("tiny-000000000000"))
    fill(root, "tiny|x", 2)
    assert main(["cache"]) == 0
    assert capsys.readouterr().out.count("unused)") == 1
    assert main(["cache", "prune"]) == 0
    assert [part.folder for part in cache.contents()] == [folder]


@pytest.mark.parametrize(("arguments", "said"), [([], "say what to prune"), (["VIT"], "holds nothing called VIT")])
def test_a_mistake_deletes_nothing(root: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    fill(root, "tiny|x", 2)
    assert main(["cache", "prune", *arguments]) == 1
    assert said in capsys.readouterr().err
    assert len(cache.contents()) == 1


def test_everything_can_be_made_again(root: Path, photo_folder: PhotoFolder, tiny: TinyEncoder) -> None:
    photos = load_dataset(str(photo_folder({"cats": 4}))).photos

    def go() -> int:
        store = EmbeddingStore(root / "embeddings", tiny.identity, tiny.dim)
        return embed(photos, ["original"], tiny, store, progress=False).computed

    assert (go(), go()) == (4, 0)
    assert main(["cache", "prune", "--all"]) == 0
    assert go() == 4
