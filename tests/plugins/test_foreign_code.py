"""Models by code of one's own, and trainings of models from elsewhere: saved, opened, measured by a plain loop."""

from __future__ import annotations

import sys

import pytest
import torch

import robustfw
from robustfw import DataSpec, UsageError
from robustfw.plugin.registry import Registry

from .foreign_models import IMAGES, build, examples, require_equal_numbers

REGISTRY = Registry.installed()
CODE = """
from torch import nn
from helper import WIDTH
from robustfw import DataSpec

def build(width=WIDTH, num_classes=3, names=()):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, width), nn.ReLU(), nn.Linear(width, num_classes))

def tupled(spec: DataSpec):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3 * 32 * 32, spec.classes)
        def forward(self, pixels, *, scale=1.0):
            return {"features": pixels, "scores": self.layer(pixels.flatten(1)) * scale}
    return Net()

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.LazyLinear(10))

made = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
number = 3

def listed():
    return [1]

def failing():
    raise KeyError("weights")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current directory, with files of code."""
    (tmp_path / "nets.py").write_text(CODE)
    (tmp_path / "helper.py").write_text("WIDTH = 7")
    (tmp_path / "broken.py").write_text("import nowhere_to_be_found")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("nets", "helper", "broken"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    "spec",
    [
        "nets.py:build",
        "python:nets.py:build,width=5,num_classes=10",
        "python:nets:build,names=[a,[b,1]]",
        "python:nets.py:tupled,output=scores,input=pixels",
        "python:nets.py:Net",
        "python:nets:made",
    ],
)
def test_a_file_of_code(folder, spec):
    path = list(sys.path)
    model = robustfw.make("model", spec)
    torch.manual_seed(0)
    net = model.build(IMAGES).eval()
    assert sys.path == path
    assert [file.name for file in model.files] == ["nets.py"]
    inner = net.net
    if "scores" in spec:
        require_equal_numbers(net, lambda x: inner(x)["scores"])
    else:
        require_equal_numbers(net, inner)
    # it is found again from its record, in any folder
    record = REGISTRY.record(model)
    assert REGISTRY.make("model", record) == model
    assert REGISTRY.make("model", REGISTRY.spell(model)) == model
    assert hash(model) == hash(REGISTRY.make("model", record))


def test_arguments_reach_the_function(folder, monkeypatch):
    model = robustfw.make("model", "nets.py:build,width=5")
    monkeypatch.chdir("/")
    assert model.build(IMAGES).net[1].out_features == 5
    assert model.build(IMAGES).net[3].out_features == 10
    again = robustfw.make("model", {"use": "python", "place": str(folder / "nets.py:build"), "width": 5})
    assert again == model
    assert robustfw.make("model", "python").build(IMAGES)(torch.rand(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nowhere.py:build", "there is no file nowhere.py"),
        ("python:nowhere.nets:build", "there is no module 'nowhere'"),
        ("nets.py:biuld", "has no 'biuld'; did you mean"),
        ("nets.py:number", "is int, neither a function nor a net"),
        ("nets.py:listed", "returned list, and a torch.nn.Module is needed"),
        ("nets.py:failing", "failed, KeyError: 'weights'"),
        ("nets.py:build,depth=3", r"unexpected keyword argument 'depth'"),
        ("nets.py:made,width=3", "takes no arguments: leave out width"),
        ("broken.py:build", "cannot be run .*No module named 'nowhere_to_be_found'"),
        ("nets.py", "is no place of a Python object"),
        ("python:nets", "is no place of a Python object"),
        ("nets.py:build,width=0.5", "failed, TypeError"),
        ("nets.py:tupled", "write output=NAME"),
    ],
)
def test_mistakes_with_code(folder, spec, message):
    with pytest.raises(UsageError, match=message):
        build(spec)


def test_a_net_that_does_not_take_the_data(folder):
    with pytest.raises(UsageError, match=r"cannot take 2 examples of shape \(3, 8, 8\)"):
        build("nets.py:build", DataSpec((3, 8, 8), 10))


@pytest.mark.parametrize(
    "spec",
    ["timm:test_resnet", "transformers:vit,hidden_size=16,num_hidden_layers=1,patch_size=8", "nets.py:build,width=4"],
)
def test_a_training_of_one_is_saved_and_opened(folder, spec):
    if ".py" not in spec:
        pytest.importorskip(spec.partition(":")[0])
    x, y = examples(48)
    split = robustfw.TensorSplit(x, y)
    splits = robustfw.Splits(train=split.first(24), validation=split.first(8), test=split.first(8), spec=IMAGES)
    records = robustfw.train(
        dataset=splits,
        model=spec,
        uncertainty="linf:radius=0.01",
        attack="fgsm",
        epochs=1,
        batch_size=8,
        out=folder / "run",
        threads=1,
    )
    (record,) = list(records)
    best = record.best_model()
    opened = robustfw.load(folder / "run")
    assert torch.equal(opened(x), best(x))
