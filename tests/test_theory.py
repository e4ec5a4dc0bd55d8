"""docs/theory.md says what is so: its code prints what it shows, and the tests that it leans on exist."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "theory.md").read_text()


def test_the_code_prints_what_the_page_says():
    pytest.importorskip("clarabel", reason="the extra `linear` is not installed")
    blocks = re.findall(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == PAGE.count("```python")
    names = {"__name__": "page"}
    for code, said in blocks:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, "theory.md", "exec"), names)
        assert printed.getvalue() == said


@pytest.mark.parametrize("reference", sorted(set(re.findall(r"tests/[\w/]+\.py(?:::\w+)?", PAGE))))
def test_the_tests_that_it_names_exist(reference):
    file, _, name = reference.partition("::")
    assert f"def {name}(" in (ROOT / file).read_text() if name else (ROOT / file).exists()


@pytest.mark.parametrize("module", sorted(set(re.findall(r"robustfw\w*/[\w/]+\.py", PAGE))))
def test_the_modules_that_it_names_exist(module):
    assert any((root / module).exists() for root in (ROOT, ROOT / "plugins"))
