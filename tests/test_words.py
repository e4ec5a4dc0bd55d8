"""Patterns that make code hard to read, in no file of core, plugins, benchmarks and tests: house rules as tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("robustfw", "plugins", "benchmarks", "tests")
FILES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")) if "build" not in path.parts]
OPENINGS = ("Of ", "The same", "And ", "and ")
"""Beginnings of texts that say nothing without the text before them."""


def dependent_docstrings(tree: ast.Module) -> Iterator[int]:
    """Lines of docstrings, of names too, that do not stand alone."""
    for node in ast.walk(tree):
        is_text = (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        )
        if is_text and node.value.value.lstrip().startswith(OPENINGS):
            yield node.lineno


def constants_in_one_line(tree: ast.Module) -> Iterator[int]:
    """Lines that assign several constants to several names at the level of a module or a class: ``A, B = 1, 2``."""
    for parent in ast.walk(tree):
        if not isinstance(parent, ast.Module | ast.ClassDef):
            continue
        for node in parent.body:
            if (
                isinstance(node, ast.Assign)
                and isinstance(node.targets[0], ast.Tuple)
                and isinstance(node.value, ast.Tuple)
            ):
                yield node.lineno


@pytest.mark.parametrize("pattern", [dependent_docstrings, constants_in_one_line])
def test_no_file_has_it(pattern):
    places = [f"{path.relative_to(ROOT)}:{line}" for path in FILES for line in pattern(ast.parse(path.read_text()))]
    assert not places, "\n".join(places)


@pytest.mark.parametrize(
    ("source", "pattern"),
    [
        ('"""Of each row, the sum."""', dependent_docstrings),
        ('def f():\n    """The same for two."""', dependent_docstrings),
        ('A = 1\n"""and the least that it goes by."""', dependent_docstrings),
        ("RATE, HALVED_AFTER = 0.1, 1000", constants_in_one_line),
        ("class A:\n    B, C = 1, 2", constants_in_one_line),
    ],
)
def test_it_is_found(source, pattern):
    assert list(pattern(ast.parse(source)))


@pytest.mark.parametrize(
    ("source", "pattern"),
    [
        ('"""Of-fset of a row."""', dependent_docstrings),
        ("def f():\n    a, b = b, a", constants_in_one_line),
        ("low, high = ends()", constants_in_one_line),
    ],
)
def test_what_is_fine_is_left(source, pattern):
    assert not list(pattern(ast.parse(source)))
