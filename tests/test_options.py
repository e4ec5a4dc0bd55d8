"""Specs: one grammar for the shell, TOML and Python, read strictly."""

from __future__ import annotations

import tomllib
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustfw import UsageError
from robustfw.plugin import options
from robustfw.plugin.options import Ratio, Reader


@attrs.frozen
class Everything:
    number: Annotated[float, "a number"] = 1.0
    count: int = 1
    flag: bool = False
    word: str = "x"
    ratio: Annotated[Ratio, "kept exactly"] = 0.5
    choice: Literal["a", "b"] = "a"
    many: tuple[int, ...] = (1, 2)
    maybe: float | None = None
    place: Path = Path("here")


READER = Reader(lambda base, value: value)


def read(text):
    given = options.parse(text)
    del given["use"]
    return READER.build(Everything, given, "everything")


@attrs.frozen
class Collecting:
    """A class that hands options on to a function."""

    size: int = 1
    others: tuple[tuple[str, Any], ...] = attrs.field(default=(), metadata={"collects": True})


@pytest.mark.parametrize(
    ("given", "others"),
    [
        ({"size": 2}, ()),
        ({"width": 3, "size": 2}, (("width", 3),)),
        ({"size": 2, "depth": "x", "many": [1, 2]}, (("depth", "x"), ("many", [1, 2]))),
        ({"others": [["size", 5]], "size": 2, "width": 3}, (("size", 5), ("width", 3))),
    ],
)
def test_options_without_a_field_are_collected(given, others):
    made = READER.build(Collecting, given, "collecting")
    assert made == Collecting(size=2, others=others)


def test_what_is_collected_must_be_names_and_values():
    with pytest.raises(UsageError, match="others must be a list like"):
        READER.build(Collecting, {"others": [1]}, "collecting")


def test_parse_by_hand():
    assert options.parse("pgd") == {"use": "pgd"}
    assert options.parse(" l1 : radius = 8 ") == {"use": "l1", "radius": 8}
    assert options.parse("a:x=1.5,y=true,z=word,r=8/255") == {
        "use": "a",
        "x": 1.5,
        "y": True,
        "z": "word",
        "r": "8/255",
    }
    assert options.parse("restarts:n=3,attack=(pgd:steps=5,step=0.1)") == {
        "use": "restarts",
        "n": 3,
        "attack": "pgd:steps=5,step=0.1",
    }
    assert options.parse("s:attacks=[pgd,(pgd:steps=2,step=1)],m=[1,2.5]") == {
        "use": "s",
        "attacks": ["pgd", "pgd:steps=2,step=1"],
        "m": [1, 2.5],
    }
    assert options.parse('s:w="a,b",learning-rate=1') == {"use": "s", "w": "a,b", "learning_rate": 1}


@pytest.mark.parametrize("text", ["pgd:steps", "pgd:=3", "pgd:steps=(3", "pgd:steps=3,,x", 'pgd:w="a'])
def test_a_spec_that_cannot_be_read_is_refused(text):
    with pytest.raises(UsageError):
        options.parse(text)


def test_values_are_read_by_their_types():
    made = read("e:number=2,count=3,flag=true,word=abc,ratio=8/255,choice=b,many=[4],maybe=1/4,place=~/data")
    assert made.number == 2.0
    assert isinstance(made.number, float)
    assert made.ratio == Fraction(8, 255)
    assert made.maybe == 0.25
    assert made.many == (4,)
    assert made.place == Path("~/data").expanduser()
    assert read("e:maybe=none").maybe is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("e:count=2.7", "count must be a whole number, not 2.7"),
        ("e:count=true", "count must be a whole number, not True"),
        ("e:flag=1", "flag must be true or false, not 1"),
        ("e:number=abc", "number must be a number, not 'abc'"),
        ("e:number=true", "number must be a number, not True"),
        ("e:ratio=8/0", "ratio must be a number or a ratio like 8/255, not '8/0'"),
        ("e:ratio=8/x", "ratio must be a number or a ratio like 8/255, not '8/x'"),
        ("e:choice=c", "choice must be a or b, not 'c'"),
        ("e:many=3", "many must be a list like \\[whole number, …\\], not 3"),
        ("e:many=[1.5]", "many must be a list"),
        ("e:word=3", "word must be a word, not 3"),
        ("e:cuont=3", "everything has no option 'cuont'; did you mean count"),
        ("e:zzz=3", "everything has no option 'zzz'; known: choice, count"),
    ],
)
def test_a_wrong_value_says_what_was_expected(text, expected):
    with pytest.raises(UsageError, match=expected):
        read(text)


def test_a_mapping_must_name_something():
    with pytest.raises(UsageError, match="names nothing"):
        options.expand_spec({"radius": 3})


def test_shell_and_toml_say_the_same():
    table = tomllib.loads('[attack]\nuse = "pgd"\nsteps = 5\nstep = 0.25\nrandom_start = false')["attack"]
    assert options.expand_spec(table) == options.parse("pgd:steps=5,step=0.25,random_start=false")


LITERALS = {"true", "false", "inf", "nan", "none"}
plain = st.one_of(
    st.integers(-1000, 1000),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.from_regex(r"[a-z][a-z-]{0,8}", fullmatch=True).filter(lambda w: w not in LITERALS),
)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,6}", fullmatch=True).filter(lambda k: k != "use"), plain, max_size=4))
def test_what_is_spelled_is_parsed_back(values):
    mapping = {"use": "name"} | values
    assert options.parse(options.spell(mapping)) == mapping


def test_nested_specs_are_spelled_in_brackets():
    inner = {"use": "pgd", "steps": 3}
    text = options.spell({"use": "restarts", "attack": inner, "many": [inner, inner]})
    assert text == "restarts:attack=(pgd:steps=3),many=[(pgd:steps=3),(pgd:steps=3)]"
    assert options.parse(text)["many"] == ["pgd:steps=3", "pgd:steps=3"]


def test_help_comes_from_the_fields():
    rows = {row.name: row for row in options.describe(Everything, lambda value: value)}
    assert rows["ratio"].meaning == "kept exactly"
    assert rows["maybe"].type == "a number or none"
    assert rows["many"].default == "[1,2]"


def test_what_is_learnt_is_no_option_and_is_kept_by_further_copies():
    @attrs.frozen
    class Part:
        size: int = 1
        first: object = options.learnt()
        second: object = options.learnt()

    known = options.with_learnt(options.with_learnt(Part(2), first="a"), second="b")
    assert (known.size, known.first, known.second) == (2, "a", "b")
    assert known == Part(2)
    assert repr(known) == repr(Part(2))
    with pytest.raises(TypeError, match="size is an option of Part"):
        options.with_learnt(Part(), size=3)
    with pytest.raises(AttributeError):
        options.with_learnt(Part(), third="c")
