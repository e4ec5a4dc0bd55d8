"""`robustfw.worst_case`: seeds, criteria, details, and what is handed over."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import robustfw
from robustfw import DataError, UsageError, losses

ASKED = {"uncertainty": "linf:radius=0.1", "attack": "single-step"}


# Seeds


def test_each_call_has_a_start_of_its_own_and_torchs_seed_decides_them(net, batch):
    x, y = batch
    net.eval()
    asked = ASKED | {"attack": "random:samples=1"}
    torch.manual_seed(5)
    first, second = (robustfw.worst_case(net, x, y, **asked) for _ in range(2))
    assert not torch.equal(first, second)
    torch.manual_seed(5)
    again = [robustfw.worst_case(net, x, y, **asked) for _ in range(2)]
    assert torch.equal(again[0], first)
    assert torch.equal(again[1], second)


def test_with_a_generator_torchs_own_stays_where_it_is(net, batch):
    x, y = batch
    net.eval()
    before = torch.get_rng_state()
    robustfw.worst_case(net, x, y, **ASKED, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), before)


# Criteria and details


def linear(rows=40, d=6, classes=3):
    torch.manual_seed(0)
    net = nn.Linear(d, classes)
    x = torch.rand(rows, d)
    return net, x, net(x).argmax(1)


def distances(net, x, y):
    """The ℓ2 distance from each x to the nearest point at which another class is as large."""
    z, w = net(x).detach(), net.weight.detach()
    gaps = z.gather(1, y[:, None]) - z
    lengths = (w[y][:, None] - w[None]).norm(dim=2)
    return (
        (gaps / lengths.clamp(min=1e-9))
        .masked_fill(torch.nn.functional.one_hot(y, z.shape[1]).bool(), torch.inf)
        .amin(1)
    )


@pytest.mark.parametrize(("attack", "slack"), [("cw", 1.1), ("deepfool", 1.1), ("lbfgs", 1.35)])
def test_an_attack_for_the_nearest_example_has_a_criterion_by_default(attack, slack):
    """In a ball of radius 20 that reaches everywhere the median of ‖δ‖ is about the distance of the boundary."""
    net, x, y = linear()
    found = robustfw.worst_case(net, x, y, uncertainty="l2:radius=20", attack=attack, bounds=None, details=True)
    assert found.wrong.all()
    lengths, nearest = found.delta.norm(dim=1), distances(net, x, y)
    assert bool((lengths >= nearest - 1e-4).all())
    assert float(lengths.median()) <= slack * float(nearest.median())
    assert bool((net(found.x).argmax(1) != y).all())


def test_details_by_hand():
    """One number, class 0 above 1/2: a set of radius 0.2 fools 0.6, and not 0.9."""

    class OneNumber(nn.Module):
        def forward(self, x):
            return torch.cat([x - 0.5, torch.zeros_like(x)], 1)

    x, y = torch.tensor([[0.6], [0.9]]), torch.zeros(2).long()
    found = robustfw.worst_case(
        OneNumber(), x, y, uncertainty="linf:radius=0.2", attack="single-step", loss="margin", details=True
    )
    torch.testing.assert_close(found.x, torch.tensor([[0.4], [0.7]]))
    torch.testing.assert_close(found.delta, torch.tensor([[-0.2], [-0.2]]))
    torch.testing.assert_close(found.outputs, torch.tensor([[-0.1, 0.0], [0.2, 0.0]]))
    torch.testing.assert_close(found.loss, torch.tensor([0.1, -0.2]))
    assert found.wrong.tolist() == [True, False]


def test_a_criterion_of_ones_own_stops_a_row_there():
    """Class 2 is wanted, and nothing else counts."""
    net, x, y = linear()

    def second(outputs, targets):
        return outputs.argmax(1) == 2

    found = robustfw.worst_case(
        net, x, y, uncertainty="l2:radius=20", attack="pgd:steps=20", bounds=None, criterion=second, details=True
    )
    assert torch.equal(found.wrong, net(found.x).argmax(1) == 2)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"criterion": "right"}, r'criterion is a function of outputs and y, "wrong", or None'),
        (
            {"criterion": "wrong", "task": None, "y": torch.rand(40, 3), "loss": "squared"},
            'criterion="wrong" needs to know',
        ),
    ],
)
def test_goals_are_checked(more, words):
    net, x, y = linear()
    y = more.pop("y", y)
    with pytest.raises(UsageError, match=words):
        robustfw.worst_case(net, x, y, **ASKED, **more)


# What is handed over


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": lambda x: ["no number"] * 40}, "give numbers"),
        ({"y": lambda y: y[:-1]}, "there are 40 examples and 39 targets"),
        ({"y": lambda y: torch.rand(40, 2)}, "no class labels: say by task= what they are"),
        ({"y": lambda y: torch.rand(40)}, "no class labels: say by task= what they are"),
        ({"x": lambda x: x[:, 0]}, "give a batch of examples"),
    ],
)
def test_what_has_no_right_form_is_refused(change, words):
    net, x, y = linear()
    x, y = change.get("x", lambda x: x)(x), change.get("y", lambda y: y)(y)
    with pytest.raises(DataError, match=words):
        robustfw.worst_case(net, x, y, **ASKED)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_it_works_where_no_gradients_are_recorded(context):
    net, x, y = linear()
    expected = robustfw.worst_case(net, x, y, **ASKED)
    with context():
        found = robustfw.worst_case(net, x.clone(), y.clone(), **ASKED)
    assert torch.equal(found, expected)
    assert not torch.equal(found, x)


@pytest.mark.parametrize("attack", ["single-step", "cw:steps=2", "deepfool", "random"])
def test_a_label_beyond_the_nets_outputs_is_named(attack):
    net, x, y = linear()
    y[3] = 9
    with pytest.raises(DataError, match="labels run from 1 to 9, outside 0 … 2"):
        robustfw.worst_case(net, x, y, **ASKED | {"attack": attack})


def test_a_net_that_was_made_in_inference_mode_is_refused():
    _, x, y = linear()
    with torch.inference_mode():
        net, _, _ = linear()
    with pytest.raises(DataError, match="made inside"):
        robustfw.worst_case(net, x, y, **ASKED)
    with pytest.raises(DataError, match="made inside"):
        robustfw.evaluate(net, robustfw.TensorSplit(x, y), **ASKED)


def test_numbers_as_targets():
    """Linear regression: the worst x̃ is a corner of the cube, on the side of the error."""
    torch.manual_seed(0)
    net, x = nn.Linear(5, 1), torch.rand(30, 5)
    t = net(x).detach() + torch.randn(30, 1)
    found = robustfw.worst_case(net, x, t, **ASKED, bounds=None, task="regression")
    sign = (net(x) - t).sign() * net.weight.sign()
    torch.testing.assert_close(found, x + 0.1 * sign.detach())


def test_a_loss_by_name_or_by_function():
    net, x, y = linear()
    by_name, by_function = (robustfw.worst_case(net, x, y, **ASKED, loss=loss) for loss in ("margin", losses.margin))
    assert torch.equal(by_name, by_function)


def test_soft_labels_go_with_a_loss():
    net, x, _ = linear()
    soft = torch.rand(40, 3).softmax(1)
    moved = robustfw.worst_case(net, x, soft, **ASKED, loss="kl")
    assert not torch.equal(moved, x)


def test_a_batch_of_none():
    net, x, y = linear()
    for attack in ("single-step", "pgd", "cw", "deepfool", "random"):
        moved = robustfw.worst_case(net, x[:0], y[:0], uncertainty="linf", attack=attack)
        assert moved.shape == (0, 6)
