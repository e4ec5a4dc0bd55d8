"""MART: an objective with worst cases of one loss and a loss of its own."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from robustfw import Batch
from robustfw.testing import check
from robustfw.testing.batches import Corner
from robustfw.testing.problems import Cube


class Fixed(nn.Module):
    """Log-probabilities that are 0.7, 0.2, 0.1 at x = 0 and grow more certain of the first class with x."""

    def forward(self, x):
        return torch.tensor([0.7, 0.2, 0.1]).log() + torch.stack([x[:, 0], 0 * x[:, 0], 0 * x[:, 0]], 1)


def losses(objective, x, y, radius):
    batch = Batch.create(Fixed(), x, y, uncertainty=Cube(radius), attack=Corner(), bounds=(-9.0, 9.0))
    return objective(batch.net, x, y, batch)


def test_laws(plugin):
    check(plugin.Mart())


def test_without_perturbation_it_is_the_boosted_cross_entropy(plugin):
    values = losses(plugin.Mart(), torch.zeros(3, 1), torch.tensor([0, 1, 2]), radius=0.0)
    expected = [-math.log(0.7 * 0.8), -math.log(0.2 * 0.3), -math.log(0.1 * 0.3)]
    torch.testing.assert_close(values, torch.tensor(expected))


def test_the_divergence_counts_by_what_is_missing_of_the_probability(plugin):
    x, y = torch.zeros(2, 1), torch.tensor([0, 1])
    divergence = (losses(plugin.Mart(weight=1), x, y, 0.5) - losses(plugin.Mart(weight=0), x, y, 0.5)).double()
    p = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
    expected = []
    for shift, missing in ((-0.5, 0.3), (0.5, 0.8)):  # the cross-entropy of class 0 grows down, that of class 1 up
        q = (p.log() + shift * torch.tensor([1, 0, 0])).softmax(0)
        expected.append(missing * float((p * (p / q).log()).sum()))
    torch.testing.assert_close(divergence, torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=1e-5)


def test_a_very_certain_net_has_finite_losses_and_gradients(plugin):
    x = torch.full((2, 1), 200.0, requires_grad=True)
    values = plugin.log_rest(Fixed()(x).log_softmax(1), torch.tensor([[0], [1]]))
    values.sum().backward()
    assert float(values[1].detach()) == pytest.approx(math.log(0.3 / 0.7) - 200)
    assert bool(x.grad.isfinite().all())


@pytest.mark.parametrize("objective", ["mart:weight=2", "[mart,contractive]"])
def test_it_trains_by_its_name(command, objective):
    answer = command(
        "train", "--objective", objective, "--attack", "single-step", "--epochs", 2, "--model", "mlp:hidden=[32]",
        "--validation-examples", 40, "--out", "run",
    )  # fmt: skip
    assert answer.status == 0, answer.err
    assert float(answer.out.partition("clean accuracy")[2].split()[0].rstrip("%")) > 40
