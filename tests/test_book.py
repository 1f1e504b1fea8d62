"""The book as a reader gets it: built from a clean checkout without a warning, opened in a real browser."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import clipnb
from built_book import environment, jb_build, pages, small
from clipnb_book import first_page
from clipnb_book.measured import findings
from clipnb_book.repository import address_of
from conftest import REPOSITORY as ROOT
from conftest import most_changed, picture


def test_every_sample_run_and_every_chapter_is_a_page(html: Path) -> None:
    found = pages(html)
    contents = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    chapters = re.findall(r"^(?:root:|.*- file:) (\S+)$", contents, re.M)
    assert len(chapters) == 1 + contents.count("file:")
    for chapter in chapters:
        assert f"{chapter}.html" in found
    assert len([p for p in found if p.startswith("runs/")]) == 8
    assert len([p for p in found if p.startswith("datasets/")]) == 2


def test_no_page_shows_a_placeholder_or_an_error(html: Path) -> None:
    for page in pages(html):
        text = (html / page).read_text(encoding="utf-8")
        assert "{{" not in text or page.startswith("api/"), page  # a docstring there speaks of them
        assert "Traceback" not in text, page


def test_prose_states_results_only_through_computed_values() -> None:
    """No decimal, percentage or p value is typed by hand in the chapters, but for names of standards and citations."""
    typed = re.compile(r"(?<![\w./-])\d+\.\d+|\d+ ?%|p = \d")
    for page in [*(ROOT / "book").glob("*.md"), *(ROOT / "book").glob("*.ipynb"), *(ROOT / "notebooks").glob("*.ipynb")]:
        text = page.read_text(encoding="utf-8")
        if page.suffix == ".ipynb":
            cells = json.loads(text)["cells"]
            text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        said = re.sub(r"\{\{.*?\}\}|(?ms:^```\w.*?^```)|`[^`]*`|\$[^$]*\$", "", text)
        assert not typed.findall(said), page.name


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


def test_every_claim_of_the_ledger_is_on_its_page(html: Path) -> None:
    text = re.sub(r"\s+", " ", (html / "claims.html").read_text(encoding="utf-8"))
    claims = "Crop hurts people most", "People and scenes do not differ significantly"
    for said in (*claims, "Does not hold", "Cannot tell", "Holds"):
        assert said in text


def test_no_drawn_figure_is_blank(html: Path) -> None:
    for drawn in (html / "_images").iterdir():
        assert np.asarray(Image.open(drawn).convert("L")).std() > 5, f"{drawn.name} is blank"


def test_mathematics_is_set_and_search_finds_a_word_offline(html: Path, browser: Any) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get((html / "method.html").as_uri())
    WebDriverWait(browser, 120).until(lambda b: b.find_elements("css selector", "mjx-container mjx-math"))
    browser.get((html / "search.html").as_uri() + "?q=permutation")
    WebDriverWait(browser, 120).until(lambda b: "Method" in b.find_element("id", "search-results").text)  # one by one


def test_without_an_address_no_page_leads_to_the_repository(html: Path) -> None:
    if address_of(ROOT):
        pytest.skip("the repository has an address")
    for page in pages(html):
        assert not re.search("OWNER|source-[a-z]+-button|colab", (html / page).read_text(encoding="utf-8")), page


def test_the_readme_gives_the_picture_and_the_answer_of_the_first_page(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPNB_RESULTS", str(project / "results"))
    files = io.BytesIO(first_page.png(first_page.picture())), ROOT / "book" / "question.png"
    now, kept = (np.asarray(Image.open(file).convert("L"), dtype=float) for file in files)
    assert now.shape == kept.shape, "run `make picture`"
    assert most_changed(now, kept) < 12, "run `make picture`"
    assert (ROOT / "book" / "question.png").stat().st_size < 200_000
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    said = readme.partition("<!-- answer -->\n")[2].partition("\n<!-- /answer -->")[0]
    assert said == first_page.answer(), "run `make picture`"


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


def test_computed_values_do_not_depend_on_the_order_of_hashes(project: Path) -> None:
    code = "from clipnb.result import load_results as load; from clipnb_book.values import values; print(values(load(), {}))"
    said = [
        subprocess.run([sys.executable, "-c", code], cwd=project, env=environment() | {"PYTHONHASHSEED": seed}, capture_output=True)
        for seed in "12"
    ]
    assert len(said[0].stdout) > 10_000, said[0].stderr
    assert said[0].stdout == said[1].stdout


def test_references_are_all_cited_and_all_known(html: Path) -> None:
    keys = set(re.findall(r"^@\w+\{([^,]+),", (ROOT / "book" / "references.bib").read_text(encoding="utf-8"), re.M))
    sources = [p.read_text(encoding="utf-8") for p in (ROOT / "book").iterdir() if p.suffix in (".md", ".ipynb")]
    sources += [p.read_text(encoding="utf-8") for p in (ROOT / "notebooks").glob("*.ipynb")]
    cited = {key for text in sources for keys in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text) for key in keys.split(",")}
    assert cited == keys
    page = (html / "references.html").read_text(encoding="utf-8")
    assert page.count('role="doc-biblioentry"') == len(keys)


def test_the_findings_are_those_that_the_code_measures(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The committed numbers of the weak baseline, which is quick, measured again on the real photographs."""
    monkeypatch.setenv("CLIPNB_DATA", str(shared_data))
    results = [clipnb.run(s, progress=False) for s in findings.specs() if s.encoder == "histogram" and s.dataset == "athletes"]
    now = findings.summarise(results)
    then = findings.rows().query("encoder == 'histogram' and dataset == 'athletes'").reset_index(drop=True)
    assert list(now["category"]) == list(then["category"])
    for measure in ("images", "valid", "shift", "noop", "p1"):
        assert np.allclose(now[measure].astype(float), then[measure].astype(float), atol=2e-3), measure
