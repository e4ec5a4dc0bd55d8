"""What docs/plugins.md shows of trainings is what these plugins are, and the tables leave nothing out."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import attrs
import pytest

from robustfw import Batch, Epoch, Split, Step, update

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "plugins.md").read_text()
SECTION = PAGE[PAGE.index("## 11. Trainings in full") :]
BLOCKS = re.findall(r"^```python\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)
FILES = {path.name: path.read_text() for path in HERE.glob("*.py")}


def parts(block):
    """The definitions of a block, without imports and checks."""
    definitions = re.split(r"\n\n(?=@attrs|def |class |check\()", block.strip())
    return [each.strip() for each in definitions if not each.startswith(("import", "from", "check("))]


@pytest.mark.parametrize("definition", [part for block in BLOCKS for part in parts(block)], ids=lambda d: d[:40])
def test_the_page_shows_these_files(definition):
    assert any(definition in text for text in FILES.values())


def test_there_are_examples():
    assert len(BLOCKS) >= 5


def row(name):
    """The first cells of the table's rows, up to that name."""
    return re.search(rf"^\|[^|]*`(batch\.|turn\.)?{name}\b[^|]*\|", SECTION, re.MULTILINE)


def public(cls):
    """Names of fields, properties and methods of its own."""
    fields = [field.name for field in attrs.fields(cls)] if attrs.has(cls) else []
    own = [name for name, value in vars(cls).items() if inspect.isfunction(value) or isinstance(value, property)]
    return {name for name in (*fields, *own) if not name.startswith("_")}


TOLD_OTHERWISE = {
    Batch: {"worst_case", "passes", "mode", "checked", "noise", "share", "trusted", "generator"},
    Split: {"iterate", "first"},
    Step: set(),
    Epoch: set(),
    update.Turn: set(),
}


@pytest.mark.parametrize("cls", TOLD_OTHERWISE, ids=lambda cls: cls.__name__)
def test_every_field_and_method_is_told(cls):
    missing = {name for name in public(cls) - TOLD_OTHERWISE[cls] if not row(name)}
    assert not missing


def test_every_way_to_ask_for_worst_cases_is_told():
    asked = set(inspect.signature(Batch.worst_case).parameters) - {"self"}
    assert {name for name in asked if not re.search(rf"^\|[^|]*`{name}=`", SECTION, re.MULTILINE)} == set()
