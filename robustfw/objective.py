"""J and Σ: the interface of a training objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from torch import Tensor, nn

    from robustfw.losses import Loss
    from robustfw.splits import Split


class WorstCase(Protocol):
    """A way to ask for the worst cases of the batch at hand."""

    def __call__(self, *, loss: Loss = ...) -> Tensor:
        """x̃ = x + argmax_{δ ∈ 𝒰(x)} loss(model(x + δ), y), detached; cross-entropy when none is given."""


class Objective(ABC):
    """What θ minimizes on a batch, given a way to ask for worst cases.

    A subclass is a frozen attrs class whose fields are its options; every field has a default.
    """

    @abstractmethod
    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, worst_case: WorstCase) -> Tensor:
        """The losses, of shape (batch,), differentiable in the parameters of the model."""

    def fitted(self, train: Split) -> Self:
        """The objective after a look at the training examples, as `UncertaintySet.fitted`; by default itself."""
        return self
