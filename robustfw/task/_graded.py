"""Tasks in which it matters how wrong an output is: multilabel, regression, segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, final

import attrs
from attrs.validators import ge, gt, lt

from robustfw.errors import DataError
from robustfw.loss import Bce, CrossEntropy, Squared
from robustfw.task._forms import check_labels, check_tensor, dtype_name
from robustfw.task._interface import Task

if TYPE_CHECKING:
    from torch import Tensor

    from robustfw.loss import Loss


@final
@attrs.frozen
class Multilabel(Task):
    """K labels, each there or not: K logits, and 0 or 1 for each; wrong if more than ``tolerated`` labels are."""

    tolerated: Annotated[int, "labels of an example that may be wrong"] = attrs.field(default=0, validator=ge(0))

    graded: ClassVar[bool] = True
    right: ClassVar[str] = "all labels right"

    @property
    def loss(self) -> Loss:
        """Binary cross-entropy, the mean over the labels."""
        return Bce()

    def outputs(self, classes: int) -> int:
        """K."""
        return classes

    def targets(self, y: Tensor) -> Tensor:
        """0 or 1, (n, K), floating point."""
        if y.dim() != 2:
            raise DataError(f"targets have shape {tuple(y.shape)}, and the task multilabel needs (examples, labels)")
        return y if y.is_floating_point() else y.float()

    def read(self, outputs: Tensor, n: int) -> Tensor:
        """Logits (n, K)."""
        check_tensor(outputs, n)
        if outputs.dim() != 2:
            raise DataError(
                f"the net's outputs have shape {tuple(outputs.shape)}, and the task multilabel needs (examples, labels)"
            )
        return outputs

    def check(self, y: Tensor, classes: int) -> None:
        """0 or 1 for each of K labels."""
        if y.shape[1] != classes:
            raise DataError(f"there are {y.shape[1]} labels per example where {classes} are declared")
        if not bool(((y == 0) | (y == 1)).all()):
            raise DataError("labels of the task multilabel are 0 or 1")

    def wrong(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Whether more labels are wrong than are tolerated."""
        return self._wrong_labels(outputs, y).sum(1) > self.tolerated

    @staticmethod
    def _wrong_labels(outputs: Tensor, y: Tensor) -> Tensor:
        return ~((2 * y - 1) * outputs > 0)

    def measure(self, outputs: Tensor, y: Tensor) -> Tensor:
        """The share of labels that are wrong, (n, 1)."""
        return self._wrong_labels(outputs, y).double().mean(1, keepdim=True)

    def metrics(self, measured: Tensor) -> dict[str, float]:
        """The share of labels that are right, over all examples."""
        return {"labels right": 1 - float(measured.mean())}


@final
@attrs.frozen
class Regression(Task):
    """Numbers: d outputs and d targets; wrong if one of them is off by more than the tolerance.

    Targets that a data set has scaled keep their own unit in all that is reported: errors are ``unit`` · |o − t|.
    """

    tolerance: Annotated[float, "largest error that counts as right, in the target's own unit"] = attrs.field(
        default=1.0, validator=gt(0)
    )
    unit: Annotated[float, "how many of the target's own unit one of the numbers y is, where data is scaled"] = (
        attrs.field(default=1.0, validator=gt(0))
    )

    graded: ClassVar[bool] = True
    right: ClassVar[str] = "within tolerance"
    quantiles: ClassVar[Mapping[str, float]] = {"median error": 0.5, "90 % quantile": 0.9, "95 % quantile": 0.95}

    @property
    def loss(self) -> Loss:
        """The squared error."""
        return Squared()

    def outputs(self, classes: int) -> int:
        """d."""
        return classes

    def targets(self, y: Tensor) -> Tensor:
        """Numbers (n, d), from (n,) where d is 1."""
        if not y.is_floating_point():
            raise DataError(f"targets are {dtype_name(y)}: a regression needs floating point (y.float())")
        return y.reshape(len(y), 1) if y.dim() == 1 else y.flatten(1)

    def read(self, outputs: Tensor, n: int) -> Tensor:
        """Numbers (n, d), from (n,) where d is 1."""
        check_tensor(outputs, n)
        return outputs.reshape(n, 1) if outputs.dim() == 1 else outputs.flatten(1)

    def check(self, y: Tensor, classes: int) -> None:
        """Finite numbers, d of them."""
        if y.shape[1] != classes:
            raise DataError(f"there are {y.shape[1]} targets per example where {classes} are declared")
        if not bool(y.isfinite().all()):
            raise DataError("there are targets that are not finite numbers")

    def wrong(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Whether unit · max_j |o_j − t_j| is not within the tolerance."""
        return ~(self._error(outputs, y) <= self.tolerance)

    def _error(self, outputs: Tensor, y: Tensor) -> Tensor:
        from robustfw import losses

        if outputs.shape != y.shape:
            raise DataError(f"the net gives {outputs.shape[1]} numbers per example, and there are {y.shape[1]} targets")
        values = losses.to_float32(outputs)
        return self.unit * (values - y.to(values.dtype)).abs().amax(1)

    def measure(self, outputs: Tensor, y: Tensor) -> Tensor:
        """The error unit · max_j |o_j − t_j|, (n, 1)."""
        return self._error(outputs, y).double()[:, None]

    def metrics(self, measured: Tensor) -> dict[str, float]:
        """The mean error, its quantiles and the largest, in the target's own unit."""
        error = measured[:, 0]
        figures = {"mean error": float(error.mean())}
        for name, share in self.quantiles.items():
            figures[name] = float(error.quantile(share))
        return figures | {"largest error": float(error.max())}


@final
@attrs.frozen
class Segmentation(Task):
    """A class for each pixel: logits (n, K, height, width); wrong from a share of wrong pixels on."""

    share: Annotated[float, "share of an image's pixels from which on, if they are wrong, the image is"] = attrs.field(
        default=0.1, validator=[gt(0), lt(1)]
    )

    graded: ClassVar[bool] = True
    right: ClassVar[str] = "enough pixels right"

    @property
    def loss(self) -> Loss:
        """Cross-entropy, the mean over the pixels."""
        return CrossEntropy()

    def outputs(self, classes: int) -> int:
        """K, for each pixel."""
        return classes

    def targets(self, y: Tensor) -> Tensor:
        """Labels (n, height, width), int64, from (n, 1, height, width) as well."""
        if y.is_floating_point() or y.dim() not in (3, 4) or (y.dim() == 4 and y.shape[1] != 1):
            raise DataError(
                f"targets are {dtype_name(y)} of shape {tuple(y.shape)}, and the task segmentation needs a class for "
                "each pixel, whole numbers (examples, height, width)"
            )
        return (y if y.dim() == 3 else y[:, 0]).long()

    def read(self, outputs: Tensor, n: int) -> Tensor:
        """Logits (n, K, height, width)."""
        from robustfw import losses

        check_tensor(outputs, n)
        if outputs.dim() != 4 or outputs.shape[1] < 2:
            raise DataError(
                f"the net's outputs have shape {tuple(outputs.shape)}, and the task segmentation needs (examples, "
                "classes, height, width), two classes at least"
            )
        return losses.finite(outputs)

    def check(self, y: Tensor, classes: int) -> None:
        """Labels from 0 to K − 1, or −1 where a pixel has none."""
        check_labels(y, classes)

    def _wrong_pixels(self, outputs: Tensor, y: Tensor) -> Tensor:
        from robustfw import losses

        if outputs.shape[2:] != y.shape[1:]:
            raise DataError(
                f"the net gives classes for {tuple(outputs.shape[2:])} pixels, and targets are for {tuple(y.shape[1:])}"
            )
        return losses.misclassified(outputs, y) & (y != losses.UNLABELLED)

    def wrong(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Whether the share of wrong pixels, of those that have a label, reaches ``share``."""
        return self._share(self._wrong_pixels(outputs, y), y) >= self.share

    @staticmethod
    def _share(wrong: Tensor, y: Tensor) -> Tensor:
        from robustfw import losses

        labelled = (y != losses.UNLABELLED).flatten(1).sum(1).clamp(min=1)
        return wrong.flatten(1).sum(1).double() / labelled

    def measure(self, outputs: Tensor, y: Tensor) -> Tensor:
        """The share of wrong pixels; then for each class the pixels of intersection, and of union, (n, 1 + 2K)."""
        import torch

        from robustfw import losses

        share = self._share(self._wrong_pixels(outputs, y), y)[:, None]
        predicted, labelled = outputs.argmax(1), y != losses.UNLABELLED
        inner, outer = [], []
        for label in range(outputs.shape[1]):
            said, true = (predicted == label) & labelled, y == label
            inner.append((said & true).flatten(1).sum(1))
            outer.append((said | true).flatten(1).sum(1))
        return torch.cat([share, torch.stack(inner + outer, 1).double()], 1)

    def metrics(self, measured: Tensor) -> dict[str, float]:
        """Mean intersection over union of the classes that occur, over all pixels; and the share of right pixels."""
        inner, outer = measured[:, 1:].sum(0).chunk(2)
        occurring = outer > 0
        return {
            "mean IoU": float((inner[occurring] / outer[occurring]).mean()) if bool(occurring.any()) else float("nan"),
            "pixels right": 1 - float(measured[:, 0].mean()),
        }
