"""Rotations and translations: a set whose δ has another shape than x, in training, sweeps and audits."""

from __future__ import annotations

import json
import math

import pytest
import torch

import robustfw
from robustfw import Threat
from robustfw.testing import check

SET = "rotation:degrees=30,shift=1/8"
TRAINING = (
    "train", "--uncertainty", SET, "--attack", "pgd:steps=2", "--model", "mlp:hidden=[32]", "--validation-examples", 40,
    "--epochs", 2,
)  # fmt: skip


def moved(plugin, x, *numbers):
    region = plugin.Rotation(degrees=180, shift=1).at(x)
    return region.apply(x, torch.tensor([numbers]).expand(len(x), 3))


def test_laws(plugin):
    check(plugin.Rotation())


def test_nothing_a_quarter_turn_and_a_shift_by_one_pixel(plugin):
    x = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(moved(plugin, x, 0.0, 0.0, 0.0), x)
    torch.testing.assert_close(moved(plugin, x, math.pi / 2, 0.0, 0.0), x.rot90(1, (2, 3)), atol=1e-5, rtol=0)
    torch.testing.assert_close(moved(plugin, x, 0.0, 1 / 6, 0.0)[..., :-1], x[..., 1:], atol=1e-5, rtol=0)


def test_images_that_are_not_square_are_turned_and_not_sheared(plugin):
    x = torch.zeros(1, 1, 9, 15)
    x[..., 4, 2:13] = 1  # a bar of 11 pixels
    turned = moved(plugin, x, math.pi / 2, 0.0, 0.0)
    assert torch.equal((turned[0, 0] > 0.5).nonzero(), torch.tensor([[row, 7] for row in range(9)]))


def test_the_gradient_in_the_numbers_is_that_of_finite_differences(plugin):
    x = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    region, weight = plugin.Rotation().at(x), torch.arange(64, dtype=torch.float64).reshape(8, 8)
    problem = robustfw.InnerProblem.from_function(lambda z: (weight * z).flatten(1).sum(1), x, region)
    delta = torch.tensor([[0.05, 0.01, -0.02]], dtype=torch.float64)
    _, gradient = problem.value_and_grad(delta)
    for place in range(3):
        step = torch.zeros(1, 3, dtype=torch.float64)
        step[0, place] = 1e-6
        slope = (problem.value(delta + step) - problem.value(delta - step)) / 2e-6
        assert float(slope) == pytest.approx(float(gradient[0, place]), rel=1e-5)


def test_a_smaller_set_has_smaller_angles_and_images_stay_in_any_range(plugin):
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)) - 3
    threat = Threat(plugin.Rotation(degrees=90, shift=0.5), (-3.0, -2.0)).scale(0.5)
    region = threat.region(x)
    corner = region.support(torch.ones(5, 3))
    torch.testing.assert_close(corner, torch.tensor([[math.pi / 4, 0.25, 0.25]]).expand(5, 3))
    image = region.apply(x, corner)
    assert bool(((image >= -3) & (image <= -2)).all())
    assert not torch.equal(image, x)


def test_trained_with_a_warm_up_swept_audited_and_crafted_from(command, tmp_path):
    assert command(*TRAINING, "--radius-warmup", "1.5", "--out", "run").status == 0
    swept = command("sweep", "run", "--attack", "pgd:steps=3", "--examples", 40, "--radii", "0,0.5,1", "--json")
    assert swept.status == 0, swept.err
    audited = command("audit", "run", "--examples", 20, "--json")
    assert audited.status in (0, 1), audited.err
    assert json.loads(audited.out)
    assert command("craft", "run", "--examples", 20, "--out", "crafted").status == 0
    assert command("evaluate", "run", "--on", "crafted", "--examples", 20).status == 0


def test_it_resumes(resumed):
    resumed(uncertainty=SET, attack="pgd:steps=2", model="mlp:hidden=[16]", batch_size=200, radius_warmup=1.5)
