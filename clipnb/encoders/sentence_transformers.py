"""Image models of sentence-transformers: `st:<name or folder>`, with their own preprocessing and tokenizer."""

from __future__ import annotations

from typing import Any

from .._core.paths import typed_path
from ..errors import UserError, needs
from . import DEFAULT, INSTEAD, Compute
from .preprocessing import from_package
from .torch_base import TextTorchEncoder, matching_torchvision, output_dim, reason, state_sha256


def load(name: str, compute: Compute = DEFAULT) -> TextTorchEncoder:
    """Load a model of sentence-transformers that embeds images and texts (a `Loader`)."""
    source = name.removeprefix("st:")
    with matching_torchvision(f"the encoder {name!r}"), needs(f"the encoder {name!r}", "st"):
        import torchvision  # noqa: F401  (image processors need it)
        from sentence_transformers import SentenceTransformer
        from transformers import BatchEncoding
    try:
        model = SentenceTransformer(str(typed_path(source)) if "~" in source else source, device="cpu")
        preprocessing = from_package(model[0].processor)
    except UserError:
        raise
    except Exception as error:  # hub, network and configuration errors have no common ancestor
        instead = f"pass a model for images, or {INSTEAD}"
        raise UserError(f"the encoder {name!r} cannot be loaded ({reason(error)}): {instead}") from error

    def encode_image(pixels: Any) -> Any:
        return model({"pixel_values": pixels, "modality": "image"})["sentence_embedding"]

    def tokenize(texts: list[str]) -> Any:
        return BatchEncoding(model.preprocess(texts))

    model.encode_image, model.encode_text = encode_image, lambda tokens: model(dict(tokens))["sentence_embedding"]
    dim = output_dim(encode_image, model, preprocessing.size)
    return TextTorchEncoder(name, model, tokenize, preprocessing, dim, None, state_sha256(model), compute)
