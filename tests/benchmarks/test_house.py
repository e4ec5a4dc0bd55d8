"""What the counts of the house count, on small sources."""

from __future__ import annotations

import ast

import pytest

from benchmarks import house


def test_circles_are_parts_that_reach_each_other():
    arrows = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}
    assert house.circles(arrows) == [["a", "b", "c"]]
    assert house.circles({"a": {"b"}, "b": set()}) == []


def test_imports_for_types_alone_are_no_arrows():
    source = """
from __future__ import annotations
from typing import TYPE_CHECKING
from robustfw import data
from robustfw.errors import DataError
if TYPE_CHECKING:
    from robustfw.cli import main
def later():
    from robustfw.training import engine
"""
    modules = {"robustfw", "robustfw.data", "robustfw.errors", "robustfw.cli", "robustfw.training"}
    imported = set(house.imports_of(ast.parse(source), modules))
    assert imported == {
        "robustfw.data",
        "robustfw.errors",
        "robustfw.training",
    }
    assert house.unit_of("robustfw.data.splits") == "data"
    assert house.unit_of("robustfw") == ""


def test_lines_of_code_leave_out_docstrings_comments_and_blanks(tmp_path):
    source = '"""A page.\n\nOf three lines."""\n\n# a comment\nx = 1  # beside code\nN = 2\n"""Its meaning."""\n'
    path = tmp_path / "page.py"
    path.write_text(source)
    assert house.code_lines(source, ast.parse(source)) == 2
    assert house.own_line_comments(path) == 1
    # two assignments of a name and a constant, three expressions that are texts, and the module
    assert house.density([path]) == pytest.approx((1 + 2 * 3 + 2 * 2) / 2)


def function(source):
    return ast.parse(source).body[0]


@pytest.mark.parametrize("name", ["maximized", "kept", "of", "within", "drawn", "moved", "under_attack"])
def test_participles_and_prepositions(name):
    assert house.is_participle(function(f"def {name}(self): ..."))


@pytest.mark.parametrize(
    "name", ["maximize", "embed", "feed_rows", "load_weights", "threshold", "__len__", "padding", "at"]
)
def test_verbs_and_nouns(name):
    assert not house.is_participle(function(f"def {name}(self): ..."))


@pytest.mark.parametrize("name", ["from_seeds", "with_loss", "squared_error"])
def test_idioms_of_python_and_adjectives(name):
    assert not house.is_participle(function(f"def {name}(self): ..."))


def test_a_property_is_no_call():
    assert not house.is_participle(function("@property\ndef failed(self): ..."))


@pytest.mark.parametrize(
    ("source", "needed"),
    [
        ("def f(a, b, c): ...", True),
        ("def f(a, *, b, c): ...", True),
        ("def f(self, a, b): ...", False),
        ("def _f(a, b, c): ...", False),
    ],
)
def test_what_needs_a_section_on_its_arguments(source, needed):
    assert house.needs_arguments(ast.parse(source).body[0]) == needed


def test_it_measures_this_checkout():
    counts = house.measure(house.HERE)
    assert counts["circles of parts"] == "none"
    assert counts["parts that import robustfw itself"] == "0"
    assert float(counts["syntax nodes per line"]) > 1


def test_the_size_of_a_statement_does_not_depend_on_its_layout(tmp_path):
    one = tmp_path / "one.py"
    one.write_text('"""A page."""\nx = f(1, 2)\n')
    other = tmp_path / "other.py"
    other.write_text('"""A page."""\nx = f(\n    1,\n    2,\n)\n')
    # the assignment, its name, the call, the function's name and two numbers
    assert house.statement_sizes([one]) == house.statement_sizes([other]) == [6]
    assert house.describe_statements([one]) == "6.00, 0.0% have more than 20"
