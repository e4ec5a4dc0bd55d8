"""Losses of an objective on a small net, asked for from known states of all that it may draw from or remember."""

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
    """A net of one hidden layer on examples (3, 2, 2) of three classes, with a batch x, y of so many rows."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))
        return model, torch.rand(rows, 3, 2, 2), torch.arange(rows) % 3


def losses_of(objective: Objective, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Losses from a fixed state of torch's global generator, which the caller gets back as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ask_as_new(objective, batch_of(model, x, y))


def ask_as_new(objective: Objective, batch: Batch) -> Tensor:
    """The losses of a batch, by an objective that has seen no batch before, if it remembers any."""
    return ask(as_new(objective), batch)


def ask(objective: Objective, batch: Batch) -> Tensor:
    """The losses of a batch, as the engine asks for them."""
    return objective(batch.net, batch.x, batch.y, batch)  # type: ignore[arg-type]  # a module here


def as_new(objective: Objective) -> Objective:
    """The objective fitted; a copy, where it has a state that laws before this one may have changed."""
    if any(True for _ in stateful_parts(objective)):
        objective = copy.deepcopy(objective)
    return objective.fitted(seen_examples())


def seen_examples() -> TensorSplit:
    """What an objective that learns from data learns from: always the same."""
    return TensorSplit(torch.rand(64, 3, 2, 2, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 3)


@attrs.frozen(eq=False)
class SeededLosses:
    """Losses from a known state of every generator."""

    values: Tensor
    """Detached."""
    draws: bool
    """Whether something was drawn, from whichever generator."""
    draws_from_all: bool
    """Whether something was drawn from torch's global generator, which each of several processes has its own of."""


def ask_from_seed(objective: Objective, model: nn.Module, x: Tensor, y: Tensor, seed: int) -> SeededLosses:
    """Losses of an objective as new, with every generator at a state that the seed decides."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        batch = batch_of(model, x, y, noise=torch.Generator().manual_seed(seed))
        generators = torch.default_generator, batch.noise, batch.generator
        before = [generator.get_state() for generator in generators]
        values = ask_as_new(objective, batch).detach()
        drawn = [not torch.equal(a, b.get_state()) for a, b in zip(before, generators, strict=True)]
        return SeededLosses(values, any(drawn), drawn[0])
