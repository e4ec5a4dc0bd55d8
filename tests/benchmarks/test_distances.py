"""The arithmetic of the benchmark of distances; what they measure is for them to say."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.append(str(Path(__file__).parents[2]))

from benchmarks import distances  # found by the line above


@pytest.fixture
def problem():
    torch.manual_seed(0)
    x = torch.rand(12, 1, 3, 3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 3)).eval().requires_grad_(False)
    return distances.Problem(model, x, model(x).argmax(1))


def test_what_is_not_fooled_is_infinitely_far(problem):
    found = problem.measured(lambda x, y: x)
    assert found["fooled"] == 0
    assert found["median"] == torch.inf


def test_scipys_loop_and_ours_agree_on_a_linear_net(problem):
    pytest.importorskip("scipy")
    ours, theirs = (problem.measured(a) for a in (distances.ours(problem, "lbfgs"), distances.scipy_rows(problem)))
    assert ours["fooled"] == theirs["fooled"]
    assert ours["mean"] == pytest.approx(theirs["mean"], rel=0.05)


def test_the_claims_compare_what_is_there():
    near, far = {"fooled": 1.0, "median": 1.0}, {"fooled": 1.0, "median": 2.0}
    assert distances.holds({"deepfool": near, "foolbox DeepFool": far})
    assert not distances.holds({"deepfool": far, "foolbox DeepFool": near})
    assert not distances.holds({"cw": near | {"fooled": 0.9}})
