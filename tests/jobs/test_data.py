"""Data in files, folders and objects, measured by one command or a few lines: the number is that of a plain loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import robustfw

from .plain import (
    FAST,
    RADIUS,
    SET,
    fast_gradient_sign,
    images,
    mostly_right,
    pixels,
    small_convolutional,
    write_module,
)

ALL = "test=1,validation=0"
NET = """
from torch import nn

def build(num_classes):
    layers = [nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AvgPool2d(3), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(200, num_classes))

def table(features, num_classes):
    return nn.Sequential(nn.Linear(features, 16), nn.ReLU(), nn.Linear(16, num_classes))
"""


@pytest.fixture
def net(number):
    """A small convolutional net, with its weights in net.safetensors and its builder in nets.py."""
    net = small_convolutional()
    save_file(net.state_dict(), "net.safetensors")
    write_module("nets.py", NET)
    return net


MODEL = ("--model", "python:nets.py:build", "--weights", "net.safetensors")


@pytest.mark.parametrize("form", ["bytes", "floats", "channels last"])
def test_npz(number, net, form):
    x = images()
    y = mostly_right(net, pixels(x))
    stored = {"bytes": x, "floats": pixels(x).numpy(), "channels last": x.transpose(0, 2, 3, 1)}[form]
    np.savez("data.npz", x=stored, y=y)
    channels = ",channels=last" if form == "channels last" else ""
    expected = fast_gradient_sign(net, pixels(x), torch.tensor(y))
    assert number(*MODEL, "--dataset", f"npz:data.npz,{ALL}{channels}", *SET, *FAST) == expected


def test_an_npz_file_in_parts(number, net):
    x = images()
    y = mostly_right(net, pixels(x))
    np.savez("data.npz", x_train=x[:20], y_train=y[:20], x_test=x[20:], y_test=y[20:])
    expected = fast_gradient_sign(net, pixels(x[20:]), torch.tensor(y[20:]))
    assert number(*MODEL, "--dataset", "npz:data.npz,classes=4", *SET, *FAST) == expected


def test_a_folder_of_images(number, net):
    x = images()
    y = mostly_right(net, pixels(x))
    for index, (image, label) in enumerate(zip(x, y, strict=True)):
        folder = Path("pictures") / f"class {label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{index}.png")
    expected = fast_gradient_sign(net, pixels(x), torch.tensor(y))
    assert number(*MODEL, "--dataset", f"folder:pictures,size=32,{ALL}", *SET, *FAST) == expected


def test_a_data_set_on_disk(number, net):
    datasets = pytest.importorskip("datasets")
    x = images()
    y = mostly_right(net, pixels(x))
    pictures = [Image.fromarray(image.transpose(1, 2, 0)) for image in x]
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["ant", "bee", "cat", "dog"])}
    )
    datasets.Dataset.from_dict({"image": pictures, "label": y.tolist()}, features).save_to_disk("saved")
    expected = fast_gradient_sign(net, pixels(x), torch.tensor(y))
    assert number(*MODEL, "--dataset", f"disk:saved,{ALL}", *SET, *FAST) == expected


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table(number, kind):
    pandas = pytest.importorskip("pandas")
    generator = np.random.default_rng(0)
    table = pandas.DataFrame(
        {"age": generator.integers(18, 80, 60), "income": generator.uniform(0, 9e4, 60), "score": generator.random(60)}
    )
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 3))
    save_file(net.state_dict(), "net.safetensors")
    write_module("nets.py", NET)
    # each column as a share of its range, as a plain script scales it
    values = torch.tensor(table.to_numpy(), dtype=torch.float64)
    low, high = values.amin(0), values.amax(0)
    x = ((values - low) / (high - low)).float()
    y = mostly_right(net, x)
    table["group"] = [f"group {label}" for label in y]
    if kind == "csv":
        table.to_csv("people.csv", index=False)
    else:
        table.to_parquet("people.parquet")
    expected = fast_gradient_sign(net, x, torch.tensor(y), radius=0.05)
    model = ("--model", "python:nets.py:table,features=3", "--weights", "net.safetensors")
    given = ("--dataset", f"{kind}:people.{kind},target=group,{ALL}", "--uncertainty", "linf:radius=0.05")
    assert number(*model, *given, *FAST) == expected


def test_a_function_of_your_own(number, net):
    x = images()
    y = mostly_right(net, pixels(x))
    np.savez("data.npz", x=x, y=y)
    write_module(
        "data.py",
        "import numpy as np, torch\n"
        "from torch.utils.data import DataLoader, TensorDataset\n"
        "def load():\n"
        "    file = np.load('data.npz')\n"
        "    x, y = torch.tensor(file['x']).float() / 255, torch.tensor(file['y'])\n"
        "    return {'test': DataLoader(TensorDataset(x, y), batch_size=7)}\n",
    )
    expected = fast_gradient_sign(net, pixels(x), torch.tensor(y))
    assert number(*MODEL, "--dataset", "python:data.py:load", *SET, *FAST) == expected


class Photographs(Dataset):
    """A data set of one's own."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index], int(self.y[index])


class Stream(IterableDataset):
    """Examples that come one after the other."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __iter__(self):
        yield from zip(self.x, self.y, strict=True)


GIVEN = {
    "tensors": lambda x, y: (x, y),
    "numpy arrays": lambda x, y: (x.numpy(), y.numpy().astype(np.int32)),
    "one-hot labels": lambda x, y: (x, nn.functional.one_hot(y).float()),
    "a DataLoader": lambda x, y: DataLoader(TensorDataset(x, y), batch_size=11),
    "a data set": Photographs,
    "an iterable data set": Stream,
    "a DataLoader of one": lambda x, y: DataLoader(Stream(x, y), batch_size=11),
    "a split": robustfw.TensorSplit,
}


@pytest.mark.parametrize("form", GIVEN)
def test_python_takes_what_there_is(form):
    net = small_convolutional()
    x = pixels(images())
    y = torch.tensor(mostly_right(net, x))
    found = robustfw.evaluate(net, GIVEN[form](x, y), uncertainty="linf:radius=4/255", attack="single-step")
    assert {"n": found.n, "correct": found.correct, "robust": found.robust} == fast_gradient_sign(net, x, y)
    crafted = robustfw.craft(net, GIVEN[form](x, y), uncertainty="linf:radius=4/255", attack="single-step")
    assert len(crafted) == found.correct - found.robust
    largest = (crafted.adversarial - x[crafted.index]).abs().max()
    assert float(largest) <= RADIUS + 1e-6


def test_python_trains_on_what_there_is():
    x = pixels(images())
    y = torch.arange(len(x)) % 4
    records = robustfw.train(
        dataset=DataLoader(TensorDataset(x, y), batch_size=12),
        model=small_convolutional(),
        uncertainty="linf:radius=4/255",
        attack="single-step",
        epochs=1,
    )
    (record,) = records
    assert record.loss > 0
