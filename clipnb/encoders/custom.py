"""Custom encoders: `<package.module>:<name>` names an encoder, or a function without arguments that returns one.

Their identity has digests of what determines the embeddings: the source of the code, and the weights.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .._core.code_state import sources
from .._core.paths import project_root
from ..errors import UserError, in_one_line, one_line, text_of
from .base import DEFAULT, DEVICES, OPTIONAL, PRECISIONS, Compute, Encoder, require_sound

_SOURCES: dict[str, str] = {}  # module of an encoder -> digest of its source when it was imported

FILLED_IN = ("name", "weights_sha256", "identity")


def load(name: str, compute: Compute = DEFAULT) -> Encoder:
    """Import the module, if necessary from the project's folder or the current folder, and take the encoder.

    If the object lacks `name`, `identity` or `weights_sha256`, they are filled in. The identity then begins with the name that
    was typed, and ends with digests of the source (the module, and the modules beside it that it imports) and of the weights
    (arrays, tensors and files in the object's attributes). State weights of another form in `weights_sha256`.
    """
    module_name, _, function = name.partition(":")
    for folder in (str(project_root()), str(Path.cwd())):
        if folder not in sys.path:
            sys.path.append(folder)
    with one_line(f"encoder {name!r} cannot be imported", text=_of_import):
        source = _imported(module_name)
        found = getattr(sys.modules[module_name], function)
    encoder = _built(name, found) if isinstance(found, type) or not hasattr(found, "encode") else found
    require_sound(encoder, name, (*OPTIONAL, *FILLED_IN))
    settable = f"encoder {name!r}: its name, weights_sha256 and identity must be attributes that can be set"
    with one_line(settable):
        for attribute, value in zip(FILLED_IN, (name, "", compute.precision), strict=True):
            if not hasattr(encoder, attribute):
                setattr(encoder, attribute, value)
    origin = f"|{source}|{encoder.weights_sha256 or weights_digest(encoder, module_name)}"
    if not (encoder.identity.startswith(f"{name}|") and encoder.identity.endswith(origin)):  # an object may be loaded again
        with one_line(settable):
            encoder.identity = f"{name}|{encoder.identity}{origin}"
    return encoder


def _of_import(error: BaseException) -> str:
    """The text of an error of an import, with its kind and place if it is one of the imported code."""
    return text_of(error) if traceback.extract_tb(error.__traceback__)[-1].filename == __file__ else in_one_line(error)


def refuse(name: str, compute: Compute = DEFAULT) -> Encoder:
    """Raise a `UserError` for the name of an encoder that `wrap` has made (a `Loader`)."""
    raise UserError(f"the encoder {name!r} exists only in Python: pass it to clipnb.run(spec, encoder=...)")


def wrap(
    encode: Callable[[Any], Any],
    preprocess: Callable[[Any], Any],
    *,
    name: str,
    tokenize: Callable[[list[str]], Any] | None = None,
    precision: str = "fp32",
    device: str = "auto",
) -> Encoder:
    """Make an encoder of a PyTorch callable and its transform, for `clipnb.run(spec, encoder=...)`.

    The weights are part of the identity if `encode` is a module or a method of a module. Otherwise change the name with the
    weights, because stored embeddings are found by the identity, and pass the device on which the callable computes.

    Args:
        encode: tensor (n, 3, size, size) -> features (n, dim), or an output of transformers; a module, or a method such as
            `model.encode_image` of open_clip and CLIP_benchmark, or `model.get_image_features` of transformers.
        preprocess: PIL image -> tensor (3, size, size): a torchvision Compose, an image processor of transformers, or any callable.
        name: letters, digits and `_.-`; the name of the encoder becomes `python:<name>`.
        tokenize: n texts -> tensor for the method `encode_text` of the module; without it, texts are not embedded.
        precision, device: fp32, bf16 or fp16; cpu, cuda, mps or auto.

    Raises:
        UserError: the name has other characters, or the transform's output is not square.
    """
    import torch

    from .preprocessing import from_package
    from .torch_base import TextTorchEncoder, TorchEncoder, features

    if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name):
        raise UserError(f"the name of an encoder has letters, digits and _.- only, not {name!r}")
    for setting, value, choices in (("precision", precision, PRECISIONS[1:]), ("device", device, DEVICES)):
        if value not in choices:
            raise UserError(f"{setting} must be one of {', '.join(choices)}, not {value!r}")
    for argument, given in (("encode", encode), ("preprocess", preprocess)):
        if not callable(given):
            raise UserError(f"{argument} must be a function or a module, not {given!r:.80}")
    module = encode if isinstance(encode, torch.nn.Module) else getattr(encode, "__self__", None)
    model = module if isinstance(module, torch.nn.Module) else torch.nn.Identity()
    preprocessing, compute = from_package(preprocess), Compute(precision, "torch", device)

    def forward(batch: Any) -> Any:
        return features(encode(batch))

    if tokenize is not None:
        return TextTorchEncoder(f"python:{name}", model, tokenize, preprocessing, compute)
    return TorchEncoder(f"python:{name}", forward, model, preprocessing, compute)


def _built(name: str, build: Any) -> Encoder:
    """What a class or function without arguments returns."""
    with one_line(f"encoder {name!r} should be an encoder or a function without arguments"):
        inspect.signature(build).bind()
    with one_line(f"encoder {name!r} failed", text=in_one_line):
        encoder: Encoder = build()
    return encoder


def _imported(module: str) -> str:
    """Import a module, again if its source has changed, and return the digest of its source."""
    importlib.invalidate_caches()
    try:
        found = find_spec(module)
    except ModuleNotFoundError:  # of a package that is a file, as in `mine.py`
        found = None
    if found is None:
        raise ModuleNotFoundError(f"No module named {module!r}")
    files = {}
    if found.origin and (path := Path(found.origin)).is_file():
        root = path.parents[module.count(".") + (path.name == "__init__.py")]
        installed, top = root.name in ("site-packages", "dist-packages"), module.partition(".")[0]
        # those that it imports from its folder tree or, if it is installed, from its package
        files = sources([module], root, lambda own: own == top if installed or top == "clipnb" else own != "clipnb")
    sha = hashlib.sha256()
    for name, file in sorted(files.items()):
        sha.update(name.encode() + b"\0" + file.read_bytes())
    if _SOURCES.get(module, sha.hexdigest()) != sha.hexdigest():
        for name in files:
            sys.modules.pop(name, None)
    importlib.import_module(module)
    _SOURCES[module] = sha.hexdigest()
    return sha.hexdigest()[:16]


def weights_digest(encoder: object, module: str) -> str:
    """Digest of the arrays, tensors, files and plain values that an object holds, through lists, tables and other objects.

    Of the class and the module, only arrays and tensors count, because the source covers the rest.
    """
    sha = hashlib.sha256()
    seen: dict[int, object] = {}  # an object that is kept shares its id with no other

    def add(value: Any) -> None:
        if isinstance(value, str | Path) and len(str(value)) < 4096 and Path(value).is_file():
            sha.update(Path(value).read_bytes())
        elif value is None or isinstance(value, str | bytes | int | float | complex | Path):
            sha.update(repr(value).encode())
        elif id(value) not in seen and not isinstance(value, type | ModuleType) and not inspect.isroutine(value):
            seen[id(value)] = value
            if hasattr(value, "detach"):
                value = value.detach().cpu().double()
            if hasattr(value, "state_dict"):
                value = value.state_dict()
            if hasattr(value, "__array__"):
                array = np.asarray(value)
                sha.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
            elif isinstance(value, Mapping):
                for key in sorted(value, key=str):
                    add(str(key))
                    add(value[key])
            elif isinstance(value, list | tuple):
                for part in value:
                    add(part)
            elif hasattr(value, "__dict__"):
                add({name: part for name, part in vars(value).items() if name != "identity"})  # `load` extends it

    add(encoder)
    for values in (vars(type(encoder)), vars(sys.modules[module])):
        add({name: value for name, value in values.items() if hasattr(value, "__array__") or hasattr(value, "state_dict")})
    return sha.hexdigest()[:16]
