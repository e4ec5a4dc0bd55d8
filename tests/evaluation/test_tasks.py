"""Evaluation of what is no K-logit classifier, of targets in other forms, and of nets with ways of their own."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

import robustfw
from robustfw import DataError, RobustfwWarning, TensorSplit, UsageError
from robustfw.evaluation import Examples, craft, sweep
from robustfw.evaluation._audit import Attacks, audit
from robustfw.evaluation._transfer import correct
from robustfw.inner.threat import Threat

SMALL = {"uncertainty": "linf:radius=0.05", "attack": "pgd:steps=5,random_start=false"}


def blobs(n=120, d=4):
    """Two clouds in [0, 1], with the normal of the plane between them."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 2
    return (0.4 + 0.2 * y[:, None] + 0.08 * torch.randn(n, d, generator=generator)).clamp(0, 1), y


class OneLogit(nn.Module):
    """One logit, positive above the plane Σx = d/2; or the two logits 0 and that."""

    def __init__(self, d=4, two=False):
        super().__init__()
        self.layer, self.two = nn.Linear(d, 1), two
        nn.init.ones_(self.layer.weight)
        nn.init.constant_(self.layer.bias, -d / 2)

    def forward(self, x):
        z = 10 * self.layer(x)
        return torch.cat([torch.zeros_like(z), z], 1) if self.two else z


def evaluated(net, x, y, **more):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RobustfwWarning)
        return robustfw.evaluate(net, TensorSplit(x, y), **(SMALL | more))


def counts(found):
    return found.n, found.correct, found.robust, found.per_class


# Tasks


@pytest.mark.parametrize(
    "attack", ["single-step", "pgd:steps=5,random_start=false", "cw", "deepfool", "random", "apgd"]
)
def test_a_net_of_one_logit_is_its_twin_of_two(attack):
    x, y = blobs()
    two = evaluated(OneLogit(two=True), x, y, attack=attack)
    one = evaluated(OneLogit(), x, y, attack=attack, task="binary")
    assert counts(one) == counts(two)
    assert one.robust < one.correct


@pytest.mark.parametrize(
    "y", [lambda y: y.float(), lambda y: y[:, None], lambda y: y[:, None].float(), lambda y: y.int()]
)
def test_targets_of_a_net_of_one_logit_in_other_forms(y):
    x, labels = blobs()
    assert counts(evaluated(OneLogit(), x, y(labels), task="binary")) == counts(
        evaluated(OneLogit(), x, labels, task="binary")
    )


def test_without_its_task_it_is_refused():
    x, y = blobs()
    with pytest.raises(DataError, match='a net with one logit has the task "binary"'):
        evaluated(OneLogit(), x, y, classes=2)
    with pytest.raises(DataError, match='has the task "classification"'):
        evaluated(OneLogit(two=True), x, y, task="binary")


def test_the_worst_error_of_a_linear_regression_is_its_closed_form():
    """max |w·(x + δ) + b − t| over |δ_j| ≤ r is |w·x + b − t| + r‖w‖₁."""
    generator = torch.Generator().manual_seed(1)
    x, radius = torch.randn(50, 3, generator=generator, dtype=torch.float64), 0.1
    net = nn.Linear(3, 1).double()
    t = net(x).detach()[:, 0] + torch.linspace(-1, 1, 50, dtype=torch.float64)
    error = (net(x)[:, 0] - t).abs().detach()
    worst = error + radius * net.weight.abs().sum().detach()
    found = evaluated(
        net,
        x,
        t,
        uncertainty=f"linf:radius={radius}",
        attack="single-step",
        bounds=None,
        task="regression:tolerance=0.5",
    )
    assert (found.n, found.correct, found.robust) == (50, int((error <= 0.5).sum()), int((worst <= 0.5).sum()))
    assert found.metrics["mean error"]["clean"] == pytest.approx(float(error.mean()))
    assert found.metrics["mean error"]["robust"] == pytest.approx(float(worst.mean()))
    assert found.metrics["largest error"]["robust"] == pytest.approx(float(worst.max()))
    assert found.metrics["90 % quantile"]["robust"] == pytest.approx(float(worst.quantile(0.9)))
    assert found.per_class == ()


def test_every_attack_of_a_regression_counts_for_its_worst_error():
    """Two attacks, each of which is the worse one at some examples."""
    x, t = torch.linspace(0, 1, 20)[:, None], torch.zeros(20)
    net = nn.Linear(1, 1)
    nn.init.ones_(net.weight)
    nn.init.constant_(net.bias, -0.5)

    class To(robustfw.Attack):
        def __init__(self, sign):
            self.sign = sign

        def maximize(self, problem, generator):
            return problem.region.support(torch.full_like(problem.x, self.sign))

    asked = {"uncertainty": "linf:radius=0.1", "bounds": None, "task": "regression:tolerance=0.3"}
    both = evaluated(net, x, t, attack=[To(-1.0), To(1.0)], **asked)
    error = (x[:, 0] - 0.5).abs() + 0.1
    assert both.metrics["mean error"]["robust"] == pytest.approx(float(error.mean()), abs=1e-6)
    assert both.robust == int((error <= 0.3).sum())


def test_several_labels_and_pixels():
    torch.manual_seed(0)
    x = torch.rand(30, 1, 4, 4)
    labels = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    y = (labels(x) > 0).float().detach()
    found = evaluated(labels, x, y, task="multilabel")
    assert found.correct == 30
    assert found.metrics["labels right"]["clean"] == 1
    assert found.metrics["labels right"]["robust"] < 1
    assert found.robust < 30
    pixels = nn.Conv2d(1, 3, 3, padding=1)
    y = pixels(x).argmax(1).detach()
    found = evaluated(pixels, x, y, task="segmentation:share=0.2")
    assert found.correct == 30
    assert found.metrics["mean IoU"]["clean"] == 1
    assert found.metrics["mean IoU"]["robust"] < 1


# Refusals


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"y": lambda y: y + 1}, "labels run from 1 to 2, outside 0 … 1"),
        ({"classes": 7}, "the net has 2 outputs for 7 classes: give classes=2"),
        ({"y": lambda y: y[:-1]}, "not of one length: x has 120, y has 119"),
        ({"y": lambda y: y.float()}, r"labels are float32: give int64"),
        ({"y": lambda y: y.masked_fill(y == 1, -1)}, "examples without a label"),
        ({"x": lambda x: (255 * x).to(torch.int64)}, "x is int64"),
        ({"x": lambda x: 2 * x}, "outside its bounds"),
        ({"x": lambda x: x.double()}, "x is float64 and the net is float32"),
        ({"attack": []}, "there is not one attack"),
        ({"loss": nn.CrossEntropyLoss()}, "it must give one value per example"),
    ],
)
def test_what_does_not_fit_is_refused(change, words):
    x, y = blobs()
    x, y = change.pop("x", lambda x: x)(x), change.pop("y", lambda y: y)
    with pytest.raises((DataError, UsageError), match=words):
        evaluated(OneLogit(two=True), x, y(blobs()[1]), **({"classes": 2} | change))


def test_without_classes_labels_are_held_against_the_nets_width():
    x, y = blobs()
    net, threat = OneLogit(two=True), Threat(robustfw.make("uncertainty", "linf"))
    split, attack = TensorSplit(x, y + 1), robustfw.make("attack", "single-step")
    for measure in (
        lambda: evaluated(net, x, y + 1),
        lambda: list(sweep(net, split, threat=threat, attack=attack, factors=[1.0])),
        lambda: list(craft(net, split, threats=[threat], attack=attack)),
        lambda: audit(net, split, threat=threat, attacks=Attacks(attack)),
        lambda: correct(net, x, y + 1),
    ):
        with pytest.raises(DataError, match="labels run from 1 to 2, outside 0 … 1"):
            measure()


@pytest.mark.parametrize("attack", ["single-step", "pgd", "frank-wolfe", "cw", "lbfgs", "deepfool", "random"])
def test_a_loss_that_is_a_mean_is_refused_by_every_attack(attack):
    x, y = blobs(12)
    asked = {"uncertainty": "linf:radius=0.05", "attack": attack, "loss": nn.CrossEntropyLoss()}
    with pytest.raises(DataError, match="one value per example"):
        robustfw.worst_case(OneLogit(two=True), x, y, **asked)


@pytest.mark.parametrize("form", [lambda y: nn.functional.one_hot(y, 2), lambda y: nn.functional.one_hot(y, 2).float()])
@pytest.mark.parametrize("attack", ["pgd:random_start=false", "cw", "deepfool", "targeted:attack=(single-step)"])
def test_rows_of_one_hot_are_labels_for_every_attack(form, attack):
    x, y = blobs(40)
    assert counts(evaluated(OneLogit(two=True), x, form(y), attack=attack)) == counts(
        evaluated(OneLogit(two=True), x, y, attack=attack)
    )


# Doubts


class Constant(nn.Module):
    """The same for every x."""

    def __init__(self, value=0.0):
        super().__init__()
        self.layer = nn.Linear(4, 2)
        nn.init.zeros_(self.layer.weight)
        nn.init.constant_(self.layer.bias, value)

    def forward(self, x):
        return self.layer(x)


def test_a_tie_is_no_decision_and_is_said():
    x, y = blobs(20)
    with pytest.warns(RobustfwWarning, match="at 20 of 20 examples the largest output is shared by several classes"):
        found = robustfw.evaluate(Constant(), TensorSplit(x, y), **SMALL)
    assert (found.correct, found.robust, found.ties) == (0, 0, 20)


def test_weights_that_are_no_numbers_are_said():
    x, y = blobs(20)
    with pytest.warns(RobustfwWarning, match="at 20 of 20 examples the net's outputs are not numbers"):
        found = robustfw.evaluate(Constant(torch.nan), TensorSplit(x, y), **SMALL)
    assert (found.correct, found.robust, found.not_numbers) == (0, 0, 20)


# Nets with ways of their own


class InPlace(nn.Module):
    """Normalises its input in place."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x.sub_(0.1).mul_(1.25))


class Twin(InPlace):
    """The same, without writing into x."""

    def forward(self, x):
        return self.net((x - 0.1) * 1.25)


def pair():
    x, y = blobs()
    net = OneLogit(two=True)
    nn.init.constant_(net.layer.bias, -2.0)
    return InPlace(net), Twin(net), x, y


@pytest.mark.parametrize("attack", ["single-step", "pgd:steps=5,random_start=false", "cw", "random", "deepfool"])
def test_a_net_that_changes_its_input_in_place_is_its_twin(attack):
    in_place, twin, x, y = pair()
    before = x.clone()
    one, other = (evaluated(net, x, y, attack=attack, uncertainty="linf:radius=0.04") for net in (in_place, twin))
    assert counts(one) == counts(other)
    assert 0 < one.robust < one.correct
    assert torch.equal(x, before)
    moved = [
        robustfw.worst_case(
            net, x, y, uncertainty="linf:radius=0.04", attack=attack, generator=torch.Generator().manual_seed(0)
        )
        for net in (in_place, twin)
    ]
    torch.testing.assert_close(*moved)
    assert torch.equal(x, before)


def test_what_is_crafted_against_it_is_made_of_the_examples():
    in_place, twin, x, y = pair()
    threat = Threat(robustfw.make("uncertainty", "linf:radius=0.04"))
    attack = robustfw.make("attack", "single-step")
    found = [
        Examples.concatenate(list(craft(net, TensorSplit(x, y), threats=[threat], attack=attack)))
        for net in (in_place, twin)
    ]
    assert len(found[0]) > 0
    for name, tensor in found[0].tensors().items():
        torch.testing.assert_close(tensor, found[1].tensors()[name])
    assert torch.equal(found[0].original, x[found[0].index])


def test_nothing_right_is_nothing_to_craft_from():
    x, y = blobs(20)
    net, threat = Constant(), Threat(robustfw.make("uncertainty", "linf:radius=0.04"))
    made = craft(net, TensorSplit(x, y), threats=[threat], attack=robustfw.make("attack", "pgd"))
    assert len(Examples.concatenate(list(made))) == 0


def test_within_inference_mode_attacks_find_what_they_find_outside():
    x, y = blobs()
    net = OneLogit(two=True)
    outside = evaluated(net, x, y)
    with torch.inference_mode():
        inside = evaluated(net, x.clone(), y.clone())
    with torch.no_grad():
        without = evaluated(net, x, y)
    assert counts(inside) == counts(outside) == counts(without)
    assert outside.robust < outside.correct
