"""Tasks in which the degree of an error matters: multilabel, regression, segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, final

import attrs
from attrs.validators import ge, gt, lt

from robustfw.errors import DataError
from robustfw.loss import Bce, CrossEntropy, Squared
from robustfw.task._forms import check_labels, dtype_name, read_logits
from robustfw.task._interface import Task

if TYPE_CHECKING:
    from torch import Tensor

    from robustfw.loss import Loss


@final
@attrs.frozen
class Multilabel(Task):
    """K labels, each present or not: K logits, and 0 or 1 for each; wrong if more than ``tolerated`` labels are."""

    tolerated: Annotated[int, "labels of an example that may be wrong"] = attrs.field(
        default=0, validator=ge(0)
    )

    graded: ClassVar[bool] = True
    right: ClassVar[str] = "all labels right"

    @property
    def loss(self) -> Loss:
        """Binary cross-entropy, the mean over the labels."""
        return Bce()

    def outputs(self, classes: int) -> int:
        """K, the number of labels."""
        return classes

    def targets(self, y: Tensor) -> Tensor:
        """0 or 1 for each label, (n, K), floating point."""
        if y.dim() != 2:
            raise DataError(
                f"targets have shape {tuple(y.shape)}, and the task multilabel needs (examples, labels)"
            )
        return y if y.is_floating_point() else y.float()

    def read(self, outputs: Tensor, n: int) -> Tensor:
        """Logits (n, K), as the net gives them."""
        outputs = read_logits(outputs, n)
        if outputs.dim() != 2:
            raise DataError(
                f"the net's outputs have shape {tuple(outputs.shape)}, and the task multilabel needs (examples, labels)"
            )
        return outputs

    def check(self, y: Tensor, classes: int) -> None:
        """Raise a `DataError` unless there are K labels, each 0 or 1."""
        if y.shape[1] != classes:
            raise DataError(
                f"there are {y.shape[1]} labels per example where {classes} are declared"
            )
        if not bool(((y == 0) | (y == 1)).all()):
            raise DataError("labels of the task multilabel are 0 or 1")

    def wrong(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Whether more labels are wrong than are tolerated, (n,)."""
        return self._wrong_labels(outputs, y).sum(1) > self.tolerated

    @staticmethod
    def _wrong_labels(outputs: Tensor, y: Tensor) -> Tensor:
        """The mask of labels whose logit has the wrong sign, (n, K)."""
        signs = 2 * y - 1
        return ~(signs * outputs > 0)

    def measure(self, outputs: Tensor, y: Tensor) -> Tensor:
        """The share of each example's labels that are wrong, (n, 1)."""
        return self._wrong_labels(outputs, y).double().mean(1, keepdim=True)

    def metrics(self, measured: Tensor) -> dict[str, float]:
        """The share of labels that are right over all examples, by name."""
        return {"labels right": 1 - float(measured.mean())}


@final
@attrs.frozen
class Regression(Task):
    """Numbers: d outputs and d targets; wrong if one of them is off by more than the tolerance.

    Targets that a data set has scaled keep their own unit in all that is reported: errors are ``unit`` · |o − t|.
    """

    tolerance: Annotated[
        float, "largest error that counts as right, in the target's own unit"
    ] = attrs.field(default=1.0, validator=gt(0))
    unit: Annotated[
        float,
        "how many of the target's own unit one of the numbers y is, where data is scaled",
    ] = attrs.field(default=1.0, validator=gt(0))

    graded: ClassVar[bool] = True
    right: ClassVar[str] = "within tolerance"
    quantiles: ClassVar[Mapping[str, float]] = {
        "median error": 0.5,
        "90 % quantile": 0.9,
        "95 % quantile": 0.95,
    }

    @property
    def loss(self) -> Loss:
        """The squared error, the mean over the targets."""
        return Squared()

    def outputs(self, classes: int) -> int:
        """d, the number of targets."""
        return classes

    def targets(self, y: Tensor) -> Tensor:
        """Targets (n, d), floating point, from (n,) where d is 1."""
        if not y.is_floating_point():
            raise DataError(
                f"targets are {dtype_name(y)}: a regression needs floating point (y.float())"
            )
        if y.dim() == 1:
            return y.reshape(len(y), 1)
        return y.flatten(1)

    def read(self, outputs: Tensor, n: int) -> Tensor:
        """Outputs (n, d), from (n,) where d is 1."""
        outputs = read_logits(outputs, n)
        if outputs.dim() == 1:
            return outputs.reshape(n, 1)
        return outputs.flatten(1)

    def check(self, y: Tensor, classes: int) -> None:
        """Raise a `DataError` unless targets are d finite numbers each."""
        if y.shape[1] != classes:
            raise DataError(
                f"there are {y.shape[1]} targets per example where {classes} are declared"
            )
        if not bool(y.isfinite().all()):
            raise DataError("there are targets that are not finite numbers")

    def wrong(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Whether unit · max_j |o_j − t_j| is not within the tolerance, (n,)."""
        return ~(self._error(outputs, y) <= self.tolerance)

    def _error(self, outputs: Tensor, y: Tensor) -> Tensor:
        """unit · max_j |o_j − t_j| of each example, (n,)."""
        from robustfw import losses

        if outputs.shape != y.shape:
            raise DataError(
                f"the net gives {outputs.shape[1]} numbers per example, and there are {y.shape[1]} targets"
            )
        values = losses.upcast(outputs)
        differences = values - y.to(values.dtype)
        return self.unit * differences.abs().amax(1)

    def measure(self, outputs: Tensor, y: Tensor) -> Tensor:
        """The error unit · max_j |o_j − t_j|, (n, 1)."""
        return self._error(outputs, y).double()[:, None]

    def metrics(self, measured: Tensor) -> dict[str, float]:
        """The mean error, its quantiles and the largest error, by name, in the target's own unit."""
        error = measured[:, 0]
        metrics = {"mean error": float(error.mean())}
        for name, share in self.quantiles.items():
            metrics[name] = float(error.quantile(share))
        metrics["largest error"] = float(error.max())
        return metrics


@final
@attrs.frozen
class Segmentation(Task):
    """A class for each pixel: logits (n, K, height, width); wrong from a share of wrong pixels on."""

    share: Annotated[
        float,
        "share of an image's pixels from which on, if they are wrong, the image is",
    ] = attrs.field(default=0.1, validator=[gt(0), lt(1)])

    graded: ClassVar[bool] = True
    right: ClassVar[str] = "enough pixels right"

    @property
    def loss(self) -> Loss:
        """Cross-entropy, the mean over the pixels."""
        return CrossEntropy()

    def outputs(self, classes: int) -> int:
        """K outputs for each pixel."""
        return classes

    def targets(self, y: Tensor) -> Tensor:
        """Labels (n, height, width), int64, from whole numbers of that shape or (n, 1, height, width)."""
        has_one_channel = y.dim() == 4 and y.shape[1] == 1
        per_pixel = y.dim() == 3 or has_one_channel
        if y.is_floating_point() or not per_pixel:
            raise DataError(
                f"targets are {dtype_name(y)} of shape {tuple(y.shape)}, and the task segmentation needs a class for "
                "each pixel, whole numbers (examples, height, width)"
            )
        labels = y if y.dim() == 3 else y[:, 0]
        return labels.long()

    def read(self, outputs: Tensor, n: int) -> Tensor:
        """Logits (n, K, height, width), with low numbers in place of −∞ (`robustfw.losses.replace_infinities`)."""
        from robustfw import losses

        outputs = read_logits(outputs, n)
        if outputs.dim() != 4 or outputs.shape[1] < 2:
            raise DataError(
                f"the net's outputs have shape {tuple(outputs.shape)}, and the task segmentation needs (examples, "
                "classes, height, width), two classes at least"
            )
        return losses.replace_infinities(outputs)

    def check(self, y: Tensor, classes: int) -> None:
        """Raise a `DataError` unless labels are from 0 to K − 1, or −1 for a pixel without a label."""
        check_labels(y, classes)

    def _wrong_pixels(self, outputs: Tensor, y: Tensor) -> Tensor:
        """The mask of labelled pixels that are misclassified, (n, height, width)."""
        from robustfw import losses

        if outputs.shape[2:] != y.shape[1:]:
            raise DataError(
                f"the net gives classes for {tuple(outputs.shape[2:])} pixels, and targets are for {tuple(y.shape[1:])}"
            )
        labelled = y != losses.UNLABELLED
        return losses.misclassified(outputs, y) & labelled

    def wrong(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Whether the share of wrong pixels, of those that have a label, reaches ``share``, (n,)."""
        wrong_pixels = self._wrong_pixels(outputs, y)
        return self._wrong_share(wrong_pixels, y) >= self.share

    @staticmethod
    def _wrong_share(wrong: Tensor, y: Tensor) -> Tensor:
        """The share of wrong pixels among those with a label, (n,); 0 where none has one."""
        from robustfw import losses

        labelled = y != losses.UNLABELLED
        labelled_count = labelled.flatten(1).sum(1).clamp(min=1)
        wrong_count = wrong.flatten(1).sum(1).double()
        return wrong_count / labelled_count

    def measure(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Measures of each example, (n, 1 + 2K): the share of wrong pixels, and pixel counts for each class.

        The counts are first those of the K intersections of predicted and true pixels, then those of the K unions.
        """
        import torch

        from robustfw import losses

        wrong_pixels = self._wrong_pixels(outputs, y)
        share = self._wrong_share(wrong_pixels, y)[:, None]
        classes = outputs.argmax(1)
        labelled = y != losses.UNLABELLED
        intersections = []
        unions = []
        for label in range(outputs.shape[1]):
            predicted = (classes == label) & labelled
            true = y == label
            both = predicted & true
            either = predicted | true
            intersections.append(both.flatten(1).sum(1))
            unions.append(either.flatten(1).sum(1))
        counts = torch.stack(intersections + unions, 1).double()
        return torch.cat([share, counts], 1)

    def metrics(self, measured: Tensor) -> dict[str, float]:
        """The mean IoU over the classes that occur, NaN if none does, and the mean share of right pixels, by name."""
        counts = measured[:, 1:].sum(0)
        intersections, unions = counts.chunk(2)
        occurring = unions > 0
        mean_iou = float("nan")
        if bool(occurring.any()):
            ious = intersections[occurring] / unions[occurring]
            mean_iou = float(ious.mean())
        wrong_share = float(measured[:, 0].mean())
        return {"mean IoU": mean_iou, "pixels right": 1 - wrong_share}
