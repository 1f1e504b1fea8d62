"""Show text from outside, such as names of files and folders, in Markdown."""

from __future__ import annotations

import re


def literal(text: str) -> str:
    """Quote text as a code span, so that Markdown, tables, roles and substitutions in it have no effect."""
    safe = text.replace("{{", "{\u200b{").replace("}}", "}\u200b}").replace("|", "\u2223").replace("\n", " ")
    fence = "`" * (max((len(run) for run in re.findall(r"`+", safe)), default=0) + 1)
    pad = " " if safe.startswith("`") or safe.endswith("`") else ""
    return f"{fence}{pad}{safe}{pad}{fence}"
