"""Losses of an objective on a small net, with known states of all generators and of what the objective remembers."""

from __future__ import annotations

import copy

import attrs
import torch
from torch import Tensor, nn

from robustfw.data.splits import TensorSplit
from robustfw.objective import Objective
from robustfw.stateful import stateful_parts
from robustfw.testing.batches import batch_of
from robustfw.training.batch import Batch


def small_net(seed: int, rows: int = 8) -> tuple[nn.Module, Tensor, Tensor]:
    """A net of one hidden layer for examples (3, 2, 2) of three classes, and a batch x, y of so many rows."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3)
        )
        return model, torch.rand(rows, 3, 2, 2), torch.arange(rows) % 3


def losses_of(objective: Objective, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Losses of an objective with a fixed state of torch's global generator, whose own state is restored afterwards.

    Args:
        objective: it is fitted first, in a copy if it has a state.
        model: outputs of x.
        x: examples, (batch, *shape).
        y: targets, (batch,).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return fit_and_ask(objective, batch_of(model, x, y))


def fit_and_ask(objective: Objective, batch: Batch) -> Tensor:
    """The losses of a batch, (batch,), by an objective that has seen no batch before."""
    return ask(fit_copy(objective), batch)


def ask(objective: Objective, batch: Batch) -> Tensor:
    """The losses of a batch, (batch,), asked for as the engine does."""
    return objective(batch.net, batch.x, batch.y, batch)  # type: ignore[arg-type]  # a module here


def fit_copy(objective: Objective) -> Objective:
    """The objective fitted to `training_split`; a copy, where it has a state that earlier laws may have changed."""
    if any(True for _ in stateful_parts(objective)):
        objective = copy.deepcopy(objective)
    return objective.fit(training_split())


def training_split() -> TensorSplit:
    """The training examples that objectives are fitted to: 64 of three classes, the same in every call."""
    x = torch.rand(64, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    return TensorSplit(x, torch.arange(64) % 3)


@attrs.frozen(eq=False)
class SeededLosses:
    """Losses of an objective, and which generators it drew from."""

    values: Tensor
    """(batch,), detached."""
    draws: bool
    """Whether it drew from any generator."""
    draws_from_global: bool
    """Whether it drew from torch's global generator, of which each process has its own."""


def ask_from_seed(
    objective: Objective, model: nn.Module, x: Tensor, y: Tensor, seed: int
) -> SeededLosses:
    """Losses of an objective that has seen no batch before, with every generator in a state that the seed decides.

    Args:
        objective: it is fitted first, in a copy if it has a state.
        model: outputs of x.
        x: examples, (batch, *shape).
        y: targets, (batch,).
        seed: of torch's global generator and of the batch's own.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        batch = batch_of(model, x, y, noise=torch.Generator().manual_seed(seed))
        generators = torch.default_generator, batch.noise, batch.generator
        states = [generator.get_state() for generator in generators]
        values = fit_and_ask(objective, batch).detach()
        drew = []
        for state, generator in zip(states, generators, strict=True):
            drew.append(not torch.equal(state, generator.get_state()))
        return SeededLosses(values, draws=any(drew), draws_from_global=drew[0])


def is_close(values: Tensor, others: Tensor) -> Tensor:
    """A mask of the losses that are equal up to rounding."""
    return (values - others).abs() <= 1e-5 * (1 + others.abs())
