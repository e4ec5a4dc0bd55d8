"""Free adversarial training (Shafahi et al. 2019): one backward pass moves the weights and the perturbation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import attrs
import torch
from attrs.validators import ge, gt
from torch import Tensor

from robustfw import Stateful, Update, hookimpl


@attrs.frozen
class Free(Update, Stateful):
    """m times on each batch: θ ← step(∇_θ J(θ, x + δ)), δ ← P(δ + s(∇_δ J)), with δ carried over to the next batch.

    It makes the worst cases itself, so that it goes with the objective ``clean``: J at the x that it is given.
    """

    replays: Annotated[int, "m, updates by each batch"] = attrs.field(default=4, validator=ge(1))
    step: Annotated[float, "of δ, relative to the set"] = attrs.field(default=1.0, validator=gt(0))
    memory: dict[str, Tensor] = attrs.field(factory=dict, init=False, eq=False, repr=False)

    def __call__(self, turn) -> Tensor:
        """m forward and backward passes, and as many steps."""
        batch, region = turn.batch, turn.batch.region()
        delta = region.project(self._carried_over(region.zero()))
        for _ in range(self.replays):
            delta = delta.detach().requires_grad_()
            turn.clear()
            loss = turn.loss(attrs.evolve(batch, x=region.apply(batch.x, delta), checked=True))
            turn.backward(loss)
            gradient = delta.grad
            delta = region.project(delta.detach() + region.ascent(gradient, delta.detach(), self.step))
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


@hookimpl
def robustfw_register(add):
    add("free", Free)
