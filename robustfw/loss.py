"""J: the interface of a loss, and the losses of the field; the functions behind them are in `robustfw.losses`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, final

import attrs
from attrs.validators import ge, gt, lt

from robustfw.hookspecs import hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from robustfw.hookspecs import Add


class Loss(ABC):
    """J: (outputs of a net, targets) ↦ values (batch,), which an attack raises and a training lowers.

    A subclass is a frozen attrs class whose fields are its options; every field has a default. It is called with
    outputs in the form of the task (`robustfw.task.Task.read`): (batch, classes) and labels (batch,); (batch, targets)
    and targets of that shape; per pixel (batch, classes, height, width) and (batch, height, width).

    An example whose label is −1 has no label: its value is 0.

    Wherever a loss is asked for, any function of this form does as well; records then give no name for it.
    """

    @abstractmethod
    def __call__(self, outputs: Tensor, y: Tensor, /) -> Tensor:
        """Values (batch,), differentiable in the outputs; row i depends on row i only.

        Raises:
            DataError: the loss is not defined for outputs and targets of this form.
        """


@final
@attrs.frozen
class CrossEntropy(Loss):
    """−w_y log softmax(z)_y of logits z; for a class per pixel, the mean over those that have a label.

    Weights w are 1 unless they are given. A training lowers the mean of the values over the batch, which is not divided
    by the sum of the weights: weights whose mean over the examples is 1 leave the learning rate as it is.
    """

    smoothing: Annotated[float, "share of the label that all classes get alike"] = (
        attrs.field(default=0.0, validator=[ge(0), lt(1)])
    )
    weights: Annotated[
        tuple[float, ...], "w: a weight for each class; none: 1 for all"
    ] = attrs.field(default=(), converter=tuple)

    @weights.validator
    def _check_weights(self, _: object, weights: tuple[float, ...]) -> None:
        if any(not 0 <= weight < math.inf for weight in weights):
            raise ValueError("weights must be finite, and 0 or more")

    def __call__(self, outputs: Tensor, y: Tensor, /) -> Tensor:
        """Values (batch,) of `robustfw.losses.cross_entropy`."""
        from robustfw import losses

        return losses.cross_entropy(outputs, y, self.smoothing, self.weights)


@final
@attrs.frozen
class Margin(Loss):
    """max_{k ≠ y} z_k − z_y: positive exactly where the prediction is wrong; it never saturates (C&W 2017)."""

    def __call__(self, outputs: Tensor, y: Tensor, /) -> Tensor:
        """Values (batch,) of `robustfw.losses.margin`."""
        from robustfw import losses

        return losses.margin(outputs, y)


@final
@attrs.frozen
class Dlr(Loss):
    """(max_{k ≠ y} z_k − z_y) / (z_(1) − z_(3)): free of the logits' scale (Croce & Hein 2020); two classes: margin."""

    def __call__(self, outputs: Tensor, y: Tensor, /) -> Tensor:
        """Values (batch,) of `robustfw.losses.dlr`."""
        from robustfw import losses

        return losses.dlr(outputs, y)


@final
@attrs.frozen
class Squared(Loss):
    """(o − t)², the mean over targets; labels are read as one-hot rows of 0 and 1."""

    def __call__(self, outputs: Tensor, y: Tensor, /) -> Tensor:
        """Values (batch,) of `robustfw.losses.squared_error`."""
        from robustfw import losses

        return losses.squared_error(outputs, y)


@final
@attrs.frozen
class Absolute(Loss):
    """|o − t|, the mean over targets; labels are read as one-hot rows of 0 and 1."""

    def __call__(self, outputs: Tensor, y: Tensor, /) -> Tensor:
        """Values (batch,) of `robustfw.losses.absolute_error`."""
        from robustfw import losses

        return losses.absolute_error(outputs, y)


@final
@attrs.frozen
class Huber(Loss):
    """(o − t)²/2 up to |o − t| = delta, and linear beyond; the mean over targets (Huber 1964)."""

    delta: Annotated[float, "where it becomes linear, in units of the target"] = (
        attrs.field(default=1.0, validator=gt(0))
    )

    def __call__(self, outputs: Tensor, y: Tensor, /) -> Tensor:
        """Values (batch,) of `robustfw.losses.huber`."""
        from robustfw import losses

        return losses.huber(outputs, y, self.delta)


@final
@attrs.frozen
class Bce(Loss):
    """−log σ((2t − 1)·z): binary cross-entropy of one logit, or the mean over several labels."""

    def __call__(self, outputs: Tensor, y: Tensor, /) -> Tensor:
        """Values (batch,) of `robustfw.losses.binary_cross_entropy`."""
        from robustfw import losses

        return losses.binary_cross_entropy(outputs, y)


@final
@attrs.frozen
class Kl(Loss):
    """KL(t ‖ softmax(z)) with t the probabilities of the classes; for labels it is the cross-entropy."""

    def __call__(self, outputs: Tensor, y: Tensor, /) -> Tensor:
        """Values (batch,) of `robustfw.losses.kl`."""
        from robustfw import losses

        return losses.kl(outputs, y)


@hookimpl
def robustfw_register(add: Add) -> None:
    """Register the losses by name."""
    add("cross-entropy", CrossEntropy)
    add("margin", Margin)
    add("dlr", Dlr)
    add("squared", Squared)
    add("absolute", Absolute)
    add("huber", Huber)
    add("bce", Bce)
    add("kl", Kl)
