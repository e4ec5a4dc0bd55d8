"""The loss on clean examples, at worst cases (eq. 9), and their mixture (eq. 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, final

import attrs
from attrs.validators import ge, le, lt

from robustfw import Objective, UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from robustfw.training.batch import Batch


def training_loss(batch: Batch, outputs: Tensor, smoothing: float) -> Tensor:
    """The training's loss of outputs, (batch,); with smoothing, cross-entropy with smoothed labels.

    Args:
        batch: gives the loss, the task and the targets.
        outputs: of the net, in the form of the task.
        smoothing: share of the label that all classes get alike; 0 takes the training's own loss.

    Raises:
        UsageError: labels are to be smoothed, but the targets are no classes.
    """
    from robustfw import losses

    if not smoothing:
        return batch.loss(outputs)
    if batch.y.is_floating_point():
        raise UsageError(
            "smoothing is for class labels, and the targets of this data are none: leave it out"
        )
    return losses.cross_entropy(
        batch.task.read(outputs, len(outputs)), batch.y, smoothing
    )


SMOOTHING = "share of the label that all classes get alike"
"""Help of the option ``smoothing``."""


def _smoothing() -> float:
    """The attrs field of the option ``smoothing``."""
    field: float = attrs.field(default=0.0, validator=[ge(0), lt(1)])
    return field


@final
@attrs.frozen
class Clean(Objective):
    """J(θ, x, y): standard training, the loss on the data as it is."""

    smoothing: Annotated[float, SMOOTHING] = _smoothing()

    @property
    def attacks(self) -> bool:
        """False: nothing is attacked."""
        return False

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, batch: Batch) -> Tensor:
        """J(θ, x, y), (batch,): one forward pass, and no worst case.

        Args:
            model: the net.
            x: examples, (batch, *shape).
            y: targets, (batch,).
            batch: gives the loss.
        """
        return training_loss(batch, model(x), self.smoothing)


@final
@attrs.frozen
class Robust(Objective):
    """max_{δ ∈ 𝒰(x)} J(θ, x + δ, y): adversarial training, never on the clean data (eq. 9, Algorithm 1).

    The ascent raises J without smoothing: where a net is surer of the label than smoothing wants it to be, the smoothed
    loss is raised by making it surer still.
    """

    smoothing: Annotated[float, SMOOTHING] = _smoothing()

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, batch: Batch) -> Tensor:
        """J(θ, x̃, y) at the worst cases x̃, (batch,): an ascent and one forward pass.

        Args:
            model: the net.
            x: examples, (batch, *shape).
            y: targets, (batch,).
            batch: gives the worst cases and the loss.
        """
        return training_loss(batch, model(batch()), self.smoothing)


@final
@attrs.frozen
class Mixed(Objective):
    """α·J(θ, x, y) + (1 − α)·J(θ, x̃, y) (eq. 3, Goodfellow et al. 2014)."""

    alpha: Annotated[float, "weight of the clean loss"] = attrs.field(
        default=0.5, validator=[ge(0), le(1)]
    )

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, batch: Batch) -> Tensor:
        """The mixed loss of each example, (batch,): an ascent and two forward passes.

        Clean and perturbed examples go through the net apart, so that batch norm sees them as in training on either.

        Args:
            model: the net.
            x: examples, (batch, *shape).
            y: targets, (batch,).
            batch: gives the worst cases and the loss.
        """
        perturbed = batch()
        clean_loss = batch.loss(model(x))
        robust_loss = batch.loss(model(perturbed))
        return self.alpha * clean_loss + (1 - self.alpha) * robust_loss
