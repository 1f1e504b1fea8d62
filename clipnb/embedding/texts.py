"""Embed texts, and the names of categories by prompts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..encoders import TextEncoder
from ..encoders.checked import encode_text
from .store import EmbeddingStore, Entry

BATCH = 256
"""Number of texts per call of the encoder."""


def embed_texts(texts: Sequence[str], encoder: TextEncoder, store: EmbeddingStore) -> NDArray[np.float32]:
    """Embed n texts as (n, dim) float32 with unit rows. Embeddings that the store has are not computed again."""
    keys = {text: hashlib.sha256(f"text|{text}".encode()).digest() for text in texts}
    lacking = set(store.missing(keys.values()))
    new = [text for text, key in keys.items() if key in lacking]
    for start in range(0, len(new), BATCH):
        part = new[start : start + BATCH]
        vectors = encode_text(encoder, part)
        store.add((keys[text], Entry(vector, keys[text][:16])) for text, vector in zip(part, vectors, strict=True))
    return np.stack([entry.vector for entry in store.entries(keys[text] for text in texts)])


def embed_names(names: Sequence[str], templates: Sequence[str], encoder: TextEncoder, store: EmbeddingStore) -> NDArray[np.float32]:
    """Embed n names by t templates: the mean over templates, scaled to unit length (Radford et al. 2021).

    Args:
        names: the names that replace {} in each template.

    Returns:
        (n, dim) float32 with unit rows.
    """
    texts = [template.replace("{}", name) for name in names for template in templates]
    vectors = embed_texts(texts, encoder, store).reshape(len(names), len(templates), -1).mean(axis=1)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)
