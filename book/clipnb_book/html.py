"""The book in a browser: light enough for a phone, complete without a network, usable by keyboard and screen reader.

Jupyter Book's theme loads an icon script of 1.5 MB whose icons are also in its style sheet, MathJax on pages that have no
mathematics, and a launcher that needs the network; and it leaves a few elements without a name or role. This module
fixes that. Pages also get a description, words for the search, and a footer.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from html import escape, unescape
from pathlib import Path
from textwrap import shorten
from typing import Any

from docutils import nodes
from PIL import Image
from sphinx.application import Sphinx

from clipnb.result import Result

MATHJAX = Path("mathjax/tex-mml-chtml.js")
"""Path in the static folder of the book."""

PICTURE = "_static/question.png"
"""The picture of a link to the book."""

DESCRIPTION = 200
"""Most characters of a page's description."""

PROSE = ("section", "list_item")
"""Where a paragraph can describe a page: not in a note, a table or a caption."""

SEARCH_WORDS = {
    "yours": "install, installation, quick, start, quickstart",
    "citing": "license, citation",
    "glossary": "definitions, terms",
    "faq": "faq, help",
}
"""Page -> single words by which the search finds it, besides those of its text."""

PHOTOGRAPHS = 120_000
"""A figure of more bytes is assumed to hold photographs, and is kept as JPEG instead of PNG."""

JPEG_QUALITY = 86

MENDS = (
    (re.compile(r'\s*<script src="[^"]*_static/scripts/fontawesome\.js[^"]*"></script>'), ""),
    (re.compile(r"<summary>(?=<span class=\"toctree-toggle\")"), '<summary aria-label="pages below">'),
    (re.compile(r'<div role="list" class="citation-list">'), '<div class="citation-list">'),
)
"""Replacements in every finished page."""

UNWANTED = ("sphinx-thebe", "THEBE_JS_URL")
"""Scripts and styles for running code in the page, which would need the network."""


def ship_files(app: Sphinx) -> None:
    """Copy MathJax and its fonts, and the picture of a link, into the book."""
    if app.builder.format != "html":
        return
    import mathjax

    origin = Path(mathjax.__file__).parent / "static" / "mathjax" / "es5"
    target = Path(app.outdir) / "_static" / "mathjax"
    for part in (MATHJAX.name, "output/chtml/fonts/woff-v2"):
        copy = shutil.copytree if (origin / part).is_dir() else shutil.copy2
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        if not (target / part).exists():
            copy(origin / part, target / part)
    shutil.copy2(Path(app.srcdir) / "question.png", Path(app.outdir) / PICTURE)


def slim_page(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Keep only the scripts and styles that a page uses, each once."""
    has_maths = doctree is not None and any(
        isinstance(node, nodes.math | nodes.math_block) for node in doctree.findall(nodes.Element)
    )

    def wanted(asset: Any) -> bool:
        text = f"{getattr(asset, 'filename', asset)} {getattr(asset, 'attributes', {}).get('body', '')}"
        return not any(name in text for name in UNWANTED) and (has_maths or "mathjax" not in text.lower())

    once = {
        (str(script.filename or ""), str(sorted(script.attributes.items()))): script
        for script in context["script_files"]
        if wanted(script)
    }
    context["script_files"] = list(once.values())
    context["css_files"] = [style for style in context["css_files"] if wanted(style)]


def describe_page(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Give a page a description, its first paragraph, and a link preview: title, description, picture."""
    paragraphs = [] if doctree is None else doctree.findall(nodes.paragraph)
    title = unescape(re.sub("<[^>]*>", "", context.get("title", "")))
    first = next((n.astext() for n in paragraphs if n.parent.tagname in PROSE), f"{title} ({app.config.html_title})")
    description = shorten(first, DESCRIPTION, placeholder=" …")
    base = app.config.html_baseurl
    picture = f"{base.rstrip('/')}/{PICTURE}" if base else context["pathto"](PICTURE, 1)
    said = {"og:title": title, "og:type": "article", "og:description": description, "og:image": picture}
    tags = [f'<meta name="description" content="{escape(description)}" />']
    tags += [f'<meta property="{name}" content="{escape(text)}" />' for name, text in said.items()]
    context["metatags"] = context.get("metatags", "") + "\n".join(tags)


def add_search_words(app: Sphinx, doctree: Any) -> None:
    """Let the search find a page by words that its text does not have."""
    if words := SEARCH_WORDS.get(app.env.docname):
        doctree.append(nodes.meta("", name="keywords", content=words))


def footer(results: Sequence[Result]) -> str:
    """The licence, and the day of the newest run (HTML)."""
    day = max((r.provenance["created"][:10] for r in results), default="")
    return f'<p>MIT licence. Newest run: <span class="measured">{day or "none"}</span>.</p>'


def photographs_as_jpeg(app: Sphinx, doctree: Any) -> None:
    """Store figures with photographs as JPEG: a third of the bytes, without a visible loss."""
    for node in doctree.findall(nodes.image):
        path = Path(app.env.relfn2path(node["uri"])[1])
        if path.suffix != ".png" or path.parent.name != "jupyter_execute" or not path.is_file():
            continue
        if path.stat().st_size < PHOTOGRAPHS:
            continue
        smaller = path.with_suffix(".jpg")
        with Image.open(path) as image:
            density = image.info.get("dpi", (72, 72))  # else it is twice as large on paper
            image.convert("RGB").save(smaller, quality=JPEG_QUALITY, subsampling=0, optimize=True, dpi=density)
        node["uri"] = Path(node["uri"]).with_suffix(".jpg").as_posix()


def finish_pages(app: Sphinx, error: Exception | None) -> None:
    """Apply `MENDS` to the pages that were written, and drop the script that they no longer load."""
    if error or app.builder.format != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        if "_static" in page.parts:
            continue
        text = page.read_text(encoding="utf-8")
        mended = text
        for pattern, replacement in MENDS:
            mended = pattern.sub(replacement, mended)
        if mended != text:
            page.write_text(mended, encoding="utf-8", newline="")
    (Path(app.outdir) / "_static" / "scripts" / "fontawesome.js").unlink(missing_ok=True)


def connect(app: Sphinx) -> None:
    """Connect all of this to a Sphinx build."""
    app.connect("builder-inited", ship_files)
    app.connect("doctree-read", add_search_words)
    app.connect("doctree-read", photographs_as_jpeg, priority=400)  # before Sphinx collects the pictures
    app.connect("html-page-context", describe_page)
    app.connect("html-page-context", slim_page, priority=900)  # after the theme has added what it wants
    app.connect("build-finished", finish_pages)
