"""`clipnb cache`: what a person sees of the cache, and what a pruned one costs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from clipnb import RunSpec, UserError, run
from clipnb.cli import main
from clipnb.datasets.dataset import load_dataset
from clipnb.embedding import cache
from clipnb.embedding.embed import embed, kept_embeddings
from clipnb.embedding.store import EmbeddingStore, Entry
from conftest import PhotoFolder, Printed, TinyEncoder, held


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLIPNB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fill(root: Path, identity: str, rows: range = range(3), days: float = 0) -> Path:
    store = EmbeddingStore(root / "embeddings", identity, 8)
    store.add((bytes([n]) * 32, Entry(np.zeros(8, np.float32), bytes([n]) * 16)) for n in rows)
    store.close()
    os.utime(store.path, (time.time() - days * cache.DAY,) * 2)
    return store.path


def names() -> list[str]:
    return sorted(part.name for part in cache.contents())


def test_an_empty_cache_is_no_error(root: Path, printed: Printed) -> None:
    assert printed("cache") == f"{root} ($CLIPNB_CACHE): 0.00B\n"


def test_encoders_and_the_rest_are_listed_with_counts_and_sizes(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(root, "ViT-L/14|weights|preprocessing|bf16", range(100))
    fill(root, "histogram|x", range(3), days=2)
    (root / "samples" / "v2").mkdir(parents=True)
    (root / "samples" / "v2" / "a.jpg").write_bytes(bytes(2_500_000))
    assert main(["cache"]) == 0
    lines, sizes = capsys.readouterr().out.splitlines(), [cache.readable(part.size) for part in cache.contents()]
    assert sorted(" ".join(line.split()) for line in lines[1:]) == [
        f"embeddings ViT-L/14 bf16 100 embeddings {sizes[1]} 0 days ago",
        f"embeddings histogram 3 embeddings {sizes[2]} 2 days ago",
        "kind encoder holds size last used",
        "samples 1 file 2.50MB 0 days ago",
    ]
    assert sum(part.size for part in cache.contents()) == sum(p.stat().st_size for p in root.rglob("*") if p.is_file())


def test_one_encoder_or_what_no_run_opened_for_long_is_pruned_and_the_others_stay(root: Path, printed: Printed) -> None:
    for identity, days in (("ViT-L/14|w|p|fp32", 5), ("ViT-L/14|w|p|bf16", 5), ("histogram|x", 5), ("old|x", 40), ("opened|x", 40)):
        fill(root, identity, days=days)
    EmbeddingStore(root / "embeddings", "opened|x", 8)
    left = ["ViT-L/14", "ViT-L/14 bf16", "histogram", "old", "opened"]
    for typed, said in (
        ([], "say what to prune"),
        (["VIT-L/14"], "nothing called VIT-L/14 (did you mean 'ViT-L/14'"),
        (["--older-than", "-1"], "--older-than takes a number of days from 0 up, not -1"),
        (["--older-than", "nan"], "--older-than takes a number of days from 0 up, not nan"),
        (["--older-than", "3", "samples"], "cache does not take samples (names come before flags)"),
    ):
        assert said in printed("cache", "prune", *typed, status=1)
        assert names() == left
    assert "choose what to prune: clipnb cache prune" in printed("cache", "--older-than", "3", status=1)
    for typed, gone in ((["ViT-L/14 bf16"], "ViT-L/14 bf16"), (["ViT-L/14"], "ViT-L/14"), (["--older-than", "30"], "old")):
        assert "1 part of the cache deleted" in printed("cache", "prune", *typed)
        left.remove(gone)
        assert names() == left


def test_embeddings_that_no_run_reads_are_marked_and_pruned_first(root: Path, printed: Printed) -> None:
    fill(root, "damaged|x").write_bytes(b"no database")
    fill(root, "older|x").rename(root / "embeddings" / "older-000000000000.sqlite")
    (root / "embeddings" / "tiny-000000000000").mkdir()
    (root / "embeddings" / "tiny-000000000000" / "encoder.json").write_text("{}", "utf-8")
    with pytest.warns(UserWarning, match=r"embeddings of version 0.1, .*: `clipnb cache prune` deletes them") as said:
        [fill(root, "tiny|x") for _ in range(2)]
    assert len(said) == 1
    listed = printed("cache")
    assert all(f"({why}, unused)" in listed for why in ("damaged", "of an older layout", "of version 0.1"))
    assert main(["cache", "prune"]) == 0
    assert names() == ["tiny"]


def test_pruning_a_store_in_use_harms_neither_its_user_nor_later_runs(root: Path) -> None:
    in_use = EmbeddingStore(root / "embeddings", "tiny|x", 8)
    assert main(["cache", "prune", in_use.path.stem]) == 0
    later = EmbeddingStore(root / "embeddings", "tiny|x", 8)
    for store in (in_use, later):
        store.add([(bytes(32), Entry(np.zeros(8, np.float32), bytes(16)))])
    in_use.close()
    assert held(EmbeddingStore(root / "embeddings", "tiny|x", 8)) == held(later) == 1


@pytest.mark.parametrize("how", ["pruned", "deleted by hand"])
def test_a_run_goes_on_when_another_process_deletes_its_cache(
    root: Path, photo_folder: PhotoFolder, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    spec = RunSpec(str(photo_folder({"cats": 6, "dogs": 6})), "grey", "tiny", k=2)
    undisturbed = run(spec, progress=False)
    shutil.rmtree(root)
    encode, batches = TinyEncoder.encode, []

    def disturbed(self: TinyEncoder, batch: np.ndarray) -> np.ndarray:
        batches.append(len(batch))
        if len(batches) == 4:
            if how == "pruned":
                said = subprocess.run([sys.executable, "-m", "clipnb", "cache", "prune", "--all"], check=True, capture_output=True)
                assert b"1 part of the cache deleted" in said.stdout
            else:
                shutil.rmtree(root / "embeddings", ignore_errors=True)  # a thread may write there at the same time
        return encode(self, batch)

    monkeypatch.setattr(TinyEncoder, "encode", disturbed)
    result = run(spec, batch_size=4, progress=False)
    assert result.rows.equals(undisturbed.rows)
    assert result.provenance["embedded_now"] == sum(batches) > 24  # what was deleted is embedded again
    assert run(spec, progress=False).provenance["embedded_now"] == 0


def test_a_photograph_that_is_deleted_from_the_cache_is_no_unreadable_one(root: Path, photo_folder: PhotoFolder) -> None:
    shutil.copytree(photo_folder({"cats": 3}), root / "samples")
    photos, encoder = load_dataset(str(root / "samples")).photos, TinyEncoder()
    photos[1].path.unlink()
    with pytest.raises(UserError, match=r"01.png was deleted while it was used: run the same again"):
        embed(photos, ["original"], encoder, kept_embeddings(encoder), progress=False)


@pytest.mark.skipif(
    os.name == "nt" or os.geteuid() != 0 or not shutil.which("setpriv"), reason="becomes an unknown user: needs root"
)
def test_without_a_home_folder_one_line_asks_for_a_cache(photo_folder: PhotoFolder) -> None:
    user = ["setpriv", "--reuid", "54321", "--clear-groups", "--inh-caps", "+dac_override", "--ambient-caps", "+dac_override"]
    homeless = {name: value for name, value in os.environ.items() if name not in ("HOME", "CLIPNB_CACHE", "XDG_CACHE_HOME")}
    command = [*user, sys.executable, "-m", "clipnb", "card", str(photo_folder({"cats": 3}))]
    done = subprocess.run(command, env=homeless, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "clipnb: there is no home folder for the cache: set $CLIPNB_CACHE to a folder\n"
