"""Optimizers and learning-rate schedules: torch's own, spelled and registered like any other plugin.

They belong to the engine and are no interface of robust optimization; that they come through the same door only
means that specs, records and help need no second way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, Any, Literal, final

import attrs
from attrs.validators import deep_iterable, ge, gt, in_, le, lt

from robustfw.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch
    from torch import nn
    from torch.optim.lr_scheduler import LRScheduler

    from robustfw.hookspecs import Add


class Optimizer(ABC):
    """A recipe for a ``torch.optim.Optimizer``."""

    @abstractmethod
    def build(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
        """The optimizer of these parameters."""


class Schedule(ABC):
    """A recipe for a learning-rate scheduler that is stepped after each update."""

    @abstractmethod
    def build(self, optimizer: torch.optim.Optimizer, updates: int) -> LRScheduler:
        """The scheduler of a training of so many updates."""


@final
@attrs.frozen
class Sgd(Optimizer):
    """Stochastic gradient descent."""

    momentum: Annotated[float, "heavy-ball momentum"] = attrs.field(default=0.9, validator=[ge(0), lt(1)])
    nesterov: Annotated[bool, "Nesterov's form of it"] = True
    weight_decay: Annotated[float, "ℓ2 penalty, added to the gradient"] = attrs.field(default=5e-4, validator=ge(0))

    def build(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
        """torch.optim.SGD."""
        from torch.optim import SGD

        nesterov = self.nesterov and self.momentum > 0
        return SGD(parameters, learning_rate, momentum=self.momentum, nesterov=nesterov, weight_decay=self.weight_decay)


@final
@attrs.frozen
class Muon(Optimizer):
    """Orthogonalised momentum for the filters of convolutions, gradient descent for all other parameters (Jordan 2024).

    A step turns a layer's filters W, one row each, by the learning rate: W ← W − lr · ‖W‖ · O/‖O‖, where O is about the
    nearest to the momentum of all matrices whose singular values are 1; ‖W‖ stays as it is. For nets with a norm after
    each convolution, where only the direction of W matters.
    """

    momentum: Annotated[float, "heavy-ball momentum, Nesterov's form"] = attrs.field(
        default=0.75, validator=[ge(0), lt(1)]
    )
    others: Annotated[float, "learning rate of other parameters, in units of the filters'"] = attrs.field(
        default=8.0, validator=gt(0)
    )
    weight_decay: Annotated[float, "ℓ2 penalty of other parameters, added to their gradient"] = attrs.field(
        default=5e-4, validator=ge(0)
    )

    def build(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
        """torch.optim.SGD, which is handed other gradients of filters."""
        from robustfw.orthogonal import OrthogonalSGD

        return OrthogonalSGD(
            parameters,
            learning_rate,
            others=self.others * learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )


@final
@attrs.frozen
class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    weight_decay: Annotated[float, "decoupled weight decay"] = attrs.field(default=0.01, validator=ge(0))
    beta1: Annotated[float, "decay of the mean gradient"] = attrs.field(default=0.9, validator=[ge(0), lt(1)])
    beta2: Annotated[float, "decay of the mean square"] = attrs.field(default=0.999, validator=[ge(0), lt(1)])

    def build(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
        """torch.optim.AdamW."""
        from torch.optim import AdamW as TorchAdamW

        return TorchAdamW(parameters, learning_rate, betas=(self.beta1, self.beta2), weight_decay=self.weight_decay)


@final
@attrs.frozen
class Constant(Schedule):
    """The learning rate as it is."""

    def build(self, optimizer: torch.optim.Optimizer, updates: int) -> LRScheduler:
        """torch's ConstantLR with factor 1."""
        from torch.optim.lr_scheduler import ConstantLR

        return ConstantLR(optimizer, factor=1.0)


@final
@attrs.frozen
class MultiStep(Schedule):
    """The learning rate times ``gamma`` at each milestone."""

    milestones: Annotated[tuple[float, ...], "shares of the training, such as [0.5, 0.75]"] = attrs.field(
        default=(0.5, 0.75), validator=deep_iterable([ge(0), le(1)])
    )
    gamma: Annotated[float, "factor at each milestone"] = attrs.field(default=0.1, validator=gt(0))

    def build(self, optimizer: torch.optim.Optimizer, updates: int) -> LRScheduler:
        """torch's MultiStepLR."""
        from torch.optim.lr_scheduler import MultiStepLR

        return MultiStepLR(optimizer, [round(share * updates) for share in self.milestones], self.gamma)


@final
@attrs.frozen
class Cosine(Schedule):
    """Half a cosine from the learning rate down to 0."""

    def build(self, optimizer: torch.optim.Optimizer, updates: int) -> LRScheduler:
        """torch's CosineAnnealingLR."""
        from torch.optim.lr_scheduler import CosineAnnealingLR

        return CosineAnnealingLR(optimizer, updates)


@final
@attrs.frozen
class InverseTime(Schedule):
    """The learning rate over 1 + decay·t, after t updates: torch7's ``learningRateDecay``."""

    decay: Annotated[float, "per update"] = attrs.field(default=1e-5, validator=ge(0))

    def build(self, optimizer: torch.optim.Optimizer, updates: int) -> LRScheduler:
        """torch's LambdaLR."""
        from torch.optim.lr_scheduler import LambdaLR

        return LambdaLR(optimizer, lambda t: 1 / (1 + self.decay * t))


@final
@attrs.frozen
class OneCycle(Schedule):
    """Up to the learning rate and down to almost 0 again (Smith & Topin 2019)."""

    peak: Annotated[float, "share of the training at which the peak is reached"] = attrs.field(
        default=0.25, validator=[gt(0), lt(1)]
    )
    shape: Annotated[Literal["cosine", "linear"], "of both ways; linear: a triangle"] = attrs.field(
        default="cosine", validator=in_(("cosine", "linear"))
    )

    def build(self, optimizer: torch.optim.Optimizer, updates: int) -> LRScheduler:
        """torch's OneCycleLR, momentum left alone."""
        from torch.optim.lr_scheduler import OneCycleLR

        rates: Any = [group["lr"] for group in optimizer.param_groups]
        anneal: Any = "cos" if self.shape == "cosine" else "linear"
        peak = max(self.peak, 2 / (updates + 1))  # torch divides by the updates before the peak
        return OneCycleLR(
            optimizer,
            rates,
            total_steps=updates + 1,
            pct_start=peak,
            anneal_strategy=anneal,
            cycle_momentum=False,
        )


@hookimpl
def robustfw_register(add: Add) -> None:
    add("sgd", Sgd)
    add("muon", Muon)
    add("adamw", AdamW)
    add("constant", Constant)
    add("multistep", MultiStep)
    add("cosine", Cosine)
    add("inverse-time", InverseTime)
    add("one-cycle", OneCycle)
