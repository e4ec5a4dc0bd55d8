"""Mixup: worst cases of other examples than the batch's, with labels between two classes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robustfw import Batch, TensorSplit
from robustfw.testing import check
from robustfw.testing.batches import Corner
from robustfw.testing.problems import Cube

X = torch.tensor([[0.2, 0.8], [0.6, 0.4]])
Y = torch.tensor([0, 1])


class Watching(nn.Module):
    """Logits 2x, and what it is asked for."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(x.detach())
        return 2 * x


def losses(objective, radius, seed=0):
    torch.manual_seed(seed)
    net = Watching()
    batch = Batch.create(net, X, Y, uncertainty=Cube(radius), attack=Corner())
    values = objective.fit(TensorSplit(X, Y))(net, X, Y, batch)
    return values, net.seen[-1], batch


def test_laws(plugin):
    check(plugin.Mixup())


def test_half_and_half_has_the_mean_of_both_labels_losses(plugin):
    values, seen, _ = losses(plugin.Mixup(alpha=1e6), radius=0.0)
    torch.testing.assert_close(seen, X.mean(0).expand(2, 2), atol=2e-3, rtol=0)
    log_p = (2 * X.mean(0)).log_softmax(0)
    torch.testing.assert_close(values, (-log_p.mean()).expand(2), atol=2e-3, rtol=0)


def test_with_a_small_alpha_examples_stay_almost_as_they_are(plugin):
    values, seen, _ = losses(plugin.Mixup(alpha=0.01), radius=0.0)
    torch.testing.assert_close(seen, X, atol=1e-3, rtol=0)
    torch.testing.assert_close(values, nn.functional.cross_entropy(2 * X, Y, reduction="none"), atol=1e-2, rtol=0)


def test_worst_cases_are_those_of_the_mixture_and_its_labels(plugin):
    clean, before, _ = losses(plugin.Mixup(alpha=1.0), radius=0.0, seed=3)
    worst, after, batch = losses(plugin.Mixup(alpha=1.0), radius=0.1, seed=3)
    torch.testing.assert_close((after - before).abs(), torch.full((2, 2), 0.1))
    assert bool((worst > clean + 0.02).all())
    assert (batch.passes.forward, batch.passes.backward) == (2, 2)


@pytest.mark.parametrize("attack", ["pgd:steps=2", "single-step"])
def test_it_trains_and_resumes(resumed, attack):
    resumed(objective="mixup:alpha=1", model="mlp:hidden=[16]", attack=attack, batch_size=200)


def test_it_goes_with_penalties_and_by_its_name(command):
    answer = command(
        "train", "--objective", "[mixup,input-gradient]", "--attack", "pgd:steps=1", "--epochs", 1,
        "--validation-examples", 40, "--out", "run",
    )  # fmt: skip
    assert answer.status == 0, answer.err
