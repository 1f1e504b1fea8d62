"""Parameters of a run as flags of commands: what they are called and how help explains them."""

from __future__ import annotations

import argparse
from typing import Any

SETTINGS: dict[str, tuple[type, str]] = {
    "encoder": (str, "what embeds the photographs ($CLIPNB_ENCODER, else ViT-L/14)"),
    "k": (int, "results asked for each query"),
    "tau": (float, "L2 distance below which a result is valid"),
    "seed": (int, "decides every random draw"),
    "precision": (str, "of the encoder's weights: fp32, bf16 or fp16"),
    "engine": (str, "what runs the network: torch, compile or openvino"),
    "draws": (int, "how often a random manipulation is drawn for each photograph"),
    "categories": (int, "how many to draw from each data set; 0 for all"),
    "per_category": (int, "photographs to draw of each category; 0 for all"),
}


def add_settings(parser: argparse.ArgumentParser, *names: str, note: str = "") -> None:
    """Give a command some of `SETTINGS` as flags; one that is not typed is absent, so that the run's default holds."""
    for name in names:
        kind, what = SETTINGS[name]
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=argparse.SUPPRESS, help=what + note)


def given_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Those that were typed."""
    return {name: value for name, value in vars(options).items() if name in SETTINGS}
