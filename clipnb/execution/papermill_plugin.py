"""A papermill plug-in: `papermill notebooks/run.ipynb -p dataset nba -p manip grey` works as typed, without an output path.

papermill loads the entry points of the group `papermill.io` before it reads its command line. If the line names a notebook and
no output, and the notebook's metadata have `papermill_output`, the plug-in fills in the output path from the parameters.
Only a finished run replaces such an output; the notebook of a failed run is kept beside the results.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from papermill.exceptions import PapermillExecutionError
from papermill.iorw import LocalHandler, papermill_io

from .._core.files import write_text
from .._core.paths import TERMINAL, find_project, project_root, results_root, shown
from ..datasets.importers import is_imported
from ..errors import UserError, user_errors
from ..manipulations import CLEAN
from ..spec import RunSpec
from .papermill_command import as_options, planned

STOPPED = "stopped; finished embeddings are kept, type the same command to continue"


class Handler(LocalHandler):  # type: ignore[misc]
    """Prints what a run found. An output path that nobody typed gets the notebook of a finished run alone."""

    running = False
    reported = False

    def __init__(self, spec: RunSpec, state: str = "", *, typed: bool = False) -> None:
        super().__init__()
        self.spec, self.state, self.typed = spec, state, typed

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
        if self.typed:
            super().write(buf, path)
        if not notebook["metadata"]["papermill"].get("end_time"):
            return
        if done and not self.typed:
            notebook["metadata"]["clipnb_state"] = self.state
            notebook["metadata"]["papermill"]["parameters"] |= self.spec.to_dict()  # a default may change
            buf = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
        place = Path(path) if done or self.typed else results_root() / "failed" / Path(path).name
        if not self.typed:
            write_text(place, buf)
            if done:
                (results_root() / "failed" / place.name).unlink(missing_ok=True)  # of an earlier try
        if not self.reported:
            said = self.answer(path) if done else f"The incomplete notebook is in {shown(place)}"
            print(said, file=sys.stdout if done else sys.stderr)
        self.reported = True

    def answer(self, path: str) -> str:
        """The numbers of the run and its warnings, its page, and the next commands; without a saved result, only the page."""
        from ..checks import warnings
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
        said = [f"warning: {warning.replace('`', '')}" for warning in warnings(result)]
        return "\n".join([f"{self.spec.run_id}: {', '.join(numbers)}", *said, f"page: {path}", f"next: {self.next_commands()}"])

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
        original = "the same with -p manip original" + " and without -p strength" * bool(spec.strength)
        clean = "" if saved_result(spec.clean) else f"{original}, then "
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
    if plan.output:
        plan.output.parent.mkdir(parents=True, exist_ok=True)
        sys.argv.append(shown(plan.output))
    place = sys.argv[-1] if plan.output else plan.typed
    if "--prepare-only" in sys.argv or place == "-" or "://" in place:
        return  # papermill itself writes the notebook
    handler = Handler(plan.spec, state, typed=plan.output is None)
    atexit.register(handler.say_if_stopped)
    papermill_io.register(place, handler)


fill_in()
