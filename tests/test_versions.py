"""Versions of packages: the tested ones with their hashes, and lowest ones without known vulnerabilities."""

from __future__ import annotations

import re
import tomllib

from packaging.requirements import Requirement
from packaging.version import Version

from conftest import REPOSITORY

MENDED = {
    "aiohttp": "3.13.3",  # CVE-2025-69223 and others of one day
    "filelock": "3.20.3",  # CVE-2025-68146, CVE-2026-22701
    "jinja2": "3.1.6",  # CVE-2025-27516
    "jupyterlab": "4.4.8",  # CVE-2025-59842
    "opencv-python-headless": "4.12",  # CVE-2025-53644
    "pillow": "12.2",  # CVE-2026-25990, GHSA-wjx4-4jcj-g98j
    "requests": "2.33",  # CVE-2026-25645
    "torch": "2.10",  # CVE-2026-24747: weights_only=True corrupts memory
    "tqdm": "4.66.3",  # CVE-2024-34062
}
"""Package -> first version without the vulnerabilities that were known when the lowest version was set."""


def test_the_lowest_versions_have_no_known_vulnerability() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    for package, mended in MENDED.items():
        found = [r for part in lists for r in map(Requirement, part) if r.name == package]
        lowest = [Version(s.version) for r in found for s in r.specifier if s.operator in (">=", "==")]
        assert len(lowest) == len(found) > 0, package
        assert min(lowest) >= Version(mended), package


def test_hashes_are_those_of_the_tested_versions() -> None:
    hashes = (REPOSITORY / "hashes.txt").read_text(encoding="utf-8")
    entries = re.findall(r"^(\S.*?) \\\n((?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", hashes, re.MULTILINE)
    pins = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert sorted(pin for pin, _ in entries) == sorted(pins)
