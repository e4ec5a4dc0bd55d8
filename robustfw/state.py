"""The state of a training: all that the next step depends on, as tensors and JSON, so that it can be taken up again."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from robustfw.problem import Passes
from robustfw.recipe import TrainOptions


def derived_seed(seed: int, *stream: object) -> int:
    """A seed for one use of randomness: neighbouring seeds and streams share nothing."""
    name = "/".join(str(part) for part in (seed, *stream))
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")


def generator_for(seed: int, *stream: object) -> torch.Generator:
    """A fresh generator for one use, such as ("attack", epoch, batch, rank).

    Every draw of a training is a function of the seed and of where it stands, so that there is no generator's state to
    keep, and a resumed run draws what the uninterrupted one did.
    """
    return torch.Generator().manual_seed(derived_seed(seed, *stream))


@contextlib.contextmanager
def global_randomness(device: torch.device, seed: int) -> Iterator[None]:
    """torch's global generators, which dropout and initial weights draw from: seeded inside, the caller's outside."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # Not torch.manual_seed, which keeps a note, with the stack, for accelerators that nobody has begun to use.
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif device.type == "mps":
            torch.mps.manual_seed(seed)
        yield


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

    @classmethod
    def fresh(cls, build: Callable[[], nn.Module], options: TrainOptions, device: torch.device, updates: int) -> State:
        """Weights as ``build`` makes them from the seed; nothing trained yet."""
        with global_randomness(device, derived_seed(options.seed, "weights")):
            model = build().to(device)
        optimizer = options.optimizer.build([p for p in model.parameters() if p.requires_grad], options.learning_rate)
        average = None
        if options.ema:
            average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(options.ema), use_buffers=True)
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
        return named | {"total_loss": self.total_loss}

    def facts(self) -> dict[str, Any]:
        """Everything else, as JSON takes it."""
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "best_accuracy": self.best_accuracy,
            "smallest_gap": self.smallest_gap,
            "passes": attrs.asdict(self.passes),
            "groups": self.optimizer.state_dict()["param_groups"],
            "schedule": {k: v for k, v in self.scheduler.state_dict().items() if _plain(v)},
        }

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Back to what `tensors` and `facts` said, bit for bit.

        Raises:
            KeyError, RuntimeError: they belong to another net.
        """
        self.model.load_state_dict(_under("model", tensors))
        if self.average is not None:
            self.average.load_state_dict(_under("average", tensors))
        self.total_loss.copy_(tensors["total_loss"])
        self.good = _under("good", tensors)
        self._restore_optimizer(_under("optimizer", tensors), facts["groups"])
        self.scheduler.load_state_dict(self.scheduler.state_dict() | facts["schedule"])
        self.passes = Passes(**facts["passes"])
        for name in ("epoch", "batch", "best_accuracy", "smallest_gap"):
            setattr(self, name, facts[name])

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

    def keep_good(self) -> None:
        """Remember the weights as those to roll back to."""
        self.good = {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def roll_back(self) -> None:
        """The remembered weights, without the optimizer's memory of what followed them."""
        self.model.load_state_dict(self.good)
        if self.average is not None:  # it would go on spreading what was rolled back
            self.average.module.load_state_dict(self.good)
        self.optimizer.state.clear()


def evaluated_weights(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """From a state's tensors the weights that count: the average's where there is one, else the net's."""
    return _under("average.module", tensors) or _under("model", tensors)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = prefix + "."
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def _plain(value: object) -> bool:
    """Whether JSON gives the value back as it was; a schedule's other facts follow from its options."""
    if isinstance(value, list | tuple):
        return all(_plain(part) for part in value)
    return value is None or isinstance(value, bool | int | float | str)
