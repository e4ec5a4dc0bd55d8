"""The interface of a task, which says what targets y are and when an output is wrong."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

    from robustfw.loss import Loss


class Task(ABC):
    """The purpose of a net's outputs. Part of a `robustfw.DataSpec`; a kind of plugin like any other.

    Nets may give their outputs in several forms, such as (batch,) or (batch, 1). `read` and `targets` bring outputs and
    targets into one form, which losses, attacks and measures then take. The letters n, K, d stand for the size of the
    batch, the number of classes or labels, and the number of targets.
    """

    labelled: ClassVar[bool] = False
    """Whether targets are one class for each example, (n,), so that attacks may choose among classes."""
    graded: ClassVar[bool] = False
    """Whether it matters how wrong an output is: all examples are attacked to the end, and `measure` is recorded."""
    right: ClassVar[str] = "right"
    """The words for an output that is not wrong."""

    @property
    @abstractmethod
    def loss(self) -> Loss:
        """The default loss of training and of attacks."""

    @abstractmethod
    def outputs(self, classes: int) -> int:
        """The number of outputs of a net for so many classes (per pixel, where each pixel has a class)."""

    @abstractmethod
    def targets(self, y: Tensor) -> Tensor:
        """Targets y of a data set in the form that losses take.

        Raises:
            DataError: y has no form of this task.
        """

    @abstractmethod
    def read(self, outputs: Tensor, n: int) -> Tensor:
        """A net's outputs for n examples in the form that losses take.

        Raises:
            DataError: the outputs have no form of this task.
        """

    @abstractmethod
    def check(self, y: Tensor, classes: int) -> None:
        """Raise a `DataError` unless the values of targets, in the form of the task, fit so many classes or targets."""

    @abstractmethod
    def wrong(self, outputs: Tensor, y: Tensor) -> Tensor:
        """The mask of wrong outputs, (n,), for outputs and targets in the form of the task; NaN counts as wrong."""

    def measure(self, outputs: Tensor, y: Tensor) -> Tensor | None:
        """Measures of each example, (n, m), from which `metrics` are computed; the first says how bad the output is.

        None for a task that knows right and wrong only.
        """
        return None

    def metrics(self, measured: Tensor) -> dict[str, float]:
        """Metrics over all examples by name, from the results (n, m) of `measure`."""
        return {}
