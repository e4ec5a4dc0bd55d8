"""min: how θ changes by one batch. The interface of an update, and two updates."""

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
    """One batch's turn in a training: what an update is given to work with."""

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

        Args:
            closure: clears the gradients, computes them anew and returns the loss; the optimizer calls it once or more
                often (LBFGS, sharpness-aware minimization). Without one, the gradients are those of `backward`.

        Returns:
            The closure's first loss; None without a closure.
        """

    def clear(self) -> None:
        """Set the parameters' gradients to none."""

    def parts(self, count: int) -> Iterator[tuple[Batch, float]]:
        """The batch in ``count`` parts (fewer where it has fewer rows), each with its share of the rows.

        Gradients are averaged over the processes in the last part only, so an update must go through all of them.
        """


class Update(ABC):
    """How θ changes by one batch. A subclass is a frozen attrs class whose fields are its options.

    An update whose work depends on earlier batches derives from `robustfw.Stateful` as well.
    """

    @abstractmethod
    def __call__(self, turn: Turn) -> Tensor:
        """Change the parameters, and return the mean loss of the batch: one number, detached."""


@final
@attrs.frozen
class Once(Update):
    """θ ← optimizer(θ, ∇ mean objective): one forward and one backward pass, one step.

    An optimizer that needs the loss at other parameters as well computes it by the closure that it is given.
    """

    def __call__(self, turn: Turn) -> Tensor:
        """Take one step with a closure, and return the loss before it."""
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

    parts: Annotated[int, "how many parts a batch is cut into"] = attrs.field(
        default=2, validator=ge(1)
    )

    def __call__(self, turn: Turn) -> Tensor:
        """Make one forward and backward pass for each part, then one step; return the mean loss of the batch."""
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
