"""SAM as an optimizer: a plugin whose torch optimizer asks for the loss twice."""

from __future__ import annotations

import pytest
import torch

import robustfw
from robustfw.testing import check

SMALL = {"model": "mlp:hidden=[16]", "attack": "single-step", "batch_size": 200, "seed": 1}


def test_laws(plugin):
    check(plugin.Sam())


def test_a_step_is_descent_by_the_gradient_at_the_worst_parameters_nearby(plugin):
    start, curvature = torch.tensor([3.0, -4.0]), torch.tensor([1.0, 10.0])
    theta = torch.nn.Parameter(start.clone())
    sam = plugin.Sam(rho=0.5, momentum=0, weight_decay=0).build([theta], 0.01)

    def closure():
        sam.zero_grad()
        loss = (curvature * theta.square()).sum() / 2
        loss.backward()
        return loss

    loss = sam.step(closure)
    gradient = curvature * start
    nearby = start + 0.5 * gradient / gradient.norm()
    torch.testing.assert_close(theta.detach(), start - 0.01 * curvature * nearby)
    assert float(loss.detach()) == pytest.approx((9 + 160) / 2)


def test_it_trains_and_resumes(resumed):
    at_worst = resumed(optimizer="sam:rho=0.2", **SMALL)
    plain = robustfw.train(optimizer="sam:rho=0", epochs=2, validation_examples=40, device="cpu", **SMALL)
    weights = [record.model for record in plain][-1].state_dict()
    assert any(not torch.equal(value, at_worst[f"model.{name}"]) for name, value in weights.items())


def test_with_gradients_that_are_added_up_it_is_refused(command):
    answer = command("train", "--optimizer", "sam", "--update", "accumulate", "--epochs", 1, "--out", "run")
    assert answer.status == 2
    assert "sam needs the loss at two places" in answer.err
