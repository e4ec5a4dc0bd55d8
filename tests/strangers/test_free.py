"""Free adversarial training: an update with a memory, and a perturbation that moves while the net learns."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open
from torch import nn

import robustfw
from robustfw import DataSpec, Splits, TensorSplit
from robustfw.testing import check

RADIUS = 0.1


def problem():
    """Forty points well inside [0, 1], of two classes, and a linear net."""
    generator = torch.Generator().manual_seed(0)
    x = 0.3 + 0.4 * torch.rand(40, 3, generator=generator)
    data = TensorSplit(x, (x[:, 0] > x[:, 1]).long())
    net = nn.Linear(3, 2)
    with torch.no_grad():
        net.weight.copy_(torch.randn(2, 3, generator=generator))
    return net, Splits(data, data, data, DataSpec((3,), 2))


def losses(net, splits, update, batch_size=40, **options):
    """The mean losses that the updates of one epoch report, by a learning rate at which nothing is learnt."""
    records = robustfw.train(
        dataset=splits, model=net, uncertainty=f"linf:radius={RADIUS}", update=update,
        optimizer="sgd:momentum=0,weight_decay=0", schedule="constant", learning_rate=1e-9, batch_size=batch_size,
        epochs=1, device="cpu", sampler="sequential", steps=True, **options,
    )  # fmt: skip
    return [float(record.loss) for record in records if isinstance(record, robustfw.Step)]


def margins(net, splits):
    """Each example's margin in a linear net of two classes, and ‖w₁ − w₀‖₁."""
    x, y = splits.train.x, splits.train.y
    difference = net.weight[1] - net.weight[0]
    score = x @ difference + net.bias[1] - net.bias[0]
    return (score * (2 * y - 1)).detach(), float(difference.detach().abs().sum())


def test_laws(plugin):
    check(plugin.Free())


def test_after_one_step_the_perturbation_of_a_linear_net_is_the_worst_case(plugin):
    net, splits = problem()
    margin, slope = margins(net, splits)
    clean, worst = (float(nn.functional.softplus(-(margin - reach * slope)).mean()) for reach in (0, RADIUS))
    assert losses(net, splits, plugin.Free(replays=1)) == [pytest.approx(clean, rel=1e-5)]
    assert losses(net, splits, plugin.Free(replays=2)) == [pytest.approx(worst, rel=1e-5)]


def test_the_perturbation_is_carried_over_to_the_next_batch(plugin):
    """Twice the same examples: the second batch begins where the first one ended."""
    net, splits = problem()
    twice = TensorSplit(torch.cat([splits.train.x] * 2), torch.cat([splits.train.y] * 2))
    margin, slope = margins(net, splits)
    clean, worst = (float(nn.functional.softplus(-(margin - reach * slope)).mean()) for reach in (0, RADIUS))
    found = losses(net, Splits(twice, twice, twice, splits.spec), plugin.Free(replays=1))
    assert found == [pytest.approx(clean, rel=1e-5), pytest.approx(worst, rel=1e-5)]


def test_each_replay_is_a_step_and_counted(plugin):
    epochs = []
    for replays in (1, 3):
        net, splits = problem()
        *_, epoch = robustfw.train(
            dataset=splits, model=net, uncertainty="linf:radius=0.1", batch_size=20, epochs=1,
            update=plugin.Free(replays=replays), optimizer="sgd:momentum=0", learning_rate=0.1, device="cpu",
        )  # fmt: skip
        epochs.append((epoch, net.weight.detach().clone()))
    (one, once), (three, thrice) = epochs
    assert (one.passes_per_example, three.passes_per_example) == (0, 4)
    assert not torch.equal(once, thrice)


def test_it_trains_and_resumes_with_its_perturbation(resumed, tmp_path):
    resumed(update="free:replays=3", model="mlp:hidden=[16]", batch_size=200)
    with safe_open(tmp_path / "stopped" / "checkpoints" / "last.safetensors", framework="pt") as file:
        assert file.get_tensor("part.train.update/delta").shape == (200, 1, 8, 8)


@pytest.mark.parametrize("objective", ["trades", "[mixed,input-gradient]"])
def test_it_goes_with_objectives_that_ask_for_worst_cases(command, objective):
    answer = command(
        "train", "--update", "free:replays=2", "--objective", objective, "--epochs", 1, "--validation-examples", 40,
        "--out", "run",
    )  # fmt: skip
    assert answer.status == 0, answer.err


def test_with_one_that_asks_for_none_it_says_so(command):
    answer = command("train", "--update", "free", "--objective", "clean", "--epochs", 1, "--out", "run")
    assert answer.status == 2
    assert "an objective that asks for worst cases" in answer.err
