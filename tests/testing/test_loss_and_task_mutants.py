"""Losses and tasks that are wrong in known ways: each dies by the law named."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional

import robustfw
from robustfw import (
    DataError,
    Loss,
    Task,
)
from robustfw.loss import CrossEntropy
from robustfw.task import Classification, Regression

from .laws import broken_laws

# Losses


class Function(Loss):
    """A loss by a function."""

    def __init__(self, function):
        self.function = function

    def __call__(self, outputs, y, /):
        return self.function(outputs, y)


def cross_entropy(outputs, y):
    if y.is_floating_point() or y.dim() != 1:
        raise DataError("labels only")
    return robustfw.losses.cross_entropy(outputs, y)


def refuse(outputs, y):
    raise DataError("nothing is good enough")


def through_probabilities(outputs, y):
    """−log of a softmax that has underflowed."""
    labelled = cross_entropy(outputs, y) != 0
    return -outputs.softmax(1).gather(1, y.clamp(min=0)[:, None])[:, 0].log() * labelled


def in_place(outputs, y):
    values = cross_entropy(outputs, y)
    with torch.no_grad():
        outputs -= outputs.amax(1, keepdim=True)
    return values


CALLS = itertools.count(1)
LOSSES = {
    "a mean": (lambda z, y: cross_entropy(z, y).mean(), {"form", "rows are independent"}),
    "a mean for every row": (lambda z, y: cross_entropy(z, y).mean().expand(len(z)), {"rows are independent"}),
    "refuses everything": (refuse, {"form"}),
    "an error of its own": (lambda z, y: functional.cross_entropy(z, y.squeeze(3), reduction="none"), {"form"}),
    "log of a softmax": (through_probabilities, {"gradient"}),
    "a constant": (lambda z, y: 0 * cross_entropy(z, y), {"gradient"}),
    "no label is the last": (lambda z, y: cross_entropy(z, y % z.shape[1]), {"unlabelled"}),
    "changes its outputs": (in_place, {"manners"}),
    "another value each time": (lambda z, y: cross_entropy(z, y) / next(CALLS), {"manners"}),
}


@pytest.mark.parametrize(("function", "killers"), LOSSES.values(), ids=LOSSES.keys())
def test_loss_mutants_die(function, killers):
    assert killers <= broken_laws(Function(function))


def test_the_frame_of_losses_breaks_no_law():
    assert not broken_laws(Function(cross_entropy))


# Tasks


class Kinds(Task):
    """Classification, or what else is given, with methods replaced."""

    def __init__(self, task=None, **wrong):
        self.task, self.labelled, self.graded = task or Classification(), True, False
        if task is not None:
            self.labelled, self.graded = task.labelled, task.graded
        for name, value in wrong.items():
            setattr(self, name, value)

    @property
    def loss(self):
        return self.task.loss if "raised" not in vars(self) else self.raised

    def outputs(self, classes):
        return self.task.outputs(classes)

    def targets(self, y):
        return self.task.targets(y)

    def read(self, outputs, n):
        return self.task.read(outputs, n)

    def check(self, y, classes):
        return self.task.check(y, classes)

    def wrong(self, outputs, y):
        return self.task.wrong(outputs, y)

    def measure(self, outputs, y):
        return self.task.measure(outputs, y)

    def metrics(self, measured):
        return self.task.metrics(measured)


TASKS = {
    "targets move each time": ({"targets": lambda y: y.long() + 1, "check": lambda y, k: None}, {"targets"}),
    "NaN is the first class": ({"wrong": lambda z, y: z.nan_to_num().argmax(1) != y}, {"wrong"}),
    "one verdict for all": (
        {"wrong": lambda z, y: (z.argmax(1) != y).any().expand(len(y)) | z.isnan().any(1)},
        {"wrong"},
    ),
    "the loss of the other way": ({"raised": lambda z, y: -CrossEntropy()(z, y)}, {"loss"}),
    "a mean loss": ({"raised": lambda z, y: CrossEntropy()(z, y).mean()}, {"loss"}),
    "graded without a measure": ({"graded": True}, {"measure"}),
    "takes any label": ({"check": lambda y, k: None}, {"refusals"}),
}


@pytest.mark.parametrize(("wrong", "killers"), TASKS.values(), ids=TASKS.keys())
def test_task_mutants_die(wrong, killers):
    assert killers <= broken_laws(Kinds(**wrong))


@pytest.mark.parametrize(
    ("wrong", "killers"),
    [
        ({"measure": lambda o, y: (o - y).abs()[:, 0]}, {"measure"}),
        ({"metrics": lambda measured: {"error": float("nan")}}, {"measure"}),
        ({"check": lambda y, k: None}, {"refusals"}),
        ({"wrong": lambda o, y: (o - y).abs().amax(1) > 1}, {"wrong"}),
    ],
    ids=["measure without columns", "a figure that is none", "takes NaN as a target", "NaN is within tolerance"],
)
def test_mutants_of_a_regression_die(wrong, killers):
    assert killers <= broken_laws(Kinds(Regression(), **wrong))


@pytest.mark.parametrize("task", [Classification(), Regression()])
def test_the_frame_of_tasks_breaks_no_law(task):
    assert not broken_laws(Kinds(task))
