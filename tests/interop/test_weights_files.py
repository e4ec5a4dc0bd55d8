"""Files that are no weights, or that only code could read: one sentence each, and nothing is run."""

from __future__ import annotations

import os
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from robustfw import DataError, RobustfwWarning, UsageError
from robustfw.interop import read_weights, split_entry


def net(classes: int = 3, seed: int | None = None) -> nn.Sequential:
    if seed is not None:
        torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, classes))


ORIGINAL = net(seed=1).eval()
STATE = ORIGINAL.state_dict()
EMA = net(seed=2).state_dict()


def safetensors(path):
    save_file(ORIGINAL.state_dict(), path)


def saved(make):
    return lambda path: torch.save(make(), path)


class Custom:
    """A class that only this module knows."""


class Malicious:
    """An object whose reading would make a folder."""

    def __init__(self, folder) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_code_is_never_run(tmp_path):
    path = tmp_path / "w.pt"
    marker = tmp_path / "marker"
    for write in (lambda value: torch.save(value, path), lambda value: path.write_bytes(pickle.dumps(value))):
        write({"state_dict": STATE if write is not None else {}, "extra": Malicious(marker)})
        with pytest.raises(DataError, match=r"reading it would run code"):
            read_weights(path)
        assert not marker.exists()


@pytest.mark.parametrize("value", [Custom(), ORIGINAL])
def test_a_pickle_that_needs_code_is_refused_with_what_to_do(tmp_path, value):
    torch.save(value, tmp_path / "w.pt")
    with pytest.raises(DataError, match=r"holds the class .*torch\.save\(net\.state_dict\(\), file\)") as caught:
        read_weights(tmp_path / "w.pt")
    assert "\n" not in str(caught.value)


def write_truncated(path):
    torch.save(STATE, path)
    path.write_bytes(path.read_bytes()[:900])


def write_truncated_safetensors(path):
    save_file(STATE, path)
    path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "there is no weights file"),
        (lambda path: path.mkdir(), "is a folder: name the weights file in it"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_text("\n<!DOCTYPE html><html>Sign in</html>"), "is a web page, not weights"),
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid"), "pointer of Git LFS"),
        (lambda path: path.write_bytes(b"\0\1\2 no weights"), "damaged, cut short, or no weights file"),
        (lambda path: path.write_text("epoch,loss\n1,2"), "damaged, cut short, or no weights file"),
        (write_truncated, "damaged, cut short"),
        (write_truncated_safetensors, "damaged, cut short"),
        (saved(lambda: torch.ones(3)), "holds one tensor"),
        (saved(lambda: [1, 2]), "holds no weights of a net, only list"),
        (saved(lambda: {"epoch": 3}), "holds no weights of a net, only epoch"),
        (saved(lambda: {}), "holds no weights of a net"),
        (saved(lambda: torch.optim.Adam(ORIGINAL.parameters()).state_dict()), "only state, param_groups"),
        (saved(lambda: {"optimizer": torch.optim.SGD(ORIGINAL.parameters()).state_dict()}), "only optimizer"),
        (saved(lambda: {"teacher": STATE, "student": EMA}), "several nets: write .*::teacher or .*::student"),
    ],
)
def test_what_is_no_weights_file_is_one_sentence(tmp_path, write, message):
    path = tmp_path / "w.pt"
    write(path)
    with pytest.raises(DataError, match=message) as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)


def test_a_folder_names_a_file_in_it(tmp_path):
    safetensors(tmp_path / "model.safetensors")
    with pytest.raises(DataError, match=r"such as model\.safetensors"):
        read_weights(tmp_path)


def test_values_that_are_no_numbers_are_warned_of(tmp_path):
    torch.save(STATE | {"4.bias": torch.tensor([1.0, float("nan"), 2.0])}, tmp_path / "w.pt")
    with pytest.warns(RobustfwWarning, match=r"NaN in 1 of 9 tensors, 4\.bias first"):
        read_weights(tmp_path / "w.pt")


def test_an_entry_that_is_not_there(tmp_path):
    torch.save({"state_dict": STATE, "ema": EMA}, tmp_path / "w.pt")
    with pytest.raises(DataError, match="has no weights 'emma': it has state_dict, ema"):
        read_weights(tmp_path / "w.pt", "emma")
    torch.save(STATE, tmp_path / "w.pt")
    with pytest.raises(DataError, match="has no weights 'ema': it has 0, 1, 4"):
        read_weights(tmp_path / "w.pt", "ema")


def test_files_and_entries_in_one_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [str(part) for part in split_entry("a/w.pt::ema.state_dict")] == ["a/w.pt", "ema.state_dict"]
    assert split_entry("w.pt")[1] is None
    (tmp_path / "odd::name.pt").touch()
    assert split_entry("odd::name.pt") == (type(tmp_path)("odd::name.pt"), None)
    for text in ("::ema", "w.pt::"):
        with pytest.raises(UsageError, match="write FILE::ENTRY"):
            split_entry(text)
