"""The benchmark's own arithmetic; its times are for the benchmark to say."""

from __future__ import annotations

import sys
from pathlib import Path

import attrs
import pytest
import torch
from torch import nn

import robustfw
from robustfw_kernels.layers import Standardize

sys.path.append(str(Path(__file__).parents[2]))

from benchmarks import attack_speed  # found by the line above


@pytest.fixture
def problem():
    torch.manual_seed(0)
    x = torch.rand(60, 1, 4, 4)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()
    return attack_speed.Problem(model, x, model(x).argmax(1), 0.1)


def test_an_attack_is_judged_by_what_the_net_says(problem):
    def everything(x, y):
        return x

    def nothing(x, y):
        worst = problem.model[1].weight[(y + 1) % 3] - problem.model[1].weight[y]
        return x + 100 * worst.reshape(x.shape)

    assert problem.attacked(everything)[1:] == (1, 0)
    assert problem.attacked(nothing)[1] == 0
    assert problem.attacked(nothing)[2] > 1, "that it left the ball is seen"
    assert 0 < attack_speed._evaluated(problem)[1] < 1


def test_plain_layers_are_torchs_own_and_the_function_is_the_same():
    splits = robustfw.make("dataset", "digits").load(None)
    spec = attrs.evolve(splits.spec, shape=(1, 28, 28), mean=(0.1,), std=(0.3,))
    model = robustfw.make("model", "paper-mnist").build(spec).eval()
    same = attack_speed.plain(model)
    kinds = {type(layer) for layer in same.modules()}
    assert {nn.Conv2d, nn.Flatten} < kinds
    assert [kind for kind in kinds if not kind.__module__.startswith("torch.nn")] == [Standardize]
    x = torch.rand(4, 1, 28, 28)
    torch.testing.assert_close(same(x), model(x), rtol=1e-4, atol=1e-5)
    assert not {nn.Conv2d, nn.Flatten} < {type(layer) for layer in model.modules()}, "the net itself is left as it is"


def test_each_begins_a_round_in_turn_and_ratios_are_of_one_round():
    order = []
    times = iter([1.0, 2.0, 8.0, 4.0])

    def timed(name):
        def run():
            order.append(name)
            return next(times), 0.5, 1.0

        return run

    found = attack_speed.rounds({"robustfw": timed("robustfw"), "other": timed("other")}, 2)
    assert order == ["robustfw", "other", "other", "robustfw"]
    ours, other = attack_speed.rows(found)
    assert (ours["library"], ours["ratio"]) == ("robustfw", 1)
    assert (other["ratio"], other["least"], other["most"], other["seconds"]) == (2, 2, 2, 5)
