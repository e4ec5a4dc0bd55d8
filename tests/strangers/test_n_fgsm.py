"""N-FGSM: an attack that says that it leaves the set, for training alone."""

from __future__ import annotations

import pytest
import torch

import robustfw
from robustfw import UsageError
from robustfw.regions import Box
from robustfw.testing import check

TRAINING = "--attack", "n-fgsm", "--epochs", 1, "--model", "mlp:hidden=[32]", "--validation-examples", 40
REFUSED = "may leave the uncertainty set, as its author declares: it is for training"


def test_laws(plugin):
    check(plugin.NFgsm())


@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_of_a_plane_it_goes_a_radius_from_a_noisy_start(plugin, noise):
    x, slope = torch.full((500, 6), 0.5), torch.tensor([1.0, -2, 3, -4, 5, -6])
    problem = robustfw.InnerProblem.from_function(lambda moved: (moved * slope).sum(1), x, Box.broadcast(x, -0.1, 0.1))
    delta = plugin.NFgsm(noise=noise).maximize(problem, torch.Generator().manual_seed(0))
    start = delta - 0.1 * slope.sign()
    assert float(start.abs().max()) == pytest.approx(0.1 * noise, rel=0.01, abs=1e-7)
    assert float(problem.region.violation(delta).max()) == pytest.approx(0.1 * noise, rel=0.01, abs=1e-7)


def test_it_trains_and_nothing_is_measured_by_it(command):
    assert command("train", *TRAINING, "--out", "run").status == 0
    for measuring in (
        ("evaluate", "run", "--attack", "n-fgsm"),
        ("sweep", "run", "--attack", "n-fgsm", "--radii", "0.1"),
        ("craft", "run", "--attack", "n-fgsm", "--out", "crafted"),
        ("evaluate", "run", "--attack", "restarts:n=2,attack=n-fgsm"),
    ):
        answer = command(*measuring)
        assert answer.status == 2, (measuring, answer)
        assert REFUSED in answer.err, measuring
    assert command("audit", "run", "--examples", 20).status in (0, 1)


def test_a_validation_by_it_is_refused_before_anything_is_trained(command, tmp_path):
    answer = command("train", *TRAINING, "--validation-attack", "n-fgsm", "--out", "run")
    assert answer.status == 2
    assert REFUSED in answer.err
    assert not (tmp_path / "run").exists()


def test_from_python_too(plugin):
    net, split = torch.nn.Linear(3, 2), robustfw.TensorSplit(torch.rand(4, 3), torch.tensor([0, 1, 0, 1]))
    with pytest.raises(UsageError, match=REFUSED):
        robustfw.evaluate(net, split, uncertainty="linf", attack=plugin.NFgsm())


def test_training_at_x_beyond_the_set_resumes(resumed):
    resumed(attack="n-fgsm:noise=1", model="mlp:hidden=[16]", batch_size=200)
