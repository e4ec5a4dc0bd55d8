"""Whatever is wrong with the data, there is one sentence that says what to do."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import robustfw as package
from robustfw import DataError, DataSpec, Splits, TensorSplit

from .folders import contents


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (torch.zeros(4, 1, 2, 2, dtype=torch.uint8), "x is uint8: give floats"),
        (torch.full((4, 1, 2, 2), 255.0), r"x ranges over \[255, 255\], outside its bounds \[0, 1\]"),
        (torch.full((4, 1, 2, 2), torch.nan), "not finite numbers, in 4 of 4 examples"),
    ],
)
def test_examples_of_the_wrong_type_or_range(x, words):
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(DataError, match=words):
        package.worst_case(net, x, torch.zeros(4).long(), uncertainty="linf", attack="pgd")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": torch.full((8, 1, 2, 2), 255.0)}, r"ranges over \[255, 255\], outside its bounds \[0, 1\]"),
        ({"x": torch.full((8, 1, 2, 2), torch.nan)}, "train: x has values that are not finite numbers, in 8 of 8"),
        ({"x": torch.zeros(8, 4)}, "the data set declares"),
        ({"y": torch.full((8,), 2)}, "labels run from 2 to 2, outside 0 … 1"),
        ({"y": torch.zeros(8)}, r"train: labels are float32: give int64 \(y.long\(\)\)"),
        ({"y": torch.zeros(8, 3)}, "train: targets are several numbers per example"),
        ({"x": torch.zeros(0, 1, 2, 2), "y": torch.zeros(0).long()}, "there is not one training example"),
    ],
)
def test_splits_that_do_not_fit_their_spec(change, words, tmp_path):
    good = TensorSplit(torch.zeros(8, 1, 2, 2), torch.zeros(8).long())
    wrong = TensorSplit(change.get("x", good.x), change.get("y", good.y))
    with pytest.raises(DataError, match=words):
        package.train(dataset=Splits(wrong, good, good, DataSpec((1, 2, 2), 2)), model="linear", out=tmp_path / "run")
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("y", [torch.arange(8).int() % 2, torch.arange(8)[:, None] % 2, torch.eye(2).repeat(4, 1)])
def test_labels_of_other_forms_are_read(y):
    split = TensorSplit(torch.rand(8, 1, 2, 2), y)
    splits = Splits(split, split, split, DataSpec((1, 2, 2), 2))
    assert len(list(package.train(dataset=splits, model="linear", epochs=1))) == 1


def test_bytes_are_read_as_shares_of_255():
    split = TensorSplit(torch.randint(256, (8, 1, 2, 2), dtype=torch.uint8), torch.arange(8) % 2)
    splits = Splits(split, split, split, DataSpec((1, 2, 2), 2))
    assert len(list(package.train(dataset=splits, model="linear", epochs=2))) == 2


@pytest.fixture
def no_network(monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


@pytest.mark.parametrize(("dataset", "name"), [("fashion-mnist", "FashionMNIST"), ("cifar10", "CIFAR10")])
def test_data_that_is_neither_there_nor_to_be_had(dataset, name, robustfw, no_network):
    answer = robustfw("train", "--dataset", dataset, "--data-dir", "empty", "--out", "run")
    answer.refused(1, f"{name} is not in empty and could not be downloaded", "--data-dir or ROBUSTFW_DATA")
    assert answer.out == ""


def test_folders_of_images_that_are_not_there(robustfw):
    robustfw("train", "--dataset", "image-folder", "--data-dir", "empty").refused(1, "no images in empty/images/train")
