"""y and "wrong": the interface of a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

    from robustfw.loss import Loss


class Task(ABC):
    """What the outputs of a net are for. A part of a `robustfw.DataSpec`; a kind of plugin like any other.

    Nets may give their outputs in several forms, (batch,) or (batch, 1), say. `read` and `targets` bring both sides
    into one form, which losses, attacks and measures then see. The words n, K, d stand for the batch, the number of
    classes or labels, and the number of targets.
    """

    labelled: ClassVar[bool] = False
    """Whether targets are one class for each example, (n,), so that attacks may choose among classes."""
    graded: ClassVar[bool] = False
    """Whether it matters how wrong an output is: every example is then attacked, to the end, and `measure` is kept."""
    right: ClassVar[str] = "right"
    """What an output is that is not wrong, in words."""

    @property
    @abstractmethod
    def loss(self) -> Loss:
        """The loss of training and of attacks, where none is named."""

    @abstractmethod
    def outputs(self, classes: int) -> int:
        """How many numbers a net gives (per pixel, where each has a class of its own) for so many classes."""

    @abstractmethod
    def targets(self, y: Tensor) -> Tensor:
        """Targets in the form that losses take.

        Raises:
            DataError: y is nothing of the kind.
        """

    @abstractmethod
    def read(self, outputs: Tensor, n: int) -> Tensor:
        """A net's outputs for n examples in the form that losses take.

        Raises:
            DataError: they have another shape.
        """

    @abstractmethod
    def check(self, y: Tensor, classes: int) -> None:
        """Raise a `DataError` unless targets, in their form, fit so many classes (or targets); it looks at values."""

    @abstractmethod
    def wrong(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Which outputs are wrong, (n,), both in their form; what is not a number is wrong."""

    def measure(self, outputs: Tensor, y: Tensor) -> Tensor | None:
        """Numbers for each example, (n, m), of which `metrics` are made; the first says how bad the output is.

        None where right and wrong is all that there is to say.
        """
        return None

    def metrics(self, measured: Tensor) -> dict[str, float]:
        """Figures by name over all examples, from what `measure` gave for them."""
        return {}
