"""The pages in docs/how-to are run from top to bottom, and print what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from .pages import run_page

PAGES = sorted((Path(__file__).parents[1] / "docs" / "how-to").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_prints_what_it_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_page(page, monkeypatch)


def test_the_pages_are_those_that_users_ask_for():
    assert {page.stem for page in PAGES} >= {"your-net", "your-data", "your-task", "fine-tune"}
