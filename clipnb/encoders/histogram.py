"""A colour histogram, the weak baseline. It needs only numpy.

It represents the colours of a photograph and nothing else. Square roots of the shares turn the Euclidean distance into the
Hellinger distance, which is suited to histograms.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..datasets.images import RGB

LEVELS = 8  # number of levels of each colour channel


class Histogram:
    """Joint RGB histogram with 8 levels per channel, over the photograph scaled to 64 x 64 pixels."""

    name = "histogram"
    dim = LEVELS**3
    input_size = 64
    sees_whole = True
    weights_sha256 = ""
    identity = f"histogram|rgb {LEVELS}|box 64|sqrt"

    def prepare(self, image: RGB) -> NDArray[np.uint8]:
        """Scale (h, w, 3) uint8 to (64, 64, 3) uint8, averaging over areas."""
        return np.asarray(Image.fromarray(image).resize((self.input_size, self.input_size), Image.Resampling.BOX))

    def encode(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed (n, 64, 64, 3) uint8 as (n, 512) float32 unit vectors."""
        level = (batch.reshape(len(batch), -1, 3) // (256 // LEVELS)).astype(np.intp)
        cell = (level[..., 0] * LEVELS + level[..., 1]) * LEVELS + level[..., 2]
        cell += np.arange(len(batch))[:, None] * self.dim
        counts = np.bincount(cell.ravel(), minlength=len(batch) * self.dim).reshape(len(batch), self.dim)
        return np.asarray(np.sqrt(counts / counts.sum(axis=1, keepdims=True)), dtype=np.float32)
