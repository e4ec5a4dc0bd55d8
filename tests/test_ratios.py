"""Ratios: the number that the shell reads is the one that Python and files have."""

from __future__ import annotations

import copy
import pickle
from fractions import Fraction

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import robustfw
from robustfw import UsageError
from robustfw.plugin import options
from robustfw.plugin._grammar import same_values
from robustfw.plugin._number_lists import numbers
from robustfw.plugin._ratios import Quotient, ratio_or_float, read_ratio
from robustfw.plugin.options import Ratio, Reader
from robustfw.plugin.registry import Registry

REGISTRY = Registry.installed()


@pytest.mark.parametrize("text", ["8/255", "1/255", "16/255", "1/3", "128/255", "0.5/255", "-2/7", "3/4"])
def test_a_ratio_is_the_float_that_python_divides_it_to(text):
    top, bottom = (Fraction(part) for part in text.split("/"))
    ratio, quotient = read_ratio(text), float(top) / float(bottom)
    assert ratio == quotient
    assert quotient == ratio
    assert hash(ratio) == hash(quotient)
    assert ratio == top / bottom == ratio
    assert eval(repr(ratio)) == ratio
    assert pickle.loads(pickle.dumps(ratio)) == copy.deepcopy(ratio) == ratio
    assert isinstance(pickle.loads(pickle.dumps(ratio)), Quotient)
    assert not ratio < quotient
    assert not ratio > quotient
    assert ratio <= quotient
    assert ratio >= quotient
    assert ratio * 3 == 3 * (top / bottom)  # arithmetic is exact


@pytest.mark.parametrize("spec", ["linf:radius=8/255", "l2:radius=128/255", "l1:radius=1/3", "tangent:radius=3/255"])
def test_a_radius_from_the_shell_is_the_same_from_python_and_from_a_file(spec):
    shell = robustfw.make("uncertainty", spec)
    python = attrs.evolve(shell, radius=float(Fraction(spec.rpartition("=")[2])))
    exact = attrs.evolve(shell, radius=Fraction(spec.rpartition("=")[2]))
    assert shell == python
    assert shell == exact
    assert hash(shell) == hash(python)
    assert REGISTRY.record(shell) == REGISTRY.record(python) == REGISTRY.record(exact)
    assert REGISTRY.spell(python, brief=True) == spec
    for record in (REGISTRY.record(python), {**REGISTRY.record(python), "radius": float(python.radius)}):
        assert robustfw.make("uncertainty", record) == python


def test_radii_per_channel_and_whole_numbers_are_equal_too():
    python = attrs.evolve(robustfw.make("uncertainty", "linf"), radius=(2 / 255, 4 / 255, 1))
    shell = robustfw.make("uncertainty", "linf:radius=[2/255,4/255,1]")
    assert shell == python
    assert REGISTRY.spell(shell) == REGISTRY.spell(python) == "linf:radius=[2/255,4/255,1.0]"


def test_a_strangers_ratio_is_equal_without_a_converter():
    @attrs.frozen
    class Strange:
        size: Ratio = 1.0

    made = Reader(lambda base, value: value).build(Strange, {"size": "8/255"}, "strange")
    assert made == Strange(8 / 255)
    assert hash(made) == hash(Strange(8 / 255))
    assert repr(made).endswith("Strange(size=8/255)")


@pytest.mark.parametrize(
    ("value", "record"),
    [
        (8 / 255, "8/255"),
        (3 / 255, "3/255"),
        (Fraction(1, 85), "3/255"),
        (1 / 3, "1/3"),
        (1 / 7, "1/7"),
        (51 / 255, 0.2),
        (0.25, 0.25),
        (Fraction(1, 4), 0.25),
        (1, 1.0),
        (0.1 + 0.2, 0.1 + 0.2),
        (0.1234567890123456, 0.1234567890123456),
        (float("inf"), float("inf")),
    ],
)
def test_a_number_has_one_record_whatever_its_type(value, record):
    assert ratio_or_float(value) == record
    assert type(ratio_or_float(value)) is type(record)


@given(st.floats(-1e6, 1e6))
def test_every_float_is_read_back_from_its_record(value):
    assert float(options.number(ratio_or_float(value))) == value


def test_a_list_of_radii_keeps_its_ratios():
    assert numbers("1/255, 4/255,.5,1") == [1 / 255, 4 / 255, 0.5, 1.0]
    assert REGISTRY.record(numbers("1/255,4/255,.5,1")) == ["1/255", "4/255", 0.5, 1.0]
    for wrong in ("1,x", "true", "nan", "inf", "1/0", "1e999", f"1{'0' * 400}"):
        with pytest.raises(UsageError):
            numbers(wrong)


def test_records_of_older_versions_say_the_same():
    assert same_values({"use": "linf", "radius": "1/85"}, {"use": "linf", "radius": "3/255"})
    assert same_values({"radius": ["1/4", 1]}, {"radius": [0.25, 1.0]})
    assert same_values({"path": "a/b"}, {"path": "a/b"})
    assert not same_values({"path": "a/b"}, {"path": "a/c"})
    assert not same_values({"radius": "8/255"}, {"radius": 0.03137})
    assert not same_values({"radius": 1}, {"radius": 1, "p": 2})
    assert not same_values([1], [1, 2])
