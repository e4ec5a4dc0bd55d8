"""Losses: known values by hand in every form, logits at the edge, and refusals in a sentence."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import robustfw
from robustfw import DataError, UsageError, losses

Z = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0]])
Y = torch.tensor([0, 2])


def made(spec):
    return robustfw.make("loss", spec)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("cross-entropy", [math.log(1 + math.exp(-1) + math.exp(-2)), math.log(math.exp(-1) + math.exp(2) + 1)]),
        ("margin", [-1.0, 2.0]),
        ("dlr", [-1 / 2, 2 / 3]),
        ("squared", [(1 + 1 + 0) / 3, (0 + 9 + 0) / 3]),
        ("absolute", [2 / 3, 3 / 3]),
        ("huber", [(0.5 + 0.5 + 0) / 3, 2.5 / 3]),
        ("kl", [math.log(1 + math.exp(-1) + math.exp(-2)), math.log(math.exp(-1) + math.exp(2) + 1)]),
    ],
)
def test_of_classes_by_hand(spec, expected):
    """z − e_y is (1, 1, 0) in the first row and (0, 3, 0) in the second."""
    torch.testing.assert_close(made(spec)(Z, Y), torch.tensor(expected))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [("squared", 6.5), ("absolute", 2.5), ("huber", (1.5 + 2.5) / 2), ("huber:delta=3", 6.5 / 2)],
)
def test_of_numbers_by_hand(spec, expected):
    """Differences 2 and 3; with delta = 1 the second half counts |o − t| − 1/2."""
    outputs, targets = torch.tensor([[3.0, -1.0]]), torch.tensor([[1.0, 2.0]])
    torch.testing.assert_close(made(spec)(outputs, targets), torch.tensor([expected]))


def test_of_several_labels_by_hand():
    """Logits 1 and −2 for the labels 1 and 1; the margin is that of the worst."""
    outputs, y = torch.tensor([[1.0, -2.0]]), torch.tensor([[1.0, 1.0]])
    expected = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(2))) / 2
    torch.testing.assert_close(made("bce")(outputs, y), torch.tensor([expected]))
    torch.testing.assert_close(made("margin")(outputs, y), torch.tensor([2.0]))


def test_of_one_logit_by_hand():
    """The two logits 0 and z: −log σ(z) for class 1, −log σ(−z) for class 0."""
    outputs = torch.tensor([[0.0, 3.0], [0.0, 3.0]])
    expected = torch.tensor([math.log(1 + math.exp(-3)), math.log(1 + math.exp(3))])
    torch.testing.assert_close(made("bce")(outputs, torch.tensor([1, 0])), expected)
    with pytest.raises(DataError, match="bce is for two classes or several labels, and there are 3 classes"):
        made("bce")(Z, Y)


def test_of_pixels_by_hand():
    """The mean over the pixels that have a label."""
    outputs = torch.zeros(1, 2, 1, 3)
    outputs[0, 0] = torch.tensor([0.0, 1.0, 5.0])
    y = torch.tensor([[[0, 1, -1]]])
    expected = (math.log(2) + math.log(1 + math.exp(1))) / 2
    torch.testing.assert_close(made("cross-entropy")(outputs, y), torch.tensor([expected]))
    torch.testing.assert_close(made("margin")(outputs, y), torch.tensor([0.5]))
    assert made("cross-entropy")(outputs, torch.full_like(y, -1)).tolist() == [0.0]


def test_soft_labels_by_hand():
    """Cross-entropy of probabilities t is −Σ t log q, and KL is that less the entropy of t."""
    t = torch.tensor([[0.25, 0.75, 0.0]])
    log_q = Z[:1].log_softmax(1)
    torch.testing.assert_close(made("cross-entropy")(Z[:1], t), -(t * log_q).sum(1))
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    torch.testing.assert_close(made("kl")(Z[:1], t), -(t * log_q).sum(1) - entropy)
    torch.testing.assert_close(made("kl")(t.clamp(min=1e-30).log(), t), torch.zeros(1), atol=1e-6, rtol=0)


@pytest.mark.parametrize("t", [[[1.0, 1.0, 0.0]], [[-0.5, 1.5, 0.0]], [[torch.nan, 1.0, 0.0]]])
def test_kl_refuses_what_is_no_probability(t):
    with pytest.raises(DataError, match="kl compares probabilities, and the targets are none"):
        made("kl")(Z[:1], torch.tensor(t))


def test_smoothing_by_hand():
    torch.testing.assert_close(
        made("cross-entropy:smoothing=0.3")(Z, Y), functional.cross_entropy(Z, Y, reduction="none", label_smoothing=0.3)
    )


@pytest.mark.parametrize("spec", ["cross-entropy:smoothing=1", "huber:delta=0", "cross-entropy:smoothing=-0.1"])
def test_options_are_checked(spec):
    with pytest.raises(UsageError):
        made(spec)


def test_dlr_knows_no_scale():
    for factor, shift in ((7.0, 0.0), (1e-6, 3.0), (1e4, -2.0)):
        torch.testing.assert_close(made("dlr")(factor * Z.double() + shift, Y), made("dlr")(Z.double(), Y))
    constant = torch.ones(2, 3, requires_grad=True)
    values = made("dlr")(constant, Y)
    assert values.tolist() == [0.0, 0.0]
    (gradient,) = torch.autograd.grad(values.sum(), constant)
    assert gradient.isfinite().all()
    torch.testing.assert_close(
        made("dlr")(Z[:, :2], torch.tensor([0, 1])), made("margin")(Z[:, :2], torch.tensor([0, 1]))
    )


@pytest.mark.parametrize("spec", ["squared", "absolute", "huber", "bce", "kl", "margin"])
def test_shapes_that_do_not_fit_are_refused(spec):
    with pytest.raises(DataError, match=r"outputs have shape \(2, 3\) and targets \(2, 2\)"):
        made(spec)(Z, torch.rand(2, 2))


@pytest.mark.parametrize("spec", ["cross-entropy", "margin", "dlr", "squared", "bce", "kl"])
def test_half_precision_is_computed_in_float32(spec):
    outputs = torch.tensor([[60000.0, 1.0], [0.5, 60000.0]], dtype=torch.float16)
    values = made(spec)(outputs, torch.tensor([1, 1]))
    assert values.dtype == torch.float32
    assert values.isfinite().all()


# Logits at the edge


EDGES = {
    "−∞ for a class that cannot be": ([[1.0, -torch.inf, 0.0]], [[1.0, -1e4, 0.0]]),
    "huge": ([[1e30, 0.0, -1e30]], [[1e30, 0.0, -1e30]]),
}


@pytest.mark.parametrize("spec", ["cross-entropy", "margin", "dlr"])
@pytest.mark.parametrize("label", [0, 2])
@pytest.mark.parametrize("name", EDGES)
def test_logits_at_the_edge_have_finite_values_and_gradients(spec, label, name):
    given, same = (torch.tensor(each) for each in EDGES[name])
    leaf = given.requires_grad_()
    values = made(spec)(losses.replace_infinities(leaf), torch.tensor([label]))
    (gradient,) = torch.autograd.grad(values.sum(), leaf)
    assert values.isfinite().all()
    assert gradient.isfinite().all()
    torch.testing.assert_close(values.detach(), made(spec)(same, torch.tensor([label])))


def test_what_marks_an_impossible_class_is_below_all_others():
    logits = torch.tensor([[-2e5, -torch.inf, -1e5], [3.0, -torch.inf, -torch.inf]])
    read = losses.replace_infinities(logits)
    assert read.isfinite().all()
    assert read.argmin(1).tolist()[0] == 1
    assert torch.equal(read[:, 0], logits[:, 0])
    assert losses.replace_infinities(read) is read, "nothing to do costs nothing"


def test_ties_and_what_is_no_number_are_wrong():
    logits = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.5, 0.0], [torch.nan, 0.0, 0.0], [0.0, torch.nan, 0.0], [0.0] * 3])
    assert losses.misclassified(logits, torch.zeros(5).long()).tolist() == [True, False, True, True, True]


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), lambda z, y: losses.cross_entropy(z, y).mean()])
def test_means_are_refused_and_named(loss):
    with pytest.raises(DataError, match=r'values of shape \(\) for 2 examples.*reduction="none"'):
        losses.check_per_example(loss(Z, Y), 2, loss)
