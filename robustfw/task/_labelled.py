"""Tasks in which each example has one class."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, final

import attrs

from robustfw.errors import DataError
from robustfw.loss import Bce, CrossEntropy
from robustfw.task._forms import check_labels, labels, read_logits
from robustfw.task._interface import Task

if TYPE_CHECKING:
    from torch import Tensor

    from robustfw.loss import Loss


class Labelled(Task):
    """One class for each example; wrong unless the label's logit is larger than every other."""

    labelled: ClassVar[bool] = True

    def wrong(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Whether the label's logit is not larger than every other, (n,) (`robustfw.losses.misclassified`)."""
        from robustfw import losses

        return losses.misclassified(outputs, y)


@final
@attrs.frozen
class Classification(Labelled):
    """One of K classes: K logits, and a label from 0 to K − 1; wrong unless the label's logit is the largest."""

    @property
    def loss(self) -> Loss:
        """The cross-entropy of labels."""
        return CrossEntropy()

    def outputs(self, classes: int) -> int:
        """K, the number of classes."""
        return classes

    def targets(self, y: Tensor) -> Tensor:
        """Labels (n,), int64, from whole numbers (n,) or (n, 1), or from one-hot rows."""
        return labels(y)

    def read(self, outputs: Tensor, n: int) -> Tensor:
        """Logits (n, K), K ≥ 2, with low numbers in place of −∞ (`robustfw.losses.replace_infinities`)."""
        from robustfw import losses

        outputs = read_logits(outputs, n)
        if outputs.dim() != 2 or outputs.shape[1] < 2:
            advice = ""
            if outputs.numel() == n:
                advice = ': a net with one logit has the task "binary", one that gives a number "regression"'
            raise DataError(
                f"the net's outputs have shape {tuple(outputs.shape)}, and classification needs (examples, classes), "
                f"two classes at least{advice}"
            )
        return losses.replace_infinities(outputs)

    def check(self, y: Tensor, classes: int) -> None:
        """Raise a `DataError` unless labels are from 0 to K − 1, or −1 for none."""
        check_labels(y, classes)


@final
@attrs.frozen
class Binary(Labelled):
    """One of two classes by one logit z: class 1 where z > 0. The logit is read as the two logits 0 and z."""

    @property
    def loss(self) -> Loss:
        """Binary cross-entropy."""
        return Bce()

    def outputs(self, classes: int) -> int:
        """1, for any number of classes."""
        return 1

    def targets(self, y: Tensor) -> Tensor:
        """Labels (n,), int64, 0 or 1, from whole or floating-point numbers (n,) or (n, 1)."""
        if y.is_floating_point() and y.numel() == len(y):
            binary = bool(((y == 0) | (y == 1)).all())
            if binary:
                return y.reshape(-1).long()
        return labels(y)

    def read(self, outputs: Tensor, n: int) -> Tensor:
        """Logits (n, 2), the first of which is 0, from one logit per example, (n,) or (n, 1)."""
        import torch

        from robustfw import losses

        outputs = read_logits(outputs, n)
        if outputs.numel() != n:
            raise DataError(
                f"the net's outputs have shape {tuple(outputs.shape)}, and the task binary needs one logit per "
                'example: a net with two has the task "classification"'
            )
        logit = outputs.reshape(n, 1)
        return losses.replace_infinities(torch.cat([torch.zeros_like(logit), logit], 1))

    def check(self, y: Tensor, classes: int) -> None:
        """Raise a `DataError` unless there are two classes and labels are 0, 1, or −1 for none."""
        if classes != 2:
            raise DataError(f"the task binary has two classes, not {classes}")
        check_labels(y, classes)
