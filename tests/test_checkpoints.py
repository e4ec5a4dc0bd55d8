"""What a net may keep comes back from a checkpoint as it was, or is refused before anything is written."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import robustfw
from robustfw import UsageError
from robustfw.storage._checkpoints import check_storable, decode, encode, misfit
from robustfw.storage.runs import Run


class Remembers(nn.Module):
    """A linear net with an extra state."""

    def __init__(self, extra):
        super().__init__()
        self.linear = nn.Linear(64, 10)
        self.extra = extra

    def forward(self, x):
        return self.linear(x.flatten(1))

    def get_extra_state(self):
        return self.extra

    def set_extra_state(self, state):
        self.extra = state


def come_back(named, tmp_path):
    path = tmp_path / "it.safetensors"
    path.write_bytes(encode(named, {"epoch": 3}))
    found, facts = decode(path)
    assert facts == {"epoch": 3}
    return found


COMPLEX = torch.tensor([[1 + 2j, -1j]])
TENSORS = {
    "scalar": torch.tensor(3.5),
    "empty": torch.empty(0, 3),
    "transposed": torch.arange(6.0).reshape(2, 3).t(),
    "channels last": torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last),
    "bool": torch.tensor([True, False]),
    "bf16": torch.tensor([1.5], dtype=torch.bfloat16),
    "complex": COMPLEX,
    "complex128": COMPLEX.to(torch.complex128),
    "conjugate": COMPLEX.conj(),
    "negative": COMPLEX.conj().imag,
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_of_any_shape_and_type(name, tmp_path):
    check_storable({name: TENSORS[name]})
    (found,) = come_back({name: TENSORS[name]}, tmp_path).values()
    assert found.dtype == TENSORS[name].dtype
    assert found.shape == TENSORS[name].shape
    assert torch.equal(found, TENSORS[name].resolve_conj().resolve_neg())


@pytest.mark.parametrize("extra", [None, 3, {"seen": [1, 2.5, "x", None, True]}, [], torch.arange(3)])
def test_an_extra_state_is_kept_and_loaded(extra, tmp_path):
    options = {"attack": "single-step", "epochs": 1, "batch_size": 400, "validation_examples": 10, "out": tmp_path}
    records = robustfw.train(model=Remembers(extra), steps=True, **options)
    next(records)
    records.close()
    net = Remembers("another")
    assert list(robustfw.train(model=net, resume=True, **options))
    for found in (net.extra, Run.open(tmp_path).weights("best")["_extra_state"]):
        assert torch.equal(found, extra) if isinstance(extra, torch.Tensor) else found == extra


class Sparse(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.linear = nn.Linear(64, 10)
        self.register_buffer("odd", value)

    def forward(self, x):
        return self.linear(x.flatten(1))


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (Remembers((1, 2)), r"'_extra_state' in its state_dict is a tuple; get_extra_state must return a tensor, or"),
        (Remembers({"at": torch.zeros(2)}), r"'_extra_state' .* is a dict with Tensor; get_extra_state must"),
        (Remembers({1: 2}), r"'_extra_state' .* is a dict; get_extra_state must"),
        (Remembers(object()), r"'_extra_state' .* is of the type object; get_extra_state must"),
        (Sparse(torch.eye(2).to_sparse()), r"'odd' .* is no dense tensor \(sparse_coo\): make it dense"),
        (Sparse(torch.empty(2, device="meta")), r"'odd' .* is a tensor without data"),
    ],
)
def test_what_cannot_be_kept_is_refused_before_anything_is_written(net, words, tmp_path):
    with pytest.raises(UsageError, match=words):
        check_storable(net.state_dict())
    with pytest.raises(UsageError, match="the model cannot be saved"):
        robustfw.train(model=net, out=tmp_path / "run", epochs=1)
    assert not (tmp_path / "run").exists()


def test_layers_that_wait_for_their_first_batch_have_seen_one_before_anything_is_written(tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.LazyLinear(10))
    with pytest.raises(UsageError, match="is a parameter without a"):
        check_storable(net.state_dict())
    list(robustfw.train(model=net, attack="single-step", epochs=1, batch_size=400, out=tmp_path / "run"))
    assert net[2].weight.shape == (10, 10)


def test_shared_weights_are_shared_again(tmp_path):
    net = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    net[1].weight = net[0].weight
    expected = net[0].weight.detach().clone()
    named = come_back(net.state_dict(), tmp_path)
    with torch.no_grad():
        net[0].weight.zero_()
    net.load_state_dict(named)
    assert net[0].weight is net[1].weight
    assert torch.equal(net[0].weight, expected)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ([], "facts is no object"),
        ({"a": "x"}, "facts.a is 'x'"),
        ({"a": True}, "facts.a is 'True'"),
        ({"a": 1 << 70}, "facts.a is "),
        ({"b": {"c": [1]}}, r"facts.b.c is no list of 2"),
        ({"b": {"c": [1, None]}}, r"facts.b.c\[1\] is 'None'"),
        ({"a": 2.5, "b": {"c": [1.0, 2]}, "more": "from another version", "n": 3}, None),
        ({}, None),
    ],
)
def test_facts_have_the_form_of_fresh_ones(facts, words):
    found = misfit(facts, {"a": 1, "b": {"c": (1, 2)}, "n": None, "empty": []})
    if words is None:
        assert found is None
    else:
        with pytest.raises(UsageError, match=words):
            raise UsageError(found)
