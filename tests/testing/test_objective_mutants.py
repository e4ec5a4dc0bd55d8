"""Objectives that are wrong in known ways, each of which must die by the law named beside it."""

from __future__ import annotations

import contextlib
import itertools

import pytest
import torch
from torch.nn import functional

import robustfw
from robustfw import Penalty
from robustfw.testing import findings

from .laws import broken_laws
from .objective_frames import Wrong, input_gradient, loss

COUNTER = itertools.count(1)


class WrongPenalty(Penalty):
    """A penalty by a function."""

    def __init__(self, function):
        self.function = function

    def penalty(self, model, x, y, batch):
        return self.function(model, x, y)


def mean_for_all(model, x, y):
    return loss(model, x, y).mean().expand(len(x))


def first_row_twice(model, x, y):
    return loss(model, x, y) * (1 + (torch.arange(len(x)) == 0))


def unit_gradient(model, x, y):
    """0/0 where the gradient vanishes."""
    gradient = input_gradient(model, x, y)
    return (gradient / gradient.norm(dim=1, keepdim=True)).square().sum(1) + gradient.square().sum(1)


def norm_of_gradient(model, x, y):
    """Finite where it is 0, but its derivative there is not."""
    return input_gradient(model, x, y).square().sum(1).sqrt()


def remembers(model, x, y):
    return loss(model, x, y) / next(COUNTER)


def own_randomness(model, x, y):
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(next(COUNTER)))
    return loss(model, x + 0.1 * noise, y)


def unlabelled_as_first_class(model, x, y):
    return functional.cross_entropy(model(x), y.clamp(min=0), reduction="none")


def mean_over_the_labelled(model, x, y):
    """Losses of labelled rows grow with the number of the others."""
    return loss(model, x, y) * len(y) / (y >= 0).sum()


def refuses_unlabelled(model, x, y):
    return functional.cross_entropy(model(x), y, reduction="none")


def stays_in_evaluation(model, x, y):
    model.eval()
    return model(x).square().sum(1)


def everything_in_training(model, x, y):
    model.eval()
    values = model(x).square().sum(1)
    model.train()
    return values


def writes_statistics(model, x, y):
    return model(x).square().sum(1)


def leaves_a_hook(model, x, y):
    next(model.children()).register_forward_hook(lambda *_: None)
    return sum(p.square().sum() for p in model.parameters()).expand(len(x))


def gradient_grows_with_the_batch(model, x, y):
    """Right losses, whose derivative is not theirs."""
    values = loss(model, x, y)
    return values.detach() + len(x) * (values - values.detach())


def past_the_wrapper(model, x, y):
    while hasattr(model, "module"):
        model = model.module
    return loss(model, x, y)


def by_name_of_a_layer(model, x, y):
    return loss(model, x, y) + model.get_submodule("3").weight.square().sum()


def leaves_frozen(model, x, y):
    values = loss(model, x, y)
    model.requires_grad_(False)
    return values


def normalises_weights(model, x, y):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.div_(parameter.norm())
    return loss(model, x, y)


def steps_by_itself(model, x, y):
    values = loss(model, x, y)
    values.mean().backward(retain_graph=True)
    return values


MUTANTS = {
    "mean for all rows": (Wrong, mean_for_all, {"rows are independent"}),
    "first row twice": (Wrong, first_row_twice, {"rows are independent"}),
    "0/0 at zero gradient": (WrongPenalty, unit_gradient, {"certain predictions"}),
    "root of a square": (WrongPenalty, norm_of_gradient, {"certain predictions"}),
    "remembers how often it was called": (Wrong, remembers, {"reproducible"}),
    "randomness of its own": (Wrong, own_randomness, {"reproducible"}),
    "no label is the first": (Wrong, unlabelled_as_first_class, {"unlabelled"}),
    "mean over the labelled": (Wrong, mean_over_the_labelled, {"unlabelled"}),
    "no label is an error": (Wrong, refuses_unlabelled, {"unlabelled"}),
    "stays in evaluation mode": (WrongPenalty, stays_in_evaluation, {"net left alone"}),
    "all modules in training mode": (WrongPenalty, everything_in_training, {"net left alone"}),
    "writes batch norm's statistics": (WrongPenalty, writes_statistics, {"net left alone"}),
    "leaves a hook": (WrongPenalty, leaves_a_hook, {"net left alone"}),
    "leaves parameters frozen": (Wrong, leaves_frozen, {"net left alone"}),
    "normalises weights": (Wrong, normalises_weights, {"net left alone"}),
    "a gradient that grows with the batch": (Wrong, gradient_grows_with_the_batch, {"two halves"}),
    "goes past the wrapper": (Wrong, past_the_wrapper, {"wrapped net"}),
    "looks for a layer in the wrapper": (WrongPenalty, by_name_of_a_layer, {"wrapped net"}),
    "fills in .grad": (Wrong, steps_by_itself, {"gradient"}),
}


@pytest.mark.parametrize(("frame", "function", "killers"), MUTANTS.values(), ids=MUTANTS.keys())
def test_mutant_dies_by_the_law_named(frame, function, killers):
    broken = broken_laws(frame(function))
    assert killers <= broken


@pytest.mark.parametrize(
    "name",
    [
        "stays in evaluation mode",
        "writes batch norm's statistics",
        "no label is the first",
        "a gradient that grows with the batch",
        "goes past the wrapper",
    ],
)
def test_only_that_law_sees_it(name):
    frame, function, killers = MUTANTS[name]
    assert broken_laws(frame(function)) == killers


@pytest.mark.parametrize("frame", [Wrong, WrongPenalty])
def test_the_frame_without_a_mutation_breaks_no_law(frame):
    right = (
        loss if frame is Wrong else lambda model, x, y: sum(p.square().sum() for p in model.parameters()).expand(len(x))
    )
    assert not [finding.law for finding in findings(frame(right)) if finding.broken]


@pytest.mark.parametrize(
    ("path", "wrong", "killer"),
    [
        (
            "robustfw_objectives.divergence._unit",
            lambda g, _=None: g / g.flatten(1).norm(dim=1)[:, None, None, None],
            "certain predictions",
        ),
        ("robustfw_objectives.divergence._unit", lambda g, _=None: g / g.norm(), "rows are independent"),
    ],
)
def test_mutations_of_vat_die(path, wrong, killer, monkeypatch):
    monkeypatch.setattr(path, wrong)
    broken = broken_laws(robustfw.make("objective", "vat"))
    assert killer in broken


def test_vat_without_evaluation_mode_dies(monkeypatch):
    """It would write batch norm's statistics, and difference two dropout masks."""
    monkeypatch.setattr("robustfw_objectives.layers.evaluation_mode", lambda model, x: contextlib.nullcontext())
    assert broken_laws(robustfw.make("objective", "vat")) == {"net left alone"}
