"""A papermill plug-in: `papermill notebooks/run.ipynb -p dataset nba -p manip grey` works as typed, without an output path.

papermill loads the entry points of the group `papermill.io` before it reads its command line. If the line names a notebook and
no output, and the notebook's metadata have `papermill_output`, the plug-in fills in the output path from the parameters.
Only a finished run replaces such an output; the notebook of a failed run is kept beside the results.
"""

from __future__ import annotations

import ast
import atexit
import base64
import json
import logging
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple

import click
from papermill.exceptions import PapermillExecutionError
from papermill.iorw import LocalHandler, papermill_io

from .._core.files import read_json, read_text, require_writable, write_text
from .._core.paths import TERMINAL, find_project, project_root, results_root, shown
from .._core.registry import nearest
from .._core.typed import from_text, load_yaml
from ..datasets.dataset import cut_by_shell
from ..datasets.importers import is_imported
from ..encoders import imports_code
from ..errors import UserError, text_of, user_errors
from ..manipulations import CLEAN
from ..spec import FIELDS, RunSpec, spec_of

STOPPED = "stopped; finished embeddings are kept, type the same command to continue"
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
    """What a command line asks for: notebook, run, output path if none is stated, and parameters by the notebook's types."""

    notebook: Path
    spec: RunSpec
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
    from ..runs import require_possible

    require_possible(spec)
    if kernel := _given(arguments)["kernel"]:
        from jupyter_client.kernelspec import KernelSpecManager

        if kernel not in (kernels := KernelSpecManager().find_kernel_specs()):
            raise UserError(f"there is no kernel {kernel!r}; Jupyter has {', '.join(kernels) or 'none'}")
    output = project_root() / str(template).format(run_id=spec.run_id) if len(positional) == 1 else None
    require_writable(*[results_root()] * bool((defaults | parameters).get("keep")), *([output.parent] if output else []))
    return Planned(path, spec, output, parameters)


class Handler(LocalHandler):  # type: ignore[misc]
    """Writes the notebook at the end of its run: to the output path if the run finished, else beside the results."""

    running = False
    reported = False

    def __init__(self, spec: RunSpec, state: str = "") -> None:
        super().__init__()
        self.spec, self.state = spec, state

    def say_if_stopped(self) -> None:
        """Print a message at exit after an interrupt, which papermill does not report."""
        if self.running:
            _complain(STOPPED)

    def write(self, buf: str, path: str) -> None:
        notebook = json.loads(buf)
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]
        errors = [output["ename"] for cell in cells for output in cell["outputs"] if output["output_type"] == "error"]
        # papermill's own flags can report success after an interrupt; the replies of the kernel that nbclient records cannot
        done = not errors and all("shell.execute_reply" in cell["metadata"].get("execution", {}) for cell in cells)
        self.running = errors in ([], ["KeyboardInterrupt"]) and not done
        if not notebook["metadata"]["papermill"].get("end_time"):
            return
        if done:
            notebook["metadata"]["clipnb_state"] = self.state
            notebook["metadata"]["papermill"]["parameters"] |= self.spec.to_dict()  # a default may change
            buf = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
        place = Path(path) if done else results_root() / "failed" / Path(path).name
        write_text(place, buf)
        if not self.reported:
            said = self.answer(path) if done else f"The incomplete notebook is in {shown(place)}"
            print(said, file=sys.stdout if done else sys.stderr)
        self.reported = True

    def answer(self, path: str) -> str:
        """The numbers of the run, its page, and the next commands; without a saved result, only the page."""
        from ..metrics.measures import MEASURES
        from ..runs import saved_result

        if (result := saved_result(self.spec)) is None:
            return f"page: {path}"
        numbers = []
        for name in ("found", "p1", "valid"):
            if name in result.rows and (scored := int(result.rows[name].notna().sum())):
                some = f" ({scored} of {len(result.rows)} queries)" * (scored < len(result.rows))
                alone = " (by construction: one category alone)" * (name == "p1" and result.one_kind)
                numbers.append(f"{MEASURES[name].label} {result.mean(name):.1%}{some}{alone}")
        return f"{self.spec.run_id}: {', '.join(numbers)}\npage: {path}\nnext: {self.next_commands()}"

    def next_commands(self) -> str:
        """What uses the run."""
        from ..merge import saved_batches, still_to_run
        from ..runs import saved_result

        spec, group = self.spec, shlex.quote(self.spec.group_id)
        elsewhere = project_root() != (find_project(Path.cwd()) or Path.cwd())
        there = f"cd {shlex.quote(shown(project_root()))} && " if elsewhere else ""
        if spec.start or spec.step:
            if not (left := still_to_run(saved_batches()[replace(spec, start=0, step=0).run_id])):
                return f"{there}clipnb merge"
            start, step = left[0]
            return f"the same with -p start {start}" + f" -p step {step}" * (not 0 < spec.step <= step)
        if spec.manip == CLEAN:
            return f"the same with an edit, such as -p manip grey, then {there}clipnb analyse {group}"
        clean = "" if saved_result(spec.clean) else "the same with -p manip original, then "
        return f"{clean}{there}clipnb analyse {group}"


def _complain(message: str) -> None:
    print(f"clipnb: {message}", file=sys.stderr)


def _one_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """`sys.excepthook`: report a UserError of the notebook and an interrupt in one line and any other error as usual."""
    if isinstance(error, PapermillExecutionError) and error.ename in user_errors():
        _complain(error.evalue)
    elif isinstance(error, KeyboardInterrupt):
        _complain(STOPPED)
    else:
        sys.__excepthook__(kind, error, trace)


def fill_in() -> None:
    """Complete the command line if this process runs papermill."""
    by_module = sys.argv[0] == "-m" and "papermill" in sys.orig_argv  # python -m papermill, before Python sets argv[0]
    if Path(sys.argv[0]).stem != "papermill" and not by_module:
        return
    sys.excepthook = _one_line
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it repeats the cell's traceback after an interrupt
    try:
        if (plan := planned(sys.argv[1:])) is None:
            return
        from . import pages

        own = plan.output and plan.notebook.resolve() == (project_root() / pages.TEMPLATE).resolve()
        state = pages.state_of(plan.spec) if own and not is_imported(plan.spec.dataset) else ""  # by which the page is current
    except UserError as error:
        _complain(str(error))
        sys.exit(2)
    if sys.stderr.isatty():
        os.environ[TERMINAL] = os.ttyname(sys.stderr.fileno())
    at = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    sys.argv[at:at] = as_options(plan.parameters)
    if plan.output is None:
        return
    place = shown(plan.output)
    plan.output.parent.mkdir(parents=True, exist_ok=True)
    sys.argv.append(place)
    if "--prepare-only" in sys.argv:
        return  # papermill itself writes the notebook
    handler = Handler(plan.spec, state)
    atexit.register(handler.say_if_stopped)
    papermill_io.register(place, handler)


fill_in()
