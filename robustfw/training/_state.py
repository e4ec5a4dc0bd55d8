"""The state of a training: all that the next step depends on, as tensors and JSON, so that it can be resumed."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from robustfw.errors import PluginError, RobustfwWarning
from robustfw.inner._randomness import derive_seed, global_randomness
from robustfw.inner.problem import Passes
from robustfw.stateful import Stateful
from robustfw.storage._checkpoints import tensors_below
from robustfw.training._schedules import replay_schedule
from robustfw.training.recipe import TrainOptions


@attrs.define(eq=False)
class State:
    """The net, what trains it, and where the training stands; `tensors` and `facts` together hold all of it."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: LRScheduler
    average: AveragedModel | None
    """The average of the weights; None where nothing is averaged."""
    total_loss: Tensor
    """Sum of the losses of the epoch under way, float64, on the net's device."""
    passes: Passes = attrs.field(factory=Passes)
    """Passes through the net for worst cases, in the epoch under way."""
    epoch: int = 0
    """Finished epochs."""
    batch: int = 0
    """Finished batches of the epoch under way."""
    best_accuracy: float = -1.0
    """Highest robust validation accuracy so far."""
    smallest_gap: float = 1.0
    """Smallest lead so far of the training attack's accuracy over the validation attack's."""
    good: dict[str, Tensor] = attrs.field(factory=dict)
    """Weights to roll back to."""
    best_clean: float = -1.0
    """Clean validation accuracy of the best epoch, which decides among epochs of the same robust accuracy."""
    best_loss: float = math.inf
    """Training loss of the best epoch, which decides among epochs that are alike in both accuracies."""
    best: dict[str, Tensor] = attrs.field(factory=dict)
    """The weights of the best epoch; a run directory has them in a file of their own."""
    updates: int = 0
    """Updates of the whole training, which the schedule spans."""
    rate_before: float | None = None
    """The learning rate of a restored state whose schedule spanned another number of updates; None where it did not."""
    parts: Mapping[str, Stateful] = attrs.field(factory=dict)
    """Parts of the recipe that remember, by their paths in it; what they know is a part of this state."""

    @classmethod
    def fresh(
        cls,
        build: Callable[[], nn.Module],
        options: TrainOptions,
        device: torch.device,
        updates: int,
    ) -> State:
        """The state before the first update.

        Args:
            build: makes the net, with weights drawn from torch's global generator, which is seeded meanwhile.
            options: the optimizer, the schedule, the averaging and the seed.
            device: where to train.
            updates: updates of the whole training, which the schedule spans.
        """
        with global_randomness(device, derive_seed(options.seed, "weights")):
            model = build().to(device)
        parameters = [
            parameter for parameter in model.parameters() if parameter.requires_grad
        ]
        optimizer = options.optimizer.build(parameters, options.learning_rate)
        average = None
        if options.averages is not None:
            average = options.averages.build(model)
        total_loss = torch.zeros((), dtype=torch.float64, device=device)
        scheduler = options.schedule.build(optimizer, updates)
        return cls(model, optimizer, scheduler, average, total_loss, updates=updates)

    @property
    def learning_rate(self) -> float:
        """The rate of the next update."""
        return float(self.scheduler.get_last_lr()[0])

    @property
    def net_to_evaluate(self) -> nn.Module:
        """The net that is evaluated: the average where there is one, else the trained net."""
        if self.average is None:
            return self.model
        return self.average.module

    def weights(self) -> dict[str, Tensor]:
        """Parameters and buffers of the net that is evaluated."""
        return dict(self.net_to_evaluate.state_dict())

    def tensors(self) -> dict[str, Tensor]:
        """Everything that is a tensor, by name."""
        named = _with_prefix("model", self.model.state_dict())
        if self.average is not None:
            named |= _with_prefix("average", self.average.state_dict())
        for index, values in self.optimizer.state_dict()["state"].items():
            for name, value in values.items():
                if isinstance(value, Tensor):
                    named[f"optimizer.{index}.{name}"] = value
        named |= _with_prefix("good", self.good)
        for path, part in self.parts.items():
            for name, value in part.state_dict().items():
                if isinstance(value, Tensor):
                    named[f"part.{path}/{name}"] = value
        return named | {"total_loss": self.total_loss}

    def facts(self) -> dict[str, Any]:
        """Everything that is no tensor, as JSON takes it.

        Raises:
            PluginError: a part of the recipe has something in its state that is neither a tensor nor JSON.
        """
        schedule = {}
        for name, value in self.scheduler.state_dict().items():
            if _survives_json(value):
                schedule[name] = value
        parts = {}
        for path, part in self.parts.items():
            parts[path] = self._facts_of_part(part, path)
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "updates": self.updates,
            "best_accuracy": self.best_accuracy,
            "best_clean": self.best_clean,
            "best_loss": self.best_loss if math.isfinite(self.best_loss) else None,
            "smallest_gap": self.smallest_gap,
            "passes": attrs.asdict(self.passes),
            "groups": self.optimizer.state_dict()["param_groups"],
            "schedule": schedule,
            "parts": parts,
        }

    @staticmethod
    def _facts_of_part(part: Stateful, path: str) -> dict[str, Any]:
        """What a part of the recipe remembers besides tensors."""
        facts = {}
        for name, value in part.state_dict().items():
            if isinstance(value, Tensor):
                continue
            if not _survives_json(value):
                kind = type(value).__name__
                raise PluginError(
                    f"{type(part).__name__} ({path}) keeps {name!r}, a {kind}, in its state: give "
                    "tensors, numbers, words and lists of these"
                )
            facts[name] = value
        return facts

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Become what `tensors` and `facts` were taken from, bit for bit.

        Where the schedule spanned another number of updates than this state's, this state's schedule goes on from the
        update that was reached, as if it had been the schedule from the beginning.

        Raises:
            KeyError, RuntimeError: they belong to another net.
        """
        self.model.load_state_dict(tensors_below("model", tensors))
        if self.average is not None:
            self.average.load_state_dict(tensors_below("average", tensors))
        self.total_loss.copy_(tensors["total_loss"])
        self.good = tensors_below("good", tensors)
        if facts.get("updates") != self.updates:
            # a checkpoint of an older version does not say what its schedule spanned
            if "updates" in facts:
                self.rate_before = float(facts["groups"][0]["lr"])
            facts = replay_schedule(self.scheduler, self.optimizer, facts)
        self._restore_optimizer(tensors_below("optimizer", tensors), facts["groups"])
        schedule = self.scheduler.state_dict() | facts["schedule"]
        self.scheduler.load_state_dict(schedule)
        self.passes = Passes(**facts["passes"])
        for name in ("epoch", "batch", "best_accuracy", "smallest_gap"):
            setattr(self, name, facts[name])
        self.best_clean = facts.get("best_clean", self.best_accuracy)
        best_loss = facts.get("best_loss")
        self.best_loss = math.inf if best_loss is None else best_loss
        self._restore_parts(tensors, facts.get("parts", {}))

    def _restore_parts(
        self, tensors: dict[str, Tensor], facts: dict[str, dict[str, Any]]
    ) -> None:
        """Give each part that remembers its saved state; warn of one that has none, which begins afresh."""
        for path, part in self.parts.items():
            start = f"part.{path}/"
            own_tensors = {}
            for name, value in tensors.items():
                if name.startswith(start):
                    own_tensors[name.removeprefix(start)] = value
            if path not in facts:
                warnings.warn(
                    f"the checkpoint has no state of {type(part).__name__} ({path}): it begins afresh, and the resumed "
                    "training is not the uninterrupted one",
                    RobustfwWarning,
                    stacklevel=2,
                )
                continue
            part.load_state_dict(own_tensors | facts[path])

    def _restore_optimizer(
        self, tensors: dict[str, Tensor], groups: list[dict[str, Any]]
    ) -> None:
        """Give the optimizer its tensors, named ``index.name``, and its parameter groups."""
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            index, name = key.split(".", 1)
            state.setdefault(int(index), {})[name] = value
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        for parameter, values in self.optimizer.state.items():
            for name, value in values.items():
                # kernels may round differently on another memory layout, so the parameter's own is restored too
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    values[name] = torch.empty_like(parameter).copy_(value)

    def keep_best(self, robust: float, clean: float, loss: float) -> None:
        """Remember this epoch as the best one so far, with its weights.

        Args:
            robust: robust validation accuracy.
            clean: clean validation accuracy.
            loss: mean training loss.
        """
        self.best_accuracy = robust
        self.best_clean = clean
        self.best_loss = loss
        self.best = _copy_state(self.weights())

    def is_best(self, robust: float, clean: float, loss: float) -> bool:
        """Whether an epoch is better than the best: by robust accuracy, then clean accuracy, then training loss.

        Args:
            robust: robust validation accuracy; not a number where there are no validation examples, and then each epoch
                is better than the one before.
            clean: clean validation accuracy.
            loss: mean training loss.
        """
        if math.isnan(robust):
            return True
        merit = (robust, clean, -loss)
        best_merit = (self.best_accuracy, self.best_clean, -self.best_loss)
        return merit > best_merit

    def keep_good(self) -> None:
        """Remember the weights as those to roll back to."""
        self.good = _copy_state(self.model.state_dict())

    def roll_back(self) -> None:
        """Put back the remembered weights, and clear the optimizer's memory of what followed them."""
        self.model.load_state_dict(self.good)
        # an average would go on spreading what was rolled back
        if self.average is not None:
            self.average.module.load_state_dict(self.good)
        self.optimizer.state.clear()


def _with_prefix(prefix: str, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors under names that begin with ``prefix.``; the inverse of `tensors_below`."""
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def _copy_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a state dict that shares no memory with it; a module's extra state may be no tensor."""
    copies = {}
    for name, value in state.items():
        if isinstance(value, Tensor):
            copies[name] = value.detach().clone()
        else:
            copies[name] = copy.deepcopy(value)
    return copies


def _survives_json(value: object) -> bool:
    """Whether JSON gives the value back as it was (a tuple as a list)."""
    if isinstance(value, list | tuple):
        return all(_survives_json(part) for part in value)
    return value is None or isinstance(value, bool | int | float | str)
