"""Convert values that a person typed, and refuse files that hold other types, more values, or deeper lists than they may."""

from __future__ import annotations

import math
import os
from collections import Counter
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

from ..errors import UserError

DEEPEST = 10  # largest depth of nested lists and tables in YAML
VALUES_PER_BYTE = 50  # of a parquet file; distances hardly compress, and a hostile file holds billions in a kilobyte


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


def number_in(variable: str, default: int, unit: str) -> int:
    """The whole number in an environment variable, or the default; a `UserError` if the variable holds something else."""
    named = os.environ.get(variable) or str(default)
    if not named.isdecimal():
        raise UserError(f"{variable} must be a whole number of {unit}, not {named!r}")
    return int(named)


def misfit(value: object, hint: Any, name: str = "value") -> str:
    """Describe the first part of a JSON value that has the wrong type (str, int, float, list, dict or a TypedDict); "" if none.

    Numbers are finite, and whole numbers have at most 64 bits.

    >>> misfit({"a": [1, 2]}, dict[str, list[int]]), misfit({"a": [1, "2"]}, dict[str, list[int]], "field")
    ('', "field.a must be int, not '2'")
    """
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if kind is Any:
        return ""
    if is_typeddict(kind):
        if not isinstance(value, dict):
            return f"{name} must be a table, not {value!r:.40}"
        if absent := sorted(kind.__required_keys__ - set(value)):
            return f"{name} lacks {', '.join(absent)}"
        parts = [(value[key], part, key) for key, part in get_type_hints(kind).items() if key in value]
    elif kind is list and isinstance(value, list):
        return next((said for part in value if (said := misfit(part, inner[0], name))), "")
    elif kind is dict and isinstance(value, dict):
        parts = [(part, inner[1], key) for key, part in value.items()]
    else:
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and abs(value) < 2**63
        fits = number and (kind is float or isinstance(value, int)) if kind in (int, float) else isinstance(value, kind)
        return "" if fits else f"{name} must be {kind.__name__}, not {value!r:.40}"
    return next((said for part, of, key in parts if (said := misfit(part, of, f"{name}.{key}"))), "")


def load_yaml(text: str, loader: str = "SafeLoader") -> Any:
    """The content of a YAML text, by a loader of PyYAML that makes no objects (BaseLoader reads all values as text).

    A `yaml.YAMLError` if it is not YAML, holds a wrong number or date, has an alias (`*name`) or the same key twice in a table, or
    nests deeper than `DEEPEST`.
    """
    import yaml

    depth = 0
    for event in yaml.parse(text, yaml.BaseLoader):  # does not recurse, and builds nothing
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(f"line {event.start_mark.line + 1} has an alias (*{event.anchor}): write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise yaml.YAMLError(f"line {event.start_mark.line + 1} nests more than {DEEPEST} lists or tables")
    nodes = [yaml.compose(text, yaml.BaseLoader)]
    while nodes:
        if isinstance(node := nodes.pop(), yaml.SequenceNode):
            nodes += node.value
        elif isinstance(node, yaml.MappingNode):
            nodes += [value for _, value in node.value]
            keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            again = Counter(key.value for key in keys)
            if key := next((key for key in reversed(keys) if again[key.value] > 1), None):
                raise yaml.YAMLError(f"line {key.start_mark.line + 1} has the key {key.value!r} again: join the two")
    try:
        return yaml.load(text, getattr(yaml, loader))
    except (AttributeError, TypeError, ValueError) as error:  # PyYAML's own, of a number or date
        raise yaml.YAMLError(str(error)) from error


def refuse_bomb(file: Any, name: str, size: int) -> None:
    """Raise a ValueError if an opened `pyarrow.parquet.ParquetFile` of `size` bytes states over `VALUES_PER_BYTE` values a byte."""
    about = file.metadata
    held = sum(about.row_group(g).column(c).num_values for g in range(about.num_row_groups) for c in range(about.num_columns))
    if held > VALUES_PER_BYTE * (size + 1_000):
        raise ValueError(f"{name} states {held:,} values in {size:,} bytes")
