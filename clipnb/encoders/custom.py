"""Custom encoders: `<package.module>:<function>` names a function without arguments that returns an `Encoder`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from .._core.paths import project_root
from ..errors import UserError
from . import Encoder


def load(name: str, precision: str = "fp32") -> Encoder:
    """Import the module, if necessary from the project's folder or the current folder, and call the function.

    If the object lacks `name`, `identity` or `weights_sha256`, they are filled in. The identity then consists of name and
    precision. Define a more specific identity if the weights can change.

    Raises:
        UserError: the module or the function does not exist, or the function does not return an encoder.
    """
    module_name, _, function = name.partition(":")
    for folder in (str(project_root()), str(Path.cwd())):
        if folder not in sys.path:
            sys.path.append(folder)
    try:
        build = getattr(importlib.import_module(module_name), function)
    except (ImportError, AttributeError) as error:
        raise UserError(f"encoder {name!r}: {error}") from error
    try:
        encoder: Encoder = build()
    except TypeError as error:
        raise UserError(f"encoder {name!r} should be a function without arguments: {error}") from error
    if missing := [attribute for attribute in ("dim", "input_size", "prepare", "encode") if not hasattr(encoder, attribute)]:
        raise UserError(f"encoder {name!r} returns an object without {', '.join(missing)}: see clipnb.encoders.Encoder")
    for attribute, value in (("name", name), ("weights_sha256", ""), ("identity", f"{name}|{precision}")):
        if not hasattr(encoder, attribute):
            setattr(encoder, attribute, value)
    return encoder
