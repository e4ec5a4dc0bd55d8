"""J and Σ: the interface of a training objective, of a penalty, and their sum."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, Self, final

import attrs

from robustfw.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from robustfw.losses import Loss
    from robustfw.splits import Split


class WorstCase(Protocol):
    """A way to ask for the worst cases of the batch at hand."""

    def __call__(self, *, loss: Loss = ...) -> Tensor:
        """x̃ = x + argmax_{δ ∈ 𝒰(x)} loss(model(x + δ), y), detached; cross-entropy when none is given."""


class Objective(ABC):
    """What θ minimizes on a batch, given a way to ask for worst cases.

    A subclass is a frozen attrs class whose fields are its options; every field has a default. A label −1 says that the
    example has none: it takes no part in a cross-entropy (`robustfw.losses.cross_entropy` gives 0 for it).
    """

    @abstractmethod
    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, worst_case: WorstCase) -> Tensor:
        """The losses, of shape (batch,), differentiable in the parameters of the model."""

    def fitted(self, train: Split) -> Self:
        """The objective after a look at the training examples, as `UncertaintySet.fitted`; by default itself."""
        return self


class Penalty(Objective):
    """What is added to a loss, its weight included: J(θ, x, y) + penalty; alone, J is cross-entropy.

    Any number of them go with one loss: ``["robust", "vat:beta=0.5"]`` (see `combined`).
    """

    @abstractmethod
    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, worst_case: WorstCase) -> Tensor:
        """What is added, of shape (batch,), differentiable in the parameters of the model.

        The model is left as it is: training flags, buffers (batch norm's statistics belong to the loss), hooks.
        """

    @final
    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, worst_case: WorstCase) -> Tensor:
        """Cross-entropy on the data as it is, plus the penalty."""
        from robustfw import losses

        return losses.cross_entropy(model(x), y) + self.penalty(model, x, y, worst_case)


@final
@attrs.frozen
class Combined(Objective):
    """J + Σ_i penalty_i; cross-entropy on the data as it is where no loss is given. Made by `combined`."""

    loss: Objective | None
    penalties: tuple[Penalty, ...]

    @property
    def parts(self) -> tuple[Objective, ...]:
        """The loss first, if there is one, then the penalties."""
        return self.penalties if self.loss is None else (self.loss, *self.penalties)

    def fitted(self, train: Split) -> Combined:
        """Each part, fitted."""
        loss = None if self.loss is None else self.loss.fitted(train)
        return Combined(loss, tuple(each.fitted(train) for each in self.penalties))

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, worst_case: WorstCase) -> Tensor:
        """The sum, in that order."""
        from robustfw import losses

        total = losses.cross_entropy(model(x), y) if self.loss is None else self.loss(model, x, y, worst_case)
        for each in self.penalties:
            total = total + each.penalty(model, x, y, worst_case)
        return total


def combined(parts: Sequence[Objective]) -> Objective:
    """The sum of at most one loss and any number of penalties; one part alone is itself.

    Raises:
        UsageError: there is no part, or more than one that is not a `Penalty`.
    """
    flat = [part for each in parts for part in (each.parts if isinstance(each, Combined) else (each,))]
    losses = [part for part in flat if not isinstance(part, Penalty)]
    if not flat:
        raise UsageError("the list of objectives is empty: name one")
    if len(losses) > 1:
        names = " and ".join(type(part).__name__ for part in losses)
        raise UsageError(
            f"{names} are losses, of which an objective has one: choose among them; only penalties are added"
        )
    if len(flat) == 1:
        return flat[0]
    return Combined(losses[0] if losses else None, tuple(part for part in flat if isinstance(part, Penalty)))
