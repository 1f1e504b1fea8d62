"""Execute a notebook in a kernel of its own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from ..errors import UserError, needs, user_errors

LONGEST = 80  # path of a folder to which the name of a socket can be added: systems allow about 104 bytes


def executed(template: Path, parameters: dict[str, Any], **metadata: object) -> str:
    """The text of a notebook that is executed with parameters in the current folder, with further metadata.

    Times, paths and ids that differ between equal runs are left out. A `UserError` in the notebook is raised here;
    another error is a `PapermillExecutionError`.
    """
    with needs("running notebooks", "notebook"):
        import nbformat
        import papermill
        from traitlets.config import Config
    folder = mkdtemp(prefix="clipnb-")
    sockets = os.name != "nt" and len(folder) < LONGEST  # another process may take a port before the kernel has it
    config = Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"} if sockets else {}})
    try:
        made = papermill.execute_notebook(template, None, parameters, cwd=str(Path.cwd()), progress_bar=False, config=config)
    except papermill.exceptions.PapermillExecutionError as error:
        shutil.rmtree(folder, ignore_errors=True)  # after an interrupt a kernel may still start there
        if error.ename in user_errors():
            raise UserError(error.evalue) from error
        raise
    shutil.rmtree(folder, ignore_errors=True)
    _forget_times(made)
    made.metadata |= metadata
    return str(nbformat.writes(made)) + "\n"


def _forget_times(notebook: Any) -> None:
    """Remove times, paths and papermill's random cell id, so that equal runs have equal pages."""
    for at, part in enumerate([notebook, *notebook.cells]):
        for name in ("start_time", "end_time", "duration", "input_path", "output_path"):
            part.metadata.get("papermill", {}).pop(name, None)
        part.metadata.pop("execution", None)
        if "injected-parameters" in part.metadata.get("tags", []):
            part["id"] = f"injected-{at}"
