"""Updates, samplers and averages that are wrong in known ways: each dies by the law named."""

from __future__ import annotations

import attrs
import pytest
import torch

from robustfw import (
    Sampler,
    Update,
)
from robustfw.averaging import Averaging, Ema
from robustfw.stateful import Stateful
from robustfw.update import Once

from .laws import broken_laws

# Updates


class Changed(Update):
    """An update by a function of its turn."""

    def __init__(self, function):
        self.function = function

    def __call__(self, turn):
        return self.function(turn)


def once(turn):
    return Once()(turn)


def uphill(turn):
    turn.clear()
    loss = turn.loss()
    turn.backward(-loss)
    turn.step()
    return loss.detach()


def without_step(turn):
    turn.clear()
    loss = turn.loss()
    turn.backward(loss)
    return loss.detach()


def moves_examples(turn):
    turn.batch.x.clamp_(0.2, 0.8)
    return once(turn)


@attrs.define
class Forgetful(Update):
    """Adds the gradient of the batch before, which no checkpoint has."""

    memory: list = attrs.field(factory=list, init=False)

    def __call__(self, turn):
        turn.clear()
        loss = turn.loss()
        turn.backward(loss)
        parameters = [p for group in turn.optimizer.param_groups for p in group["params"]]
        now = [p.grad.clone() for p in parameters]
        for parameter, before in zip(parameters, self.memory or now, strict=True):
            parameter.grad += before
        self.memory = now
        turn.step()
        return loss.detach()


@attrs.define
class Remembering(Forgetful, Stateful):
    """`Forgetful` with its memory in the checkpoint."""

    def state_dict(self):
        return {f"before.{number}": each for number, each in enumerate(self.memory)}

    def load_state_dict(self, state):
        self.memory = [state[name] for name in sorted(state)]


UPDATES = {
    "uphill": (Changed(uphill), {"descends"}),
    "no step": (Changed(without_step), {"loss", "descends"}),
    "losses of all rows": (Changed(lambda turn: once(turn).expand(len(turn.batch))), {"loss"}),
    "a number": (Changed(lambda turn: float(once(turn))), {"loss"}),
    "examples changed": (Changed(moves_examples), {"examples untouched"}),
    "a memory that no checkpoint has": (Forgetful(), {"resumed"}),
}


@pytest.mark.parametrize(("update", "killers"), UPDATES.values(), ids=UPDATES.keys())
def test_update_mutants_die(update, killers):
    assert killers <= broken_laws(update)


@pytest.mark.parametrize("update", [Changed(once), Remembering()])
def test_the_frames_of_updates_break_no_law(update):
    assert not broken_laws(update)


# Samplers


class Ordered(Sampler):
    """A sampler by a function."""

    def __init__(self, function):
        self.function = function

    def order(self, split, generator, epoch):
        return self.function(len(split), generator)


SAMPLERS = {
    "one beyond the end": (lambda n, g: torch.arange(n) + 1, {"indices"}),
    "half of them": (lambda n, g: torch.arange(n // 2), {"indices"}),
    "int32": (lambda n, g: torch.arange(n, dtype=torch.int32), {"indices"}),
    "two axes": (lambda n, g: torch.arange(n)[None], {"indices"}),
    "torch's global generator": (lambda n, g: torch.randperm(n), {"generator decides"}),
}


@pytest.mark.parametrize(("function", "killers"), SAMPLERS.values(), ids=SAMPLERS.keys())
def test_sampler_mutants_die(function, killers):
    assert killers <= broken_laws(Ordered(function))


def test_the_frame_of_samplers_breaks_no_law():
    assert not broken_laws(Ordered(lambda n, generator: torch.randperm(n, generator=generator)))


# Averages


class Averaged(Averaging):
    """An exponential moving average with methods replaced."""

    def __init__(self, **wrong):
        self.right = Ema(0.5)
        for name, value in wrong.items():
            setattr(self, name, value)

    def build(self, model):
        return self.right.build(model)

    def update(self, average, model, progress):
        self.right.update(average, model, progress)

    def finish(self, average, batches):
        self.right.finish(average, batches)


@torch.no_grad()
def overshoots(average, model, progress):
    for mean, value in zip(average.module.parameters(), model.parameters(), strict=True):
        mean.add_(2 * (value - mean))


@torch.no_grad()
def moves_the_net(average, model, progress):
    Ema(0.5).update(average, model, progress)
    for mean, value in zip(average.module.parameters(), model.parameters(), strict=True):
        value.copy_(0.999 * mean)


@torch.no_grad()
def halves(average, batches):
    for mean in average.module.parameters():
        mean.mul_(0.5)


def shares_parameters(model):
    average = Ema(0.5).build(model)
    average.module = model
    return average


AVERAGES = {
    "overshoots": ({"update": overshoots}, {"mean"}),
    "changes the net": ({"update": moves_the_net}, {"net untouched"}),
    "halves its weights before an evaluation": ({"finish": halves}, {"net untouched"}),
    "is the net": ({"build": shares_parameters}, {"start"}),
}


@pytest.mark.parametrize(("wrong", "killers"), AVERAGES.values(), ids=AVERAGES.keys())
def test_averaging_mutants_die(wrong, killers):
    assert killers <= broken_laws(Averaged(**wrong))


def test_the_frame_of_averages_breaks_no_law():
    assert not broken_laws(Averaged())
