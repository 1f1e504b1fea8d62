"""open_clip: preprocessing and activation follow the weights, for every tag, by name and by path."""

from __future__ import annotations

import json
import shutil
import sys
import types
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from clipnb.encoders import TextEncoder, load_encoder
from clipnb.encoders.preprocessing import Preprocessing
from clipnb.errors import UserError
from conftest import let_torchvision_load, picture, stated
from test_clip_encoders import CONFIG

let_torchvision_load()
open_clip = pytest.importorskip("open_clip")


def kind(model: str, tag: str) -> str:
    """All that loading uses of a tag: its preprocessing and activation, and the model where QuickGELU changes its name."""
    looks, about = open_clip.get_pretrained_cfg(model, tag), open_clip.get_model_config(model)
    told = {key: value for key, value in sorted(looks.items()) if key not in ("url", "hf_hub")}
    return f"{told} {about['vision_cfg'].get('image_size')} {about.get('quick_gelu')} {looks.get('quick_gelu') and model}"


TAGS = {kind(*pair): pair for pair in open_clip.list_pretrained()}
MODELS = {
    str([kind(*pair) for pair in open_clip.list_pretrained() if pair[0] == model]): model
    for model, _ in open_clip.list_pretrained()
}
SIZES = [(1000, 750), (301, 400), (384, 384), (1, 1), (60, 29)]


class Stub(torch.nn.Module):
    """A model of any configuration, without its layers."""

    def __init__(self, embed_dim: int, vision_cfg: dict[str, Any], quick_gelu: bool = False, **rest: object) -> None:
        super().__init__()
        self.quick_gelu, self.visual = quick_gelu, types.SimpleNamespace(image_size=vision_cfg["image_size"])
        self.encode_image = self.encode_text = torch.nn.Identity()


@pytest.fixture
def stubs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The loading code of open_clip runs, without layers and weights."""
    path = tmp_path / "weights.pt"
    path.write_bytes(b"weights")
    for name in ("CLIP", "CustomTextCLIP", "CoCa"):
        monkeypatch.setattr(open_clip.factory, name, Stub)
    monkeypatch.setattr(open_clip.factory, "load_checkpoint", lambda *_, **__: None)
    for module in (open_clip, open_clip.factory):
        monkeypatch.setattr(module, "download_pretrained", lambda *_, **__: str(path))
    return path


Transform = Callable[[Image.Image], Any]
_known: dict[str, tuple[Transform, list[np.ndarray]]] = {}  # it keeps the transform, so that no other gets its address


def their_pixels(transform: Transform) -> list[np.ndarray]:
    """What a transform makes of the pictures, once for all tags whose transform has this text."""
    if str(transform) not in _known:
        made = [np.asarray(transform(Image.fromarray(picture(i, *size)))) for i, size in enumerate(SIZES)]
        _known[str(transform)] = transform, made
    return _known[str(transform)][1]


@cache
def our_pixels(preparation: Preprocessing) -> list[np.ndarray]:
    """What our preparation makes of them, normalised."""
    mean, std = (np.reshape(side, (3, 1, 1)).astype(np.float32) for side in (preparation.mean, preparation.std))
    prepared = [preparation(picture(i, *size)).transpose(2, 0, 1) / np.float32(255) for i, size in enumerate(SIZES)]
    return [(pixels - mean) / std for pixels in prepared]


@pytest.mark.filterwarnings("ignore:zero-shot", "ignore:QuickGELU mismatch")
@pytest.mark.parametrize(("model", "tag"), TAGS.values(), ids=["/".join(pair) for pair in TAGS.values()])
def test_pixels_and_activation_of_every_kind_of_tag_are_those_of_open_clip(stubs: Path, model: str, tag: str) -> None:
    theirs, _, transform = open_clip.create_model_and_transforms(model, tag)
    wanted = their_pixels(transform)
    trained = theirs.quick_gelu or bool(open_clip.get_pretrained_cfg(model, tag).get("quick_gelu"))
    for spelling in (f"{model}/{tag}", f"{model}/{tag}@{stubs}"):
        loaded: Any = load_encoder(f"open_clip:{spelling}")
        ours = getattr(loaded, "loaded", loaded)
        off = max(np.abs(made - want).max() for made, want in zip(our_pixels(ours.preparation), wanted, strict=True))
        stated("open_clip:<model>/<tag>", off)
        assert ours.model.quick_gelu == trained


@pytest.mark.filterwarnings("ignore:zero-shot")
@pytest.mark.parametrize("model", MODELS.values())
def test_a_bare_path_is_taken_only_where_all_tags_agree(stubs: Path, model: str) -> None:
    tags = open_clip.list_pretrained_tags_by_model(model)
    kinds = {
        str([cfg[key] for key in ("mean", "std", "interpolation", "resize_mode")] + [bool(cfg.get("quick_gelu"))])
        for cfg in (open_clip.get_pretrained_cfg(model, tag) for tag in tags)
    }
    if len(kinds) > 1:
        with pytest.raises(UserError, match=rf"open_clip:{model}/<tag>@.*weights\.pt, with the tag that") as caught:
            load_encoder(f"open_clip:{model}/{stubs}")
        assert all(tag in str(caught.value) for tag in tags)
        assert "\n" not in str(caught.value)
    else:
        a, b = (load_encoder(f"open_clip:{model}/{end}") for end in (stubs, f"{tags[0]}@{stubs}"))
        assert a.identity.split("|")[1:] == b.identity.split("|")[1:]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a tiny model, its configuration and its weights."""
    (tmp_path / "tiny.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(tmp_path / "tiny.json")
    torch.manual_seed(0)
    folder = tmp_path / "model"
    folder.mkdir()
    torch.save(open_clip.create_model("tiny", None).state_dict(), folder / "open_clip_pytorch_model.bin")
    looks = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "interpolation": "bilinear", "resize_mode": "squash"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG, "preprocess_cfg": looks}))
    return folder


def test_a_folder_with_its_own_configuration(folder: Path) -> None:
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    ours = load_encoder(f"open_clip:local-dir:{folder}")
    pictures = [picture(i, *size) for i, size in enumerate(SIZES)]
    with torch.no_grad():
        theirs = model.eval().encode_image(torch.stack([transform(Image.fromarray(p)) for p in pictures]), normalize=True).numpy()
        texts = model.encode_text(open_clip.get_tokenizer(f"local-dir:{folder}")(["a cat"]), normalize=True).numpy()
    off = np.abs(ours.encode(np.stack([ours.prepare(p) for p in pictures])) - theirs).max()
    stated("open_clip:local-dir:<folder>", max(off, np.abs(ours.encode_text(["a cat"]) - texts).max()))


def test_weights_in_a_folder_follow_a_tag(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = open_clip.pretrained._slpcfg()
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny", {"siglip": looks, "clip": open_clip.pretrained._pcfg()})
    a, b = (load_encoder(f"open_clip:tiny/siglip@{path}") for path in (folder, folder / "open_clip_pytorch_model.bin"))
    assert a.identity == b.identity
    assert "squash" in a.identity
    with pytest.raises(UserError, match="with the tag that its weights follow: siglip, clip"):
        load_encoder(f"open_clip:tiny/{folder}")
    shutil.rmtree(folder)
    with pytest.raises(UserError, match="no checkpoint at"):
        load_encoder(f"open_clip:tiny/siglip@{folder}")


def test_without_the_tokenizers_package_the_image_tower_works_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = CONFIG["text_cfg"] | {"hf_tokenizer_name": "some/tokenizer"}
    (tmp_path / "hf-tiny.json").write_text(json.dumps(CONFIG | {"text_cfg": text}))
    open_clip.add_model_config(tmp_path / "hf-tiny.json")
    torch.save(open_clip.create_model("hf-tiny", None).state_dict(), tmp_path / "weights.pt")
    monkeypatch.setitem(sys.modules, "transformers", None)  # importing it fails
    said = (
        r"zero-shot is left out: the texts of 'open_clip:hf-tiny.* need packages that are not installed: pip install 'clipnb\[hf\]'"
    )
    with pytest.warns(UserWarning, match=said):
        alone = load_encoder(f"open_clip:hf-tiny/{tmp_path / 'weights.pt'}")
    assert not isinstance(alone, TextEncoder)
    assert alone.encode(np.zeros((2, 32, 32, 3), np.uint8)).shape == (2, 64)


@pytest.mark.parametrize(("model", "size"), [("PE-Core-T-16-384", 384), ("MobileCLIP2-S0", 64)])
def test_lower_precision_runs_on_other_architectures(tmp_path: Path, model: str, size: int) -> None:
    config = open_clip.get_model_config(model)
    config["text_cfg"]["layers"], config["vision_cfg"]["image_size"] = 1, size  # the image tower has all its layers
    (tmp_path / f"small-{model}.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / f"small-{model}.json")
    torch.manual_seed(0)
    torch.save(open_clip.create_model(f"small-{model}", None).state_dict(), tmp_path / "weights.pt")
    name = f"open_clip:small-{model}/{tmp_path / 'weights.pt'}"
    full = load_encoder(name)
    inputs = full.prepare(picture(0, 400, 300))[None]
    expected = full.encode(inputs)
    for precision, worst in (("bf16", 0.02), ("fp16", 0.004)):
        assert 0 < np.linalg.norm(expected - load_encoder(name, precision).encode(inputs)) < worst
