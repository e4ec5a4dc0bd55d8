"""Objectives with random inputs against their distributions, and trainings with each objective by its name."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import robustfw
from robustfw import DataError, UsageError
from robustfw.testing.batches import given_batch
from robustfw_objectives.random_inputs import Dropout, Noise

from .linear_nets import batch_arguments, linear

# Random inputs


@pytest.mark.parametrize(("kind", "deviation"), [("gaussian", 0.1), ("uniform", 0.1 / math.sqrt(3))])
def test_noise_has_the_distribution_it_says(kind, deviation):
    grey = torch.full((200_000, 1), 0.5)
    noise = (
        Noise(scale=0.1, kind=kind, bounds=None).add_noise(grey, given_batch(None, grey, torch.zeros(1).long())) - 0.5
    )
    assert float(noise.std()) == pytest.approx(deviation, rel=0.02)
    assert float(noise.mean()) == pytest.approx(0, abs=1e-3)
    assert kind == "gaussian" or float(noise.abs().max()) <= 0.1


def test_noise_keeps_the_range_and_does_not_move_what_is_outside_it_already():
    x = torch.tensor([[0.0, 0.5, 1.0]]).repeat(500, 1)
    batch = given_batch(None, x, torch.zeros(500).long())
    noisy = Noise(scale=0.5).add_noise(x, batch)
    assert float(noisy.min()) == 0
    assert float(noisy.max()) == 1
    with pytest.raises(DataError, match="its option bounds"):
        Noise(bounds=(0.0, 0.9)).add_noise(x, batch)


def test_dropout_keeps_the_mean_and_rate_zero_is_clean():
    model, x, y = linear()
    clean = robustfw.make("objective", "clean")(*batch_arguments(model, x, y))
    assert torch.equal(Dropout(rate=0.0)(*batch_arguments(model, x, y)), clean)
    seen = []
    torch.manual_seed(0)
    Dropout(rate=0.25)(*batch_arguments(lambda z: seen.append(z) or z, torch.ones(1, 100_000), torch.tensor([0])))
    assert seen[0].unique().tolist() == pytest.approx([0, 4 / 3])
    assert float(seen[0].mean()) == pytest.approx(1, abs=0.01)


def test_options_are_checked():
    for spec in (
        "noise:scale=-1",
        "noise:bounds=[1,0]",
        "noise:kind=pink",
        "dropout:rate=1",
        "vat:xi=0",
        "trades:beta=-1",
    ):
        with pytest.raises(UsageError):
            robustfw.make("objective", spec)


# All of them

NAMES = ["trades", "noise", "dropout", "vat", "contractive", "operator-norm", "input-gradient"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_empty_batch_has_no_losses(name, dtype):
    model = nn.Linear(6, 4).to(dtype)
    x, y = torch.rand(0, 6, dtype=dtype), torch.zeros(0).long()
    found = robustfw.make("objective", name)(model, x, y, given_batch(model, x, y, x))
    assert found.shape == (0,)
    assert found.dtype == dtype


@pytest.mark.parametrize("name", NAMES)
def test_each_trains_by_its_name(name):
    """Two epochs on digits: far better than chance."""
    options = {"model": "mlp:hidden=[32]", "uncertainty": "linf:radius=0.03", "attack": "pgd:steps=2"}
    *_, last = robustfw.train(**options, objective=name, epochs=2, batch_size=32, validation_examples=100)
    assert last.clean_accuracy > 0.6
    assert math.isfinite(last.loss)


@pytest.mark.parametrize("name", ["vat", "contractive", "operator-norm", "input-gradient", "trades"])
def test_each_trains_a_convolutional_net_in_bf16_with_batch_norm(name):
    """Double backward through a net that is in evaluation mode while autocast is off."""
    options = {"model": "resnet18-cifar:width=2", "attack": "single-step", "uncertainty": "l2:radius=0.1"}
    records = robustfw.train(
        **options, objective=name, epochs=1, batch_size=610, precision="bf16", validation_examples=10
    )
    assert math.isfinite(list(records)[-1].loss)


def test_a_smaller_penalty_is_what_training_with_it_gives():
    """With net, steps and seed alike, each penalty falls below what it is without training on it."""
    splits = robustfw.make("dataset", "digits").load(None)
    x, y = next(splits.validation.iterate(100))
    options = {"model": "mlp:hidden=[32]", "epochs": 3, "batch_size": 32, "validation_examples": 10}
    *_, clean = robustfw.train(**options, objective="clean")
    for spec in ("vat:beta=3", "contractive:beta=0.1", "operator-norm:beta=0.3", "input-gradient:beta=3"):
        *_, last = robustfw.train(**options, objective=spec)
        penalty, values = robustfw.make("objective", spec), []
        for net in (clean.model, last.model):
            values.append(penalty.penalty(*batch_arguments(net, x, y)).mean().item())
        assert values[1] < 0.8 * values[0], spec


def test_unlabelled_examples_teach_vat():
    """Two moons, six labels: cross-entropy does not find the gap between them; with the unlabelled ones it is found."""
    options = {"dataset": "few-labels:dataset=(two-moons:noise=0.05),labels=6", "model": "mlp:hidden=[64,64]"}
    engine = {"epochs": 60, "batch_size": 64, "optimizer": "adamw", "learning_rate": 0.01, "attack": "single-step"}
    found = []
    for objective in ("clean", "vat:epsilon=0.1,iterations=2"):
        *_, last = robustfw.train(**options, **engine, objective=objective)
        found.append(last.clean_accuracy)
    assert found[0] < 0.9
    assert found[1] > 0.97
