"""Custom encoders: `<package.module>:<name>` names an encoder, or a function without arguments that returns one."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from .._core.paths import project_root
from ..errors import UserError
from . import DEFAULT, Compute, Encoder

NEEDED = ("dim", "input_size", "prepare", "encode")


def load(name: str, compute: Compute = DEFAULT) -> Encoder:
    """Import the module, if necessary from the project's folder or the current folder, and take the encoder.

    If the object lacks `name`, `identity` or `weights_sha256`, they are filled in. The identity then consists of name and
    precision. Define a more specific identity if the weights can change.

    Raises:
        UserError: the module or the name does not exist, or it is neither an encoder nor a function that returns one.
    """
    module_name, _, function = name.partition(":")
    for folder in (str(project_root()), str(Path.cwd())):
        if folder not in sys.path:
            sys.path.append(folder)
    try:
        found = getattr(importlib.import_module(module_name), function)
    except (ImportError, AttributeError) as error:
        raise UserError(f"encoder {name!r}: {error}") from error
    try:
        encoder: Encoder = found() if isinstance(found, type) or not hasattr(found, "encode") else found
    except TypeError as error:
        raise UserError(f"encoder {name!r} should be an encoder or a function without arguments: {error}") from error
    if missing := [attribute for attribute in NEEDED if not hasattr(encoder, attribute)]:
        raise UserError(f"encoder {name!r} returns an object without {', '.join(missing)}: see clipnb.encoders.Encoder")
    for attribute, value in (("name", name), ("weights_sha256", ""), ("identity", f"{name}|{compute.precision}")):
        if not hasattr(encoder, attribute):
            setattr(encoder, attribute, value)
    return encoder
