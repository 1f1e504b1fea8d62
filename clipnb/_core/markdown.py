"""Text from outside (names of files and folders) inside Markdown."""

from __future__ import annotations

import re


def literal(text: str) -> str:
    """A text as a code span that no Markdown, table, role or substitution in it can break out of."""
    safe = text.replace("{{", "{\u200b{").replace("}}", "}\u200b}").replace("|", "\u2223").replace("\n", " ")
    fence = "`" * (max((len(run) for run in re.findall(r"`+", safe)), default=0) + 1)
    pad = " " if safe.startswith("`") or safe.endswith("`") else ""
    return f"{fence}{pad}{safe}{pad}{fence}"
