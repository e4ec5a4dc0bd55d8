"""The inner problem: all that an attack sees of the world."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import attrs
import torch
from torch import Tensor

from robustfw import losses
from robustfw.regions import Region

Forward: TypeAlias = Callable[[Tensor], Tensor]
"""x̃ of shape (batch, *shape) to logits (batch, classes)."""


@attrs.define
class Passes:
    """How many examples have gone through the net, and back; shared by a problem and its rows."""

    forward: int = 0
    backward: int = 0


@attrs.frozen(eq=False)
class InnerProblem:
    """max_{δ ∈ region} J(forward(x + δ), y), one problem per row (eq. 10).

    ``forward`` maps x̃ to logits and ``loss`` maps logits and y to losses, (batch,). With a ``goal`` (in evaluation: the
    prediction is wrong) the value of a row that reaches it is ∞: nothing exceeds it, so the row is solved and an attack
    may drop it. Gradients are those of the finite loss.
    """

    forward: Forward
    loss: losses.Loss
    x: Tensor
    y: Tensor
    region: Region
    goal: Callable[[Tensor, Tensor], Tensor] | None = None
    passes: Passes = attrs.field(factory=Passes)
    start: Tensor | None = None
    """A member that an iterated attack begins at, instead of at one of its own choice: what was found elsewhere."""

    @classmethod
    def of(cls, function: Callable[[Tensor], Tensor], x: Tensor, region: Region) -> InnerProblem:
        """The problem of a plain function x̃ ↦ values (batch,), row i of which depends on row i of x̃ only."""
        return cls(function, lambda values, _: values, x, x, region)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: Tensor | slice) -> InnerProblem:
        """The problem of some of the rows; passes go on being counted together."""
        start = None if self.start is None else self.start[rows]
        return attrs.evolve(self, x=self.x[rows], y=self.y[rows], region=self.region[rows], start=start)

    def logits(self, delta: Tensor) -> Tensor:
        """forward(x + δ), without a graph."""
        self.passes.forward += len(self)
        with torch.no_grad():
            return self.forward(self.region.apply(self.x, delta))

    def value(self, delta: Tensor) -> Tensor:
        """J at x + δ, (batch,); ∞ where the goal is reached."""
        logits = self.logits(delta)
        return self._judged(logits, self.loss(logits, self.y))

    def value_and_grad(self, delta: Tensor) -> tuple[Tensor, Tensor]:
        """J at x + δ and its gradient in δ; entries that are not finite count as 0.

        The losses are summed, not averaged: no row's gradient depends on the size of the batch.
        """
        self.passes.forward += len(self)
        self.passes.backward += len(self)
        with torch.enable_grad():
            delta = delta.detach().requires_grad_()
            logits = self.forward(self.region.apply(self.x, delta))
            values = self.loss(logits, self.y)
            if values.requires_grad:
                (gradient,) = torch.autograd.grad(values.sum(), delta)
            else:  # nothing differentiable on the way: no direction to go, which evaluation reports
                gradient = torch.zeros_like(delta)
        return self._judged(logits.detach(), values.detach()), gradient.nan_to_num(0, 0, 0)

    def _judged(self, logits: Tensor, values: Tensor) -> Tensor:
        return values if self.goal is None else values.masked_fill(self.goal(logits, self.y), torch.inf)
