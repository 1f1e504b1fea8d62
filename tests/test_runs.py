"""One run, from specification to result: what it asks, counts, scores and says."""

from __future__ import annotations

import io
import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

from clipnb import RunSpec, UserError, run
from clipnb.checks import warnings
from clipnb.datasets.dataset import load_dataset
from clipnb.datasets.images import decode, digest, read
from clipnb.errors import DatasetError
from clipnb.manipulations import Condition
from clipnb.possible import require_possible
from clipnb.report.text import summary
from conftest import PhotoFolder, TinyEncoder, picture, tiny_run


def test_every_mistake_in_a_specification_is_named_in_one_line() -> None:
    with pytest.raises(UserError) as caught:
        RunSpec(manip="blured", encoder="clipp", k=0, tau=2.5, seed="today")  # type: ignore[arg-type]
    message = str(caught.value)
    for part in ("'blured'", "did you mean 'blurred'?", "'clipp'", "k must be", "tau must be", "seed must be"):
        assert part in message
    assert "\n" not in message


BAD = {
    "k": (0, -1, 2.0, "10", True, None, math.nan),
    "tau": (0, -0.5, 2.01, math.nan, math.inf, "0.8", True, None),
    "seed": (0.5, "7", True, None),
    "precision": ("fp8", "", None),
}


def test_a_setting_that_makes_no_sense_is_refused() -> None:
    for field, values in BAD.items():
        for value in values:
            with pytest.raises(UserError, match=f"^{field} must be .*, not "):
                RunSpec(**{field: value})  # type: ignore[arg-type]


NEARLY_EQUAL: dict[str, tuple[Any, Any]] = {"seed": (20240101, 20240102), "k": (1234567, 1234568), "tau": (0.75, 0.75000001)}


def test_the_run_id_names_the_settings_that_are_not_the_usual_ones() -> None:
    assert RunSpec(manip="gray", tau=1) == RunSpec(manip="grey", tau=1.0)
    assert RunSpec("nba", "crop", "tiny", precision="bf16").run_id == "nba-cropped-tiny-bf16"
    assert RunSpec("a/b/nba", "crop", "tiny").run_id == "nba-cropped-tiny"
    assert RunSpec("nba", "crop", "tiny", k=5, tau=0.75, seed=3).run_id == "nba-cropped-tiny-k5-tau0.75-seed3"
    assert RunSpec("nba", "crop", "tiny", k=10, tau=0.8, seed=0).run_id == "nba-cropped-tiny"
    ids = {RunSpec(**{field: value}).run_id for field, values in NEARLY_EQUAL.items() for value in values}
    assert len(ids) == 2 * len(NEARLY_EQUAL)


def test_an_accuracy_is_what_the_study_defines(photo_folder: PhotoFolder) -> None:
    root, encoder = photo_folder({"cats": 5, "dogs": 4, "birds": 3}, size=(128, 32)), TinyEncoder()
    photos = load_dataset(str(root)).photos
    contents = [read(photo.path) for photo in photos]

    def vectors(manip: str) -> np.ndarray:
        images = [Condition(manip)(decode(c), 4, digest(c)) for c in contents]
        return encoder.encode(np.stack([encoder.prepare(image) for image in images])).astype(np.float64)

    def nearest(queries: np.ndarray, row: int) -> list[int]:
        others = [i for i in range(len(photos)) if i != row]
        return sorted(others, key=lambda i: np.linalg.norm(clean[i] - queries[row]))[:3]

    clean, asked = vectors("original"), vectors("cropped")
    found = [nearest(asked, row) for row in range(len(photos))]
    assert found != [nearest(clean, row) for row in range(len(photos))]  # else the manipulation would not show
    accuracy = [np.mean(np.linalg.norm(clean[rows] - clean[query], axis=1) < 0.7) for query, rows in enumerate(found)]
    assert 0 < np.mean(accuracy) < 1

    result = tiny_run(root, "cropped", k=3, tau=0.7, seed=4, duplicates=-1)  # the pictures of a kind are alike
    assert [list(r) for r in result.rows["results"]] == [[photos[i].id for i in rows] for rows in found]
    assert_allclose(result.rows["valid"], accuracy)
    assert_allclose(result.rows["shift"], 1 - (clean * asked).sum(axis=1), atol=1e-6)
    means = {c: np.mean([a for a, p in zip(accuracy, photos, strict=True) if p.category == c]) for c in ("birds", "cats", "dogs")}
    assert result.category_means == pytest.approx(means)
    assert result.valid.point == pytest.approx(np.mean(list(means.values())))


def test_unreadable_images_are_counted_and_all_others_scored(photo_folder: PhotoFolder) -> None:
    root = photo_folder({"cats": 3, "dogs": 3})
    for folder in ("odd", "partly broken", "hopeless", "empty"):
        (root / folder).mkdir()
    photo, jpeg = Image.fromarray(picture(0)), io.BytesIO()
    photo.save(jpeg, "JPEG")
    photo.convert("CMYK").save(root / "odd" / "cmyk.jpg")
    photo.resize((1, 1)).save(root / "odd" / "one pixel.png")
    photo.save(root / "partly broken" / "good.png")
    (root / "partly broken" / "truncated.jpg").write_bytes(jpeg.getvalue()[:-80])
    (root / "partly broken" / "page.jpg").write_text("<html>404</html>")
    (root / "hopeless" / "zero bytes.jpg").write_bytes(b"")
    result = tiny_run(root, "grey")
    broken = {"partly broken/truncated.jpg", "partly broken/page.jpg", "hopeless/zero bytes.jpg"}
    assert set(result.provenance["unreadable"]) == broken
    assert result.provenance["empty_categories"] == ["empty", "hopeless"]
    assert (result.provenance["images"], result.provenance["categories"]) == (9, 4)
    assert result.rows.groupby("category").size().to_dict() == {"cats": 3, "dogs": 3, "odd": 2, "partly broken": 1}
    assert not result.rows["valid"].isna().any()
    assert (result.rows["n_results"] == 2).all()
    assert list(result.category_means) == ["cats", "dogs", "odd", "partly broken"]
    assert any("3 unreadable images" in w for w in warnings(result))
    assert any("2 folders hold no readable image" in w and "empty" in w and "hopeless" in w for w in warnings(result))
    for number in range(5):
        (root / f"deep {number}" / "inside").mkdir(parents=True)
        photo.save(root / f"deep {number}" / "inside" / "good.png")
    said = " ".join(warnings(tiny_run(root, "grey")))
    assert "7 folders hold no readable image outside subfolders: `deep 0`, `deep 1`," in said
    assert "`deep 4` and 2 more" in said
    assert f"(`clipnb card --files {root}` names them)" in said
    assert json.loads(json.dumps(result.provenance)) == result.provenance


def test_a_gallery_that_is_too_small_or_unreadable_is_one_line(photo_folder: PhotoFolder) -> None:
    root = photo_folder({"cats": 3, "dogs": 2})
    with pytest.raises(UserError, match=r"-p k 4\)"):
        tiny_run(root, k=5)
    for path in root.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DatasetError, match=r"none of the 5 images .* can be used; the first: .*empty"):
        tiny_run(root)


def test_a_name_that_is_no_unicode_is_refused_in_one_line(photo_folder: PhotoFolder) -> None:
    root = photo_folder({"cats": 3, "dogs": 3})
    try:
        (root / "dogs").rename(root / os.fsdecode(b"M\xfcller"))  # from an old archive
    except (OSError, UnicodeDecodeError):
        pytest.skip("this file system has only unicode names")
    with pytest.raises(UserError, match="is not Unicode") as caught:
        tiny_run(root)
    assert str(caught.value).encode("utf-8")


def test_one_category_gives_a_number_without_interval_and_says_so(photo_folder: PhotoFolder, tmp_path: Path) -> None:
    result = tiny_run(photo_folder({"cats": 4}))
    assert 0 <= result.valid.point <= 1
    assert np.isnan([result.valid.low, result.valid.high]).all()
    assert any("one category" in w for w in warnings(result))
    assert "| 1.0000 |" in summary(result)
    headline = json.loads((result.save(tmp_path / "results") / "run.json").read_text())["headline"]
    assert headline == {"valid": result.valid.point, "low": None, "high": None}


def test_a_missing_gallery_is_named_before_the_run(photo_folder: PhotoFolder) -> None:
    spec = RunSpec(str(photo_folder({"cats": 4})), "grey", "histogram", 2, gallery="gall")
    with pytest.raises(UserError, match="gallery 'gall': no folder that clipnb index wrote, and no data set 'gall'"):
        require_possible(spec)


def test_a_missing_data_set_is_named_before_an_encoder_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clipnb.runs.load_encoder", lambda *_: pytest.fail("the encoder was loaded first"))
    with pytest.raises(UserError, match="no data set 'nowhere'"):
        run(RunSpec("nowhere", encoder="ViT-L/14"), progress=False)


@pytest.mark.parametrize("seed", [-1, 0, 2**70])
def test_every_seed_that_is_accepted_gives_an_interval(photo_folder: PhotoFolder, seed: int) -> None:
    result = tiny_run(photo_folder({f"{i:02d}": 2 for i in range(30)}), "cropped", seed=seed)
    spread = replace(result, rows=result.rows.assign(valid=np.linspace(0, 1, 60)))
    assert spread.valid.method == "Gaffke"
    assert spread.valid.low < 0.5 < spread.valid.high


def test_provenance_says_where_the_numbers_come_from(
    photo_folder: PhotoFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPNB_CACHE", str(tmp_path / "cache"))  # nothing embedded yet, whatever ran before
    root = photo_folder({"cats": 2, "dogs": 1})
    spec = RunSpec(str(root), "original", "efficientnet-lite2", k=2)
    result = run(spec, progress=False)
    about = result.provenance
    assert {"python", "numpy", "torch", "pillow", "faiss-cpu"} <= set(about["versions"])
    assert len(about["encoder"]["weights_sha256"]) == 64
    assert about["encoder"]["weights_sha256"] in about["encoder"]["identity"]
    assert about["encoder"]["dim"] == 1280
    assert (about["images"], about["categories"], about["embedded_now"], about["unreadable"]) == (3, 2, 3, {})
    again = run(spec, progress=False)
    assert again.provenance["embedded_now"] == 0
    assert again.provenance["data_fingerprint"] == about["data_fingerprint"]
    Image.fromarray(picture(9)).save(root / "dogs" / "00.png")
    assert run(spec, progress=False).provenance["data_fingerprint"] != about["data_fingerprint"]


SLUGS = {
    "ViT-L/14@336px": "ViT-L-14@336px",
    "/home/me/tiny@2.pt": "tiny@2.pt",
    "open_clip:ViT-B-32/openai": "open_clip-ViT-B-32-openai",
    "open_clip:ViT-B-32/openai@/home/me/w.pt": "open_clip-ViT-B-32-openai@w.pt",
    "hf:/home/me/model": "hf-model",
    "hf:google/siglip2": "hf-google-siglip2",
    "my.module:mine": "my.module-mine",
}


def test_no_path_of_a_machine_is_in_the_name_of_a_run() -> None:
    assert {encoder: RunSpec("nba", "grey", encoder).run_id.removeprefix("nba-grey-") for encoder in SLUGS} == SLUGS


def test_the_precision_auto_is_recorded_as_what_it_became(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clipnb.encoders.has_cuda", lambda: True)
    spec = RunSpec("nba", "grey", "ViT-L/14")
    assert (spec.precision, spec.run_id) == ("fp16", "nba-grey-ViT-L-14-fp16")
    for full in (replace(spec, precision="fp32"), RunSpec("nba", "grey", "ViT-L/14", device="cpu")):
        assert (full.precision, full.run_id) == ("fp32", "nba-grey-ViT-L-14")
    assert RunSpec("nba", "grey", "histogram").precision == "fp32"
    monkeypatch.setattr("clipnb.encoders.has_cuda", lambda: False)
    here = RunSpec("nba", "grey", "ViT-L/14")
    assert (here.precision, here.run_id) == ("fp32", "nba-grey-ViT-L-14")
    assert here == replace(here, device="cpu")
