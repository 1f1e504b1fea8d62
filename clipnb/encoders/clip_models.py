"""OpenAI's CLIP models with the `clip` package, by name from its cache or by the path of a checkpoint; models of open_clip.

A TorchScript archive holds a program, so only those with a SHA-256 that OpenAI published are loaded. Other checkpoints are
state dicts, read with `weights_only`, so that no pickled code runs.

`open_clip:<model>/<tag>`, `open_clip:<model>/<tag>@<file or folder>`, `open_clip:local-dir:<folder>`: a checkpoint records neither
its preprocessing nor its activation (GELU or QuickGELU); with the wrong ones, the embeddings are wrong without an error message.
Both follow from the tag, or from the configuration in the folder. `open_clip:<model>/<file>` without a tag is read only if all
tags of the model have the same preprocessing and activation.
"""

from __future__ import annotations

import sys
import warnings
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from .._core.files import hashed, read_json
from .._core.paths import expanded, typed_path
from ..errors import MissingExtra, UserError, needs, one_line
from .base import DEFAULT, INSTEAD, Compute
from .preprocessing import Preprocessing
from .torch_base import TextTorchEncoder, TorchEncoder, agreed_tag, reason, trusted

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)

LOOKS = ("mean", "std", "interpolation", "resize_mode", "quick_gelu")
"""Fields of a tag that describe the preprocessing and the activation of its weights."""

CONFIG = "open_clip_config.json"


def load_openai(name: str, compute: Compute = DEFAULT) -> TextTorchEncoder:
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
        here = path.is_file()
        unfetched = f"the weights of {name!r} are not in {path.parent} and cannot be fetched"
        said, instead = (f"{path} is not a CLIP checkpoint", "") if here else (unfetched, f"put {path.name} there, or {INSTEAD}")
        with one_line(said, instead, _reason), hashed(path) if here else nullcontext(published) as digest:
            if published and digest != published:
                why = f"is not {name!r} as OpenAI published it (SHA-256 {published[:12]}...)"
                raise UserError(f"{path} {why}: delete it, and it is downloaded again")
            if digest in {url.split("/")[-2] for url in models.values()} or trusted():
                model, _ = clip.load(name if published else str(path), device="cpu", jit=False)
            else:
                import torch

                model = clip.model.build_model(torch.load(path, map_location="cpu", weights_only=True)).float()
    preprocessing, dim = Preprocessing(model.visual.input_resolution, MEAN, STD), int(model.text_projection.shape[1])
    tokenizer = partial(clip.tokenize, truncate=True)
    return TextTorchEncoder(name if published else path.name, model, tokenizer, preprocessing, compute, dim, path, digest)


def _reason(error: BaseException) -> str:
    run = ", or set CLIPNB_TRUST_CHECKPOINT=1 to run a program that OpenAI did not publish"
    return reason(error) + run * ("with TorchScript archives" in str(error))


def load_open_clip(name: str, compute: Compute = DEFAULT) -> TorchEncoder:
    """Load a model of open_clip (a `Loader`). If its texts cannot be tokenized here, it embeds images only, with a warning."""
    with needs(f"the encoder {name!r}", "open_clip"):
        import open_clip
    code: Any = sys.modules.get("transformers.dynamic_module_utils")
    if code:
        code.TIME_OUT_REMOTE_CODE = 0  # transformers refuses code in a repository, and does not ask whether to run it
    source, tag, found = _parts(name, open_clip)
    looks = open_clip.get_pretrained_cfg(source, tag)
    if looks.get("quick_gelu") and not open_clip.get_model_config(source).get("quick_gelu"):
        source += "-quickgelu"
    try:
        if ":" in source:
            path, options = found or Path(), {}
            about = read_json(path.parent / CONFIG)["model_cfg"]
        else:
            about, path = open_clip.get_model_config(source), found or Path(open_clip.download_pretrained(looks))
            options = {"pretrained": str(path), "force_preprocess_cfg": looks}
        with hashed(path) as sha256:
            model = open_clip.create_model(source, weights_only=True, **options)
    except UserError:
        raise
    except Exception as error:  # hub, network, pickle and key errors have no common ancestor
        if "pip install transformers" in str(error):
            raise MissingExtra(f"the encoder {name!r}", "hf") from error
        raise UserError(_why(name, found, error)) from error
    settled = f"open_clip:{source.partition(':')[0]}/{tag or path.name}"
    noted = path if options else None  # a note would not see that the configuration in a folder has changed
    rest = (_preprocessing(name, open_clip.get_model_preprocess_cfg(model)), compute, about["embed_dim"], noted, sha256)
    try:
        return TextTorchEncoder(settled, model, open_clip.get_tokenizer(source), *rest)
    except Exception as error:  # the tokenizer needs a package or a file that is not here
        why = "packages that are not installed" if isinstance(error, ModuleNotFoundError) else f"a vocabulary ({reason(error)})"
        left_out = f"zero-shot is left out: the texts of {name!r} need {why}: pip install 'clipnb[hf]'"
        warnings.warn(left_out, stacklevel=2)
    return TorchEncoder(settled, model.encode_image, model, *rest)


def _parts(name: str, open_clip: Any) -> tuple[str, str, Path | None]:
    """The name of a model in open_clip, the tag or "", and the file of the weights, or None if they are to be fetched."""
    source = name.removeprefix("open_clip:")
    if source.startswith("local-dir:"):
        if not (folder := typed_path(source.removeprefix("local-dir:")) / CONFIG).is_file():
            instead = "pass open_clip:<model>/<tag>@<file or folder>"
            raise UserError(f"{name!r}: no file {folder}, which says what the model is: {instead}")
        return f"local-dir:{folder.parent}", "", _weights(name, folder.parent)
    model, _, rest = source.partition("/")
    if model not in open_clip.list_models():
        raise UserError(f"open_clip knows no model {model!r}: open_clip.list_models() lists them")
    tags = open_clip.list_pretrained_tags_by_model(model)
    tag, at, path = rest.partition("@")
    if tag in tags:
        return model, tag, _weights(name, typed_path(path)) if at else None
    if not (weights := typed_path(rest)).exists():
        raise UserError(f"{name!r}: {rest!r} is neither a file nor one of the tags {', '.join(tags)}")
    looks = {tag: [open_clip.get_pretrained_cfg(model, tag).get(key) or None for key in LOOKS] for tag in tags}
    return model, agreed_tag(looks, f"open_clip:{model}/<tag>@{rest}") if tags else "", _weights(name, weights)


def _weights(name: str, path: Path) -> Path:
    """The checkpoint at a path: the file itself, or the file that open_clip would read in the folder."""
    from open_clip.factory import _find_checkpoint_in_dir

    found = _find_checkpoint_in_dir(path) if path.is_dir() else path
    if found is None or not Path(found).is_file():
        instead = "pass an existing .safetensors, .bin, .pt or .pth file, or a folder with one"
        raise UserError(f"{name!r}: no checkpoint at {path}: {instead}")
    return Path(found)


def _preprocessing(name: str, config: dict[str, Any]) -> Preprocessing:
    mean, std, resize, interpolation, size = (config[key] for key in ("mean", "std", "resize_mode", "interpolation", "size"))
    made = Preprocessing(size if isinstance(size, int) else size[0], mean, std, resize=resize, interpolation=interpolation)
    if not made.usable():
        how = f"mean {mean!r:.40}, std {std!r:.40}, size {size!r:.40}, resizing by {resize!r:.40} and {interpolation!r:.40}"
        raise UserError(f"clipnb cannot prepare the images of {name!r}: {how}")
    return made


def _why(name: str, path: Path | None, error: BaseException) -> str:
    """The error message if a model cannot be loaded; `path` is the user's checkpoint, if there is one."""
    if path is None:
        return (
            f"the weights of {name!r} are not in the Hugging Face cache and cannot be fetched ({type(error).__name__}): "
            "download them on a machine with a network and copy the cache ($HF_HOME), pass their file "
            f"({name.partition('@')[0]}@<file>), or {INSTEAD}"
        )
    if "TorchScript" in str(error) or "input_resolution" in str(error):
        return f"{path} is one of OpenAI's own checkpoints: pass its path alone (-p encoder {path})"
    return f"{path} is not a checkpoint of {name.removeprefix('open_clip:').partition('/')[0]}: {reason(error)}"
