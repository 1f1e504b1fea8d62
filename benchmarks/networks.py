"""Networks with real architectures and random weights, since the speed does not depend on the weights."""

from __future__ import annotations

import warnings
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from clipnb.encoders.base import DEFAULT, Compute
from clipnb.encoders.clip_models import MEAN, STD
from clipnb.encoders.preprocessing import Preprocessing
from clipnb.encoders.torch_base import TextTorchEncoder

if torch.version.cuda is None:
    # with a CPU build of torch, torchvision lacks two operators; their names suffice for its import
    OPERATORS = torch.library.Library("torchvision", "DEF")  # a global, because garbage collection would unregister them
    OPERATORS.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    OPERATORS.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


@cache
def _open_clip_model(name: str) -> Any:
    """Make the network once: random weights of this size take longer than a measurement."""
    import open_clip

    torch.manual_seed(0)
    return open_clip.create_model(name, pretrained=None)


def random_vit(name: str, path: Path | None = None, compute: Compute = DEFAULT) -> TextTorchEncoder:
    """Make an open_clip model such as `ViT-L-14`, and write its weights to `path` if one is given."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import open_clip
    model = _open_clip_model(name)
    if path:
        torch.save(model.state_dict(), path)
    dim = int(open_clip.get_model_config(name)["embed_dim"])
    about: dict[str, Any] = {"dim": dim, "weights": path or Path(name), "weights_sha256": "random", "compute": compute}
    return TextTorchEncoder(
        f"random:{name}", model, open_clip.get_tokenizer(name), preprocessing=Preprocessing(224, MEAN, STD), **about
    )


def random_clip(dim: int, compute: Compute = DEFAULT) -> TextTorchEncoder:
    """Make a CLIP model with two layers and an input of 32 x 32 pixels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import clip

    vision = {"image_resolution": 32, "vision_layers": 2, "vision_width": 64, "vision_patch_size": 16}
    text = {"context_length": 77, "vocab_size": 49408, "transformer_width": 64, "transformer_heads": 1, "transformer_layers": 1}
    torch.manual_seed(0)
    model, preprocessing = clip.model.CLIP(embed_dim=dim, **vision, **text), Preprocessing(32, MEAN, STD)
    tokenizer = partial(clip.tokenize, truncate=True)
    return TextTorchEncoder("random:tiny", model, tokenizer, preprocessing, compute, dim, Path("tiny"), "random")
