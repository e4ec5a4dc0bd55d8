"""The laws of an update, on trainings of a small net by the engine."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, final

import attrs
import torch
from torch import Tensor, nn

from robustfw.data.spec import DataSpec
from robustfw.data.splits import Splits, TensorSplit
from robustfw.inner._randomness import generator_for
from robustfw.inner.adversary import Adversary
from robustfw.inner.threat import Threat
from robustfw.objective import Objective
from robustfw.optim import Optimizer, Schedule
from robustfw.stateful import stateful_parts
from robustfw.task import Classification
from robustfw.testing.batches import RADIUS, Corner, pass_through_checkpoint
from robustfw.testing.laws import Law, require
from robustfw.testing.problems import Cube
from robustfw.training import _engine as engine
from robustfw.training._given import GivenDataset, GivenModel
from robustfw.training._state import State
from robustfw.training.batch import Batch
from robustfw.training.recipe import Recipe, TrainOptions
from robustfw.update import Update

UPDATES = 40
"""Updates of a training."""
ROWS = 24
"""Training examples."""


@final
@attrs.frozen
class _Momentum(Optimizer):
    """Gradient descent with momentum 1/2."""

    def build(
        self, parameters: Iterable[nn.Parameter], learning_rate: float
    ) -> torch.optim.Optimizer:
        """Torch's optimizer."""
        return torch.optim.SGD(parameters, learning_rate, momentum=0.5)


@final
@attrs.frozen
class _Constant(Schedule):
    """A constant learning rate."""

    def build(
        self, optimizer: torch.optim.Optimizer, updates: int
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """Torch's schedule."""
        return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)


@final
@attrs.frozen
class _AtWorstCases(Objective):
    """The loss at worst cases."""

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, batch: Batch) -> Tensor:
        """The loss of each example at its worst case, (batch,)."""
        return batch.loss(model(batch()))


class _Training:
    """A training of a small net, one update of the engine after the other."""

    def __init__(self, update: Update, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = nn.Linear(4, 3)
            self.x = torch.rand(ROWS, 4)
            self.y = self.x[:, :3].argmax(1)
        split = TensorSplit(self.x, self.y)
        splits = Splits(
            train=split, validation=split, test=split, spec=DataSpec((4,), 3)
        )
        options = TrainOptions(
            learning_rate=0.3,
            optimizer=_Momentum(),
            schedule=_Constant(),
            update=update,
        )
        self.recipe = Recipe(
            dataset=GivenDataset(splits),
            model=GivenModel(net),
            uncertainty=Cube(RADIUS),
            attack=Corner(),
            objective=_AtWorstCases(),
            train=options,
        )
        self.state = State.fresh(
            lambda: net, options=options, device=torch.device("cpu"), updates=UPDATES
        )
        self.number = 0

    @property
    def net(self) -> nn.Module:
        """The net that is trained."""
        return self.state.model

    def parameters(self) -> Tensor:
        """All parameters of the net in one row."""
        return torch.cat([p.detach().flatten() for p in self.net.parameters()])

    def loss(self) -> float:
        """The mean loss over all examples."""
        with torch.no_grad():
            return float(nn.functional.cross_entropy(self.net(self.x), self.y))

    def step(self, rows: int = ROWS) -> Tensor:
        """One update by the first examples; its loss."""
        task = Classification()
        generator = generator_for(0, "attack", self.number)
        adversary = Adversary(
            threat=Threat(Cube(RADIUS)), attack=Corner(), generator=generator, task=task
        )
        meta = {"index": torch.arange(rows)}
        progress = (self.number + 1) / UPDATES
        batch = Batch(
            net=self.net,
            x=self.x[:rows],
            y=self.y[:rows],
            adversary=adversary,
            task=task,
            progress=progress,
            meta=meta,
        )
        self.number += 1
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.number)
            return engine.update(self.recipe, self.state, batch)


def check_loss(update: Update, seed: int) -> None:
    """It gives the mean loss, one finite number, for a batch of any size, and changes parameters."""
    for rows in (ROWS, 5, 1):
        training = _Training(copy.deepcopy(update), seed)
        before = training.parameters()
        loss: Any = training.step(rows)
        require(
            isinstance(loss, Tensor), f"it gives a {type(loss).__name__}, not a tensor"
        )
        require(loss.shape == (), f"the loss has shape {tuple(loss.shape)}")
        require(bool(loss.isfinite()), f"the loss is {float(loss)}")
        require(
            bool(training.parameters().isfinite().all()),
            "parameters are not finite afterwards",
        )
        require(
            not torch.equal(training.parameters(), before),
            f"a batch of {rows} changes no parameter",
        )


def check_descends(update: Update, seed: int) -> None:
    """It lowers the loss of a linear classifier."""
    training = _Training(copy.deepcopy(update), seed)
    start = training.loss()
    for _ in range(UPDATES):
        training.step()
    end = training.loss()
    require(
        end < 0.9 * start,
        f"the loss went from {start:.3g} to {end:.3g} in {UPDATES} updates",
    )


def check_examples(update: Update, seed: int) -> None:
    """Examples and targets are not changed."""
    training = _Training(copy.deepcopy(update), seed)
    x = training.x.clone()
    y = training.y.clone()
    for _ in range(3):
        training.step()
    require(
        bool(torch.equal(training.x, x) and torch.equal(training.y, y)),
        "it changed the examples",
    )


def check_resumed(update: Update, seed: int) -> None:
    """Taken up again from a checkpoint it goes on as if nothing had happened, bit for bit.

    What it remembers between batches is the state of a `robustfw.Stateful`.
    """
    # 1. three updates
    original = _Training(copy.deepcopy(update), seed)
    for rows in (8, 5, 8):
        original.step(rows)
    # 2. another training with the state of the first
    resumed = _Training(copy.deepcopy(update), seed)
    tensors = {}
    for name, value in original.state.tensors().items():
        tensors[name] = value.detach().clone()
    resumed.state.restore(tensors, original.state.facts())
    receivers = dict(stateful_parts(resumed.recipe.train.update))
    for way, part in stateful_parts(original.recipe.train.update):
        state = {}
        for name, value in part.state_dict().items():
            state[name] = pass_through_checkpoint(value)
        receivers[way].load_state_dict(state)
    resumed.number = original.number
    # 3. two more updates of each
    for training in (original, resumed):
        for _ in range(2):
            training.step()
    require(
        bool(torch.equal(original.parameters(), resumed.parameters())),
        "a training that is taken up again has other weights: what it remembers must be the state of a "
        "robustfw.Stateful",
    )


LAWS = (
    Law("loss", check_loss),
    Law("descends", check_descends),
    Law("examples untouched", check_examples),
    Law("resumed", check_resumed),
)
