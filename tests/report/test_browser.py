"""The page in a browser, on a phone and on a desk, by day and by night."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def chromium():
    """The path of a browser; without one, or without playwright, these tests are skipped."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install 'robustfw[browser]'")
    known = [Path("/usr/bin/chromium"), *map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))]
    found = next((path for path in known if path and Path(path).exists()), None)
    if found is None:
        pytest.skip("there is no chromium: install it by the system's package manager")
    return found


@pytest.fixture
def opened(chromium, tmp_path):
    """``opened(file, width, scheme)``: the page, and what its console and its network said."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        contexts = []

        def open_(file: Path, width: int, scheme: str):
            context = playwright.chromium.launch_persistent_context(
                tmp_path / f"profile-{len(contexts)}",
                executable_path=chromium,
                headless=True,
                args=FLAGS,
                viewport={"width": width, "height": 800},
                color_scheme=scheme,
            )
            contexts.append(context)
            page, said, asked = context.new_page(), [], []
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("request", lambda request: asked.append(request.url))
            page.goto(file.resolve().as_uri())
            return page, said, asked

        yield open_
        for context in contexts:
            context.close()


def luminance(colour: str) -> float:
    """Relative luminance of a colour as the browser computes it, by WCAG."""
    parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("made", ["run", "reproduction"])
def test_the_page_fits_and_can_be_read(made, collection, report, opened, request):
    path = request.getfixturevalue(made)
    report(path)
    for width, scheme in ((360, "light"), (360, "dark"), (1280, "light"), (1280, "dark")):
        page, said, asked = opened(path / "report.html", width, scheme)
        assert not said
        assert [url for url in asked if not url.startswith("data:")] == [(path / "report.html").resolve().as_uri()]
        wide = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide[0] <= wide[1], (width, scheme, wide)
        figures = page.locator("figure")
        assert figures.count() > 4
        assert page.locator("figure > svg[role=img][aria-label]").count() == figures.count()
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (luminance(paper) < 0.1) == (scheme == "dark")
        inks = page.evaluate(
            "[...document.querySelectorAll('p, li, th, td, figcaption, code')].map(e => getComputedStyle(e).color)"
        )
        others = "figure:not([id^=transfer], [id^=distinguishability]) text"  # matrices have paper of their own
        words = page.evaluate(f"[...document.querySelectorAll('{others}')].map(e => getComputedStyle(e).fill)")
        assert min(contrast(ink, paper) for ink in {*inks, *words}) > 4.5
        assert (
            page.evaluate(
                "Math.min(...[...document.querySelectorAll('svg')].map(e => e.getBoundingClientRect().width))"
            )
            > 250
        )


def test_text_in_figures_is_large_enough_on_a_phone(run, collection, report, opened):
    report(run)
    page, _, _ = opened(run / "report.html", 360, "light")
    heights = page.evaluate(
        "[...document.querySelectorAll('svg text')].map(e => {"
        " const svg = e.ownerSVGElement; const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;"
        " return parseFloat(getComputedStyle(e).fontSize) * scale })"
    )
    assert min(heights) >= 9


def test_no_text_of_a_figure_is_outside_it(reproduction, report, opened):
    report(reproduction)
    page, _, _ = opened(reproduction / "report.html", 360, "light")
    outside = page.evaluate(
        "[...document.querySelectorAll('svg text')].filter(e => {"
        " const own = e.getBoundingClientRect(), svg = e.ownerSVGElement.getBoundingClientRect();"
        " return own.left < svg.left - 3 || own.right > svg.right + 3 }).map(e => e.textContent)"
    )
    assert outside == []
