"""Weights files: what is read, what is refused in one sentence, and how weights find their place in a net."""

from __future__ import annotations

import argparse
import hashlib

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrizations
from torch.optim.swa_utils import AveragedModel

from robustfw import DataError
from robustfw.interop import adapt, read_weights, split_entry
from robustfw_kernels.layers import Standardize


def net(classes: int = 3, seed: int | None = None) -> nn.Sequential:
    if seed is not None:
        torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, classes))


class Holder(nn.Module):
    """A class around a net, as training frameworks have it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.model = inner
        self.criterion = nn.CrossEntropyLoss(weight=torch.ones(3))


ORIGINAL = net(seed=1).eval()
AVERAGE = net(seed=2).eval()
X = torch.rand(4, 1, 6, 6)


def safetensors(path):
    save_file(ORIGINAL.state_dict(), path)


def old_format(path):
    torch.save(ORIGINAL.state_dict(), path, _use_new_zipfile_serialization=False)


def saved(make):
    return lambda path: torch.save(make(), path)


STATE = ORIGINAL.state_dict()
EMA = AVERAGE.state_dict()
FILES = {
    "safetensors": (safetensors, ""),
    "plain": (saved(lambda: STATE), ""),
    "old format": (old_format, ""),
    "parameters": (saved(lambda: dict(ORIGINAL.named_parameters()) | dict(ORIGINAL.named_buffers())), ""),
    "DataParallel": (saved(lambda: nn.DataParallel(ORIGINAL).state_dict()), "module."),
    "compiled": (saved(lambda: torch.compile(ORIGINAL).state_dict()), "_orig_mod."),
    "both": (saved(lambda: {f"module._orig_mod.{name}": value for name, value in STATE.items()}), "module._orig_mod."),
    "in a class": (saved(lambda: {f"model.{name}": value for name, value in STATE.items()}), "model."),
    "in a class of a framework": (saved(lambda: {"state_dict": Holder(ORIGINAL).state_dict(), "epoch": 3}), "model."),
    "averaged model": (saved(lambda: AveragedModel(ORIGINAL).state_dict()), "module."),
    "checkpoint": (
        saved(lambda: {"model": STATE, "optimizer": torch.optim.Adam(ORIGINAL.parameters()).state_dict(), "epoch": 3}),
        "entry model",
    ),
    "script's arguments": (saved(lambda: {"state_dict": STATE, "args": argparse.Namespace(lr=0.1)}), "state_dict"),
    "nested": (saved(lambda: {"model": {"state_dict": STATE}}), "entry model.state_dict"),
    "another name": (saved(lambda: {"best": STATE, "accuracy": 0.9}), "entry best"),
    "beside numbers": (saved(lambda: STATE | {"epoch": 3, "name": "net"}), ""),
    "half": (saved(lambda: {name: value.double() for name, value in STATE.items()}), "float64 as float32"),
}


@pytest.mark.parametrize(("write", "words"), FILES.values(), ids=FILES)
@pytest.mark.parametrize("around", ["nothing", "adapter", "standardisation", "DataParallel"])
def test_weights_find_their_place(tmp_path, write, words, around):
    path = tmp_path / "weights.pt"
    write(path)
    target = net(seed=3)
    model = {
        "nothing": lambda: target,
        "adapter": lambda: adapt(target, normalize="0.5/0.5"),
        "standardisation": lambda: nn.Sequential(Standardize([0.5], [0.5]), nn.Identity(), target),
        "DataParallel": lambda: nn.DataParallel(target),
    }[around]()
    weights = read_weights(path)
    sentence = weights.load_into(model)
    assert torch.equal(target.eval()(X), ORIGINAL(X))
    # a net in a wrapper has the wrapper's prefix in its own names
    assert words in sentence or (around == "DataParallel" and words.endswith("."))
    assert weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_an_adapter_saved_brings_its_normalisation(tmp_path):
    trained = adapt(net(seed=1), normalize="0.5/0.25").eval()
    save_file(trained.state_dict(), tmp_path / "run.safetensors")
    weights = read_weights(tmp_path / "run.safetensors")
    other = adapt(net(seed=2), normalize="0.1/0.1").eval()
    weights.load_into(other)
    assert torch.equal(other(X), trained(X))
    with pytest.raises(DataError, match="a normalisation that the net must have too"):
        weights.load_into(net())


@pytest.mark.parametrize("averaged", ["ema", "model_ema", "state_dict_ema", "ema_state_dict", "swa_model"])
def test_averaged_weights_are_named_and_taken_on_request(tmp_path, averaged):
    path = tmp_path / "weights.pt"
    torch.save({averaged: EMA, "state_dict": STATE}, path)
    plain = read_weights(path)
    assert (plain.entry, plain.other_entries) == ("state_dict", (averaged,))
    target = net().eval()
    assert f"write {path}::{averaged} to take them" in plain.load_into(target)
    assert torch.equal(target(X), ORIGINAL(X))
    file, entry = split_entry(f"{path}::{averaged}")
    read_weights(file, entry).load_into(target)
    assert torch.equal(target(X), AVERAGE(X))


def test_averages_side_by_side_with_the_weights_are_an_entry_too(tmp_path):
    state = {f"model.{name}": value for name, value in STATE.items()}
    state |= {f"ema_model.{name}": value for name, value in EMA.items()}
    save_file({name: value.clone() for name, value in state.items()}, tmp_path / "w.safetensors")
    target = net().eval()
    read_weights(tmp_path / "w.safetensors", "ema_model").load_into(target)
    assert torch.equal(target(X), AVERAGE(X))


def test_only_averaged_weights_are_taken_without_asking(tmp_path):
    torch.save({"ema": EMA, "epoch": 1}, tmp_path / "w.pt")
    assert read_weights(tmp_path / "w.pt").entry == "ema"


def normed(old: bool) -> nn.Sequential:
    made = net(seed=1)
    if old:
        with pytest.warns(FutureWarning):
            nn.utils.weight_norm(made[0])
    else:
        parametrizations.weight_norm(made[0])
    return made.eval()


@pytest.mark.parametrize("file_is_old", [True, False])
@pytest.mark.parametrize("net_is_old", [True, False])
def test_weight_norm_in_either_form(tmp_path, file_is_old, net_is_old):
    trained = normed(file_is_old)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.mul_(1.5)
    torch.save(trained.state_dict(), tmp_path / "w.pt")
    target = normed(net_is_old)
    read_weights(tmp_path / "w.pt").load_into(target)
    assert torch.allclose(target(X), trained(X), atol=1e-6)


# What does not fit


def mismatch(tmp_path, state, target=None) -> str:
    torch.save(state, tmp_path / "w.pt")
    target = net() if target is None else target
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with pytest.raises(DataError) as caught:
        read_weights(tmp_path / "w.pt").load_into(target)
    # nothing was loaded
    for name, value in target.state_dict().items():
        assert torch.equal(value, before[name])
    return str(caught.value)


def test_other_keys_are_counted_and_named(tmp_path):
    state = {name: value for name, value in STATE.items() if name != "4.bias"} | {"5.scale": torch.ones(1)}
    text = mismatch(tmp_path, state)
    assert "8 of the net's 9 tensors fit" in text
    assert "the file lacks 4.bias" in text
    assert "the net lacks 5.scale" in text
    many = mismatch(tmp_path, nn.Sequential(*[nn.Linear(2, 2) for _ in range(9)]).state_dict())
    assert "more" in many
    assert "take the model that the weights were trained with" in many


def test_other_shapes_are_named(tmp_path):
    text = mismatch(tmp_path, STATE | {"0.weight": torch.ones(4, 1, 5, 5), "4.weight": torch.ones(3, 32)})
    assert "0.weight ((4, 1, 5, 5), not (4, 1, 3, 3))" in text


@pytest.mark.parametrize("around", [lambda n: n, lambda n: adapt(n, normalize="mnist")])
def test_another_number_of_classes_is_said(tmp_path, around):
    text = mismatch(tmp_path, net(classes=1000).state_dict(), around(net(classes=10)))
    assert "the weights are of 1000 classes, the data has 10 (the layer 4)" in text
