"""Evaluation of what is no K-logit classifier, and of targets in other forms."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import robustfw
from robustfw import DataError, TensorSplit, UsageError
from robustfw.evaluation import craft, sweep
from robustfw.evaluation._audit import Attacks, audit
from robustfw.evaluation._transfer import correct
from robustfw.inner.threat import Threat

from .one_logit import OneLogit, blobs, counts, evaluate

# Tasks


@pytest.mark.parametrize(
    "attack", ["single-step", "pgd:steps=5,random_start=false", "cw", "deepfool", "random", "apgd"]
)
def test_a_net_of_one_logit_is_its_twin_of_two(attack):
    x, y = blobs()
    two = evaluate(OneLogit(two=True), x, y, attack=attack)
    one = evaluate(OneLogit(), x, y, attack=attack, task="binary")
    assert counts(one) == counts(two)
    assert one.robust < one.correct


@pytest.mark.parametrize(
    "y", [lambda y: y.float(), lambda y: y[:, None], lambda y: y[:, None].float(), lambda y: y.int()]
)
def test_targets_of_a_net_of_one_logit_in_other_forms(y):
    x, labels = blobs()
    assert counts(evaluate(OneLogit(), x, y(labels), task="binary")) == counts(
        evaluate(OneLogit(), x, labels, task="binary")
    )


def test_without_its_task_it_is_refused():
    x, y = blobs()
    with pytest.raises(DataError, match='a net with one logit has the task "binary"'):
        evaluate(OneLogit(), x, y, classes=2)
    with pytest.raises(DataError, match='has the task "classification"'):
        evaluate(OneLogit(two=True), x, y, task="binary")


def test_the_worst_error_of_a_linear_regression_is_its_closed_form():
    """max |w·(x + δ) + b − t| over |δ_j| ≤ r is |w·x + b − t| + r‖w‖₁."""
    generator = torch.Generator().manual_seed(1)
    x, radius = torch.randn(50, 3, generator=generator, dtype=torch.float64), 0.1
    net = nn.Linear(3, 1).double()
    t = net(x).detach()[:, 0] + torch.linspace(-1, 1, 50, dtype=torch.float64)
    error = (net(x)[:, 0] - t).abs().detach()
    worst = error + radius * net.weight.abs().sum().detach()
    found = evaluate(
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
    both = evaluate(net, x, t, attack=[To(-1.0), To(1.0)], **asked)
    error = (x[:, 0] - 0.5).abs() + 0.1
    assert both.metrics["mean error"]["robust"] == pytest.approx(float(error.mean()), abs=1e-6)
    assert both.robust == int((error <= 0.3).sum())


def test_several_labels_and_pixels():
    torch.manual_seed(0)
    x = torch.rand(30, 1, 4, 4)
    labels = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    y = (labels(x) > 0).float().detach()
    found = evaluate(labels, x, y, task="multilabel")
    assert found.correct == 30
    assert found.metrics["labels right"]["clean"] == 1
    assert found.metrics["labels right"]["robust"] < 1
    assert found.robust < 30
    pixels = nn.Conv2d(1, 3, 3, padding=1)
    y = pixels(x).argmax(1).detach()
    found = evaluate(pixels, x, y, task="segmentation:share=0.2")
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
        ({"attack": []}, "there is not one attack"),
        ({"loss": nn.CrossEntropyLoss()}, "it must give one value per example"),
    ],
)
def test_what_does_not_fit_is_refused(change, words):
    x, y = blobs()
    x, y = change.pop("x", lambda x: x)(x), change.pop("y", lambda y: y)
    with pytest.raises((DataError, UsageError), match=words):
        evaluate(OneLogit(two=True), x, y(blobs()[1]), **({"classes": 2} | change))


def test_without_classes_labels_are_held_against_the_nets_width():
    x, y = blobs()
    net, threat = OneLogit(two=True), Threat(robustfw.make("uncertainty", "linf"))
    split, attack = TensorSplit(x, y + 1), robustfw.make("attack", "single-step")
    for measure in (
        lambda: evaluate(net, x, y + 1),
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
    assert counts(evaluate(OneLogit(two=True), x, form(y), attack=attack)) == counts(
        evaluate(OneLogit(two=True), x, y, attack=attack)
    )
