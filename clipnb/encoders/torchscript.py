"""TorchScript archives: `torchscript:<file>`, such as SSCD, with the preprocessing in a YAML file beside it.

`model.torchscript.pt.yaml` beside `model.torchscript.pt` has the fields of `Preprocessing`:
`{size: 288, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], resize: squash, interpolation: bilinear}`.
An archive holds a program, which PyTorch runs. It is loaded only if $CLIPNB_TRUST_CHECKPOINT is 1.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from .._core.files import hashed, read_text
from .._core.paths import typed_path
from .._core.typed import load_yaml
from ..errors import UserError, needs
from . import DEFAULT, Compute
from .preprocessing import Preprocessing
from .torch_base import TorchEncoder, output_dim, reason, trusted


def load(name: str, compute: Compute = DEFAULT) -> TorchEncoder:
    """Load an archive that the user trusts (a `Loader`)."""
    path = typed_path(name.removeprefix("torchscript:"))
    preprocessing = beside(name, path)
    if not trusted():
        raise UserError(f"{path} holds a program: if you trust its origin, set CLIPNB_TRUST_CHECKPOINT=1 to run it")
    with needs(f"the encoder {name!r}", "torchscript"):
        import torch
    try:
        with hashed(path) as sha256:
            model = torch.jit.load(str(path), map_location="cpu")
        dim = output_dim(model, model, preprocessing.size)
    except RuntimeError as error:
        kind = f"a TorchScript archive for images of {preprocessing.size} pixels"
        raise UserError(f"{path} is not {kind}: {reason(error)}") from error
    return TorchEncoder(f"torchscript:{path.name}", model, model, preprocessing, dim, None, sha256, compute)


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
