"""Measure how busy clipnb keeps a GPU: `python benchmarks/gpu.py [--out table.json]`.

A ViT-L/14 with random weights embeds generated photographs in each precision and batch size. Two references stand beside each
rate: the bare forward pass on ready tensors, and the rate at which the CPU prepares photographs without a network.
Without a GPU, a tiny model runs on the CPU, which only shows that the script works.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import new_store, seconds
from networks import random_clip, random_vit
from numpy.typing import NDArray
from PIL import Image

from clipnb.datasets.dataset import Photo
from clipnb.datasets.images import decode, read
from clipnb.embedding.embed import embed
from clipnb.encoders import Compute

SIZES = {(128, 128): 8192, (1000, 750): 2048}
"""Size of the photographs -> how many."""

WAYS = {"fp16": ("fp16", False), "bf16": ("bf16", False), "TF32": ("fp32", True), "fp32": ("fp32", False)}
"""Name of a setting -> precision of the encoder, and whether TF32 is allowed."""


def photographs(folder: Path, count: int, size: tuple[int, int]) -> list[Photo]:
    """Write JPEG files with soft patches."""

    def write(i: int) -> Photo:
        patches = Image.fromarray(np.random.default_rng(i).integers(0, 256, (9, 12, 3), dtype=np.uint8))
        path = folder / f"{size[0]}-{i:05d}.jpg"
        patches.resize(size, Image.Resampling.BICUBIC).save(path, quality=90)
        return Photo("all", path)

    with ThreadPoolExecutor() as pool:
        return list(pool.map(write, range(count)))


class NoNetwork:
    """Prepares photographs as an encoder does, without embedding them, to measure the rate of preparation."""

    name = identity = "no network"
    weights_sha256 = ""
    dim = 4

    def __init__(self, encoder: Any) -> None:
        self.input_size, self.device, self.preparation = encoder.input_size, encoder.device, encoder.preparation
        self.batch_size, self.prepare = encoder.batch_size, encoder.prepare

    def encode(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        return np.full((len(batch), 4), 0.5, np.float32)


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    yield
    torch.set_float32_matmul_precision(before)


def finished(action: Any) -> float:
    """Seconds until an action and the GPU's work are finished."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()

    def whole() -> None:
        action()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return seconds(whole)


def rate(encoder: Any, photos: list[Photo], batch: int, scratch: Path) -> float:
    """Photographs per second from the file to the stored embedding."""
    store, options = new_store(encoder, scratch), {"batch_size": batch, "progress": False}
    return len(photos) / finished(partial(embed, photos, ["original"], encoder, store, **options))


def split(encoder: Any, photos: list[Photo], scratch: Path) -> dict[str, float]:
    """Milliseconds per photograph of each step, one step after the other on one core."""
    images: list[Any] = []
    parts = {"decode": seconds(lambda: images.extend(decode(read(photo.path)) for photo in photos))}
    inputs: list[Any] = []
    parts["prepare"] = seconds(lambda: inputs.extend(map(encoder.prepare, images)))
    batch, held = np.stack(inputs), {}
    parts["copy in"] = finished(lambda: held.update(pixels=torch.from_numpy(batch).to(encoder.device)))
    pixels = held["pixels"].permute(0, 3, 1, 2).float()
    with encoder.computing():
        parts["forward"] = finished(lambda: held.update(features=encoder.model.encode_image(pixels)))
        parts["copy out"] = finished(lambda: held.update(vectors=held["features"].float().cpu().numpy()))
    parts["all, stored"] = seconds(lambda: embed(photos, ["original"], encoder, new_store(encoder, scratch), progress=False))
    return {name: 1000 * time / len(photos) for name, time in parts.items()}


def rows(scratch: Path, small: bool, most: int | None, batches: list[int], end: float) -> Iterator[dict[str, Any]]:
    """One row for each size of photograph, precision and batch size, until the clock reaches `end`."""

    def made(compute: Compute) -> Any:
        return random_clip(64, compute) if small else random_vit("ViT-L-14", compute=compute)

    sample = photographs(scratch, 8, (640, 480))
    cpu = made(Compute(device="cpu"))
    inputs = np.stack([cpu.prepare(decode(read(photo.path))) for photo in sample])
    reference = cpu.encode(inputs)
    for size, count in SIZES.items():
        photos, preparing = photographs(scratch, min(count, most or count), size), 0.0
        for way, (precision, allowed) in WAYS.items():
            encoder = made(Compute(precision))
            some = photos[: len(photos) // 4] if way == "fp32" else photos
            with tf32(allowed):
                vectors = encoder.encode(inputs)
                rate(encoder, photos[:2048], max(batches), scratch)  # starts the processes, and finds the batch size
                preparing = preparing or rate(NoNetwork(encoder), photos, max(batches), scratch)
                for batch in batches:
                    if time.monotonic() > end:
                        return
                    ready = torch.rand(batch, 3, encoder.input_size, encoder.input_size, device=encoder.device)
                    with encoder.computing():
                        bare = batch / min(finished(partial(encoder.model.encode_image, ready)) for _ in range(4))
                    if encoder.device == "cuda":
                        torch.cuda.reset_peak_memory_stats()
                    whole = rate(encoder, some, batch, scratch)
                    yield {
                        "photograph": f"{size[0]} x {size[1]}",
                        "precision": way,
                        "batch": batch,
                        "photographs": len(some),
                        "end to end": whole,
                        "bare": bare,
                        "preparing alone": preparing,
                        "share of bare": whole / bare,
                        "share of the lower": whole / min(bare, preparing),
                        "off the CPU": float(np.linalg.norm(vectors - reference, axis=1).max()),
                        "peak MiB": torch.cuda.max_memory_allocated() / 2**20 if encoder.device == "cuda" else None,
                        "ms": split(encoder, photos[:batch], scratch) if batch == batches[0] else None,
                    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, help=f"number of photographs of each size (default {SIZES}; 8 on a CPU)")
    parser.add_argument("--batches", type=int, nargs="*", help="batch sizes (default 32 128 256 512; 4 on a CPU)")
    parser.add_argument("--minutes", type=float, default=7.0, help="time after which no further row is begun (default 7)")
    parser.add_argument("--out", type=Path, help="file of the table (JSON)")
    options = parser.parse_args()
    small = not torch.cuda.is_available()
    most, batches = options.images or (8 if small else None), options.batches or ([4] if small else [256, 32, 128, 512])
    device = "cpu" if small else torch.cuda.get_device_name()
    table: dict[str, Any] = {"device": device, "cores": os.cpu_count(), "model": "tiny" if small else "ViT-L-14"}
    table |= {"torch": torch.__version__, "rows": []}
    with tempfile.TemporaryDirectory() as scratch:
        for row in rows(Path(scratch), small, most, batches, time.monotonic() + 60 * options.minutes):
            print(json.dumps(row), flush=True)
            table["rows"].append(row)
            if options.out:
                options.out.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
