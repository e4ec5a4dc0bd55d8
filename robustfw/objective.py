"""J and Σ: the interface of a training objective, of a penalty, and their sum."""

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
    """What θ minimizes on a batch, given a way to ask for worst cases and for all else that is known of the batch.

    A subclass is a frozen attrs class whose fields are its options; every field has a default. A label −1 says that the
    example has none: it takes no part in a cross-entropy (`robustfw.losses.cross_entropy` gives 0 for it). One whose
    work depends on earlier batches derives from `robustfw.Stateful` as well.
    """

    @property
    def couples_rows(self) -> bool:
        """Whether the loss of a row depends on the other rows of the batch, as with mixup and weights of groups.

        The laws for independent rows are not asked then.
        """
        return False

    @property
    def attacks(self) -> bool:
        """Whether θ is trained at worst cases, so that each epoch ends with a look for overfitting to the attack."""
        return True

    @abstractmethod
    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, batch: Batch) -> Tensor:
        """The losses, of shape (batch,), differentiable in the parameters of the model.

        Args:
            model: the net as it is trained (``batch.net``), through which forward passes go.
            x: the examples (``batch.x``).
            y: their targets in the form of the task (``batch.y``).
            batch: asked for worst cases by ``batch()``; gives the training's loss by ``batch.loss(model(x))``, and what
                else `robustfw.training.batch.Batch` has.
        """

    def fitted(self, train: Split) -> Self:
        """The objective after a look at the training examples, as `UncertaintySet.fitted`; by default itself."""
        return self


class Penalty(Objective):
    """What is added to a loss, its weight included: J(θ, x, y) + penalty; alone, J is cross-entropy.

    Any number of them go with one loss: ``["robust", "vat:beta=0.5"]`` (see `combine`).
    """

    @property
    def attacks(self) -> bool:
        """Penalties are added to whatever the loss is."""
        return False

    @abstractmethod
    def penalty(self, model: nn.Module, x: Tensor, y: Tensor, batch: Batch) -> Tensor:
        """What is added, of shape (batch,), differentiable in the parameters of the model.

        The model is left as it is: training flags, buffers (batch norm's statistics belong to the loss), hooks. A
        penalty that looks into the net, by hooks, say, takes ``batch.plain``: a compiled net calls none.
        """

    @final
    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, batch: Batch) -> Tensor:
        """The training's loss on the data as it is, plus the penalty."""
        return batch.loss(model(x)) + self.penalty(model, x, y, batch)


@final
@attrs.frozen
class Combined(Objective):
    """J + Σ_i penalty_i; the training's loss on the data as it is where no loss is given. Made by `combine`."""

    loss: Objective | None
    penalties: tuple[Penalty, ...]

    @property
    def parts(self) -> tuple[Objective, ...]:
        """The loss first, if there is one, then the penalties."""
        return self.penalties if self.loss is None else (self.loss, *self.penalties)

    @property
    def couples_rows(self) -> bool:
        """Whether one of the parts does."""
        return any(part.couples_rows for part in self.parts)

    @property
    def attacks(self) -> bool:
        """Whether one of the parts trains at worst cases."""
        return any(part.attacks for part in self.parts)

    def fitted(self, train: Split) -> Combined:
        """Each part, fitted."""
        loss = None if self.loss is None else self.loss.fitted(train)
        return Combined(loss, tuple(each.fitted(train) for each in self.penalties))

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, batch: Batch) -> Tensor:
        """The sum, in that order."""
        total = batch.loss(model(x)) if self.loss is None else self.loss(model, x, y, batch)
        for each in self.penalties:
            total = total + each.penalty(model, x, y, batch)
        return total


def combine(parts: Sequence[Objective]) -> Objective:
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
