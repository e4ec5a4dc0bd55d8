"""The interfaces of a training objective and of a penalty, and the sum of several."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self, final

import attrs

from robustfw.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from robustfw.data.splits import Split
    from robustfw.training.batch import Batch


class Objective(ABC):
    """The function of θ that training minimizes on a batch, which gives worst cases and all that is known of it.

    A subclass is a frozen attrs class whose fields are its options; every field has a default. A label −1 says that the
    example has none: it takes no part in a cross-entropy (`robustfw.losses.cross_entropy` gives 0 for it). An objective
    whose values depend on earlier batches derives from `robustfw.Stateful` as well.
    """

    @property
    def couples_rows(self) -> bool:
        """Whether the loss of a row depends on the other rows of the batch, as with mixup and weights of groups.

        The laws for independent rows are not checked then.
        """
        return False

    @property
    def attacks(self) -> bool:
        """Whether θ is trained at worst cases, so that each epoch ends with a test for overfitting to the attack."""
        return True

    @abstractmethod
    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, batch: Batch) -> Tensor:
        """The losses, of shape (batch,), differentiable in the parameters of the model.

        Args:
            model: the net in training (``batch.net``), through which forward passes go.
            x: the examples (``batch.x``).
            y: their targets in the form of the task (``batch.y``).
            batch: gives worst cases by ``batch()``, the training's loss by ``batch.loss(model(x))``, and more (see
                `robustfw.training.batch.Batch`).
        """

    def fit(self, train: Split) -> Self:
        """The objective fitted to the training examples, under the rules of `UncertaintySet.fit`; itself here."""
        return self


class Penalty(Objective):
    """A term that is added to a loss, its weight included: J(θ, x, y) + penalty; alone, J is the training's loss.

    Any number of penalties go with one loss: ``["robust", "vat:beta=0.5"]`` (see `combine`).
    """

    @property
    def attacks(self) -> bool:
        """False: whether θ is trained at worst cases is up to the loss that the penalty is added to."""
        return False

    @abstractmethod
    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, batch: Batch) -> Tensor:
        """The penalties of the rows, (batch,), differentiable in the parameters of the model.

        The model is left as it is: training flags, buffers (batch norm's statistics belong to the loss), hooks. A
        penalty that uses hooks takes ``batch.plain``, since a compiled net calls none.

        Args:
            model: the net in training (``batch.net``).
            x: the examples (``batch.x``).
            y: their targets in the form of the task (``batch.y``).
            batch: gives worst cases and all that is known of the batch.
        """

    @final
    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, batch: Batch) -> Tensor:
        """The training's loss at the unperturbed examples plus the penalty, (batch,)."""
        return batch.loss(model(x)) + self.penalty(model, x, y, batch)


@final
@attrs.frozen
class Combined(Objective):
    """J + Σ_i penalty_i; without a loss, J is the training's loss at the unperturbed examples. Made by `combine`."""

    loss: Objective | None
    penalties: tuple[Penalty, ...]

    @property
    def parts(self) -> tuple[Objective, ...]:
        """The loss first, if there is one, then the penalties."""
        if self.loss is None:
            return self.penalties
        return (self.loss, *self.penalties)

    @property
    def couples_rows(self) -> bool:
        """Whether one of the parts couples rows."""
        return any(part.couples_rows for part in self.parts)

    @property
    def attacks(self) -> bool:
        """Whether one of the parts trains at worst cases."""
        return any(part.attacks for part in self.parts)

    def fit(self, train: Split) -> Combined:
        """The sum of the fitted parts."""
        loss = None if self.loss is None else self.loss.fit(train)
        penalties = tuple(penalty.fit(train) for penalty in self.penalties)
        return Combined(loss, penalties)

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, batch: Batch) -> Tensor:
        """The sum of the loss and the penalties, (batch,), in their order."""
        if self.loss is None:
            total = batch.loss(model(x))
        else:
            total = self.loss(model, x, y, batch)
        for part in self.penalties:
            total = total + part.penalty(model, x, y, batch)
        return total


def combine(parts: Sequence[Objective]) -> Objective:
    """The sum of at most one loss and any number of penalties; a single part is returned as it is.

    Raises:
        UsageError: there is no part, or more than one that is not a `Penalty`.
    """
    # 1. sums among the parts are taken apart
    flat: list[Objective] = []
    for part in parts:
        flat += part.parts if isinstance(part, Combined) else (part,)
    if not flat:
        raise UsageError("the list of objectives is empty: name one")
    # 2. at most one of them is a loss
    losses = [part for part in flat if not isinstance(part, Penalty)]
    if len(losses) > 1:
        names = " and ".join(type(part).__name__ for part in losses)
        raise UsageError(
            f"{names} are losses, of which an objective has one: choose among them; only penalties are added"
        )
    if len(flat) == 1:
        return flat[0]
    loss = losses[0] if losses else None
    penalties = tuple(part for part in flat if isinstance(part, Penalty))
    return Combined(loss, penalties)
