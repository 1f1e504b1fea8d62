"""Models of open_clip: `open_clip:<model>/<pretrained tag or path of a checkpoint>`.

Weights that were trained with QuickGELU, such as OpenAI's, need a model with that activation (`ViT-L-14-quickgelu`). A
checkpoint does not record its activation; with the wrong one the embeddings are wrong, without an error message.
"""

from __future__ import annotations

import warnings
from pathlib import Path

from .._core.files import file_sha256
from ..errors import MissingExtra, UserError
from . import INSTEAD
from .torch_base import Preprocessing, TextTorchEncoder, matching_torchvision, reason


class OpenClip(TextTorchEncoder):
    """An open_clip model that embeds images and texts."""


def load(name: str, precision: str = "fp32", engine: str = "torch") -> OpenClip:
    """Load `open_clip:<model>/<tag or path>`.

    Raises:
        UserError: the model or tag is unknown, the weights cannot be downloaded, or the file is not a checkpoint of the model.
        MissingExtra: open_clip is not installed.
    """
    model_name, _, pretrained = name.removeprefix("open_clip:").partition("/")
    with matching_torchvision(f"the encoder {name!r}"):
        try:
            import open_clip
        except ModuleNotFoundError as error:
            raise MissingExtra(f"the encoder {name!r}", "open_clip") from error
        if model_name not in open_clip.list_models():
            raise UserError(f"open_clip knows no model {model_name!r}: open_clip.list_models() lists them")
        path = Path(pretrained).expanduser()
        here = path.is_file()
        if not here and pretrained not in (tags := open_clip.list_pretrained_tags_by_model(model_name)):
            raise UserError(f"{name!r}: {pretrained!r} is neither a file nor one of the tags {', '.join(tags)}")
        try:
            with warnings.catch_warnings(action="ignore"):
                if not here:
                    path = Path(open_clip.download_pretrained(open_clip.get_pretrained_cfg(model_name, pretrained)))
                model = open_clip.create_model(model_name, str(path) if here else pretrained, weights_only=True)
        except Exception as error:  # hub, network, pickle and key errors have no common ancestor
            raise UserError(_why(name, path, here, error)) from error
    config = open_clip.get_model_preprocess_cfg(model)
    resize, interpolation = config["resize_mode"], config["interpolation"]
    if resize not in ("shortest", "squash") or interpolation not in ("bicubic", "bilinear"):
        raise UserError(f"{name!r} resizes its images by {resize} and {interpolation}, which clipnb does not support")
    size = config["size"] if isinstance(config["size"], int) else config["size"][0]
    preprocessing = Preprocessing(size, config["mean"], config["std"], resize=resize, interpolation=interpolation)
    settled, tokenizer = f"open_clip:{model_name}/{path.name if here else pretrained}", open_clip.get_tokenizer(model_name)
    dim = int(open_clip.get_model_config(model_name)["embed_dim"])
    return OpenClip(settled, model, tokenizer, preprocessing, dim, path, file_sha256(path), precision, engine)


def _why(name: str, path: Path, here: bool, error: Exception) -> str:
    """The error message if a model cannot be loaded."""
    if not here:
        return (
            f"the weights of {name!r} are not in the Hugging Face cache and cannot be fetched ({type(error).__name__}): "
            "download them on a machine with a network and copy the cache ($HF_HOME), pass the path of a checkpoint, "
            f"or {INSTEAD}"
        )
    if "TorchScript" in str(error) or "input_resolution" in str(error):
        return f"{path} is one of OpenAI's own checkpoints: pass its path alone (-p encoder {path})"
    return f"{path} is not a checkpoint of {name.removeprefix('open_clip:').partition('/')[0]}: {reason(error)}"
