"""Options that are matrices: given inline or by a file, equal by their numbers, and known again by a hash."""

from __future__ import annotations

import json
import pickle

import attrs
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from robustfw import DataError, RobustfwError, UncertaintySet, UsageError, hookimpl
from robustfw.plugin import options
from robustfw.plugin.options import Array
from robustfw.plugin.registry import Registry


@attrs.frozen
class Weighted(UncertaintySet):
    """A set with a matrix."""

    matrix: Array = attrs.field(factory=lambda: Array([[1, 0], [0, 1]]))

    def at(self, x):
        raise NotImplementedError


class Plugin:
    @hookimpl
    def robustfw_register(self, add):
        add("weighted", Weighted)


REGISTRY = Registry({"mine": Plugin()})
SMALL = [[1.0, 2.0], [3.0, 4.5]]
LARGE = np.arange(100.0).reshape(20, 5)


def written(folder, name, values):
    path = folder / name
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".csv":
        path.write_text("\n".join(",".join(map(str, row)) for row in np.atleast_2d(values)) + "\n")
    else:
        save_file({"A": np.ascontiguousarray(values)}, path)
    return path


@pytest.mark.parametrize("ending", [".npy", ".csv", ".safetensors", ".NPY"])
@pytest.mark.parametrize("values", [np.array(SMALL), LARGE, np.array([1.0, 2.0])], ids=["small", "large", "vector"])
def test_numbers_from_a_file_are_the_numbers_inline(ending, values, tmp_path):
    path = written(tmp_path, f"a{ending.lower()}", values).rename(tmp_path / f"b{ending}")
    made = REGISTRY.make("uncertainty", f"weighted:matrix={path}")
    assert made == Weighted(Array(values)) == Weighted(Array(values.tolist()))
    assert hash(made) == hash(Weighted(Array(values)))
    assert made.matrix.shape == values.shape
    for again in (REGISTRY.record(made), json.loads(json.dumps(REGISTRY.record(made))), REGISTRY.spell(made)):
        assert REGISTRY.make("uncertainty", again) == made
    assert pickle.loads(pickle.dumps(made)) == made
    assert eval(repr(made.matrix)) == made.matrix


def test_a_small_matrix_is_recorded_itself_wherever_it_comes_from(tmp_path):
    path = written(tmp_path, "a.npy", np.array(SMALL))
    inline = REGISTRY.make("uncertainty", "weighted:matrix=[[1,2],[3,4.5]]")
    assert REGISTRY.record(inline) == REGISTRY.record(Weighted(Array(path))) == {"use": "weighted", "matrix": SMALL}
    assert REGISTRY.spell(inline) == "weighted:matrix=[[1.0,2.0],[3.0,4.5]]"


def test_another_file_under_the_same_path_is_noticed(tmp_path):
    path = written(tmp_path, "a.npy", LARGE)
    record = REGISTRY.record(Weighted(Array(path)))
    assert record["matrix"].startswith(f"{path}#sha256:")
    written(tmp_path, "a.npy", LARGE + 1)
    with pytest.raises(DataError, match=r"uncertainty weighted: matrix: .* holds other numbers than those that were"):
        REGISTRY.make("uncertainty", record)
    assert REGISTRY.record(Weighted(Array(path))) != record


def test_a_relative_path_is_recorded_in_full(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "a.npy", LARGE)
    record = Array("a.npy").record()
    monkeypatch.chdir("/")
    assert Array(record) == Array(LARGE)


def test_the_value_cannot_be_changed():
    given = np.array(SMALL)
    array = Array(given)
    given[0, 0] = 7
    assert array == Array(SMALL)
    with pytest.raises(ValueError, match="read-only"):
        array.values[0, 0] = 7
    with pytest.raises(AttributeError):
        array.values = given
    with pytest.raises(AttributeError):
        array._values = given


def test_what_counts_as_equal():
    assert Array([0.0, 1]) == Array([-0.0, 1]) == Array(Array([0, 1])) == Array(torch.tensor([0, 1]))
    assert Array([0, 1]) != Array([[0, 1]])
    assert Array([0, 1]) != [0, 1]
    assert Array([float("inf")]).record() == [float("inf")]


def test_a_tensor_of_it_has_the_type_that_is_asked_for():
    x = torch.zeros(1, dtype=torch.float16)
    found = Array(SMALL).like(x)
    assert found.dtype == torch.float16
    assert found.tolist() == SMALL
    found[0, 0] = 7  # a copy
    assert Array(SMALL).values[0, 0] == 1


@pytest.mark.parametrize(
    "wrong", [[[1], [2, 3]], [], 3, [[]], ["a"], [True], [1j], None, "x", "", [float("nan")], {"a": 1}]
)
def test_what_is_no_array_is_refused(wrong):
    with pytest.raises(UsageError):
        Array(wrong)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.npy", b""),
        ("a.npy", b"\x93NUMPY\x01\x00"),
        ("a.npy", pickle.dumps([1, 2])),
        ("a.csv", b"a,b\n1,2"),
        ("a.csv", b"\xff\xfe"),
        ("a.csv", b"1,2\n3"),
        ("a.safetensors", b"\x00" * 9),
        ("a.txt", b"1,2"),
    ],
)
def test_a_file_without_numbers_is_refused(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RobustfwError) as refused:
        Array(tmp_path / name)
    assert name in str(refused.value)


def test_files_that_are_not_there_or_hold_several(tmp_path):
    with pytest.raises(DataError, match="there is no file"):
        Array(tmp_path / "a.npy")
    with pytest.raises(DataError, match="there is no file"):
        Array(str(tmp_path / f"{'a' * 400}.npy"))
    save_file({"A": LARGE, "b": LARGE}, tmp_path / "two.safetensors")
    with pytest.raises(DataError, match=r"holds 2 tensors \(A, b\)"):
        Array(tmp_path / "two.safetensors")
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(DataError, match="no numbers that can be read"):
        Array(tmp_path / "objects.npy")


def test_help_says_what_to_write():
    (row,) = options.describe(Weighted, REGISTRY.record)
    assert row.type == "numbers like [[1,2],[3,4]] or a path to .npy, .csv or .safetensors"
    assert row.default == "[[1.0,0.0],[0.0,1.0]]"
