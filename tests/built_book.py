"""The book as the tests read it: built from a clean checkout, and opened in a real browser."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
GENERATED = ("runs", "datasets", "cards", "api", "generated", "_build", "__pycache__")
PARTS = ("book", "clipnb", "notebooks", "_config.yml", "_toc.yml", "pyproject.toml", "README.md", "CHANGELOG.md")


BUILT, CACHE = os.environ.get("CLIPNB_BUILT"), os.environ.get("CLIPNB_CACHE")  # before the tests set a cache of their own
"""Where a checkout's book is built already, and the cache it was built with: embeddings are the same in any."""


def environment() -> dict[str, str]:
    """Of a build: results lie in the checkout itself."""
    kept = {k: v for k, v in os.environ.items() if k != "CLIPNB_RESULTS"}
    return kept | {"CLIPNB_CACHE": CACHE} if BUILT and CACHE else kept


def jb_build(project: Path, like: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The literal command, strict; `like` names a checkout whose own environment runs it, if it has one."""
    own = like / ".venv" / "bin" / "jb" if like else None
    jb = own if own and own.is_file() else Path(sys.executable).with_name("jb")
    return subprocess.run(
        [str(jb), "build", "book", "-W", "-n", "--keep-going"], cwd=project, env=environment(), capture_output=True, text=True
    )


def checkout(folder: Path) -> Path:
    """What a clone holds that the book needs, without anything that was computed."""
    for part in PARTS:
        if (ROOT / part).is_dir():
            made = GENERATED if part == "book" else ("__pycache__",)
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns(*made))
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / part, folder / part)
    return folder


def small(project: Path, folder: Path, *chapters: str) -> Path:
    """A checkout with the runs of `project`, whose book has few chapters (`file: x` or `glob: x/*`): it is built quickly."""
    checkout(folder)
    shutil.copytree(project / "results", folder / "results")
    shutil.copytree(project / "book" / "runs", folder / "book" / "runs")
    (folder / "book" / "small.md").write_text("# A small book\n")
    (folder / "_toc.yml").write_text("format: jb-book\nroot: small\nchapters:\n" + "".join(f"- {c}\n" for c in chapters))
    return folder


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout without results or pages of runs, in which the book was built.

    $CLIPNB_BUILT names a checkout whose book is built already, and saves that.
    """
    if BUILT:
        return Path(BUILT)
    folder = checkout(tmp_path_factory.mktemp("book") / "checkout")
    done = jb_build(folder)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return folder


@pytest.fixture(scope="session")
def html(project: Path) -> Path:
    return project / "_build" / "html"


def pages(html: Path) -> list[str]:
    """Addresses of all pages below the book's first folder."""
    return sorted(p.relative_to(html).as_posix() for p in html.rglob("*.html") if "_static" not in p.parts)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, at desktop width unless a test says otherwise."""
    chrome, driver = (shutil.which(n) for n in ("chromium", "chromedriver"))
    if not chrome or not driver:
        pytest.skip("needs Chromium and ChromeDriver (Debian: apt-get install chromium chromium-driver)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chrome
    quiet = "no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update disable-sync"
    for flag in ["headless=new", *quiet.split(), "window-size=1200,900"]:
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=Service(driver)) as chromium:
        yield chromium
