"""Models of timm: `timm:<model>` or `timm:<model>.<tag>`, and `@<file>` after it for weights that are in a file.

The embedding is the output of the model without its classifier (`num_classes=0`); images are prepared by timm's own transform.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .._core.paths import typed_path
from .._core.registry import nearest
from ..errors import UserError, needs, one_line
from .base import DEFAULT, INSTEAD, Compute
from .preprocessing import from_package
from .torch_base import TorchEncoder, agreed_tag, output_dim, reason, state_sha256

LOOKS = ("mean", "std", "interpolation", "crop_pct", "crop_mode", "input_size", "test_input_size", "test_crop_pct")
"""Fields of a tag that describe the preprocessing of its weights."""


def load(name: str, compute: Compute = DEFAULT) -> TorchEncoder:
    """Load a model of timm (a `Loader`)."""
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
    dim = output_dim(model, model, preprocessing.size)
    return TorchEncoder(f"timm:{source}", model, model, preprocessing, dim, weights, state_sha256(model), compute)


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
