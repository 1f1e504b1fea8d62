"""CLIP by way of `clip` and `open_clip`: tiny random checkpoints through the very code that loads the large ones."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from clipnb.encoders import TextEncoder, load_encoder
from clipnb.encoders.lazy import KnownEncoder
from clipnb.errors import UserError
from clipnb.report.text import summary
from clipnb.runs import run
from clipnb.spec import RunSpec
from conftest import PhotoFolder, let_torchvision_load, picture, stated

let_torchvision_load()
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import clip
    import open_clip

SIZES = {"image_resolution": 32, "vision_layers": 2, "vision_width": 64, "vision_patch_size": 16}
TEXT = {"context_length": 77, "vocab_size": 49408, "transformer_width": 64, "transformer_heads": 1, "transformer_layers": 1}
CONFIG = {
    "embed_dim": 64,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16, "head_width": 64},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
}


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


class Checkpoints:
    """One tiny model in the forms in which models are handed around."""

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(0)
        model = clip.model.CLIP(embed_dim=64, **SIZES, **TEXT).eval()
        clip.model.convert_weights(model)  # half precision, as OpenAI publishes
        self.state, self.openai, self.archive = (folder / n for n in ("tiny.pt", "tiny-openai.pt", "tiny-archive.pt"))
        torch.save(model.state_dict(), self.state)
        self.safetensors = folder / "tiny.safetensors"
        save_file({name: weight.clone() for name, weight in model.state_dict().items()}, self.safetensors)
        buffers = {"input_resolution": 32, "context_length": 77, "vocab_size": 49408}
        torch.save(model.state_dict() | {k: torch.tensor(v) for k, v in buffers.items()}, self.openai)
        model.float()
        for name, value in buffers.items():
            model.__dict__.pop(name, None)  # plain numbers in the package's class, buffers in OpenAI's archives
            model.register_buffer(name, torch.tensor(value))
        example = (torch.zeros(1, 3, 32, 32), torch.zeros(1, 77, dtype=torch.long))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            traced = torch.jit.trace_module(model, {"encode_image": example[0], "encode_text": example[1], "forward": example})
            torch.jit.save(traced, self.archive)
        (folder / "tiny.json").write_text(json.dumps(CONFIG))
        open_clip.add_model_config(folder / "tiny.json")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    return Checkpoints(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def with_other_weights(file: Path) -> None:
    state = torch.load(file, weights_only=True)
    torch.save({name: weight * 2 if name == "visual.proj" else weight for name, weight in state.items()}, file)


def batch(encoder: Any, sizes: tuple[tuple[int, int], ...] = ((48, 32), (33, 77), (300, 40), (1, 1))) -> np.ndarray:
    return np.stack([encoder.prepare(picture(i, *size)) for i, size in enumerate(sizes)])


def test_every_form_of_one_model_gives_the_same_vectors(tiny: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPNB_CACHE", str(tmp_path / "cache"))  # no note of an archive that only this test takes as published
    monkeypatch.setitem(clip.clip._MODELS, "tiny", f"https://openai/{sha256(tiny.archive)}/tiny.pt")  # as if OpenAI published it
    a, inputs, texts = load_encoder(str(tiny.state)), batch(load_encoder(str(tiny.state))), ["a cat", "bar"]
    assert isinstance(a, TextEncoder)
    for name in (tiny.archive, tiny.openai, f"open_clip:tiny/{tiny.state}", f"open_clip:tiny/{tiny.safetensors}"):
        b = load_encoder(str(name))
        assert isinstance(b, TextEncoder)
        np.testing.assert_array_equal(inputs, batch(b))
        np.testing.assert_allclose(a.encode(inputs), b.encode(inputs), atol=1e-5)
        np.testing.assert_allclose(a.encode_text(texts), b.encode_text(texts), atol=1e-5)


def test_the_embedding_is_that_of_the_package_itself(tiny: Checkpoints) -> None:
    from PIL import Image

    model, preprocess = clip.load(str(tiny.state), device="cpu")
    ours = load_encoder(str(tiny.state))
    photographs = [picture(i, w, h) for i, (w, h) in enumerate([(48, 32), (33, 77), (500, 300), (64, 64), (29, 400)])]
    with torch.no_grad():
        theirs = model.encode_image(torch.stack([preprocess(Image.fromarray(p)) for p in photographs]))
        theirs = (theirs / theirs.norm(dim=-1, keepdim=True)).numpy()
        texts = model.encode_text(clip.tokenize(["a cat"]))
        texts = (texts / texts.norm(dim=-1, keepdim=True)).numpy()
    found = ours.encode(np.stack([ours.prepare(p) for p in photographs]))
    stated("path/to/checkpoint.pt", max(np.abs(found - theirs).max(), np.abs(ours.encode_text(["a cat"]) - texts).max()))
    np.testing.assert_allclose(found, theirs, atol=1e-6)


def test_preprocessing_is_pixel_identical_to_the_packages() -> None:
    from clip.clip import _transform
    from PIL import Image

    from clipnb.encoders.clip_models import MEAN, STD
    from clipnb.encoders.preprocessing import Preprocessing

    ours, theirs = Preprocessing(224, MEAN, STD), _transform(224)
    rng = np.random.default_rng(0)
    for height, width in [(1, 1), (40, 41), (750, 1000), (301, 200), (28, 300), (29, 60)]:
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        back = theirs(Image.fromarray(image)).permute(1, 2, 0).numpy() * np.float32(STD) + np.float32(MEAN)
        np.testing.assert_array_equal(ours(image), np.rint(back * 255).astype(np.uint8))


@pytest.mark.parametrize(("precision", "worst"), [("bf16", 0.06), ("fp16", 0.01)])
def test_lower_precision_stays_close_and_is_recorded(tiny: Checkpoints, precision: str, worst: float) -> None:
    for name in (str(tiny.state), f"open_clip:tiny/{tiny.state}"):
        full, low = load_encoder(name), load_encoder(name, precision)
        moved = np.linalg.norm(full.encode(batch(full)) - low.encode(batch(low)), axis=1)
        assert 0 < moved.max() < worst
        assert low.identity != full.identity


def test_a_batch_that_does_not_fit_is_halved(tiny: Checkpoints) -> None:
    known: Any = load_encoder(str(tiny.state))
    encoder = getattr(known, "loaded", known)
    inputs = np.concatenate([batch(encoder)] * 3)[:11]
    wanted, forward, sizes = encoder.encode(inputs), encoder._forward, []

    def small_memory(pixels: Any) -> Any:
        sizes.append(len(pixels))
        if len(pixels) > 3:
            raise torch.OutOfMemoryError("no more")
        return forward(pixels)

    encoder._forward = small_memory
    np.testing.assert_allclose(encoder.encode(inputs), wanted, atol=1e-6)
    refused = [size for size in sizes if size > 3]
    assert refused == sizes[: len(refused)]  # never again after the first part that fits
    assert sum(sizes) - sum(refused) == 11
    encoder._forward = lambda pixels: small_memory(pixels.repeat(4, 1, 1, 1))
    with pytest.raises(torch.OutOfMemoryError):
        encoder.encode(inputs[:1])


def test_an_encoder_loaded_from_its_note_is_the_same_and_embeds_texts(tiny: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPNB_CACHE", str(tiny.state.parent / "cache"))
    first, second = load_encoder(str(tiny.state)), load_encoder(str(tiny.state))
    assert not hasattr(first, "loaded")
    assert isinstance(second, KnownEncoder)
    assert (second.identity, second.dim, second.input_size) == (first.identity, first.dim, first.input_size)
    assert isinstance(second, TextEncoder)
    assert isinstance(first, TextEncoder)
    np.testing.assert_array_equal(second.encode_text(["a cat"]), first.encode_text(["a cat"]))
    np.testing.assert_array_equal(second.encode(batch(second)), first.encode(batch(first)))


def test_other_weights_in_the_same_file_are_another_encoder(tiny: Checkpoints, tmp_path: Path) -> None:
    weights = tmp_path / "weights.pt"
    weights.write_bytes(tiny.state.read_bytes())
    first = load_encoder(str(weights))
    assert first.weights_sha256 == sha256(tiny.state)
    assert first.weights_sha256 in first.identity
    with_other_weights(weights)
    assert load_encoder(str(weights)).identity != first.identity


@pytest.mark.parametrize("before", ["", "open_clip:tiny/"])
def test_weights_that_change_while_they_are_loaded_are_not_taken(
    tiny: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    """Their identity would be that of other bytes."""
    weights, load = tmp_path / "weights.pt", torch.load

    def replaced_meanwhile(*arguments: Any, **options: Any) -> Any:
        loaded = load(*arguments, **options)
        weights.write_bytes(tiny.state.read_bytes())
        return loaded

    weights.write_bytes(tiny.state.read_bytes())
    monkeypatch.setattr(torch, "load", replaced_meanwhile)
    with pytest.raises(UserError, match=r"weights\.pt was changed while it was loaded: run the same again"):
        load_encoder(f"{before}{weights}")


def test_weights_that_change_after_their_note_was_read_are_not_taken(
    tiny: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIPNB_CACHE", str(tmp_path / "cache"))
    weights = tmp_path / "weights.pt"
    weights.write_bytes(tiny.state.read_bytes())
    load_encoder(str(weights))
    noted = load_encoder(str(weights))
    with_other_weights(weights)
    with pytest.raises(UserError, match=r"the weights of 'weights\.pt' were changed during the run: run the same again"):
        noted.prepare(np.zeros((8, 8, 3), np.uint8))


def test_a_named_model_comes_from_the_cache_and_is_checked(tiny: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tiny.archive.parent / sha256(tiny.archive) / "ViT-B-32.pt"
    source.parent.mkdir()
    source.write_bytes(tiny.archive.read_bytes())
    monkeypatch.setitem(clip.clip._MODELS, "ViT-B/32", source.as_uri())  # the download, by file://
    encoder = load_encoder("ViT-B/32")
    assert (encoder.name, encoder.weights_sha256) == ("ViT-B/32", sha256(source))
    cached = Path("~/.cache/clip/ViT-B-32.pt").expanduser()
    assert cached.is_file()
    cached.write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"ViT-B-32\.pt is not 'ViT-B/32' as OpenAI published it"):
        load_encoder("ViT-B/32")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ViT-L/14", "put ViT-L-14.pt there, or use the encoder efficientnet-lite2, which needs no network"),
        ("ViT-B/99", "did you mean 'ViT-B/32' or"),
        ("open_clip:nope/openai", "open_clip knows no model 'nope'"),
        ("open_clip:ViT-B-32/nope", "neither a file nor one of the tags openai,"),
        ("open_clip:ViT-B-32/laion2b_s34b_b79k", "Hugging Face cache and cannot be fetched"),
        ("open_clip:tiny/{openai}", "one of OpenAI's own checkpoints: pass its path alone"),
        ("open_clip:tiny/{archive}", "one of OpenAI's own checkpoints: pass its path alone"),
        ("open_clip:tiny/{text}", "is not a checkpoint of tiny"),
        ("{text}", "is not a CLIP checkpoint"),
        ("{archive}", "save its state_dict(), or set CLIPNB_TRUST_CHECKPOINT=1 to run a program that OpenAI did not publish"),
        ("missing.pt", "no checkpoint 'missing.pt'"),
        ("no.such:encoder", "No module named 'no.such'"),
        ("json:dumps", "should be an encoder or a function without arguments"),
        ("locale:localeconv", "is an object without dim"),
    ],
)
def test_an_encoder_that_cannot_be_loaded_is_one_line(tiny: Checkpoints, tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "text.pt").write_text("not weights")
    with pytest.raises(UserError) as caught:
        load_encoder(name.format(openai=tiny.openai, archive=tiny.archive, text=tmp_path / "text.pt"))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pickled_code_in_a_checkpoint_is_not_run(tiny: Checkpoints, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"trap": Trap()}, tmp_path / "trap.pt")
    for name in (str(tmp_path / "trap.pt"), f"open_clip:tiny/{tmp_path / 'trap.pt'}"):
        with pytest.raises(UserError, match="does not run code"):
            load_encoder(name)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_a_run_names_categories_and_its_engine(tiny: Checkpoints, photo_folder: PhotoFolder, engine: str) -> None:
    spec = RunSpec(str(photo_folder({"cats": 4, "dogs": 4})), "grey", str(tiny.state), k=3, engine=engine)
    result = run(spec, progress=False)
    assert set(result.rows["zero_shot"]) <= {0.0, 1.0}
    assert "named by category, zero-shot" in summary(result)
    assert ("fp32 by openvino on cpu" in summary(result)) == (engine == "openvino")
    assert spec.run_id == {"torch": "photos-grey-tiny.pt-k3", "openvino": "photos-grey-tiny.pt-k3-openvino"}[engine]


def test_a_torchvision_for_another_torch_is_one_line() -> None:
    if torch.version.cuda is not None:
        pytest.skip("torch and torchvision fit each other here")
    code = "from clipnb.encoders import load_encoder; load_encoder('ViT-L/14')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    said = "clipnb.errors.UserError: the encoder 'ViT-L/14' needs a torchvision built for this torch: pip install "
    assert done.stderr.strip().splitlines()[-1].startswith(said)


@pytest.mark.parametrize(
    ("engine", "precision", "off"), [("openvino", "fp32", 1e-5), ("openvino", "bf16", 0.05), ("compile", "fp32", 1e-5)]
)
def test_another_engine_gives_the_same_vectors_for_any_number_of_inputs(
    tiny: Checkpoints, engine: str, precision: str, off: float
) -> None:
    if precision == "bf16":
        openvino = pytest.importorskip("openvino")
        if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            pytest.skip("this processor has no bfloat16 for OpenVINO")
    plain, other = load_encoder(str(tiny.state)), load_encoder(str(tiny.state), precision, engine)
    assert other.identity != plain.identity
    assert engine in other.identity
    inputs = np.concatenate([batch(plain)] * 2)
    expected = plain.encode(inputs)
    for n in (1, 3, 4, 6):
        np.testing.assert_allclose(other.encode(inputs[:n]), expected[:n], atol=off)
    if engine == "openvino":
        with pytest.raises(UserError, match=r"does not run fp16 on this processor: use -p precision fp32, or -p engine torch"):
            load_encoder(str(tiny.state), "fp16", engine)
