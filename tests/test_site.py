"""What a page of the site has besides its text: icon, description, preview for links, footer, words for the search."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from clipnb_book import html
from clipnb_book.extension import number_tables, offer_repository

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pages with the book's configuration, without what `clipnb_book.extension` computes."""
    from jupyter_book.config import get_final_config
    from sphinx.application import Sphinx

    folder = tmp_path_factory.mktemp("site")
    source, out = folder / "book", folder / "html"
    shutil.copytree(ROOT / "book" / "_static", source / "_static")
    shutil.copy(ROOT / "book" / "question.png", source)
    (source / "index.md").write_text(
        "# Far & near\n\nIt is *short*: 1 < 2.\n\nMore.\n\n```{toctree}\nmethod\nyours\nciting\ntables\n```\n"
    )
    (source / "method.md").write_text("# Method\n\n```{note}\nNot this.\n```\n\n" + "many words " * 40 + "\n")
    (source / "tables.md").write_text(
        "# Tables\n\nTable: Two *numbers*.\n\n| a | b |\n|--:|--:|\n| 1 | 2 |\n\nNo caption.\n\n| c |\n|--:|\n| 3 |\n"
    )
    (source / "citing.md").write_text("# Licence\n\nFree.\n")
    (source / "yours.md").write_text("# Yours\n\n- A list: R@P90, README.md.\n")
    config, _ = get_final_config(user_yaml=ROOT / "_config.yml", sourcedir=source, cli_config={"latex_individualpages": False})
    config["extensions"] = [name for name in config["extensions"] if name not in {"clipnb_book.extension", "sphinx_external_toc"}]
    config.pop("external_toc_path", None)
    config["html_theme_options"]["extra_footer"] = html.footer([SimpleNamespace(provenance={"created": "2026-11-23T08:00:00"})])  # type: ignore[list-item]
    offer_repository(config["html_theme_options"])
    app = Sphinx(source, None, out, folder / "doctrees", "html", confoverrides=config, status=None, warning=None)
    html.connect(app)
    app.connect("doctree-read", number_tables)
    html.ship_files(app)
    app.build()
    return out


def meta(page: Path) -> dict[str, str]:
    return dict(re.findall(r'<meta (?:name|property)="([^"]+)" content="([^"]*)"', page.read_text(encoding="utf-8")))


def test_a_page_is_described_by_its_first_paragraph(site: Path) -> None:
    said = meta(site / "index.html")
    assert said["description"] == said["og:description"] == "It is short: 1 &lt; 2."
    assert said["og:title"] == "Far &amp; near"
    assert (site / said["og:image"]).is_file()
    long = meta(site / "method.html")["description"]
    assert long.startswith("many words many words")
    assert long.endswith(" …")
    assert len(long) <= html.DESCRIPTION
    assert meta(site / "yours.html")["description"] == "A list: R@P90, README.md."
    assert "A list: R&#64;P90, README.md.<" in (site / "yours.html").read_text(encoding="utf-8"), "no text becomes an address"


def test_a_page_has_an_icon_and_a_footer(site: Path) -> None:
    text = (site / "index.html").read_text(encoding="utf-8")
    (icon,) = re.findall(r'<link rel="(?:shortcut )?icon" href="([^"]+)"', text)
    assert (site / icon).is_file()
    assert 'MIT licence. Newest run: <span class="measured">2026-11-23</span>' in text


def test_the_search_knows_words_that_readers_try(site: Path) -> None:
    index = json.loads((site / "searchindex.js").read_text(encoding="utf-8").removeprefix("Search.setIndex(").removesuffix(")"))
    yours, citing = (index["docnames"].index(name) for name in ("yours", "citing"))

    def pages(term: str, where: str = "terms") -> list[int]:
        found = index[where].get(term, [])
        return [found] if isinstance(found, int) else found

    for term in ("instal", "quick", "start"):
        assert yours in pages(term), term
    assert citing in pages("licens")
    assert citing in pages("licenc", "titleterms")


def test_a_line_above_a_table_becomes_its_caption_with_a_number(site: Path) -> None:
    text = re.sub(r"<[^>]+>", "", (site / "tables.html").read_text(encoding="utf-8"))
    assert "Table 1 Two numbers." in re.sub(r"\s+", " ", text)
    assert "Table: " not in text
    assert "Table 2" not in text


def test_words_for_the_search_are_of_pages_that_exist() -> None:
    for page in html.SEARCH_WORDS:
        assert list((ROOT / "book").glob(f"{page}.*")), page
