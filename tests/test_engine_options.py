"""Options of the engine: optimizers, schedules, averages, clipping, warm-up, and what overfitting does."""

from __future__ import annotations

import contextlib
import itertools

import pytest
import torch
from torch import nn

from robustfw import Epoch, Step, TrainingError
from robustfw.inner.threat import Threat
from robustfw.training import _engine as engine
from robustfw.training import _validation as validation
from robustfw.training._session import begin

from .engine_runs import REGISTRY, blobs, recipe, records


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("schedule", ["constant", "multistep", "cosine", "one-cycle", "inverse-time:decay=0.01"])
def test_optimizers_and_schedules_learn(optimizer, schedule):
    rate = 0.05 if optimizer == "sgd" else 0.01
    options = {"epochs": 5, "batch_size": 16, "optimizer": optimizer, "schedule": schedule, "learning_rate": rate}
    found = records("mlp:hidden=[8]", blobs(dtype=torch.float32), uncertainty="l2:radius=0.1", train=options)
    assert found[-1].loss < found[0].loss


@pytest.mark.parametrize(
    "schedule", [entry.name for entry in REGISTRY.entries_of_kind("schedule")] + ["one-cycle:pct_start=0.01"]
)
@pytest.mark.parametrize("updates", [1, 2, 3, 5])
def test_schedules_of_the_shortest_trainings(schedule, updates):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
    scheduler = REGISTRY.make("schedule", schedule).build(optimizer, updates)
    rates = []
    for _ in range(updates):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert all(0 <= rate <= 0.1 for rate in rates)
    assert max(rates) > 0


def test_a_linear_cycle_is_a_triangle():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    scheduler = REGISTRY.make("schedule", "one-cycle:shape=linear,peak=0.25").build(optimizer, 99)
    rates = []
    for _ in range(99):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates[24] == max(rates) == pytest.approx(1.0)
    for part in (rates[:25], rates[24:]):
        steps = torch.tensor(part).diff()
        assert float(steps.std()) < 1e-6


def test_averaged_weights_are_the_ones_evaluated():
    options = {"epochs": 1, "batch_size": 16, "ema": 0.5}
    session = begin(recipe("mlp:hidden=[8]", blobs(dtype=torch.float32), train=options), REGISTRY)
    live, expected = session.state.model, None
    for record in session.records():
        if isinstance(record, Step):
            now = next(live.parameters()).detach()
            expected = now.clone() if expected is None else 0.5 * expected + 0.5 * now
    assert record.model is not live
    torch.testing.assert_close(next(record.model.parameters()).detach(), expected)


def test_the_gradient_is_clipped():
    splits = blobs(dtype=torch.float32)
    options = {"epochs": 1, "batch_size": 16, "optimizer": "sgd:momentum=0,weight_decay=0", "schedule": "constant"}
    torch.manual_seed(0)
    model = nn.Linear(6, 2)
    before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
    session = begin(recipe(model, splits, train=options | {"clip": 1e-3, "learning_rate": 1.0}), REGISTRY)
    next(session.records())
    after = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert float((after - before).norm()) == pytest.approx(1e-3, rel=1e-3)


def test_the_set_grows_during_the_warm_up():
    made = recipe("mlp:hidden=[8]", blobs(), uncertainty="l2:radius=1", train={"radius_warmup": 2})
    x, g = torch.zeros(1, 6), torch.ones(1, 6)
    whole = Threat(made.uncertainty, None)
    sizes = [float(engine.grow_threat(made, whole, epochs).region(x).support(g).norm()) for epochs in (0.5, 1, 2, 3)]
    assert sizes == pytest.approx([0.25, 0.5, 1, 1])


@pytest.mark.parametrize("action", ["warn", "roll-back", "stop", "ignore"])
def test_catastrophic_overfitting_is_noticed_and_dealt_with(action, monkeypatch):
    """The symptoms are given (tests/test_overfitting.py has them); what follows from them is the engine's."""
    symptoms = itertools.chain([(0.6, 0.6), (0.65, 0.55), (0.99, 0.1)], itertools.repeat((0.6, 0.6)))

    def validate(recipe, splits, state):
        under_attack, robust = next(symptoms)
        found = validation.Symptoms(under_attack, 0.9)
        limit = recipe.train.overfitting_gap
        diagnosis = validation.diagnose(found, 0.99, robust, smallest_gap=state.smallest_gap, limit=limit)
        return validation.Validation(10, 0.99, robust, found, diagnosis)

    monkeypatch.setattr(validation, "validate", validate)
    options = {"epochs": 4, "batch_size": 16, "on_overfitting": action, "schedule": "constant"}
    session = begin(recipe("mlp:hidden=[8]", blobs(dtype=torch.float32), train=options), REGISTRY)
    epochs, weights = [], []
    stops = pytest.raises(TrainingError, match="catastrophic overfitting")
    with stops if action == "stop" else contextlib.nullcontext():
        for record in session.records():
            if isinstance(record, Epoch):
                epochs.append(record)
                weights.append(torch.cat([p.detach().flatten().clone() for p in record.model.parameters()]))
    if action == "stop":
        assert len(epochs) == 2
        return
    assert any("catastrophic overfitting" in warning for warning in epochs[2].warnings) == (action != "ignore")
    assert not epochs[2].best
    assert torch.equal(weights[2], weights[0]) == (action == "roll-back")
    assert not epochs[3].warnings


def test_rolling_back_takes_the_averaged_weights_back_too():
    """They would go on spreading what was rolled back."""
    options = {"epochs": 1, "batch_size": 16, "ema": 0.9}
    state = begin(recipe("mlp:hidden=[8]", blobs(dtype=torch.float32), train=options), REGISTRY).state
    state.keep_good()
    with torch.no_grad():
        for parameter in (*state.model.parameters(), *state.average.parameters()):
            parameter.fill_(torch.nan)
    state.roll_back()
    for name, value in state.good.items():
        assert torch.equal(state.model.state_dict()[name], value)
        assert torch.equal(state.weights()[name], value)
