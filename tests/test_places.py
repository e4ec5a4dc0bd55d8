"""Places of objects, module:name and file.py:name: what is found there, and one sentence where nothing is."""

from __future__ import annotations

import sys

import pytest

from robustfw.errors import UsageError
from robustfw.plugin.places import absolute_place, load_place, split_place

SOURCE = """
from sibling_of_place import NUMBER

class Nets:
    @staticmethod
    def small():
        return NUMBER

def build():
    return NUMBER + 1
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "place.py").write_text(SOURCE)
    (tmp_path / "sibling_of_place.py").write_text("NUMBER = 41")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "sibling_of_place", raising=False)
    return tmp_path


def test_a_name_in_a_file(folder):
    assert load_place("place.py:build")() == 42
    assert load_place(f"{folder}/place.py:Nets.small")() == 41
    assert str(folder) not in sys.path


def test_a_name_in_a_module_of_this_folder(folder, monkeypatch):
    (folder / "module_of_place.py").write_text("import sibling_of_place\nvalue = sibling_of_place.NUMBER")
    monkeypatch.delitem(sys.modules, "module_of_place", raising=False)
    assert load_place("module_of_place:value") == 41


def test_a_name_in_an_installed_module():
    from torch import nn

    assert load_place("torch.nn:Linear") is nn.Linear
    assert load_place("torch:nn.Linear") is nn.Linear


def test_a_file_runs_once_until_it_changes(folder):
    first = load_place("place.py:build")
    assert load_place("place.py:build") is first
    (folder / "place.py").write_text("def build():\n    return 0")
    assert load_place("place.py:build")() == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("place.py:bild", "has no 'bild'.*build"),
        ("elsewhere.py:build", "there is no file elsewhere.py"),
        ("no_such_module:build", "there is no module 'no_such_module'"),
        ("torch.no_such_module:build", "there is no module 'torch.no_such_module'"),
        ("place.py", "no place of a Python object"),
        ("a b:c", "no place of a Python object"),
        ("place.py:1", "no place of a Python object"),
    ],
)
def test_what_is_not_there(folder, text, message):
    with pytest.raises(UsageError, match=message):
        load_place(text)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def build(:", "SyntaxError"),
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_code_that_fails(folder, code, message):
    (folder / "broken.py").write_text(code)
    with pytest.raises(UsageError, match=message):
        load_place("broken.py:build")
    assert not [name for name in sys.modules if name.startswith("robustfw_place_broken")]


def test_places_are_made_absolute(folder):
    assert absolute_place("place.py:build") == f"{folder}/place.py:build"
    assert absolute_place("elsewhere.py:build") == "elsewhere.py:build"
    assert absolute_place("torch.nn:Linear") == "torch.nn:Linear"
    assert split_place("a.b:c.d") == ("a.b", "c.d")
