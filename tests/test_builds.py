"""The book built again: after changes, with mistakes, and with odd names."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from built_book import environment, jb_build, small
from conftest import REPOSITORY as ROOT
from conftest import picture

ODD = ["[empty](nowhere)", "{cite}`ghost`", "{{ empty }}", "a | b", "*star*", "$5 to $10", "total", "Müller, Jörg"]


def test_odd_names_are_handled_and_report_redoes_only_what_changed(project: Path, tmp_path: Path) -> None:
    folder = small(project, tmp_path / "checkout", "glob: datasets/odd*", "glob: runs/odd*")
    odd = tmp_path / "odd $x_$ [names]"
    for i, name in enumerate(ODD):
        (odd / name).mkdir(parents=True)
        (odd / f"{name} (empty)").mkdir()
        (odd / name / "[z](y) {{ z }}.png").write_bytes(b"")
        for j in range(3):
            Image.fromarray(picture(j, kind=i)).save(odd / name / f"{j} $x_$.png")

    def report(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "clipnb", "report", *arguments, "--k", "2", "--encoder", "histogram"]
        return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)

    mistyped = report("nowhere", str(odd))
    assert mistyped.returncode == 1
    assert "no data set 'nowhere'" in mistyped.stderr
    assert report(str(odd), "--no-book").returncode == 0
    made = {p: p.stat().st_mtime_ns for p in (folder / "book" / "runs").glob("*.ipynb")}
    assert len(made) == 12  # three data sets, four conditions each
    done = report(str(odd))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert "12 of 12 runs are up to date" in done.stdout
    assert {p: p.stat().st_mtime_ns for p in made} == made
    page = next((folder / "_build" / "html" / "runs").glob("odd*grey*.html")).read_text(encoding="utf-8")
    assert "8 unreadable images were left out" in page
    assert "8 folders hold no readable image" in page
    assert "Traceback" not in page
    next(odd.rglob("0 *.png")).unlink()
    assert "8 of 12 runs are up to date" in report(str(odd), "--no-book", "--dry-run").stdout


def test_a_typo_a_broken_link_and_a_wrong_verdict_in_the_ledger_fail_the_build(project: Path, tmp_path: Path) -> None:
    folder = small(project, tmp_path / "checkout", "file: clip")
    page, ledger = folder / "book" / "clip.md", folder / "book" / "clipnb_book" / "claims" / "claims.yml"
    text, claims = "# Results\n\n{{ clip.results }}\n", ledger.read_text(encoding="utf-8")  # no links to other pages
    page.write_text(text.replace("clip.results", "clip.reslts") + "\n[nowhere](nowhere.md)\n", encoding="utf-8")
    for _ in range(2):
        done = jb_build(folder)
        assert done.returncode != 0
        assert "reslts" in done.stdout + done.stderr
        assert "nowhere.md" in done.stdout + done.stderr
    page.write_text(text, encoding="utf-8")
    entries = claims.split("\n- id: ")
    at = next(i for i, entry in enumerate(entries) if entry.startswith("crop_figures_printed\n"))
    assert "verdict: cannot tell" in entries[at]
    entries[at] = entries[at].replace("verdict: cannot tell", "verdict: holds")
    ledger.write_text("\n- id: ".join(entries), encoding="utf-8")
    done = jb_build(folder)
    assert done.returncode != 0
    assert "crop_figures_printed says 'holds', but the numbers say 'cannot tell'" in done.stdout + done.stderr
    ledger.write_text(claims, encoding="utf-8")
    assert jb_build(folder).returncode == 0
    page.write_text(f"{text}\nOne more sentence.\n", encoding="utf-8")
    assert "0 added, 1 changed, 0 removed" in jb_build(folder).stdout, "only the changed page is made again"


REMADE = "sample-scenes-grey-efficientnet-lite2"
MADE = {
    f"runs/{REMADE}": "notebooks/run.ipynb",
    "datasets/sample-scenes-efficientnet-lite2": "notebooks/dataset.ipynb",
    "cards/sample-scenes": "notebooks/card.ipynb",
}
"""Pages of the second build that are made from templates."""

AGAIN = ("findings", "how-far", "corrections", *MADE)
"""Notebooks that the second build executes."""


@pytest.fixture(scope="module")
def second(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `_build` of a second build, in a checkout that has an address and lacks one of the runs."""
    chapters = [f"file: {name}" for name in (*AGAIN, "browse", "method")]
    folder = small(project, tmp_path_factory.mktemp("second") / "checkout", *chapters)
    shutil.rmtree(folder / "results" / REMADE)
    (folder / "book" / "runs" / f"{REMADE}.ipynb").unlink()
    config = (folder / "_config.yml").read_text(encoding="utf-8")
    (folder / "_config.yml").write_text(config.replace('{url: ""', '{url: "https://github.com/me/some"'), encoding="utf-8")
    jb_build(folder, like=project)  # it writes all pages, then fails: they name chapters that the small book lacks
    return folder / "_build"


def test_a_second_build_makes_the_same_notebooks_and_pictures(project: Path, second: Path) -> None:
    made, again = (
        {p.relative_to(f): p.read_bytes() for part in ("browse", "slider") for p in (f / "html/_static" / part).rglob("*.*")}
        | {Path(name): outputs(f / "jupyter_execute" / f"{name}.ipynb") for name in AGAIN}
        for f in (project / "_build", second)
    )
    assert made.keys() == again.keys()
    assert len(made) > 1000
    assert [str(name) for name in made if made[name] != again[name]] == []


def test_with_an_address_the_colab_buttons_of_generated_pages_lead_to_the_templates(second: Path) -> None:
    for page, template in MADE.items():
        text = (second / "html" / f"{page}.html").read_text(encoding="utf-8")
        assert set(re.findall(r"colab\.research\.google\.com/github/me/some/blob/main/([^\"]+)", text)) == {template}, page
        assert (ROOT / template).is_file()


def outputs(notebook: Path) -> bytes:
    """Texts and pictures that the cells of an executed notebook show."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    shown = [output.get("data") for cell in cells for output in cell.get("outputs", ())]
    return json.dumps(shown).encode()
