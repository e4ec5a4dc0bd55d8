"""The state of a training: all that the next step depends on, as tensors and JSON, so that it can be taken up again."""

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
from robustfw.training.recipe import TrainOptions


@attrs.define(eq=False)
class State:
    """The net, what trains it, and where it stands. `tensors` and `facts` are the whole of it."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: LRScheduler
    average: AveragedModel | None
    total_loss: Tensor
    """Sum of the losses of the epoch under way, float64, on the net's device."""
    passes: Passes = attrs.field(factory=Passes)
    """Of the ascent, in the epoch under way."""
    epoch: int = 0
    """Epochs finished."""
    batch: int = 0
    """Batches finished of the epoch under way."""
    best_accuracy: float = -1.0
    """Highest robust validation accuracy so far."""
    smallest_gap: float = 1.0
    """Smallest lead so far of the training attack's accuracy over the validation attack's."""
    good: dict[str, Tensor] = attrs.field(factory=dict)
    """Weights to roll back to."""
    best_clean: float = -1.0
    """Clean validation accuracy of the best epoch, which decides among epochs of the same robust accuracy."""
    best_loss: float = math.inf
    """Its training loss, which decides among epochs that are alike in both."""
    best: dict[str, Tensor] = attrs.field(factory=dict)
    """The weights of the best epoch; a run directory has them in a file of their own."""
    parts: Mapping[str, Stateful] = attrs.field(factory=dict)
    """Parts of the recipe that remember, by the way to each; what they know is a part of this state."""

    @classmethod
    def fresh(cls, build: Callable[[], nn.Module], options: TrainOptions, device: torch.device, updates: int) -> State:
        """Weights as ``build`` makes them from the seed; nothing trained yet."""
        with global_randomness(device, derive_seed(options.seed, "weights")):
            model = build().to(device)
        optimizer = options.optimizer.build([p for p in model.parameters() if p.requires_grad], options.learning_rate)
        average = None if options.averages is None else options.averages.build(model)
        total = torch.zeros((), dtype=torch.float64, device=device)
        return cls(model, optimizer, options.schedule.build(optimizer, updates), average, total)

    @property
    def learning_rate(self) -> float:
        """The rate of the next update."""
        return float(self.scheduler.get_last_lr()[0])

    @property
    def evaluated(self) -> nn.Module:
        """The net that counts: the average where there is one."""
        return self.model if self.average is None else self.average.module

    def weights(self) -> dict[str, Tensor]:
        """Parameters and buffers of the net that counts."""
        return dict(self.evaluated.state_dict())

    def tensors(self) -> dict[str, Tensor]:
        """Everything that is a tensor, by name."""
        named = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        if self.average is not None:
            named |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for index, values in self.optimizer.state_dict()["state"].items():
            named |= {f"optimizer.{index}.{name}": v for name, v in values.items() if isinstance(v, Tensor)}
        named |= {f"good.{name}": value for name, value in self.good.items()}
        for way, part in self.parts.items():
            named |= {f"part.{way}/{name}": v for name, v in part.state_dict().items() if isinstance(v, Tensor)}
        return named | {"total_loss": self.total_loss}

    def facts(self) -> dict[str, Any]:
        """Everything else, as JSON takes it."""
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "best_accuracy": self.best_accuracy,
            "best_clean": self.best_clean,
            "best_loss": self.best_loss if math.isfinite(self.best_loss) else None,
            "smallest_gap": self.smallest_gap,
            "passes": attrs.asdict(self.passes),
            "groups": self.optimizer.state_dict()["param_groups"],
            "schedule": {k: v for k, v in self.scheduler.state_dict().items() if _plain(v)},
            "parts": {way: self._facts_of(part, way) for way, part in self.parts.items()},
        }

    @staticmethod
    def _facts_of(part: Stateful, way: str) -> dict[str, Any]:
        facts = {name: value for name, value in part.state_dict().items() if not isinstance(value, Tensor)}
        for name, value in facts.items():
            if not _plain(value):
                raise PluginError(
                    f"{type(part).__name__} ({way}) keeps {name!r}, a {type(value).__name__}, in its state: give "
                    "tensors, numbers, words and lists of these"
                )
        return facts

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Back to what `tensors` and `facts` said, bit for bit.

        Raises:
            KeyError, RuntimeError: they belong to another net.
        """
        self.model.load_state_dict(tensors_below("model", tensors))
        if self.average is not None:
            self.average.load_state_dict(tensors_below("average", tensors))
        self.total_loss.copy_(tensors["total_loss"])
        self.good = tensors_below("good", tensors)
        self._restore_optimizer(tensors_below("optimizer", tensors), facts["groups"])
        self.scheduler.load_state_dict(self.scheduler.state_dict() | facts["schedule"])
        self.passes = Passes(**facts["passes"])
        for name in ("epoch", "batch", "best_accuracy", "smallest_gap"):
            setattr(self, name, facts[name])
        self.best_clean = facts.get("best_clean", self.best_accuracy)
        self.best_loss = math.inf if facts.get("best_loss") is None else facts["best_loss"]
        self._restore_parts(tensors, facts.get("parts", {}))

    def _restore_parts(self, tensors: dict[str, Tensor], facts: dict[str, dict[str, Any]]) -> None:
        """Give each part that remembers what it had saved; warn of one that had saved nothing, which begins afresh."""
        for way, part in self.parts.items():
            start = f"part.{way}/"
            kept = {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
            if way not in facts:
                warnings.warn(
                    f"the checkpoint has no state of {type(part).__name__} ({way}): it begins afresh, and the resumed "
                    "training is not the uninterrupted one",
                    RobustfwWarning,
                    stacklevel=2,
                )
                continue
            part.load_state_dict(kept | facts[way])

    def _restore_optimizer(self, tensors: dict[str, Tensor], groups: list[dict[str, Any]]) -> None:
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            index, name = key.split(".", 1)
            state.setdefault(int(index), {})[name] = value
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        for parameter, values in self.optimizer.state.items():
            for name, value in values.items():
                # Kernels may round differently on another memory layout, so the parameter's own is restored too.
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    values[name] = torch.empty_like(parameter).copy_(value)

    def keep_best(self, robust: float, clean: float, loss: float) -> None:
        """Remember this epoch as the best one so far, with its weights."""
        self.best_accuracy, self.best_clean, self.best_loss = robust, clean, loss
        self.best = _copies(self.weights())

    def is_best(self, robust: float, clean: float, loss: float) -> bool:
        """Whether an epoch is better than the best: by robust accuracy, then clean accuracy, then training loss.

        Without validation examples (accuracies are not a number) each epoch is better than the one before.
        """
        if math.isnan(robust):
            return True
        return (robust, clean, -loss) > (self.best_accuracy, self.best_clean, -self.best_loss)

    def keep_good(self) -> None:
        """Remember the weights as those to roll back to."""
        self.good = _copies(self.model.state_dict())

    def roll_back(self) -> None:
        """The remembered weights, without the optimizer's memory of what followed them."""
        self.model.load_state_dict(self.good)
        if self.average is not None:  # it would go on spreading what was rolled back
            self.average.module.load_state_dict(self.good)
        self.optimizer.state.clear()


def _copies(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state dict of its own; a module's extra state may be something else than a tensor."""
    return {n: v.detach().clone() if isinstance(v, Tensor) else copy.deepcopy(v) for n, v in state.items()}


def _plain(value: object) -> bool:
    """Whether JSON gives the value back as it was; a schedule's other facts follow from its options."""
    if isinstance(value, list | tuple):
        return all(_plain(part) for part in value)
    return value is None or isinstance(value, bool | int | float | str)
