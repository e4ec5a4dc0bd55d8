"""Learning-rate schedules as recipes with options: torch's own, which is imported when one is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, final

import attrs
from attrs.validators import deep_iterable, ge, gt, in_, le, lt

from robustfw import Schedule

if TYPE_CHECKING:
    import torch
    from torch.optim.lr_scheduler import LRScheduler


@final
@attrs.frozen
class Constant(Schedule):
    """A constant learning rate."""

    def build(self, optimizer: torch.optim.Optimizer, updates: int) -> LRScheduler:
        """torch's ConstantLR with factor 1."""
        from torch.optim.lr_scheduler import ConstantLR

        return ConstantLR(optimizer, factor=1.0)


@final
@attrs.frozen
class MultiStep(Schedule):
    """The learning rate times ``gamma`` at each milestone."""

    milestones: Annotated[
        tuple[float, ...], "shares of the training, such as [0.5, 0.75]"
    ] = attrs.field(default=(0.5, 0.75), validator=deep_iterable([ge(0), le(1)]))
    gamma: Annotated[float, "factor at each milestone"] = attrs.field(
        default=0.1, validator=gt(0)
    )

    def build(self, optimizer: torch.optim.Optimizer, updates: int) -> LRScheduler:
        """torch's MultiStepLR."""
        from torch.optim.lr_scheduler import MultiStepLR

        return MultiStepLR(
            optimizer, [round(share * updates) for share in self.milestones], self.gamma
        )


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

    pct_start: Annotated[
        float,
        "share of the training, 0 to 1, in which the rate rises, as torch calls it",
    ] = attrs.field(
        default=0.25, validator=[gt(0), lt(1)], metadata={"aliases": ("peak",)}
    )
    shape: Annotated[
        Literal["cosine", "linear"], "of both ways; linear: a triangle"
    ] = attrs.field(default="cosine", validator=in_(("cosine", "linear")))

    def build(self, optimizer: torch.optim.Optimizer, updates: int) -> LRScheduler:
        """torch's OneCycleLR, which leaves the momentum alone."""
        from torch.optim.lr_scheduler import OneCycleLR

        rates: Any = [group["lr"] for group in optimizer.param_groups]
        anneal: Any = "cos" if self.shape == "cosine" else "linear"
        # torch divides by the number of updates before the peak, so there must be some
        pct_start = max(self.pct_start, 2 / (updates + 1))
        return OneCycleLR(
            optimizer,
            rates,
            total_steps=updates + 1,
            pct_start=pct_start,
            anneal_strategy=anneal,
            cycle_momentum=False,
        )
