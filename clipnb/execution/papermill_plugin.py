"""A papermill plug-in: `papermill notebooks/run.ipynb -p dataset nba -p manip grey` works as typed, without an output path.

papermill loads the entry points of the group `papermill.io` before it reads its command line. When that line names one
notebook and no output, and the notebook's metadata has `papermill_output`, the output path is filled in from the
parameters. An explicit output path, or `-` for standard output, always wins.

A page that is written this way is replaced only by a finished run; one that failed is kept beside the results. A
mistake in the parameters, or one that the notebook reports as a UserError, is one line and not a traceback.
"""

from __future__ import annotations

import ast
import atexit
import base64
import difflib
import json
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from papermill.exceptions import PapermillExecutionError
from papermill.iorw import LocalHandler, papermill_io

from .._core.files import write_text
from .._core.paths import enclosing_project, project_root, results_root, shown
from ..errors import UserError, user_errors
from ..spec import spec_of

_TWO_VALUES = ("-p", "--parameters", "-r", "--parameters_raw")
_FILES = {
    "-f": "file",
    "--parameters_file": "file",
    "-y": "yaml",
    "--parameters_yaml": "yaml",
    "-b": "base64",
    "--parameters_base64": "base64",
}
_ONE_VALUE = (
    *_FILES, "--engine", "-k", "--kernel", "-l", "--language", "--cwd", "--stdout-file", "--stderr-file", "--log-level",
    "--start-timeout", "--start_timeout", "--execution-timeout", "--autosave-cell-every",
)  # fmt: skip
_ASK_ONLY = ("--help", "-h", "--help-notebook", "--version")


def _value(text: str) -> Any:
    """A -p value as papermill understands it."""
    if text in ("True", "False", "None"):
        return {"True": True, "False": False, "None": None}[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _from_yaml(source: str, kind: str) -> dict[str, Any]:
    import yaml

    if kind == "file":
        source = Path(source).read_text(encoding="utf-8")
    elif kind == "base64":
        source = base64.b64decode(source).decode("utf-8")
    return yaml.safe_load(source) or {}


def read_command_line(arguments: list[str]) -> tuple[list[str], dict[str, Any]]:
    """What a papermill command line says: its positional arguments and the parameters it passes."""
    positional: list[str] = []
    parameters: dict[str, Any] = {}
    rest = iter(arguments)
    for argument in rest:
        name, equals, inline = argument.partition("=")
        if argument in _TWO_VALUES:
            key, text = next(rest, ""), next(rest, "")
            parameters[key] = _value(text) if argument in _TWO_VALUES[:2] else text
        elif name in _ONE_VALUE:
            value = inline if equals else next(rest, "")
            if name in _FILES:
                parameters.update(_from_yaml(value, _FILES[name]))
        elif argument == "-" or not argument.startswith("-"):
            positional.append(argument)
    return positional, parameters


def default_parameters(notebook: Mapping[str, Any]) -> dict[str, Any]:
    """The literal values that a notebook's `parameters` cell assigns."""
    values: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            for node in ast.parse("".join(cell["source"])).body:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
                for target in targets:
                    if isinstance(target, ast.Name) and isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                        values[target.id] = ast.literal_eval(node.value)
    return values


def output_for(arguments: list[str]) -> Path | None:
    """Where a command line without output path should write, or None if that is not ours to say.

    Raises:
        UserError: the parameters describe no possible run.
    """
    positional, parameters = read_command_line(arguments)
    if len(positional) != 1 or any(a in _ASK_ONLY for a in arguments) or not Path(positional[0]).is_file():
        return None
    try:
        notebook = json.loads(Path(positional[0]).read_text(encoding="utf-8"))
    except ValueError:
        return None  # papermill has its own words for it
    template = notebook.get("metadata", {}).get("papermill_output")
    if not template:
        return None
    defaults = default_parameters(notebook)
    for name in parameters:
        if name not in defaults:
            close = difflib.get_close_matches(name, defaults, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise UserError(f"the notebook has no parameter {name!r}{hint}; it has {', '.join(defaults)}")
    spec = spec_of(defaults | parameters)
    project = enclosing_project(Path(positional[0]).resolve().parent)
    if project:
        os.environ["CLIPNB_PROJECT"] = str(project)  # for the notebook's kernel too
    return project_root() / str(template).format(run_id=spec.run_id)


class Handler(LocalHandler):  # type: ignore[misc]
    """Writes a notebook when its run is over: to its place if it finished, beside the results if it did not."""

    running = False

    def say_if_stopped(self) -> None:
        """At exit: an interrupt ends papermill without an error of its own."""
        if self.running:
            _complain("stopped; the embeddings that were finished are kept, the same command goes on from there")

    def write(self, buf: str, path: str) -> None:
        notebook = json.loads(buf)
        names = [o["ename"] for c in notebook["cells"] for o in c.get("outputs", []) if o["output_type"] == "error"]
        self.running = names in ([], ["KeyboardInterrupt"]) and not finished(notebook)
        if not notebook["metadata"]["papermill"].get("end_time"):
            return
        if finished(notebook):
            write_text(Path(path), buf)
        else:
            kept = results_root() / "failed" / Path(path).name
            first = not kept.is_file() or kept.read_text(encoding="utf-8") != buf
            write_text(kept, buf)
            if first:
                print(f"The notebook, as far as it came, is in {shown(kept)}", file=sys.stderr)


def finished(notebook: Mapping[str, Any]) -> bool:
    """Whether the kernel answered for every code cell, and none ended in an error.

    After an interrupt papermill's own flags can say that all is well; what nbclient noted of each answer cannot.
    """
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]
    answered = all("shell.execute_reply" in cell["metadata"].get("execution", {}) for cell in cells)
    return answered and not any(output["output_type"] == "error" for cell in cells for output in cell["outputs"])


def _complain(message: str) -> None:
    print(f"clipnb: {message}", file=sys.stderr)


def _one_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """`sys.excepthook`: a UserError raised inside the notebook is a line, anything else stays as it is."""
    if isinstance(error, PapermillExecutionError) and error.ename in user_errors():
        _complain(error.evalue)
    else:
        sys.__excepthook__(kind, error, trace)


def _stop(message: str) -> NoReturn:
    _complain(message)
    raise SystemExit(2)


def fill_in() -> None:
    """Complete papermill's command line, if it is papermill that is running."""
    by_module = sys.argv[0] == "-m" and "papermill" in sys.orig_argv  # python -m papermill, before it has found itself
    if Path(sys.argv[0]).stem != "papermill" and not by_module:
        return
    sys.excepthook = _one_line
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # an interrupt would print the cell's traceback once more
    try:
        output = output_for(sys.argv[1:])
    except UserError as error:
        _stop(str(error))
    if output is None:
        return
    place = shown(output)
    handler = Handler()
    atexit.register(handler.say_if_stopped)
    papermill_io.register(place, handler)
    output.parent.mkdir(parents=True, exist_ok=True)
    positional, _ = read_command_line(sys.argv[1:])
    sys.argv.insert(sys.argv.index(positional[0]) + 1, place)


fill_in()
