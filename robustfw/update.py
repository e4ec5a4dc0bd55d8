"""min: how θ changes by one batch; the interface of an update, and two of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, Protocol, final

import attrs
from attrs.validators import ge

from robustfw.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch
    from torch import Tensor

    from robustfw.hookspecs import Add
    from robustfw.training.batch import Batch


class Turn(Protocol):
    """One batch's turn: what an update is given to work with."""

    @property
    def batch(self) -> Batch:
        """x, y, the net, the adversary, and where the training stands."""

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """torch's optimizer of all parameters."""

    def loss(self, batch: Batch | None = None) -> Tensor:
        """The mean of the objective over the batch (or another one), in the training's precision."""

    def backward(self, loss: Tensor) -> None:
        """Add ∂loss/∂θ to the parameters' gradients."""

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Clip the gradient as the recipe says, and let the optimizer step.

        With a ``closure``, which clears gradients, computes them anew and gives the loss, the optimizer calls it, once
        or more often (LBFGS, sharpness-aware minimization); its first loss is returned.
        """

    def clear(self) -> None:
        """Set the parameters' gradients to none."""

    def parts(self, count: int) -> Iterator[tuple[Batch, float]]:
        """The batch in so many parts, each with its share of the rows.

        Gradients are averaged over the processes in the last part only, so that all of them must be gone through.
        """


class Update(ABC):
    """How θ changes by one batch. A subclass is a frozen attrs class whose fields are its options.

    One whose work depends on earlier batches derives from `robustfw.Stateful` as well.
    """

    @abstractmethod
    def __call__(self, turn: Turn) -> Tensor:
        """Change the parameters; the mean loss of the batch, detached."""


@final
@attrs.frozen
class Once(Update):
    """θ ← optimizer(θ, ∇ mean objective): one forward and one backward pass, one step.

    An optimizer that wants the loss at other parameters, too, asks for it by the closure that it is given.
    """

    def __call__(self, turn: Turn) -> Tensor:
        """One step by one closure."""
        losses: list[Tensor] = []

        def closure() -> Tensor:
            turn.clear()
            loss = turn.loss()
            turn.backward(loss)
            losses.append(loss.detach())
            return loss

        turn.step(closure)
        return losses[0]


@final
@attrs.frozen
class Accumulate(Update):
    """The gradient of the whole batch, summed over parts of it: less memory, the same step but for batch norm."""

    parts: Annotated[int, "how many parts a batch is cut into"] = attrs.field(default=2, validator=ge(1))

    def __call__(self, turn: Turn) -> Tensor:
        """As many forward and backward passes as there are parts, and one step."""
        turn.clear()
        total: Tensor | float = 0.0
        for part, share in turn.parts(self.parts):
            loss = share * turn.loss(part)
            turn.backward(loss)
            total = total + loss.detach()
        turn.step()
        return total  # type: ignore[return-value]  # a batch has one part at least


@hookimpl
def robustfw_register(add: Add) -> None:
    """Register the updates by name."""
    add("once", Once)
    add("accumulate", Accumulate)
