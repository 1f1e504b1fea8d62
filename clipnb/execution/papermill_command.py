"""What a papermill command line asks for: the notebook, the run, and the path of the output. A wrong line is a `UserError`."""

from __future__ import annotations

import ast
import base64
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import click

from .._core.files import read_json, read_text, require_writable
from .._core.paths import find_project, project_root, results_root, shown
from .._core.registry import nearest
from .._core.typed import from_text, load_yaml
from ..datasets.dataset import cut_by_shell
from ..encoders import imports_code
from ..errors import UserError, text_of
from ..spec import FIELDS, RunSpec, spec_of

LARGEST = 100_000  # size of the largest file of parameters that is read, in bytes

_OTHER_VALUES = (
    "-l", "--language", "--engine", "--cwd", "--stdout-file", "--stderr-file", "--log-level",
    "--start-timeout", "--start_timeout", "--execution-timeout", "--autosave-cell-every",
)  # fmt: skip

_COMMAND = click.Command(  # papermill's own is not defined yet when papermill loads this module
    "papermill",
    params=[
        *(click.Option([kind, f"-{kind[0]}", f"--parameters_{kind}"], multiple=True) for kind in ("base64", "file", "yaml")),
        click.Option(["typed", "-p", "--parameters"], nargs=2, multiple=True),
        click.Option(["raw", "-r", "--parameters_raw"], nargs=2, multiple=True),
        click.Option(["kernel", "-k", "--kernel"]),
        click.Option(["other", *_OTHER_VALUES], multiple=True),
        click.Argument(["words"], nargs=-1, type=click.UNPROCESSED),
    ],
    context_settings={"ignore_unknown_options": True},
    add_help_option=False,
)


def _from_yaml(source: str, kind: str) -> dict[str, Any]:
    """The parameters in a file, a YAML text or its base64; a `UserError` if they cannot be read."""
    import yaml

    text = source
    try:
        if kind == "file":
            text = read_text(Path(source), LARGEST)
        elif kind == "base64":
            text = base64.b64decode(source, validate=True).decode("utf-8")
        found = load_yaml(text) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"the parameters in {source!r:.80} cannot be read: {text_of(error)}") from error
    if not isinstance(found, dict):
        raise UserError(f"the parameters in {source!r:.80} must be name: value pairs")
    return found


def _given(arguments: list[str]) -> dict[str, Any]:
    """The options and words of a papermill command line."""
    return _COMMAND.make_context("papermill", list(arguments), resilient_parsing=True).params


def read_command_line(arguments: list[str], defaults: Mapping[str, Any] = MappingProxyType({})) -> tuple[list[str], dict[str, Any]]:
    """Read the positional arguments and the parameters of a papermill command line; none of a line that papermill refuses.

    The types of `defaults` (parameter -> value in the notebook) decide what a -p value means. Without any, no file is read.
    """
    given = _given(arguments)
    positional = [word for word in given["words"] if word == "-" or not word.startswith("-")]
    parameters: dict[str, Any] = {}
    for kind in ("base64", "file", "yaml") if defaults else ():  # in papermill's order: the last one counts
        for source in given[kind]:
            parameters |= _from_yaml(source, kind)
    typed = {name: from_text(text, defaults.get(name, "")) for name, text in given["typed"]}
    return positional, parameters | typed | dict(given["raw"])


def as_options(parameters: Mapping[str, Any]) -> list[str]:
    """Options that give papermill exactly these parameters, after all others: texts as -r, values as Python writes them."""
    options: list[str] = []
    for name, value in parameters.items():
        options += ["-r", name, value] if isinstance(value, str) else ["-p", name, repr(value)]
    return options


def default_parameters(notebook: Mapping[str, Any]) -> dict[str, Any]:
    """The literal values that a notebook's `parameters` cell assigns."""
    values: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            for node in ast.parse("".join(cell["source"])).body:
                if isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
                    target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
                    values[ast.unparse(target)] = ast.literal_eval(node.value)
    return values


def _require_sense(raw: Any, words: list[str], parameters: dict[str, Any], defaults: Mapping[str, Any]) -> None:
    """Refuse a number that is passed as text, and a name with spaces of which a shell passed the first word."""
    for name, text in raw:
        if name in defaults and not isinstance(defaults[name], str):
            raise UserError(f"-r passes a text, which {name} is not: -p {name} {shlex.quote(text)}")
    for name in ("dataset", "gallery"):
        if words and (spaced := cut_by_shell([str(parameters.get(name, "")), *words])):
            raise UserError(f"put a name with spaces in quotes: -p {name} {spaced}")


class Planned(NamedTuple):
    """What a command line asks for: notebook, run, the output path that is typed or, if none is, made, and typed parameters."""

    notebook: Path
    spec: RunSpec
    typed: str
    output: Path | None
    parameters: dict[str, Any]


def planned(arguments: list[str]) -> Planned | None:
    """The run of a command line, or None if the notebook is not one of clipnb: it names no `papermill_output`.

    A `UserError` says that the parameters are wrong, or that the data set is missing or too small.
    """
    positional, _ = read_command_line(arguments)
    if not positional or {"-h", "--help", "--help-notebook", "--version"} & {*arguments}:
        return None
    if not (path := Path(positional[0])).is_file():
        project = find_project(Path.cwd())
        if (path.suffix != ".ipynb" and not project) or positional[0] == "-" or "://" in positional[0]:
            return None
        have = ", ".join(shown(notebook) for notebook in sorted((project / "notebooks").glob("*.ipynb"))) if project else ""
        where = f"the project has {have}" if have else "this folder is in no project (clipnb init <folder> makes one)"
        raise UserError(f"there is no notebook {positional[0]}; {where}")
    try:
        notebook = read_json(path)
        template = notebook["metadata"]["papermill_output"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # papermill reports what is wrong
    defaults = default_parameters(notebook)
    _, parameters = read_command_line(arguments, defaults)
    _require_sense(_given(arguments)["raw"], positional[1:], parameters, defaults)
    for word in positional[1:]:
        name, equals, value = word.partition("=")
        if equals and name in defaults:
            raise UserError(f"{word!r} would be the path of the output: a parameter is -p {name} {shlex.quote(value)}")
        if Path(word).is_dir():
            raise UserError(f"{word!r} would be the path of the output, but it is a folder: a data set is -p dataset {word}")
    for name, value in parameters.items():
        if name not in defaults:
            listed = f"papermill --help-notebook {positional[0]} lists them"
            raise UserError(f"the notebook has no parameter {name!r}{nearest(name, defaults)}; {listed}")
        if name not in FIELDS and type(value) is not type(defaults[name]):
            wanted = "True or False" if isinstance(defaults[name], bool) else "a whole number"
            raise UserError(f"{name} must be {wanted}, not {value!r}")
        if isinstance(defaults[name], str) and not isinstance(value, str):
            raise UserError(f"{name} must be a text, not {value!r}: put it in quotes")
    if project := find_project(path.resolve().parent):
        os.environ["CLIPNB_PROJECT"] = str(project)  # for the notebook's kernel too
    spec = spec_of(defaults | parameters)
    typed = "encoder" not in parameters or any(spec.encoder in argument for argument in arguments)
    if not typed and imports_code(spec.encoder):
        hint = f"-p encoder {shlex.quote(spec.encoder)}"
        raise UserError(f"a file names the encoder {spec.encoder!r}, whose code is imported only if you type it: {hint}")
    from ..possible import require_possible

    require_possible(spec)
    if kernel := _given(arguments)["kernel"]:
        from jupyter_client.kernelspec import KernelSpecManager

        if kernel not in (kernels := KernelSpecManager().find_kernel_specs()):
            raise UserError(f"there is no kernel {kernel!r}; Jupyter has {', '.join(kernels) or 'none'}")
    output = project_root() / str(template).format(run_id=spec.run_id) if len(positional) == 1 else None
    require_writable(*[results_root()] * bool((defaults | parameters).get("keep")), *([output.parent] if output else []))
    return Planned(path, spec, "".join(positional[1:2]), output, parameters)
