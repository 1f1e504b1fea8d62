"""The book as a reader gets it: built from a clean checkout without a warning, opened in a real browser."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import clipnb
from built_book import environment, pages
from clipnb_book import first_page
from clipnb_book.measured import findings
from clipnb_book.repository import address_of
from conftest import REPOSITORY as ROOT
from conftest import most_changed


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
