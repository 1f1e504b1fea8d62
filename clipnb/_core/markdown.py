"""Show text from outside, such as names of files and folders, in Markdown."""

from __future__ import annotations

import re


def literal(text: str) -> str:
    """Quote text as a code span, so that Markdown, tables, roles and substitutions in it have no effect."""
    safe = text.replace("{{", "{\u200b{").replace("}}", "}\u200b}").replace("|", "\u2223").replace("\n", " ")
    fence = "`" * (max((len(run) for run in re.findall(r"`+", safe)), default=0) + 1)
    pad = " " if safe.startswith("`") or safe.endswith("`") else ""
    return f"{fence}{pad}{safe}{pad}{fence}"


def escaped(text: str) -> str:
    """Text whose characters all stand for themselves in Markdown: no link, tag, emphasis, code, formula or substitution.

    >>> print(escaped("<b>a_1</b>|[x](y)"))
    \\<b\\>a\\_1\\</b\\>\\|\\[x\\](y)
    """
    return re.sub(r"([\\`*_\[\]<>{}|$~&#!]|:(?=//)|(?<=www)\.)", r"\\\1", plain(text))


def plain(text: str) -> str:
    """Text on one line: white space is a space, and another control character its code, so that no terminal obeys it.

    >>> plain("a\\n\\x1b[2J")
    'a \\\\x1b[2J'
    """
    return "".join(c if c.isprintable() else " " if c.isspace() else ascii(c)[1:-1] for c in text)
