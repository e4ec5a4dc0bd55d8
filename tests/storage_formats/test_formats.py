"""Files that an earlier commit (8d4bdc9) has written still open: runs, checkpoints, results, collections."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import robustfw
from robustfw import DataSpec
from robustfw.cli import main
from robustfw.plugin.registry import installed
from robustfw.storage.collections import Collection
from robustfw.storage.runs import Run
from robustfw.training._resuming import rename_options

HERE = Path(__file__).parent
STATE_DICTS = json.loads((HERE / "state_dicts.json").read_text())
COLOURED = ("paper-cifar", "fast-cifar", "resnet18-cifar")


@pytest.fixture
def run(tmp_path):
    """A copy of the run, which commands may write to."""
    shutil.copytree(HERE / "run", tmp_path / "run")
    shutil.copytree(HERE / "transfer", tmp_path / "transfer")
    return tmp_path / "run"


def test_the_net_is_what_it_was(run):
    net = robustfw.load(run)
    kept = json.loads(next((run / "results").glob("evaluation-*.json")).read_text())
    splits = robustfw.make("dataset", "digits").load(Path())
    x, y = next(splits.test.first(kept["n"]).iterate(kept["n"]))
    with torch.no_grad():
        assert int((net(x).argmax(1) == y).sum()) == kept["correct"]


def test_its_manifest_is_read_and_the_last_checkpoint_is_whole(run):
    opened = Run.open(run)
    assert opened.manifest()["recipe"]["model"]["use"] == "mlp"
    assert opened.weights("last").keys() == opened.weights("best").keys()


def test_the_collection_is_read(run):
    collection = Collection.open(run.parent / "transfer")
    assert len(collection.examples) == json.loads((run.parent / "transfer" / "manifest.json").read_text())["n"]


@pytest.mark.parametrize("command", ["evaluate", "report"])
def test_commands_take_it(command, run, capsys):
    options = ["--examples", "20", "--attack", "single-step"] if command == "evaluate" else []
    with pytest.raises(SystemExit) as end:
        main([command, str(run), *options])
    assert not end.value.code, capsys.readouterr().err


def test_a_resumed_training_knows_that_it_is_finished(run, capsys):
    with pytest.raises(SystemExit) as end:
        main(["train", "--resume", "--out", str(run), "--epochs", "1"])
    assert not end.value.code, capsys.readouterr().err


@pytest.mark.parametrize("model", STATE_DICTS)
def test_weights_have_the_names_and_shapes_that_they_had(model):
    """Layers may be others, and may stand in other rooms: a checkpoint knows them by these names."""
    channels, side = (3, 32) if model in COLOURED else (1, 8 if model == "fcn" else 28)
    spec = DataSpec((channels, side, side), 10, mean=(0.5,) * channels, std=(0.2,) * channels)
    net = installed().make("model", model).build_untrained(spec)
    assert {name: list(value.shape) for name, value in net.state_dict().items()} == STATE_DICTS[model]


def test_options_have_todays_names_wherever_they_stand():
    """A recipe of that format, whose options had names that are aliases now."""
    before = {
        "uncertainty": {"use": "tangent", "basis": {"use": "knn-pca", "dim": 3}},
        "train": {"schedule": {"use": "one-cycle", "peak": 0.2}, "epochs": 2},
        "penalties": [{"use": "tangent-prop", "basis": {"use": "knn-pca", "dim": 2}}],
    }
    assert rename_options(before) == {
        "uncertainty": {"use": "tangent", "basis": {"use": "knn-pca", "n_components": 3}},
        "train": {"schedule": {"use": "one-cycle", "pct_start": 0.2}, "epochs": 2},
        "penalties": [{"use": "tangent-prop", "basis": {"use": "knn-pca", "n_components": 2}}],
    }
