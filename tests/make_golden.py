"""Makes tests/run.ipynb, the golden copy of the run notebook: `python tests/make_golden.py`.

nbval cannot set parameters, so the copy has a small set of them injected, and keeps no result.
"""

from __future__ import annotations

from pathlib import Path

import nbformat
import papermill

ROOT = Path(__file__).resolve().parent.parent
PARAMETERS = {"dataset": "sample-figures", "manip": "cropped", "encoder": "efficientnet-lite2", "keep": False, "progress": False}


def main() -> None:
    executed = papermill.execute_notebook(ROOT / "notebooks" / "run.ipynb", None, PARAMETERS, progress_bar=False)
    executed.metadata.pop("papermill", None)
    executed.metadata.pop("papermill_output", None)
    for cell in executed.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("image/png", None)  # nbval passes over pictures; the repository need not carry them
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell["id"] = "injected"
    nbformat.write(executed, ROOT / "tests" / "run.ipynb")


if __name__ == "__main__":
    main()
