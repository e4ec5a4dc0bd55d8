"""Tasks in which each example has one class."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, final

import attrs

from robustfw.errors import DataError
from robustfw.loss import Bce, CrossEntropy
from robustfw.task._forms import check_labels, check_tensor, labels
from robustfw.task._interface import Task

if TYPE_CHECKING:
    from torch import Tensor

    from robustfw.loss import Loss


class Labelled(Task):
    """One class for each example; wrong unless the label's logit is larger than every other."""

    labelled: ClassVar[bool] = True

    def wrong(self, outputs: Tensor, y: Tensor) -> Tensor:
        """As `robustfw.losses.misclassified`."""
        from robustfw import losses

        return losses.misclassified(outputs, y)


@final
@attrs.frozen
class Classification(Labelled):
    """One of K classes: K logits, and a label from 0 to K − 1; wrong unless the label's logit is the largest."""

    @property
    def loss(self) -> Loss:
        """Cross-entropy."""
        return CrossEntropy()

    def outputs(self, classes: int) -> int:
        """K."""
        return classes

    def targets(self, y: Tensor) -> Tensor:
        """Labels (n,), int64; other whole numbers, (n, 1) and rows of 0 with one 1 are read as such."""
        return labels(y)

    def read(self, outputs: Tensor, n: int) -> Tensor:
        """Logits (n, K), K ≥ 2; those of −∞ are low numbers (`robustfw.losses.finite`)."""
        from robustfw import losses

        check_tensor(outputs, n)
        if outputs.dim() != 2 or outputs.shape[1] < 2:
            one = outputs.numel() == n
            advice = 'a net with one logit has the task "binary", one that gives a number "regression"'
            raise DataError(
                f"the net's outputs have shape {tuple(outputs.shape)}, and classification needs (examples, classes), "
                f"two classes at least{': ' + advice if one else ''}"
            )
        return losses.finite(outputs)

    def check(self, y: Tensor, classes: int) -> None:
        """Labels from 0 to K − 1, or −1 where there is none."""
        check_labels(y, classes)


@final
@attrs.frozen
class Binary(Labelled):
    """One of two classes by one logit z: class 1 where z > 0. It is read as the two logits 0 and z."""

    @property
    def loss(self) -> Loss:
        """Binary cross-entropy."""
        return Bce()

    def outputs(self, classes: int) -> int:
        """One."""
        return 1

    def targets(self, y: Tensor) -> Tensor:
        """Labels (n,), int64, 0 or 1; floating point 0 and 1, and (n, 1), are read as such."""
        if y.is_floating_point() and y.numel() == len(y) and bool(((y == 0) | (y == 1)).all()):
            return y.reshape(-1).long()
        return labels(y)

    def read(self, outputs: Tensor, n: int) -> Tensor:
        """Logits (n, 2), the first 0, from (n,) or (n, 1)."""
        import torch

        from robustfw import losses

        check_tensor(outputs, n)
        if outputs.numel() != n:
            raise DataError(
                f"the net's outputs have shape {tuple(outputs.shape)}, and the task binary needs one logit per "
                'example: a net with two has the task "classification"'
            )
        logit = outputs.reshape(n, 1)
        return losses.finite(torch.cat([torch.zeros_like(logit), logit], 1))

    def check(self, y: Tensor, classes: int) -> None:
        """Labels 0 and 1, or −1 where there is none."""
        if classes != 2:
            raise DataError(f"the task binary has two classes, not {classes}")
        check_labels(y, classes)
