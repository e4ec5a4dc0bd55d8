"""The engine: an exact oracle for the whole min-max path, and what it promises about its records and its state."""

from __future__ import annotations

import math

import attrs
import pytest
import torch
from torch import nn
from torch.nn import functional

import robustfw
from robustfw import DataSpec, Epoch, Objective, Splits, Step, TensorSplit, TrainingError
from robustfw.inner._randomness import derive_seed, generator_for, global_randomness
from robustfw.task import Regression
from robustfw.testing.batches import given_batch
from robustfw.training import _engine as engine
from robustfw.training._state import State
from robustfw.training.recipe import TrainOptions

from .engine_runs import blobs, recipe, records


@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2), ("l1", math.inf)])
def test_linear_model_matches_dual_norm_penalty(norm, dual):
    """Adversarial training of a linear binary classifier is training with ε‖w‖_q off the margin, weight for weight.

    max over ‖δ‖ₚ ≤ ε of ℓ(y⟨w, x + δ⟩) = ℓ(y⟨w, x⟩ − ε‖w‖_q), 1/p + 1/q = 1, and one support call attains it.
    """
    epsilon, splits = 0.3, blobs()
    torch.manual_seed(0)
    model = nn.Linear(6, 2).double()
    twin = nn.Linear(6, 2).double()
    twin.load_state_dict(model.state_dict())
    options = {"epochs": 6, "batch_size": 16, "learning_rate": 0.2, "optimizer": "sgd:momentum=0.9", "seed": 3}
    records(model, splits, uncertainty=f"{norm}:radius={epsilon}", attack="single-step", train=options)

    optimizer = torch.optim.SGD(twin.parameters(), 0.2, momentum=0.9, nesterov=True, weight_decay=5e-4)
    one_cycle = torch.optim.lr_scheduler.OneCycleLR
    scheduler = one_cycle(optimizer, 0.2, total_steps=25, pct_start=0.25, cycle_momentum=False)
    for epoch in range(6):
        order = torch.randperm(64, generator=generator_for(3, "order", epoch))
        for rows in order.split(16):
            x, sign = splits.train.x[rows], 2 * splits.train.y[rows].double() - 1
            w, b = twin.weight[1] - twin.weight[0], twin.bias[1] - twin.bias[0]
            margin = sign * (x @ w + b) - epsilon * torch.linalg.vector_norm(w, dual)
            loss = functional.softplus(-margin).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
    torch.testing.assert_close(model.weight, twin.weight, rtol=0, atol=1e-10)
    torch.testing.assert_close(model.bias, twin.bias, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2), ("l1", math.inf)])
def test_linear_regression_matches_the_dual_norm_penalty(norm, dual):
    """Robust least squares is training with (|⟨w, x⟩ + b − t| + r‖w‖_q)², weight for weight.

    max over ‖δ‖ₚ ≤ r of (⟨w, x + δ⟩ + b − t)² moves x so that the residual grows by r‖w‖_q, 1/p + 1/q = 1; one support
    call attains it. The uncertainty is per example, so that the maximum stands within the mean.
    """
    radius = 0.2
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(80, 6, generator=generator, dtype=torch.float64)
    t = x @ torch.arange(1, 7, dtype=torch.float64) / 3 + torch.randn(80, generator=generator, dtype=torch.float64)
    whole = TensorSplit(x, t)
    train, validation = whole.subset(torch.arange(64)), whole.subset(torch.arange(64, 80))
    spec = DataSpec((6,), 1, bounds=None, task=Regression(tolerance=1.0))
    torch.manual_seed(0)
    model = nn.Linear(6, 1).double()
    twin = nn.Linear(6, 1).double()
    twin.load_state_dict(model.state_dict())
    options = {"epochs": 6, "batch_size": 16, "learning_rate": 0.02, "optimizer": "sgd:momentum=0.9", "seed": 3}
    options["validation_attack"] = "single-step"  # a random start may end in the lower of the two maxima
    splits = Splits(train, validation, whole.first(8), spec)
    last = records(model, splits, uncertainty=f"{norm}:radius={radius}", attack="single-step", train=options)[-1]

    def errors(x, t):
        residual = (x @ twin.weight[0] + twin.bias - t).abs()
        return residual + radius * torch.linalg.vector_norm(twin.weight, dual)

    optimizer = torch.optim.SGD(twin.parameters(), 0.02, momentum=0.9, nesterov=True, weight_decay=5e-4)
    one_cycle = torch.optim.lr_scheduler.OneCycleLR
    scheduler = one_cycle(optimizer, 0.02, total_steps=25, pct_start=0.25, cycle_momentum=False)
    for epoch in range(6):
        order = torch.randperm(64, generator=generator_for(3, "order", epoch))
        for rows in order.split(16):
            loss = errors(train.x[rows], train.y[rows]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
    torch.testing.assert_close(model.weight, twin.weight, rtol=0, atol=1e-10)
    torch.testing.assert_close(model.bias, twin.bias, rtol=0, atol=1e-10)
    expected = float((errors(validation.x, validation.y) <= 1).double().mean())
    assert last.robust_accuracy == expected, "and its validation is the closed form's, of the same weights"


def test_clean_training_is_training_with_radius_zero():
    splits, weights = blobs(), []
    for parts in ({"objective": "clean"}, {"objective": "robust", "uncertainty": "l2:radius=0"}):
        torch.manual_seed(0)
        model = nn.Linear(6, 2).double()
        records(model, splits, attack="single-step", train={"epochs": 2, "batch_size": 16}, **parts)
        weights.append(model.weight.detach())
    torch.testing.assert_close(*weights, rtol=0, atol=1e-12)


def test_mixed_is_the_mixture():
    torch.manual_seed(0)
    model, x, y = nn.Linear(4, 3), torch.rand(5, 4), torch.arange(5) % 3
    far = x + 0.5
    mixed = robustfw.make("objective", "mixed:alpha=0.25")(model, x, y, given_batch(model, x, y, far))
    expected = [functional.cross_entropy(model(z), y, reduction="none") for z in (x, far)]
    torch.testing.assert_close(mixed, 0.25 * expected[0] + 0.75 * expected[1])


def test_it_never_learns_from_clean_examples_when_robust():
    """Algorithm 1: θ only ever sees worst cases."""
    splits, seen = blobs(), []

    class Watching(nn.Linear):
        def forward(self, x):
            if torch.is_grad_enabled() and not x.requires_grad and self.training:
                seen.append(x.detach().clone())
            return super().forward(x)

    torch.manual_seed(0)
    options = {"epochs": 1, "batch_size": 16}
    records(Watching(6, 2).double(), splits, uncertainty="l2:radius=0.5", attack="single-step", train=options)
    clean = {tuple(row.tolist()) for row in splits.train.x}
    assert len(seen) == 4
    assert not any(tuple(row.tolist()) in clean for batch in seen for row in batch)


def test_records_count_steps_and_epochs():
    options = {"epochs": 2, "batch_size": 16}
    found = records("mlp:hidden=[8]", blobs(dtype=torch.float32), steps=True, train=options)
    assert [type(record) for record in found] == [*[Step] * 4, Epoch, *[Step] * 4, Epoch]
    last = found[-1]
    assert last.epoch == last.epochs == 2
    assert last.attacked == 16
    assert last.passes_per_example == pytest.approx(7 + 7 + 1)
    assert 0 <= last.robust_accuracy <= last.clean_accuracy <= 1
    assert "model" not in repr(last)


def test_the_test_split_is_out_of_reach():
    class Guarded:
        def __getattr__(self, name):
            raise AssertionError(f"the trainer asked the test split for {name}")

    splits = blobs(dtype=torch.float32)
    made = recipe("mlp:hidden=[8]", splits, train={"epochs": 1, "batch_size": 16})
    state = State.fresh(lambda: made.model.build(splits.spec), made.train, torch.device("cpu"), 4)
    list(engine.train(made, attrs.evolve(splits, test=Guarded()), state))


def test_a_training_leaves_the_callers_randomness_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    for _ in records("mlp:hidden=[8]", blobs(dtype=torch.float32), train={"epochs": 1, "batch_size": 16}):
        pass
    assert torch.equal(torch.rand(3), expected)


def test_the_callers_randomness_does_not_change_a_training():
    splits, weights = blobs(dtype=torch.float32), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found = records("mlp:hidden=[8]", splits, train={"epochs": 1, "batch_size": 16})
        weights.append(torch.cat([p.detach().flatten() for p in found[-1].model.parameters()]))
        torch.rand(5)
    assert torch.equal(*weights)


def test_seeding_a_cpu_leaves_no_note_for_accelerators():
    """torch.manual_seed does, with the stack, in a list that only grows: a millisecond of each step."""
    notes = torch.cuda._queued_calls
    count = len(notes)
    with global_randomness(torch.device("cpu"), 5):
        first = torch.rand(3)
    assert len(notes) == count
    with global_randomness(torch.device("cpu"), 5):
        assert torch.equal(torch.rand(3), first)


def test_streams_of_randomness_share_nothing():
    seeds = {derive_seed(seed, stream, step) for seed in range(20) for stream in ("a", "b") for step in range(20)}
    assert len(seeds) == 800


@attrs.frozen
class Explodes(Objective):
    def __call__(self, model, x, y, batch):
        return model(x).sum(1) * torch.inf


def test_a_loss_that_is_not_finite_stops_the_training_with_a_sentence():
    with pytest.raises(TrainingError, match="not finite in epoch 1, batch 1 of 4: lower the learning rate"):
        records("mlp:hidden=[8]", blobs(dtype=torch.float32), objective=Explodes(), train={"batch_size": 16})


def test_options_are_checked():
    for name, value in (("epochs", 0), ("batch_size", 0), ("learning_rate", -1.0), ("ema", 1.0), ("clip", 0.0)):
        with pytest.raises(ValueError, match=name):
            TrainOptions(**{name: value})
