"""Free adversarial training (Shafahi et al. 2019): one backward pass moves the weights and the perturbation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import attrs
import torch
from attrs.validators import ge, gt
from torch import Tensor, nn

from robustfw import Attack, InnerProblem, Region, Stateful, Update, UsageError, Wrapper, hookimpl


@attrs.frozen
class Free(Update, Stateful):
    """m times on each batch: θ ← step(∇_θ J(θ, x + δ)), δ ← P(δ + s(∇_δ J)), with δ carried over to the next batch.

    The worst cases that the objective asks for are those of δ, whatever the attack is.
    """

    replays: Annotated[int, "m, updates by each batch"] = attrs.field(default=4, validator=ge(1))
    step: Annotated[float, "of δ, relative to the set"] = attrs.field(default=1.0, validator=gt(0))
    memory: dict[str, Tensor] = attrs.field(factory=dict, init=False, eq=False, repr=False)

    def __call__(self, turn) -> Tensor:
        """m forward and backward passes, and as many steps."""
        batch, region = turn.batch, turn.batch.region()
        delta = region.project(self._carried_over(region.zero()))
        for _ in range(self.replays):
            net = Listening(batch.net, at=batch.threat.apply(region, batch.x, delta))
            adversary = attrs.evolve(batch.adversary, attack=Held(delta))
            turn.clear()
            loss = turn.loss(attrs.evolve(batch, net=net, adversary=adversary))
            turn.backward(loss)
            delta = region.project(delta + region.ascent(net.gradient(region, batch.x, delta), delta, self.step))
            turn.step()
        batch.count(forward=len(batch) * (self.replays - 1), backward=len(batch) * (self.replays - 1))
        self.memory["delta"] = delta
        return loss.detach()

    def _carried_over(self, zero: Tensor) -> Tensor:
        """The last batch's δ, row by row, as far as there are rows."""
        last = self.memory.get("delta", zero).to(zero)
        rows = min(len(last), len(zero))
        return torch.cat([last[:rows], zero[rows:]])

    def state_dict(self) -> Mapping[str, Any]:
        return dict(self.memory)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.memory.clear()
        self.memory.update(state)


@attrs.frozen(eq=False)
class Held(Attack):
    """One δ, whatever is asked."""

    delta: Tensor

    def maximize(self, problem: InnerProblem, generator: torch.Generator) -> Tensor:
        return self.delta


class Listening(Wrapper):
    """A net that keeps the gradient at one batch of inputs."""

    def __init__(self, net: nn.Module, at: Tensor) -> None:
        super().__init__(net)
        self.at, self.heard = at, []

    def forward(self, x: Tensor) -> Tensor:
        if not x.requires_grad and torch.equal(x, self.at):
            x = x.detach().requires_grad_()
            self.heard.append(x)
        return super().forward(x)

    def gradient(self, region: Region, x: Tensor, delta: Tensor) -> Tensor:
        """∂ loss/∂δ, after a backward pass."""
        if not self.heard:
            raise UsageError("free goes with an objective that asks for worst cases, such as robust")
        with torch.enable_grad():
            variable = delta.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(
                region.apply(x, variable), variable, sum(each.grad for each in self.heard)
            )
        return gradient


@hookimpl
def robustfw_register(add):
    add("free", Free)
