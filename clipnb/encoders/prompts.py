"""Prompts of zero-shot classification: templates for the name of a category (Radford et al. 2021)."""

from __future__ import annotations

from ..errors import needs

PHOTO, IMAGENET = "photo", "imagenet"

BARE = ("{}",)  # the name alone

RULE = f"{PHOTO}, {IMAGENET}, or templates with {{}} for the name, separated by |"


def allowed(prompts: str) -> bool:
    """Whether `templates` accepts this text."""
    return prompts in (PHOTO, IMAGENET) or all("{}" in template for template in prompts.split("|"))


def templates(prompts: str) -> tuple[str, ...]:
    """The templates that `prompts` stands for, each with {} for the name of a category; several are separated by |.

    "photo" is the CLIP paper's template. "imagenet" is OpenAI's 80 templates for ImageNet, from open_clip (else `MissingExtra`).

    >>> templates("photo")
    ('a photo of a {}.',)
    >>> templates("a photo of {}, a tennis player.|a portrait of {}.")
    ('a photo of {}, a tennis player.', 'a portrait of {}.')
    """
    if prompts == PHOTO:
        return ("a photo of a {}.",)
    if prompts != IMAGENET:
        return tuple(template.strip() for template in prompts.split("|"))
    with needs(f"the prompts {IMAGENET!r}", "open_clip"):
        from open_clip import OPENAI_IMAGENET_TEMPLATES
    return tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)
