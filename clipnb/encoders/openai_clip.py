"""OpenAI's CLIP models with the `clip` package, by name from its cache or by the path of a checkpoint.

A TorchScript archive holds a program, so only those with a SHA-256 that OpenAI published are loaded. Other checkpoints are
state dicts, read with `weights_only`, so that no pickled code runs.
"""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import URLError

from .._core.files import hashed
from .._core.paths import expanded, typed_path
from ..errors import UserError, needs
from .base import DEFAULT, INSTEAD, Compute
from .preprocessing import Preprocessing
from .torch_base import TextTorchEncoder, reason, trusted

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


class OpenAIClip(TextTorchEncoder):
    """A CLIP model that embeds images and texts."""

    def __init__(self, name: str, model: Any, weights: Path, weights_sha256: str, compute: Compute = DEFAULT) -> None:
        import clip

        tokenizer, dim = partial(clip.tokenize, truncate=True), int(model.text_projection.shape[1])
        preprocessing = Preprocessing(model.visual.input_resolution, MEAN, STD)
        super().__init__(name, model, tokenizer, preprocessing, dim, weights, weights_sha256, compute)


def load(name: str, compute: Compute = DEFAULT) -> OpenAIClip:
    """Load a model by OpenAI's name, or by the path of a state dict or of an archive as OpenAI published it (a `Loader`)."""
    with warnings.catch_warnings(action="ignore"):  # clip imports pkg_resources
        with needs(f"the encoder {name!r}", "clip", INSTEAD):
            import clip
        models: dict[str, str] = clip.clip._MODELS
        path, published = typed_path(name), ""
        if name in models:
            path, published = expanded("~/.cache/clip") / Path(models[name]).name, models[name].split("/")[-2]
        elif not path.is_file():
            raise UserError(f"no checkpoint {name!r}: pass the path of a .pt file or one of OpenAI's names ({', '.join(models)})")
        try:
            with hashed(path) if path.is_file() else nullcontext(published) as digest:  # else it is downloaded
                if published and digest != published:
                    why = f"is not {name!r} as OpenAI published it (SHA-256 {published[:12]}...)"
                    raise UserError(f"{path} {why}: delete it, and it is downloaded again")
                if digest in {url.split("/")[-2] for url in models.values()} or trusted():
                    model, _ = clip.load(name if published else str(path), device="cpu", jit=False)
                else:
                    import torch

                    model = clip.model.build_model(torch.load(path, map_location="cpu", weights_only=True)).float()
        except UserError:
            raise
        except (URLError, OSError) as error:
            why = f"are not in {path.parent} and cannot be fetched ({getattr(error, 'reason', error)})"
            raise UserError(f"the weights of {name!r} {why}: put {path.name} there, or {INSTEAD}") from error
        except Exception as error:  # pickle, zip and key errors of files that are not CLIP checkpoints
            if "TorchScript" in str(error):
                why = "is a program that OpenAI did not publish: save its state_dict(), or set CLIPNB_TRUST_CHECKPOINT=1"
                raise UserError(f"{path} {why}") from error
            raise UserError(f"{path} is not a CLIP checkpoint: {reason(error)}") from error
    return OpenAIClip(name if published else path.name, model, path, digest, compute)
