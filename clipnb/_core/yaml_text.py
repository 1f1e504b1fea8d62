"""Read YAML that another person may have written. The size and depth of the result are bounded."""

from __future__ import annotations

from typing import Any

DEEPEST = 10
"""Largest depth of nested lists and tables."""


def load(text: str, loader: str = "SafeLoader") -> Any:
    """The content of a YAML text.

    Args:
        loader: name of a loader of PyYAML that makes no objects: SafeLoader, or BaseLoader, which reads all values as text.

    Raises:
        yaml.YAMLError: the text is not YAML, holds a wrong number or date, has an alias (`*name`), or nests deeper than `DEEPEST`.
    """
    import yaml

    depth = 0
    for event in yaml.parse(text, yaml.BaseLoader):  # does not recurse, and builds nothing
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(f"line {event.start_mark.line + 1} has an alias (*{event.anchor}): write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise yaml.YAMLError(f"line {event.start_mark.line + 1} nests more than {DEEPEST} lists or tables")
    try:
        return yaml.load(text, getattr(yaml, loader))
    except (AttributeError, TypeError, ValueError) as error:  # PyYAML's own, of a number or date
        raise yaml.YAMLError(str(error)) from error
