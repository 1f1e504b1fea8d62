"""Networks in a file, with the preprocessing in a YAML file beside it: `torchscript:<file>`, such as SSCD, and `onnx:<file>`.

`model.onnx.yaml` beside `model.onnx` has the fields of `Preprocessing`:
`{size: 288, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], resize: squash, interpolation: bilinear}`.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from .._core.files import hashed, read_bytes, read_text
from .._core.paths import typed_path
from .._core.typed import load_yaml
from ..errors import UserError, needs, one_line
from .base import DEFAULT, Compute
from .preprocessing import Preprocessing
from .torch_base import TorchEncoder, output_dim, reason, trusted


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
            model = torch.jit.load(str(path), map_location="cpu")
        dim = output_dim(model, model, preprocessing.size)
    return TorchEncoder(f"torchscript:{path.name}", model, model, preprocessing, dim, None, sha256, compute)


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
        dim = output_dim(forward, model, preprocessing.size)
    sha256 = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    return TorchEncoder(f"onnx:{path.name}", forward, model, preprocessing, dim, None, sha256, Compute(device="cpu"))


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
