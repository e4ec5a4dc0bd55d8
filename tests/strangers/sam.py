"""Sharpness-aware minimization (Foret et al. 2021) as an optimizer whose step asks for the loss twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated

import attrs
import torch
from attrs.validators import ge, lt
from torch import Tensor, nn

from robustfw import Optimizer, UsageError, hookimpl


@attrs.frozen
class Sam(Optimizer):
    """θ ← θ − lr·∇J(θ + ρ·g/‖g‖₂), g = ∇J(θ): gradient descent at the worst of the parameters nearby."""

    rho: Annotated[float, "ρ, how far"] = attrs.field(default=0.05, validator=ge(0))
    momentum: Annotated[float, "heavy-ball momentum"] = attrs.field(default=0.9, validator=[ge(0), lt(1)])
    weight_decay: Annotated[float, "ℓ2 penalty, added to the gradient"] = attrs.field(default=5e-4, validator=ge(0))

    def build(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
        return SharpnessAwareSgd(
            parameters, learning_rate, momentum=self.momentum, weight_decay=self.weight_decay, rho=self.rho
        )


class SharpnessAwareSgd(torch.optim.SGD):
    """torch's SGD, handed the gradients at other parameters."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, *, rho: float, **options: float) -> None:
        super().__init__(parameters, lr, **options)
        self.rho = rho

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor:
        """One step by two calls of the closure; the first one's loss."""
        if closure is None:
            raise UsageError("sam needs the loss at two places: it goes with the update once, not with accumulate")
        with torch.enable_grad():
            loss = closure()
        moved = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        before = [p.clone() for p in moved]
        length = torch.stack([p.grad.norm() for p in moved]).norm()
        if length > 0:
            for parameter in moved:
                parameter.add_(parameter.grad, alpha=float(self.rho / length))
        with torch.enable_grad():
            closure()
        for parameter, value in zip(moved, before, strict=True):
            parameter.copy_(value)
        super().step()
        return loss


@hookimpl
def robustfw_register(add):
    add("sam", Sam)
