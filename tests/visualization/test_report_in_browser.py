"""The page in a real browser: what a person clicks changes what is drawn, and nothing goes wrong meanwhile.

Needs Chromium: python -m pytest -m slow tests/visualization/test_report_in_browser.py
"""

import io

import numpy as np
import pytest
from PIL import Image

from src.visualization.report import ReportImage, build_report
from src.visualization.taps import AttentionTaps, LayerTaps, Taps
from tests.browser import Browser

pytestmark = pytest.mark.slow


def layer(name: str, grid: int, heads: int, prefix: int, has_words: bool) -> LayerTaps:
    """Query n looks at key n + 1 only, in every head but the last, which looks everywhere alike; words alike."""
    length = grid * grid + prefix
    shift = np.roll(np.eye(length, dtype=np.float32), 1, axis=1)
    weights = np.tile(shift, (2, heads, 1, 1))
    weights[:, -1] = 1 / length
    attention = AttentionTaps(weights, (grid, grid), (grid, grid), 64 // grid, 64 // grid, prefix)
    words = np.tile(np.roll(np.eye(16, dtype=np.float32), 1, axis=1), (2, grid * grid, 2, 1, 1)) if has_words else None
    return LayerTaps(name, "blocks", (grid, grid), 64 // grid, prefix, np.zeros((2, length, 1)), attention, words)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def page(browser, tmp_path):
    """The page of a network with words in its first block only, opened from its file."""
    layers = [layer("block 1", 4, 3, 1, True), layer("block 2", 4, 3, 1, False)]
    images = [
        ReportImage(name, np.full((64, 64, 3), value, np.uint8), [(name, 0.75)])
        for name, value in (("dark", 30), ("bright", 220))
    ]
    path = tmp_path / "a report.html"
    path.write_text(build_report("Title", "Text", Taps(np.zeros((2, 2)), layers), images).page, encoding="utf-8")
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    browser.problems.clear()
    browser.set_width(1280, 1400)
    browser.open(path.as_uri())
    browser.wait_for("document.body.dataset.ready === 'yes'")
    yield browser
    assert browser.problems == []


def drawn(page: Browser, canvas: str) -> str:
    return page.evaluate(f"document.getElementById('{canvas}').toDataURL()")


def text(page: Browser, element: str) -> str:
    return page.evaluate(f"document.getElementById('{element}').textContent")


def brightest_cell(page: Browser) -> tuple[int, int]:
    """Row and column of the 4 x 4 cells of the map whose middle is brightest."""
    cells = page.evaluate(
        "(() => { const c = document.getElementById('map'), x = c.getContext('2d'), s = c.width / 4;"
        " return [...Array(16).keys()].map(i => x.getImageData((i % 4 + 0.5) * s, (Math.floor(i / 4) + 0.5) * s, 1, 1)"
        ".data.slice(0, 3).reduce((a, b) => a + b)); })()"
    )
    return divmod(int(np.argmax(cells)), 4)


def choose(page: Browser, select: str, value: str) -> None:
    page.evaluate(
        f"(() => {{ const s = document.getElementById('{select}'); s.value = '{value}';"
        " s.dispatchEvent(new Event('change')); })()"
    )


def test_a_click_on_a_sentence_changes_the_picture(page):
    before = drawn(page, "map"), drawn(page, "close")
    choose(page, "head", "0")
    page.click("#map", 2.5 / 4, 1.5 / 4)  # row 2, column 3 counted from 1
    assert "the sentence in row 2, column 3 looks most at row 2, column 4 (100.0 %)" in text(page, "map-status")
    assert brightest_cell(page) == (1, 3)
    assert drawn(page, "map") != before[0]
    assert "row 2, column 3" in text(page, "words-title")
    page.click("#map", 0.5 / 4, 3.5 / 4)
    page.send("Input.dispatchMouseEvent", type="mouseMoved", x=5, y=5)  # what was clicked stays
    page.wait_for("!document.getElementById('map').matches(':hover')")
    assert "row 4, column 1 looks most at row 4, column 2" in text(page, "map-status")
    assert brightest_cell(page) == (3, 1)
    assert page.evaluate("document.querySelector('[name=who]:checked').value") == "sentence"


def test_pointing_previews_and_leaving_restores(page):
    choose(page, "head", "0")
    kept = drawn(page, "map")
    left, top, side = page.evaluate(
        "(() => { const b = document.getElementById('map').getBoundingClientRect();"
        " return [b.left, b.top, b.width]; })()"
    )
    page.send("Input.dispatchMouseEvent", type="mouseMoved", x=left + 0.4 * side, y=top + 0.1 * side)
    page.wait_for("document.getElementById('map-status').textContent.includes('row 1, column 2')")
    assert drawn(page, "map") != kept
    page.send("Input.dispatchMouseEvent", type="mouseMoved", x=5, y=5)
    page.wait_for("document.getElementById('map-status').textContent.includes('class token looks')")
    assert drawn(page, "map") == kept


def test_keyboard_alone(page):
    """Tab reaches the map; arrows move the sentence, and the word in its own picture."""
    for _ in range(30):
        page.press("Tab")
        if page.evaluate("document.activeElement.id") == "map":
            break
    assert page.evaluate("document.activeElement.id") == "map"
    assert page.evaluate("document.activeElement.matches(':focus-visible')")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    choose(page, "head", "0")
    page.press("ArrowUp")  # from the sentence in the middle
    assert "the sentence in row 2, column 3" in text(page, "map-status")
    page.press("ArrowRight")
    assert "the sentence in row 2, column 4 looks most at row 3, column 1" in text(page, "map-status")
    for _ in range(9):
        page.press("ArrowUp")
    assert "the sentence in row 1, column 4" in text(page, "map-status")
    for _ in range(10):
        page.press("Tab")
        if page.evaluate("document.activeElement.id") == "close":
            break
    mosaic = drawn(page, "mosaic")
    page.press("ArrowRight")
    assert "the word in row 1, column 2 looks most at row 1, column 3 (100.0 %)" in text(page, "words-status")
    assert drawn(page, "mosaic") != mosaic


def test_images_blocks_and_heads(page):
    assert text(page, "levels") == "256"
    assert text(page, "prediction") == "dark: dark 75.0 %"
    before = drawn(page, "map")
    page.click("#images label:nth-child(2)")
    page.wait_for("document.getElementById('prediction').textContent.startsWith('bright')")
    assert drawn(page, "map") != before
    page.click("#heads button:nth-child(4)")  # mean, head 1, 2, 3
    assert "head 3: the class token looks most at row 1, column 1 (5.88 %). 5.88 % goes to the class token" in text(
        page, "map-status"
    )
    assert page.evaluate("document.getElementById('head').value") == "2"
    assert not page.evaluate("document.getElementById('words').hidden")
    page.click("#blocks button:nth-child(2)")
    assert text(page, "map-status").startswith("block 2, head 3")
    assert page.evaluate("document.getElementById('words').hidden")
    assert "no inner transformer" in text(page, "no-words")
    choose(page, "head", "-2")
    assert text(page, "map-status").startswith("block 2, rolled out")
    # every control has a name
    unnamed = (
        "[...document.querySelectorAll('select, input, button, canvas')].filter(e => !e.getAttribute('aria-hidden') &&"
        " !(e.labels && e.labels.length) && !e.textContent.trim() && !e.getAttribute('aria-label')).length"
    )
    assert page.evaluate(unnamed) == 0


@pytest.mark.parametrize("scheme,is_dark", [("light", False), ("dark", True)])
def test_light_and_dark_wide_and_narrow(page, scheme, is_dark):
    page.set_color_scheme(scheme)
    for width in (1280, 380):
        page.set_width(width, 1400)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        picture = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("L"))
        assert (np.median(picture) < 80) == is_dark
        assert contrast(page, "body", "body") > 7 and contrast(page, ".quiet", "body") > 4.5


def contrast(page: Browser, text_of: str, background_of: str) -> float:
    """WCAG 2 contrast ratio of two computed colours."""
    luminances = []
    for selector, name in ((text_of, "color"), (background_of, "backgroundColor")):
        values = page.evaluate(f"getComputedStyle(document.querySelector('{selector}')).{name}.match(/\\d+/g)")
        linear = [
            c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (int(v) / 255 for v in values[:3])
        ]
        luminances.append(np.dot(linear, (0.2126, 0.7152, 0.0722)))
    return (max(luminances) + 0.05) / (min(luminances) + 0.05)
