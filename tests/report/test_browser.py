"""The page in a browser: narrow and wide, light and dark, without an error, and nothing hangs over."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is in the extra 'browser'")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield launched
        launched.close()


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_in_a_browser(width, scheme, browser, reproduction, report):
    assert report(reproduction)[0] == 0
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    problems = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: problems.append(request.url) if not request.url.startswith("file:") else None)
    page.goto(Path(reproduction / "report.html").resolve().as_uri())
    assert problems == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    pictures = page.query_selector_all("figure [role=img]")
    assert len(pictures) == len(page.query_selector_all("figure")) >= 6
    assert all(picture.get_attribute("aria-label") for picture in pictures)
    ground, ink = page.evaluate("(s => [s.backgroundColor, s.color])(getComputedStyle(document.body))")
    assert (sum(numbers(ground)) > sum(numbers(ink))) == (scheme == "light")
    page.close()


def numbers(colour):
    """Of "rgb(1, 2, 3)"."""
    return [int(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
