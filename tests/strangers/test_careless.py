"""What fails in a plugin is told in one sentence, with the plugin's name."""

from __future__ import annotations

import contextlib

import pytest
import torch

import robustfw
from robustfw import PluginError, RobustfwWarning, TensorSplit
from robustfw.testing import findings

SMALL = "--epochs", 1, "--model", "mlp:hidden=[8]", "--validation-examples", 20, "--out", "run"
OWNER = "in the plugin careless (stranger-careless 1.0)"


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (("--objective", "lost"), ("KeyError: 'los'", OWNER)),
        (("--objective", "[lost,contractive]"), ("KeyError: 'los'", OWNER)),
        (("--attack", "blind"), ("ZeroDivisionError", OWNER)),
        (("--attack", "restarts:n=2,attack=blind"), ("ZeroDivisionError", OWNER)),
        (("--attack", "far"), ("Far left the uncertainty set",)),
        (("--attack", "flat"), ("Flat returned (", "for perturbations of (")),
    ],
)
def test_a_training_that_fails_names_the_plugin(command, parts, words):
    answer = command("train", *parts, *SMALL)
    assert answer.status == 1
    (line,) = answer.err.splitlines()
    for word in words:
        assert word in line


def test_an_evaluation_that_fails_names_the_plugin(command):
    assert command("train", *SMALL).status == 0
    answer = command("evaluate", "run", "--attack", "blind", "--examples", 20)
    assert answer.status == 1
    assert OWNER in answer.err


def test_from_python_the_errors_name_the_class(plugin):
    net, split = torch.nn.Linear(3, 2), TensorSplit(0.3 + 0.4 * torch.rand(4, 3), torch.tensor([0, 1, 0, 1]))
    with pytest.raises(PluginError, match=r"Far left the uncertainty set: \d of \d perturbations"):
        robustfw.evaluate(net, split, uncertainty="linf", attack=plugin.Far())


@pytest.mark.parametrize("name", ["Lost", "Blind", "Far", "Flat", "Silent", "One", "Forgetful"])
def test_the_kit_finds_each(plugin, name):
    assert any(finding.broken for finding in findings(getattr(plugin, name)()))


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ("--update", "Silent gave a NoneType: an update gives the mean loss of the batch"),
        ("--objective", "One gave losses of shape () for 128 examples: an objective gives one for each"),
    ],
)
def test_what_gives_back_the_wrong_thing_is_named(command, part, sentence):
    answer = command("train", part, sentence.split()[0].lower(), *SMALL)
    assert answer.status == 1
    assert sentence in answer.err


def test_what_no_checkpoint_holds_is_said_where_a_training_goes_on(plugin, tmp_path):
    options = {
        "objective": "forgetful", "model": "mlp:hidden=[8]", "attack": "single-step", "validation_examples": 20,
        "device": "cpu", "epochs": 2, "out": tmp_path / "run",
    }  # fmt: skip
    with contextlib.closing(robustfw.train(**options)) as records:
        next(records)
    with pytest.warns(RobustfwWarning, match="objective of the recipe remember what they have seen"):
        list(robustfw.train(**options, resume=True))
