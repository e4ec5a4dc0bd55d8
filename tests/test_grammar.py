"""The grammar of specs: every text is read or refused in one sentence, and equal numbers are equal options."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import robustfw
from robustfw import RobustfwError, UsageError
from robustfw.plugin import options
from robustfw.plugin._grammar import drop_options, read_toml
from robustfw.plugin.options import Array, Ratio, Reader
from robustfw.plugin.registry import Registry

REGISTRY = Registry.installed()


# Specs


@pytest.mark.parametrize(
    ("spec", "left"),
    [
        ("linf:radius=0.1", "linf"),
        ("linf:radius=[0.1,8/255]", "linf"),
        ("ring:inner_radius=3,radius=4", "ring:inner_radius=3"),
        ("tangent:radius=2,basis=(cae:radius=3,dim=2)", "tangent:basis=(cae:radius=3,dim=2)"),
        ("linf", "linf"),
        ("[robust,(noise:radius=1)]", "[robust,(noise:radius=1)]"),
    ],
)
def test_a_spec_without_its_radius(spec, left):
    assert drop_options(spec, "radius") == left


@pytest.mark.parametrize(
    ("text", "value"), [(".1", 0.1), ("5.", 5.0), ("-.5e1", -5.0), ("1e-1", 0.1), ("+1.e2", 100.0)]
)
def test_decimals_of_every_language_are_read(text, value):
    assert options.read_value(text) == value
    assert robustfw.make("uncertainty", f"l2:radius={text.strip('-')}").radius == abs(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[0.49,0.48]/[0.25,0.24]", "[0.49,0.48]/[0.25,0.24]"),
        ("[1, 2]/[3]", "[1, 2]/[3]"),
        ("[1/2,3/4]", ["1/2", "3/4"]),
        ('["]/["]', ["]/["]),
        ("[[1]]", [[1]]),
    ],
)
def test_two_lists_with_a_slash_between_are_a_text(text, value):
    assert options.read_value(text) == value
    assert options.parse(f"name:option={text},other=1") == {"use": "name", "option": value, "other": 1}
    spelled = options.spell({"use": "name", "option": value})
    assert options.parse(spelled) == {"use": "name", "option": value}


@pytest.mark.parametrize("text", ["[1]/[2", "[1]/2]", "[1]]/[2]", "[1]/[[2]"])
def test_a_pair_of_lists_that_is_not_closed_is_refused(text):
    with pytest.raises(UsageError, match="bracket"):
        options.parse(f"name:option={text}")


WORDS = [
    "[1]/[2]",
    "a,b",
    "true",
    "1",
    "8",
    "it's",
    'a "b"',
    "(x",
    "]",
    "",
    " x ",
    "a=b",
    "a\\b",
    "tab\t",
    "#",
    "inf",
    "é/ü",
    "none ",
]


@pytest.mark.parametrize("word", WORDS)
def test_any_word_is_spelled_so_that_it_is_read_back(word):
    mapping = {"use": "name", "word": word, "words": [word, word]}
    assert options.parse(options.spell(mapping)) == mapping


@given(st.text(max_size=12).filter(lambda text: "\0" not in text and not any(0xD800 <= ord(c) < 0xE000 for c in text)))
def test_any_text_is_spelled_so_that_it_is_read_back(word):
    assert options.parse(options.spell({"use": "name", "word": word}))["word"] == word


@attrs.frozen
class Everything:
    first: str = attrs.field(default="a", metadata={"positional": True})
    count: int = 1
    number: float = 1.0
    ratio: Ratio = 1.0
    flag: bool = False
    choice: Literal["a", "b"] = "a"
    many: tuple[float, ...] = ()
    pair: tuple[int, float] = (1, 1.0)
    matrix: tuple[tuple[float, ...], ...] = ()
    place: Path = Path("here")
    array: Array | None = None
    learning_rate: float = attrs.field(default=0.1, metadata={"aliases": ("speed",)})


READER = Reader(lambda base, value: value)


def read(text):
    given = options.parse(text, first=options.positional(Everything))
    del given["use"]
    return READER.build(Everything, given, "everything")


def test_lists_of_lists_and_pairs():
    assert read("e:matrix=[[1,2],[3,1/4]],pair=[2,.5]") == Everything(matrix=((1.0, 2.0), (3.0, 0.25)), pair=(2, 0.5))
    for wrong in ("e:pair=[1]", "e:pair=[1,2,3]", "e:matrix=[1,2]", "e:matrix=[[x]]"):
        with pytest.raises(UsageError, match="must be a list like"):
            read(wrong)
    rows = {row.name: row.type for row in options.describe(Everything, str)}
    assert rows["pair"] == "a list like [whole number, number]"
    assert rows["matrix"] == "a list like [list like [number, …], …]"


def test_a_first_value_without_a_key():
    assert read("e:resnet18,count=2") == Everything(first="resnet18", count=2)
    with pytest.raises(UsageError, match="cannot read 'x'"):
        read("e:count=2,x")
    with pytest.raises(UsageError, match="write mlp:key=value,key=value; its options are hidden"):
        robustfw.make("model", "mlp:resnet18")


EXTREMES = [
    f"e:count={'9' * 5000}",
    f"e:count=0x{'f' * 5000}",
    f"e:count={10**30}",
    f"e:number={'9' * 5000}",
    "e:number=1e999",
    "e:number=-1e999",
    "e:number=nan",
    "e:ratio=nan",
    f"e:ratio={'9' * 5000}/255",
    f"e:ratio={'9' * 400}/1",
    "e:number=٣",
    "e:ratio=٨/٢٥٥",
    "e:many=[1,nan]",
    f"e:many={'[' * 5000}{']' * 5000}",
    f"e:word={'(' * 5000}{')' * 5000}",
    f"e:count={'{a=' * 5000}1{'}' * 5000}",
    "e:place=a\0b",
    "e:first=\0",
    "e\0:count=1",
    "e:array=a\0.npy",
    "e:array=x",
    "e:array=[[1],[2,3]]",
    "e:array=1",
    "e:count=1,count=2",
    "e:count=1979-05-27",
    "e:flag={a=1}",
    "e:many=)(",
    "e:choice=[a]",
    f"e:{'x' * 5000}=1",
]


@pytest.mark.parametrize("text", EXTREMES, ids=range(len(EXTREMES)))
def test_extreme_options_are_refused_in_a_short_sentence(text):
    with pytest.raises(UsageError) as refused:
        read(text)
    assert len(str(refused.value)) < 400
    assert len(str(refused.value).splitlines()) == 1


def test_thousands_of_random_specs_are_read_or_refused():
    """Nothing but a `RobustfwError` leaves the grammar, the reader and the registry, whatever the text."""
    source = random.Random(0)
    keys = [field.name for field in attrs.fields(Everything)]
    pieces = [
        *"[](){}=,:\"'/\\#.+-_eE \t\n\r\0٣é￿", "1", "0x", "9" * 30, "9" * 4400, "1e400", "nan", "inf",
        "8/255", "/", "1/0", "true", "None", "[1,2]", "(pgd:steps=2)", ".npy", "~", "1979-05-27", "[[1,2],[3]]", "'''",
        '"""', "\ud800", *keys,
    ]  # fmt: skip
    refused = longest = 0
    for _ in range(4000):
        value = "".join(source.choices(pieces, k=source.randint(0, 8)))
        text = source.choice([value, f"e:{source.choice(keys)}={value}", f"e:{value}"])
        try:
            made = read(text)
        except RobustfwError as error:
            refused += 1
            longest = max(longest, len(str(error)))
        else:
            assert isinstance(made, Everything)
        for kind in ("attack", "uncertainty"):
            with pytest.raises(RobustfwError):
                REGISTRY.make(kind, f"x{text}")
    assert 1000 < refused < 4000
    assert longest < 1000


def test_toml_files_are_read_or_refused():
    assert read_toml("a = 1") == {"a": 1}
    for wrong in ("a = = 1", f"a = {'9' * 5000}", f"a = {'[' * 5000}{']' * 5000}", "a = '\0'"):
        with pytest.raises(UsageError, match=r"it (is not TOML|holds)"):
            read_toml(wrong)


def test_a_mapping_with_extreme_values_is_refused_as_well():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    for value in (10**5000, float("nan"), 1e400j, object(), deep, {"a": {}}, b"x", None):
        with pytest.raises(UsageError, match="uncertainty linf: radius must be"):
            REGISTRY.make("uncertainty", {"use": "linf", "radius": value})


# Names of options


def test_options_by_other_names():
    assert read("e:speed=2").learning_rate == 2.0
    assert read("e:lr=3").learning_rate == 3.0
    assert read("e:Learning-Rate=3,COUNT=2") == Everything(learning_rate=3.0, count=2)
    assert robustfw.make("uncertainty", "linf:eps=8/255") == robustfw.make("uncertainty", "linf:radius=8/255")
    assert robustfw.make("uncertainty", "L_inf:epsilon=0.5") == robustfw.make("uncertainty", "linf:radius=0.5")
    assert robustfw.make("objective", "vat:epsilon=2,iters=3") == robustfw.make(
        "objective", "vat:epsilon=2,iterations=3"
    )
    assert robustfw.make("attack", "PGD:iters=3,step_size=0.25") == robustfw.make("attack", "pgd:steps=3,step=0.25")
    assert REGISTRY.spell(robustfw.make("attack", "FGSM:step_size=0.5"), brief=True) == "single-step:step=0.5"
    with pytest.raises(UsageError, match="learning_rate is given twice, once as lr"):
        read("e:learning_rate=1,lr=2")


def test_a_step_size_that_looks_like_a_distance_is_told_of():
    with pytest.warns(robustfw.RobustfwWarning, match="step_size is read as step, constant step, relative to the set"):
        made = robustfw.make("attack", "pgd:step_size=2/255")
    assert made.step == 2 / 255
