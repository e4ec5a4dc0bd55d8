"""Group DRO: real groups from the split's metadata, weights of them that a checkpoint holds."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import robustfw
from robustfw import Batch, DataSpec, Splits, TensorSplit, UsageError
from robustfw.testing import check
from robustfw.testing.batches import Corner
from robustfw.testing.problems import Cube

LINEAR = {"uncertainty": "linf:radius=0.01", "attack": "single-step", "device": "cpu"}


def splits(examples=600):
    """Two classes: the first number tells them apart in nine of ten examples (group 0), the second, faintly, in all."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(examples) % 2
    group = (torch.arange(examples) // 2 % 10 == 0).long()
    sign = 2.0 * y - 1
    x = 0.5 + 0.1 * torch.randn(examples, 2, generator=generator)
    x[:, 0] += 0.25 * sign * (1 - 2 * group)
    x[:, 1] += 0.15 * sign
    data = TensorSplit(x.clamp(0, 1), y, {"group": group})
    return Splits(data, data, data, DataSpec((2,), 2))


def worst_group(net, split):
    """The accuracy of the group that fares worst."""
    with torch.no_grad():
        right = net(split.x).argmax(1) == split.y
    group = split.meta["group"]
    return min(float(right[group == each].float().mean()) for each in (0, 1))


def trained(objective):
    net = nn.Linear(2, 2)
    nn.init.zeros_(net.weight)
    nn.init.zeros_(net.bias)
    list(robustfw.train(
        dataset=splits(), model=net, objective=objective, batch_size=200, epochs=30, learning_rate=1.0, seed=0,
        optimizer="sgd:weight_decay=0", validation_examples=20, **LINEAR,
    ))  # fmt: skip
    return net


def test_laws(plugin):
    check(plugin.GroupDro())


def test_weights_are_exponential_in_the_groups_losses_and_the_mean_is_their_sum(plugin):
    class Given(nn.Module):
        def forward(self, x):
            return torch.cat([0 * x, x], 1)

    x, y = torch.tensor([[-1.0], [-2.0], [-3.0], [-4.0]]), torch.ones(4).long()
    group = torch.tensor([0, 0, 0, 1])
    objective = plugin.GroupDro(eta=0.5, by="group").fit(TensorSplit(x, y, {"group": group}))
    each = nn.functional.softplus(-x[:, 0])
    losses = torch.stack([each[:3].mean(), each[3]])
    weights = torch.tensor([0.5, 0.5])
    for _ in range(2):
        batch = Batch.create(
            Given(), x, y, uncertainty=Cube(0.0), attack=Corner(), bounds=(-9.0, 9.0), meta={"group": group}
        )
        values = objective(batch.net, x, y, batch)
        weights = weights * (0.5 * losses).exp()
        weights /= weights.sum()
        torch.testing.assert_close(values.mean(), (weights * losses).sum())
    torch.testing.assert_close(objective.state_dict()["weights"], weights)


def test_the_worst_group_fares_better_than_by_the_mean(plugin):
    by_mean, by_group = (
        worst_group(trained(each), splits().train) for each in ("robust", "group-dro:by=group,eta=0.1")
    )
    assert by_mean < 0.6
    assert by_group > by_mean + 0.15


def test_groups_reach_it_also_where_a_batch_comes_in_parts(plugin):
    objective = plugin.GroupDro(by="group")
    list(robustfw.train(
        dataset=splits(), model="mlp:hidden=[4]", objective=objective, update="accumulate:parts=3", batch_size=200,
        epochs=1, **LINEAR,
    ))  # fmt: skip


def test_it_resumes_with_its_weights(resumed):
    state = resumed(
        stop=(2, 1), dataset=splits(), model="mlp:hidden=[8]", objective="group-dro:by=group,eta=0.5", batch_size=200,
        **LINEAR,
    )  # fmt: skip
    weights = state["part.objective/weights"]
    assert float(weights.sum()) == pytest.approx(1)
    assert abs(float(weights[1]) - 0.5) > 1e-3


def test_classes_as_groups_by_its_name(command):
    answer = command(
        "train", "--objective", "[group-dro:eta=0.1,contractive]", "--attack", "single-step", "--epochs", 1,
        "--validation-examples", 40, "--out", "run",
    )  # fmt: skip
    assert answer.status == 0, answer.err


def test_without_groups_it_says_so(command):
    answer = command("train", "--objective", "group-dro:by=hospital", "--epochs", 1, "--out", "run")
    assert answer.status == 2
    assert "the examples have no 'hospital'" in answer.err


def test_unfitted_it_says_so(plugin):
    with pytest.raises(UsageError, match=r"call \.fit"):
        plugin.GroupDro()(None, None, None, None)
