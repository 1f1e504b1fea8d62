"""Every page in a real browser, on a desk and on a phone: without errors, without the network, usable by everybody."""

from __future__ import annotations

import functools
import gzip
import http.server
import io
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from axe_playwright_python.base import AXE_SCRIPT
from PIL import Image
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from built_book import pages
from conftest import Answering, serving

KEPT = Path(__file__).parent / "pages"
"""Small grey pictures of key pages, as they should look."""

DESK, PHONE = 1200, 390

MEGABYTE = 1_000_000


def resize(browser: Any, width: int, height: int = 900) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    )


def colours(browser: Any, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


@pytest.fixture
def screen(browser: Any) -> Iterator[Any]:
    """The browser, put back as it was afterwards."""
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]})
    browser.get_log("browser")
    browser.set_script_timeout(600)
    yield browser
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def violations(browser: Any, only: list[str] | None = None) -> list[str]:
    """What axe-core finds serious or critical, a line for each kind with its first places."""
    browser.execute_script(AXE_SCRIPT)
    options: dict[str, Any] = {"resultTypes": ["violations"], "preload": False}
    if only:
        options["runOnly"] = {"type": "rule", "values": only}
    found = browser.execute_async_script(
        "const done = arguments[1]; axe.run(document, arguments[0]).then(r => done(r.violations), e => done([{impact: 'critical',"
        " id: String(e), nodes: []}]))",
        options,
    )
    return [
        f"{v['id']}: " + "; ".join(n["html"][:150] for n in v["nodes"][:3]) for v in found if v["impact"] in ("serious", "critical")
    ]


SPILLED = """return [...document.querySelectorAll('.bd-article td')]
  .filter(cell => cell.scrollWidth > cell.clientWidth + 1).map(cell => `a cell spills over: ${cell.innerText.slice(0, 60)}`)"""

WIDE = """return [...document.querySelectorAll('.bd-article .pst-scrollable-table-container, .bd-article .cell_output')]
  .filter(e => e.querySelector('table') && e.scrollWidth > e.clientWidth + 1)
  .map(e => `a table is cut: ${e.scrollWidth} > ${e.clientWidth}: ${e.innerText.slice(0, 60)}`)"""

FIGURES = """return [[...document.querySelectorAll('main figure img')]
  .filter(i => !i.naturalWidth || i.alt.length <= 15).map(i => `not drawn or not described: ${i.src}`),
  [...document.querySelectorAll('main figure[id] figcaption')].map(c => c.innerText)]"""

CUT = """return [...document.querySelectorAll('main figure[id] img')]
  .filter(i => i.getBoundingClientRect().right > innerWidth || !i.closest('a'))
  .map(i => `a figure is cut or cannot be enlarged: ${i.src}`)"""

UNNUMBERED = """return [...document.querySelectorAll('.bd-article table:not(.dataframe)')]
  .filter(t => !/^Table \\d+/.test(t.caption?.innerText ?? '')).map(t => `a table has no number: ${t.innerText.slice(0, 60)}`)"""
"""Tables without a numbered caption; those of pandas, in the code that a page shows, are outputs."""


def sampled(found: list[str]) -> set[str]:
    """The pages that axe-core reads, seconds each: all, but of those of one template every fourth run, every eighth module."""
    runs, modules = ([page for page in found if page.startswith(folder)] for folder in ("runs/", "api/"))
    return {*found} - {*runs, *modules} | {*runs[::4], *modules[::8]}


@pytest.mark.parametrize(("width", "scheme"), [(DESK, "light"), (PHONE, "dark")])
def test_every_page_is_accessible_quiet_and_complete_offline(html: Path, screen: Any, width: int, scheme: str) -> None:
    resize(screen, width)
    colours(screen, scheme)
    faults, numbered, looked_at = [], 0, sampled(pages(html))
    for page in pages(html):
        screen.get((html / page).as_uri())
        faults += [(page, entry["message"]) for entry in screen.get_log("browser") if entry["level"] == "SEVERE"]
        if page not in ("search.html", "genindex.html") and not screen.execute_script(
            "return document.querySelector('article h1')?.innerText"
        ):
            faults.append((page, "has no title"))
        loaded = screen.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
        faults += [(page, f"asks the network for {name}") for name in loaded if not name.startswith(("file:", "data:", "blob:"))]
        if (wide := screen.execute_script("return document.documentElement.scrollWidth")) > width:
            faults.append((page, f"scrolls sideways: {wide} pixels"))
        if (theme := screen.execute_script("return document.documentElement.dataset.theme")) != scheme:
            faults.append((page, f"is {theme}, not {scheme}"))
        if width == DESK:
            if not page.startswith(("api/", "genindex", "py-modindex")):
                faults += [(page, fault) for script in (WIDE, UNNUMBERED) for fault in screen.execute_script(script)]
            undrawn, captions = screen.execute_script(FIGURES)
            faults += [(page, fault) for fault in undrawn]
            faults += [(page, f"has no number: {caption}") for caption in captions if not re.match(r"Fig\. \d+", caption)]
            numbered += len(captions)
        else:
            faults += [(page, fault) for script in (CUT, SPILLED) for fault in screen.execute_script(script)]
        if page in looked_at:
            faults += [(page, fault) for fault in violations(screen)]
    assert not faults, "\n".join(map(str, faults))
    assert width == PHONE or numbered > 30


def test_elements_of_wide_screens_are_legible_in_dark_mode(html: Path, screen: Any) -> None:
    resize(screen, DESK)
    colours(screen, "dark")
    for page in ("index", "browse", "severity", "claims"):
        screen.get((html / f"{page}.html").as_uri())
        assert screen.execute_script("return document.documentElement.dataset.theme") == "dark", page
        assert violations(screen, ["color-contrast"]) == [], page


FOCUS = """
const e = document.activeElement, s = getComputedStyle(e), p = getComputedStyle(e.parentElement);
return {tag: e.tagName, text: (e.innerText || e.getAttribute('aria-label') || e.title || e.id || '').trim().slice(0, 60),
        y: e.getBoundingClientRect().top + scrollY, tabindex: e.tabIndex, inArticle: !!e.closest('article'),
        href: e.getAttribute('href') || '', id: e.id,
        visible: (s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0) || s.boxShadow !== 'none' || p.boxShadow !== 'none'}
"""


def test_a_page_is_usable_by_keyboard_alone(html: Path, screen: Any) -> None:
    resize(screen, DESK)
    screen.get((html / "index.html").as_uri())

    def press(key: str) -> dict[str, Any]:
        ActionChains(screen).send_keys(key).perform()
        return dict(screen.execute_script(FOCUS))

    first = press(Keys.TAB)
    assert first["href"] == "#main-content"
    assert "Skip" in first["text"]
    press(Keys.ENTER)
    reached = press(Keys.TAB)
    assert reached["tag"] != "BODY"
    links = screen.execute_script(
        "return [...document.querySelectorAll('article a[href]')].filter(a => a.offsetParent && !a.matches('.headerlink')).length"
    )
    walked, stops = [], [reached]
    while len(stops) < 120 and (stop := press(Keys.TAB))["tag"] != "BODY":
        stops.append(stop)
    for stop in stops:
        assert stop["tabindex"] <= 0, f"jumps the order: {stop}"
        assert stop["visible"], f"focus cannot be seen: {stop}"
        if stop["inArticle"] and stop["tag"] == "A" and stop["href"][:1] != "#":
            walked.append(stop["y"])
    assert len(walked) >= min(links, 4)
    assert walked == sorted(walked), "focus moves down the page"


def test_the_first_screen_shows_question_figure_answer_and_ways_on(html: Path, screen: Any) -> None:
    resize(screen, DESK, 900)
    screen.get((html / "index.html").as_uri())
    screen.execute_async_script("const done = arguments[0]; document.fonts.ready.then(() => setTimeout(done, 400))")
    wanted = {
        "question": "article h1",
        "figure": ".tag_first-figure figure",
        "answer": ".tag_first-answer",
        "your photographs": "article p > strong > a[href='yours.html']",
        "evidence": "article p > strong > a[href='how-far.html']",
    }
    for what, selector in wanted.items():
        box = screen.execute_script("return document.querySelector(arguments[0]).getBoundingClientRect().toJSON()", selector)
        assert 0 <= box["top"] < box["bottom"] <= 900, (what, box)
        assert 0 <= box["left"] < box["right"] <= DESK, (what, box)
    sentences = [item.text for item in screen.find_elements("css selector", ".tag_first-answer li")]
    assert len(sentences) == 4
    assert all("scenes" in s and "people" in s for s in sentences)


class Static(Answering, http.server.SimpleHTTPRequestHandler):
    """A static server that compresses text, as hosts of static pages do."""

    sent = 0

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        body, headers = path.read_bytes(), {"Content-Type": self.guess_type(str(path))}
        if path.suffix in (".html", ".css", ".js", ".svg", ".json"):
            body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
        type(self).sent += len(body)
        self.answer(body, **headers)


def test_the_first_page_is_light(html: Path, screen: Any) -> None:
    with serving(functools.partial(Static, directory=str(html))) as address:
        Static.sent = 0
        resize(screen, DESK)
        screen.get(f"{address}/index.html")
        screen.execute_script("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
        WebDriverWait(screen, 120).until(
            lambda b: b.execute_script("return document.readyState == 'complete' && [...document.images].every(i => i.complete)")
        )
        assert 50_000 < Static.sent < MEGABYTE, f"{Static.sent:,} bytes"


class Page(HTMLParser):
    """Links and anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.targets: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.ids.update(filter(None, (given.get("id"), given.get("name"))))
        self.targets += [target for name in ("href", "src") if (target := given.get(name))]


def test_every_link_leads_somewhere(html: Path) -> None:
    parsed = {page: Page((html / page).read_text(encoding="utf-8")) for page in pages(html)}
    broken = []
    for page, content in parsed.items():
        for target in content.targets:
            parts = urlsplit(target)
            if parts.scheme in ("http", "https") and parts.netloc != "host:port":
                if not re.fullmatch(r"[\w-]+(\.[\w-]+)+", parts.netloc) or " " in target or "{" in target:
                    broken.append((page, target))
            elif parts.scheme in ("", "file"):
                path = ((html / page).parent / unquote(parts.path)).resolve() if parts.path else html / page
                inside = path.relative_to(html.resolve() if parts.path else html).as_posix()
                if not path.is_file() or (
                    inside in parsed and parts.fragment and unquote(parts.fragment) not in parsed[inside].ids
                ):
                    broken.append((page, target))
            elif parts.scheme not in ("http", "data"):
                broken.append((page, target))
    assert not broken, broken[:20]


@pytest.fixture
def browse(html: Path, screen: Any) -> Any:
    """The retrieval browser, opened from disk."""
    resize(screen, DESK)
    screen.get((html / "browse.html").as_uri())
    return screen


SHOWN = """return [...document.querySelectorAll('.browse-columns section:first-child .browse-results:not(.browse-lost) li')]
  .map(li => ({original: li.matches('.original'), valid: li.matches('.valid'), stranger: li.matches('.stranger'),
    photo: li.dataset.photo ? Number(li.dataset.photo) : -1, alt: li.querySelector('img').alt,
    distance: parseFloat(li.querySelector('.browse-distance')?.textContent)}))"""


def results(browse: Any) -> list[dict[str, Any]]:
    return [s for s in browse.execute_script(SHOWN) if not s["original"]]


def test_the_retrieval_browser_shows_what_the_runs_found(browse: Any) -> None:
    data = browse.execute_script("return RETRIEVAL")
    assert [s["name"] for s in data["sets"]] == ["sample-figures", "sample-scenes"]
    assert {c["manip"] for c in data["conditions"]} >= {"original", "blurred", "cropped", "grey"}
    seen = set()
    for at, group in enumerate(data["sets"]):
        assert len(group["queries"]) == len(group["photos"])
        Select(browse.find_element("id", "browse-set")).select_by_index(at)
        buttons = browse.find_elements("css selector", ".browse-queries button")
        photo = int(buttons[len(buttons) // 2].get_attribute("data-photo"))
        buttons[len(buttons) // 2].click()
        pressed = browse.find_elements("css selector", ".browse-queries [aria-pressed=true]")
        assert [int(button.get_attribute("data-photo")) for button in pressed] == [photo]
        for manip in dict.fromkeys(c["manip"] for c in data["conditions"]):
            Select(browse.find_element("id", "browse-manip")).select_by_value(manip)
            for level, condition in enumerate(c for c in data["conditions"] if c["manip"] == manip):
                if (levels := browse.find_element("id", "browse-level")).is_enabled():
                    Select(levels).select_by_index(level)
                answer = group["queries"][photo][condition["key"]]
                shown = results(browse)
                assert [s["photo"] for s in shown] == [other for other, _ in answer["results"]]
                assert np.allclose([s["distance"] for s in shown], [d for _, d in answer["results"]], atol=0.006)
                assert [s["valid"] for s in shown] == [d < data["tau"] for _, d in answer["results"]]
                kinds = [group["photos"][s["photo"]][0] for s in shown]
                assert [s["stranger"] for s in shown] == [kind != group["photos"][photo][0] for kind in kinds]
                places = [place for place, s in enumerate(browse.execute_script(SHOWN), start=1) if s["original"]]
                assert places == [min(answer["rank"], len(shown) + 1)]
                status = browse.find_element("css selector", ".browse-status")
                assert f"{sum(s['valid'] for s in shown)} of {len(shown)} results" in status.text
                assert status.get_attribute("role") == "status"
                seen.add(tuple(s["photo"] for s in shown))
    assert len(seen) > 4, "edits re-order the results"
    broken = browse.execute_script(
        "return [...document.querySelectorAll('#browse img')].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
    )
    assert not broken


def test_the_first_query_loses_results_and_the_unedited_photograph_is_beside_it(browse: Any) -> None:
    shown = results(browse)
    assert sum(s["stranger"] for s in shown) >= 3
    unedited = browse.find_elements(
        "css selector", ".browse-columns section:nth-child(2) .browse-results:not(.browse-lost) .stranger"
    )
    assert not unedited
    assert len(browse.find_elements("css selector", ".browse-lost li")) >= 3


def test_a_result_becomes_the_query_and_the_address_keeps_the_state(html: Path, browse: Any) -> None:
    first = results(browse)[0]["photo"]
    browse.find_element("css selector", f".browse-results [data-photo='{first}'] button").click()
    pressed = "return Number(document.querySelector('.browse-queries [aria-pressed=true]').dataset.photo)"
    assert browse.execute_script(pressed) == first
    Select(browse.find_element("id", "browse-beside")).select_by_index(2)
    Select(browse.find_element("id", "browse-manip")).select_by_value("grey")
    before, address = browse.execute_script(SHOWN), browse.current_url
    columns = "return [...document.querySelectorAll('.browse-asked figcaption')].map(c => c.textContent)"
    titles = browse.execute_script(columns)
    assert len(set(titles)) == 2
    browse.get("about:blank")
    browse.get(address)
    assert browse.execute_script(SHOWN) == before
    assert browse.execute_script(columns) == titles
    browse.get((html / "browse.html").as_uri() + "#set=nothing&photo=../x&edit=<b>&tau=abc&beside=?")  # a mistyped address
    assert results(browse)


def test_moving_the_threshold_moves_verdicts_and_lost_results_are_listed(browse: Any) -> None:
    slider = browse.find_element("id", "browse-tau")
    line = "return parseFloat(document.querySelector('.browse-threshold').style.left)"
    slider.send_keys(Keys.HOME)
    assert not [s for s in results(browse) if s["valid"]]
    assert browse.execute_script(line) == 0
    slider.send_keys(Keys.END)
    assert all(s["valid"] == (s["distance"] < 1.4) for s in results(browse))
    assert browse.execute_script(line) == 100
    assert browse.find_element("css selector", "output").text == "1.40"
    Select(browse.find_element("id", "browse-beside")).select_by_index(0)
    lost = "return [...document.querySelectorAll('.browse-lost li')].map(li => Number(li.dataset.photo))"
    Select(browse.find_element("id", "browse-manip")).select_by_value("original")
    clean = [s["photo"] for s in results(browse)]
    assert browse.execute_script(lost) == []
    Select(browse.find_element("id", "browse-manip")).select_by_value("blurred")
    found = {s["photo"] for s in results(browse)}
    assert browse.execute_script(lost) == [photo for photo in clean if photo not in found]


def test_the_query_that_is_shown_is_seen_in_its_strip_on_a_phone(html: Path, screen: Any) -> None:
    resize(screen, PHONE)
    screen.get((html / "browse.html").as_uri())
    pressed, strip = (
        screen.execute_script(f"return document.querySelector({selector!r}).getBoundingClientRect().toJSON()")
        for selector in (".browse-queries [aria-pressed=true]", ".browse-queries")
    )
    assert screen.execute_script("const s = document.querySelector('.browse-queries'); return s.scrollWidth > s.clientWidth")
    assert strip["left"] <= pressed["left"] < pressed["right"] <= strip["right"]
    assert screen.execute_script("return scrollY") == 0


def test_the_slider_of_manipulations_moves_by_keyboard(html: Path, screen: Any) -> None:
    resize(screen, PHONE)
    screen.get((html / "method.html").as_uri())
    data = screen.execute_script("return SLIDER")
    slider, picture = screen.find_element("id", "slider-severity"), screen.find_element("css selector", "#slider img")
    for at, manipulation in enumerate(data):
        Select(screen.find_element("id", "slider-manip")).select_by_index(at)
        slider.send_keys(Keys.HOME)
        for severity, (file, said, *_) in enumerate(manipulation["pictures"]):
            assert picture.get_attribute("src").endswith("/" + file)
            assert picture.get_attribute("alt")
            assert said in screen.find_element("css selector", ".slider-said").text
            assert slider.get_attribute("aria-valuetext").startswith(f"{severity}: ")
            slider.send_keys(Keys.ARROW_RIGHT)
        WebDriverWait(screen, 120).until(lambda b: b.execute_script("return arguments[0].naturalWidth > 0", picture))


KEY_PAGES = ("index", "study", "browse", "datasets/sample-figures-efficientnet-lite2")


def outline(screen: Any) -> np.ndarray:
    """The screen as light and dark, coarse enough that letters become grey: (height / 10, width / 10) in [0, 255]."""
    import base64

    shot = screen.execute_cdp_cmd("Page.captureScreenshot", {})
    image = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("L")
    return np.asarray(image.resize((image.width // 10, image.height // 10), Image.Resampling.BOX))


@pytest.mark.parametrize("width", [DESK, PHONE])
@pytest.mark.parametrize("page", KEY_PAGES)
def test_key_pages_match_their_screenshots(
    html: Path, screen: Any, page: str, width: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Structure, not letters: fonts differ between machines. `pytest tests/test_pages.py --new-pictures` keeps new ones."""
    resize(screen, width)
    screen.get((html / f"{page}.html").as_uri())
    screen.execute_async_script("const done = arguments[0]; document.fonts.ready.then(() => setTimeout(done, 400))")
    now = outline(screen)
    kept = KEPT / f"{page.replace('/', '-')}-{width}.png"
    if request.config.getoption("--new-pictures"):
        KEPT.mkdir(exist_ok=True)
        Image.fromarray(now).save(kept, optimize=True)
    then = np.asarray(Image.open(kept).convert("L"))
    assert now.shape == then.shape
    a, b = (np.asarray(Image.fromarray(p).resize((p.shape[1] // 3, p.shape[0] // 3)), dtype=float) for p in (now, then))
    alike = float(np.corrcoef(a.ravel(), b.ravel())[0, 1])
    Image.fromarray(now).save(tmp_path / kept.name)
    assert alike > 0.8, f"correlation {alike:.2f} with {kept}: see {tmp_path / kept.name}, or run with --new-pictures"
