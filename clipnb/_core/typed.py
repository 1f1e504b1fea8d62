"""Values that a person types, by the type that is expected."""

from __future__ import annotations

from typing import Any


def from_text(text: str, like: object) -> Any:
    """Convert a typed value to the type of `like`; a text that has no such value stays as it is, for the message of an error.

    >>> from_text("007", ""), from_text("false", True), from_text("8.0", 1), from_text("1e-1", 0.8), from_text("many", 1)
    ('007', False, 8, 0.1, 'many')
    """
    if text == "None" and not isinstance(like, str):
        return None
    if isinstance(like, bool):
        return {"true": True, "false": False}.get(text.lower(), text)
    try:
        if isinstance(like, int):
            return int(text) if text.lstrip("+-").isdigit() or not float(text).is_integer() else int(float(text))
        return float(text) if isinstance(like, float) else text
    except ValueError:
        return text
