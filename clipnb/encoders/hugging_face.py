"""Models of transformers, `hf:<repository or folder>`, and image models of sentence-transformers, `st:<name or folder>`.

They have their own image processor and tokenizer. The embedding of `hf` is `get_image_features` of models for images and texts,
else the pooled output, else the output of the first token. Code in a repository is never run.
"""

from __future__ import annotations

from typing import Any

from .._core.paths import typed_path
from ..errors import UserError, needs, one_line
from .base import DEFAULT, INSTEAD, Compute
from .preprocessing import from_package
from .torch_base import TextTorchEncoder, TorchEncoder, features, output_dim, reason, state_sha256


def _source(name: str) -> str:
    """The repository or folder that the name of an encoder holds."""
    source = name.partition(":")[2]
    return str(typed_path(source)) if "~" in source else source


def load(name: str, compute: Compute = DEFAULT) -> TorchEncoder:
    """Load a model of transformers (a `Loader`), unless it needs code that clipnb does not run."""
    source = _source(name)
    with needs(f"the encoder {name!r}", "hf"):
        import torch
        import torchvision  # noqa: F401  (image processors need it)
        from transformers import AutoImageProcessor, AutoModel, AutoTokenizer
    safe = {"trust_remote_code": False}  # without it, transformers asks whether to run the code
    with one_line(f"the encoder {name!r} cannot be loaded", f"pass the folder of a model, or {INSTEAD}", reason):
        found, about = AutoModel.from_pretrained(source, dtype=torch.float32, output_loading_info=True, **safe)
        preprocessing = from_package(AutoImageProcessor.from_pretrained(source, **safe))
        reads_text = hasattr(found, "get_text_features")
        tokenizer: Any = AutoTokenizer.from_pretrained(source, **safe) if reads_text else None
    if missing := sorted(key for key in about["missing_keys"] if not key.startswith("pooler.")):
        raise UserError(f"the checkpoint of {name!r} lacks {len(missing)} weights of the model, such as {missing[0]}")
    if about["missing_keys"]:
        found.pooler = None  # transformers would take random weights

    def encode_image(pixels: Any) -> Any:
        return features(getattr(found, "get_image_features", found)(pixel_values=pixels))

    def tokenize(texts: list[str]) -> Any:
        longest = found.config.text_config.max_position_embeddings
        return tokenizer(texts, padding="max_length", max_length=longest, truncation=True, return_tensors="pt")

    found.encode_image, found.encode_text = encode_image, lambda tokens: features(found.get_text_features(**tokens))
    dim = output_dim(encode_image, found, preprocessing.size)
    rest = (preprocessing, dim, None, state_sha256(found), compute)
    if reads_text:
        return TextTorchEncoder(name, found, tokenize, *rest)
    return TorchEncoder(name, encode_image, found, *rest)


def load_sentence_transformer(name: str, compute: Compute = DEFAULT) -> TextTorchEncoder:
    """Load a model of sentence-transformers that embeds images and texts (a `Loader`)."""
    with needs(f"the encoder {name!r}", "st"):
        import torchvision  # noqa: F401  (image processors need it)
        from sentence_transformers import SentenceTransformer
        from transformers import BatchEncoding
    with one_line(f"the encoder {name!r} cannot be loaded", f"pass a model for images, or {INSTEAD}", reason):
        model = SentenceTransformer(_source(name), device="cpu")
        preprocessing = from_package(model[0].processor)

    def encode_image(pixels: Any) -> Any:
        return model({"pixel_values": pixels, "modality": "image"})["sentence_embedding"]

    def tokenize(texts: list[str]) -> Any:
        return BatchEncoding(model.preprocess(texts))

    model.encode_image, model.encode_text = encode_image, lambda tokens: model(dict(tokens))["sentence_embedding"]
    dim = output_dim(encode_image, model, preprocessing.size)
    return TextTorchEncoder(name, model, tokenize, preprocessing, dim, None, state_sha256(model), compute)
