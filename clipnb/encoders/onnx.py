"""ONNX files: `onnx:<file>`, run by ONNX Runtime on the CPU, with the preprocessing in a YAML file beside it.

`model.onnx.yaml` beside `model.onnx` is as for a TorchScript archive (`torchscript.py`). The first input takes normalised
images (n, 3, size, size); the first output is the embedding (n, dim).
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .._core.files import hashed, read_bytes
from .._core.paths import typed_path
from ..errors import UserError, needs
from . import DEFAULT, Compute
from .torch_base import TorchEncoder, output_dim, reason
from .torchscript import beside


def load(name: str, compute: Compute = DEFAULT) -> TorchEncoder:
    """Load an ONNX file (a `Loader`)."""
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
    try:
        with ExitStack() as files:
            digests = [files.enter_context(hashed(file)) for file in (path, *sorted(_weights(path)))]
            session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        dim = output_dim(forward, model, preprocessing.size)
    except UserError:
        raise
    except Exception as error:  # the errors of ONNX Runtime have no common ancestor
        raise UserError(f"{path} is not an ONNX model for images of {preprocessing.size} pixels: {reason(error)}") from error
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
