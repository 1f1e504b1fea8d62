"""OpenAI's CLIP models with the `clip` package, by name from its cache or by the path of a checkpoint.

`clip` checks the SHA-256 of a named model on every load. Archives are read with `torch.jit.load` and other checkpoints with
`weights_only`, so that no pickled code runs.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
from numpy.typing import NDArray

from .._core.files import file_sha256
from ..errors import MissingExtra, UserError
from . import INSTEAD
from .torch_base import Preprocessing, TorchEncoder, matching_torchvision, reason, unit_rows

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


class OpenAIClip(TorchEncoder):
    """A CLIP model that embeds images and texts."""

    def __init__(self, name: str, model: Any, weights: Path, weights_sha256: str, precision: str, engine: str) -> None:
        preprocessing = Preprocessing(model.visual.input_resolution, MEAN, STD)
        dim = int(model.text_projection.shape[1])
        super().__init__(
            name, lambda x: self.model.encode_image(x), model, preprocessing, dim, weights, weights_sha256, precision, engine
        )

    def encode_text(self, texts: list[str]) -> NDArray[np.float32]:
        """Embed n texts as (n, dim) float32 unit vectors, in the same space as the photographs."""
        import clip
        import torch

        with torch.inference_mode():
            tokens = clip.tokenize(texts, truncate=True).to(self.device)
            return unit_rows(self.model.encode_text(tokens))


def weights_folder() -> Path:
    """Folder in which the `clip` package stores its models."""
    return Path("~/.cache/clip").expanduser()


def load(name: str, precision: str = "fp32", engine: str = "torch") -> OpenAIClip:
    """Load a model by OpenAI's name or by the path of a checkpoint (TorchScript archive or state dict).

    Raises:
        UserError: the weights are missing and cannot be downloaded, or are damaged.
        MissingExtra: the `clip` package is not installed.
    """
    with matching_torchvision(f"the encoder {name!r}"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # clip still imports pkg_resources
        try:
            import clip
        except ModuleNotFoundError as error:
            raise MissingExtra(f"the encoder {name!r}", "clip", INSTEAD) from error
        models: dict[str, str] = clip.clip._MODELS
        path = weights_folder() / Path(models[name]).name if name in models else Path(name).expanduser()
        if name in models:
            _check_named(name, path, models[name].split("/")[-2])
        elif not path.is_file():
            raise UserError(f"no checkpoint {name!r}: pass the path of a .pt file or one of OpenAI's names ({', '.join(models)})")
        try:
            model, _ = clip.load(name if name in models else str(path), device="cpu", jit=False)
        except (URLError, OSError) as error:
            raise UserError(
                f"the weights of {name!r} are not in {path.parent} and cannot be fetched ({getattr(error, 'reason', error)}): "
                f"put {path.name} there, or {INSTEAD}"
            ) from error
        except Exception as error:  # pickle, zip and key errors of files that are not CLIP checkpoints
            raise UserError(f"{path} is not a CLIP checkpoint: {reason(error)}") from error
    sha256 = models[name].split("/")[-2] if name in models else file_sha256(path)
    return OpenAIClip(name if name in models else path.name, model, path, sha256, precision, engine)


def _check_named(name: str, path: Path, expected: str) -> None:
    """Raise UserError if the weights in the cache are not those that OpenAI published."""
    if path.is_file() and file_sha256(path) != expected:
        raise UserError(
            f"{path} is not {name!r} as OpenAI published it (SHA-256 {expected[:12]}...): delete it, and it is downloaded again"
        )
