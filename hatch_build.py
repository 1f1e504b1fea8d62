"""Puts the files of a project, which `clipnb init` copies, into the wheel. An editable installation has them in the checkout."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PARTS = ("_config.yml", "_toc.yml", "notebooks/*.ipynb", "book/*.*", "book/_static/*")
"""As in `clipnb.cli.project`."""


class ProjectFiles(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard":
            root = Path(self.root)
            for path in (path for part in PARTS for path in root.glob(part) if path.is_file()):
                build_data["force_include"][str(path)] = f"clipnb/_project/{path.relative_to(root).as_posix()}"
