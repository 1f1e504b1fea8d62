"""Models of other packages, with their own preprocessing, and networks in a file, with the preprocessing in a YAML file beside it.

`timm:<model>` or `timm:<model>.<tag>`, and `@<file>` after it for weights that are in a file; `hf:<repository or folder>` of
transformers, and `st:<name or folder>`, image models of sentence-transformers; `torchscript:<file>`, such as SSCD, and
`onnx:<file>`. `model.onnx.yaml` beside `model.onnx` has the fields of `Preprocessing`:
`{size: 288, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], resize: squash, interpolation: bilinear}`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from .._core.files import hashed, read_bytes, read_text
from .._core.paths import typed_path
from .._core.registry import nearest
from .._core.typed import load_yaml
from ..errors import UserError, needs, one_line
from .base import DEFAULT, INSTEAD, Compute
from .preprocessing import Preprocessing, from_package
from .torch_base import TextTorchEncoder, TorchEncoder, agreed_tag, features, output_dim, reason, trusted

LOOKS = ("mean", "std", "interpolation", "crop_pct", "crop_mode", "input_size", "test_input_size", "test_crop_pct")
"""Fields of a tag that describe the preprocessing of its weights."""


def load_timm(name: str, compute: Compute = DEFAULT) -> TorchEncoder:
    """Load a model of timm without its classifier (`num_classes=0`), with timm's own transform (a `Loader`)."""
    source, at, path = name.removeprefix("timm:").partition("@")
    with needs(f"the encoder {name!r}", "timm"):
        import timm
    if not timm.is_model(source):
        raise UserError(f"timm knows no model {source!r}{nearest(source, timm.list_models())}: timm.list_models() lists them")
    weights = typed_path(path) if at else None
    if weights and not weights.is_file():
        raise UserError(f"{name!r}: no file {weights}")
    if weights and "." not in source:
        tags = timm.models.get_arch_pretrained_cfgs(source)
        agreed_tag({tag: [getattr(tags[tag], look) for look in LOOKS] for tag in tags}, f"timm:{source}.<tag>@{path}")
    overlay = {"file": str(weights)} if weights else None
    instead = "" if weights else f"pass their file (timm:{source}@<file>), or {INSTEAD}"
    with one_line(f"the weights of {name!r} cannot be loaded", instead, reason), _missing_weights() as missing:
        model = timm.create_model(source, pretrained=True, num_classes=0, pretrained_cfg_overlay=overlay)
    if missing:  # timm would take random weights
        raise UserError(f"the checkpoint of {name!r} lacks {len(missing)} weights of the model, such as {missing[0]}")
    preprocessing = from_package(timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False))
    return TorchEncoder(f"timm:{source}", model, model, preprocessing, compute, weights=weights)


@contextmanager
def _missing_weights() -> Iterator[list[str]]:
    """The names of the weights that checkpoints lack, filled while the block loads them; timm only logs the names."""
    import torch

    missing: list[str] = []
    original = torch.nn.Module.load_state_dict

    def noted(*args: Any, **options: Any) -> Any:
        result = original(*args, **options)
        missing.extend(result.missing_keys)
        return result

    torch.nn.Module.load_state_dict = noted
    try:
        yield missing
    finally:
        torch.nn.Module.load_state_dict = original


def _source(name: str) -> str:
    """The repository or folder that the name of an encoder holds."""
    source = name.partition(":")[2]
    return str(typed_path(source)) if "~" in source else source


def load_transformers(name: str, compute: Compute = DEFAULT) -> TorchEncoder:
    """Load a model of transformers (a `Loader`), unless it needs code that clipnb does not run.

    The embedding is what `get_image_features` returns, else the pooled output, else the output of the first token.
    """
    source = _source(name)
    with needs(f"the encoder {name!r}", "hf"):
        import torch
        import torchvision  # noqa: F401  (image processors need it)
        from transformers import AutoImageProcessor, AutoModel, AutoTokenizer
    safe = {"trust_remote_code": False}  # without it, transformers asks whether to run the code
    with one_line(f"the encoder {name!r} cannot be loaded", f"pass the folder of a model, or {INSTEAD}", reason):
        found, about = AutoModel.from_pretrained(source, dtype=torch.float32, output_loading_info=True, **safe)
        preprocessing = from_package(AutoImageProcessor.from_pretrained(source, **safe))
        reads_text = hasattr(found, "get_text_features")
        tokenizer: Any = AutoTokenizer.from_pretrained(source, **safe) if reads_text else None
    if missing := sorted(key for key in about["missing_keys"] if not key.startswith("pooler.")):
        raise UserError(f"the checkpoint of {name!r} lacks {len(missing)} weights of the model, such as {missing[0]}")
    if about["missing_keys"]:
        found.pooler = None  # transformers would take random weights

    def encode_image(pixels: Any) -> Any:
        return features(getattr(found, "get_image_features", found)(pixel_values=pixels))

    def tokenize(texts: list[str]) -> Any:
        longest = found.config.text_config.max_position_embeddings
        return tokenizer(texts, padding="max_length", max_length=longest, truncation=True, return_tensors="pt")

    found.encode_image, found.encode_text = encode_image, lambda tokens: features(found.get_text_features(**tokens))
    if reads_text:
        return TextTorchEncoder(name, found, tokenize, preprocessing, compute)
    return TorchEncoder(name, encode_image, found, preprocessing, compute)


def load_sentence_transformer(name: str, compute: Compute = DEFAULT) -> TextTorchEncoder:
    """Load a model of sentence-transformers that embeds images and texts (a `Loader`)."""
    with needs(f"the encoder {name!r}", "st"):
        import torchvision  # noqa: F401  (image processors need it)
        from sentence_transformers import SentenceTransformer
        from transformers import BatchEncoding
    with one_line(f"the encoder {name!r} cannot be loaded", f"pass a model for images, or {INSTEAD}", reason):
        model = SentenceTransformer(_source(name), device="cpu")
        preprocessing = from_package(model[0].processor)

    def encode_image(pixels: Any) -> Any:
        return model({"pixel_values": pixels, "modality": "image"})["sentence_embedding"]

    def tokenize(texts: list[str]) -> Any:
        return BatchEncoding(model.preprocess(texts))

    model.encode_image, model.encode_text = encode_image, lambda tokens: model(dict(tokens))["sentence_embedding"]
    return TextTorchEncoder(name, model, tokenize, preprocessing, compute)


def load_torchscript(name: str, compute: Compute = DEFAULT) -> TorchEncoder:
    """Load an archive (a `Loader`). It holds a program, which PyTorch runs only if $CLIPNB_TRUST_CHECKPOINT is 1."""
    path = typed_path(name.removeprefix("torchscript:"))
    preprocessing = beside(name, path)
    if not trusted():
        raise UserError(f"{path} holds a program: if you trust its origin, set CLIPNB_TRUST_CHECKPOINT=1 to run it")
    with needs(f"the encoder {name!r}", "torchscript"):
        import torch
    with one_line(f"{path} is not a TorchScript archive for images of {preprocessing.size} pixels", text=reason):
        with hashed(path) as sha256:
            model = torch.jit.load(str(path), map_location="cpu").float().eval()
        dim = output_dim(model, preprocessing.size)
    return TorchEncoder(f"torchscript:{path.name}", model, model, preprocessing, compute, dim, weights_sha256=sha256)


def load_onnx(name: str, compute: Compute = DEFAULT) -> TorchEncoder:
    """Load an ONNX file, for ONNX Runtime on the CPU (a `Loader`).

    Its first input takes normalised images (n, 3, size, size); its first output is the embedding (n, dim).
    """
    if compute.precision != "fp32" or compute.engine != "torch" or compute.device not in ("auto", "cpu"):
        raise UserError(f"the encoder {name!r} runs in fp32 by ONNX Runtime on the CPU: leave precision, engine and device alone")
    path = typed_path(name.removeprefix("onnx:"))
    preprocessing = beside(name, path)
    with needs(f"the encoder {name!r}", "onnx"):
        import onnxruntime
        import torch

    def forward(pixels: Any) -> Any:
        return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: pixels.numpy()})[0])

    model = torch.nn.Identity()
    with one_line(f"{path} is not an ONNX model for images of {preprocessing.size} pixels", text=reason):
        with ExitStack() as files:
            digests = [files.enter_context(hashed(file)) for file in (path, *sorted(_weights(path)))]
            session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        sha256 = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
        on_cpu = Compute(device="cpu")
        return TorchEncoder(f"onnx:{path.name}", forward, model, preprocessing, on_cpu, weights_sha256=sha256)


def _weights(path: Path) -> set[Path]:
    """Files that a model names: the key "location", then the length of a path, as a varint, and the path."""
    content, files = read_bytes(path, 2**31), set()
    for found in re.finditer(rb"\x08location\x12([\x80-\xff]?)([\x00-\x7f])", content):
        low, high = found.groups()
        length = low[0] - 128 + 128 * high[0] if low else high[0]
        files.add(path.parent / os.fsdecode(content[found.end() : found.end() + length]))
    return {file for file in files if os.path.isfile(file)}  # noqa: PTH113 - no error for a name that is too long


def beside(name: str, path: Path) -> Preprocessing:
    """The preprocessing in the YAML file beside a model; a `UserError` if a file is missing or a field is wrong."""
    settings = path.with_name(f"{path.name}.yaml")
    if not path.is_file():
        raise UserError(f"the encoder {name!r}: no file {path}")
    try:
        fields = load_yaml(read_text(settings))
        made = Preprocessing(**fields)
        wrong = not made.usable()
    except (OSError, TypeError, UnicodeDecodeError, yaml.YAMLError):
        wrong = True
    if wrong:
        what = "size, mean and std (three numbers each), resize (shortest or squash) and interpolation (bicubic or bilinear)"
        raise UserError(f"the encoder {name!r}: {settings} must say how images are prepared: {what}")
    return made
