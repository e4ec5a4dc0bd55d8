"""Averages: a stranger's, and what the shipped ones are of a training's weights."""

from __future__ import annotations

import pytest
import torch

import robustfw
from robustfw import Step
from robustfw.testing import check

SMALL = {
    "model": "mlp:hidden=[16]", "attack": "single-step", "batch_size": 200, "seed": 1, "epochs": 2, "device": "cpu",
    "validation_examples": 40,
}  # fmt: skip


def flat(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()]).double()


def trained(**options):
    """The weights after each update, and those that are evaluated in the end."""
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    torch.nn.init.zeros_(net[1].weight)
    torch.nn.init.zeros_(net[1].bias)
    weights = []
    for record in robustfw.train(**(SMALL | {"model": net} | options), steps=True):
        if isinstance(record, Step):
            weights.append(flat(net))
    return weights, flat(record.model)


def test_laws(plugin):
    check(plugin.Polynomial())


def test_polynomial_decay_of_degree_0_is_the_mean_of_all_weights(plugin):
    weights, average = trained(averaging="polynomial:eta=0")
    torch.testing.assert_close(average, torch.stack(weights).mean(0), atol=1e-6, rtol=0)
    _, later = trained(averaging="polynomial:eta=8")
    assert (later - weights[-1]).norm() < (average - weights[-1]).norm()


def test_it_resumes(resumed):
    resumed(**SMALL, averaging="polynomial:eta=3")


def test_ema_is_the_exponential_mean_of_the_weights():
    weights, average = trained(averaging="ema:decay=0.8")
    expected = weights[0]  # the first update is taken as it is
    for each in weights[1:]:
        expected = 0.8 * expected + 0.2 * each
    torch.testing.assert_close(average, expected, atol=1e-6, rtol=0)


def test_swa_is_the_mean_of_the_weights_of_the_last_part():
    weights, average = trained(averaging="swa:start=0.5")
    last = [each for number, each in enumerate(weights, 1) if number / len(weights) >= 0.5]
    torch.testing.assert_close(average, torch.stack(last).mean(0), atol=1e-6, rtol=0)


@pytest.mark.parametrize("update", ["accumulate:parts=4", "accumulate:parts=7"])
def test_gradients_added_up_over_parts_are_those_of_the_whole_batch(update):
    # an ℓ2 set: the sign steps of ℓ∞ make much of rounding where a gradient is almost 0
    attacked = {"uncertainty": "l2:radius=0.3", "attack": "pgd:steps=2,random_start=false"}
    once, _ = trained(update="once", **attacked)
    parts, _ = trained(update=update, **attacked)
    assert (once[-1] - once[0]).norm() > 0.1
    torch.testing.assert_close(parts[-1], once[-1], atol=2e-5, rtol=0)
