"""max: the interface of an attack."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from robustfw.inner.problem import InnerProblem


class Attack(ABC):
    """An approximate maximizer of the inner problem max_{δ ∈ 𝒰(x)} J(θ, x + δ, y) (eq. 10).

    An attack is given an `InnerProblem`: values, gradients and a region. It knows no norm, no network and no label.
    A subclass is a frozen attrs class whose fields are its options; every field has a default.
    """

    @property
    def linear_share(self) -> float:
        """The promised share of the exact maximum of a linear objective, which the contract kit checks."""
        return 0.9

    @property
    def couples_rows(self) -> bool:
        """Whether a row's δ may depend on the other rows of its batch, as one perturbation for all of them does.

        The contract kit does not ask such an attack to treat rows independently.
        """
        return False

    @property
    def stays_inside(self) -> bool:
        """Whether every δ is a member of its region; False for training attacks that leave it on purpose (N-FGSM).

        The contract kit then checks shape, dtype and finite numbers alone, and evaluations refuse the attack.
        """
        return True

    @property
    def minimal(self) -> bool:
        """Whether the attack looks for the nearest solved member, and so needs a problem with a criterion."""
        return False

    @property
    def example_shape(self) -> tuple[int, ...]:
        """The shape of one example, without the batch, with which the contract kit tries the attack."""
        return (1, 3, 3)

    @abstractmethod
    def maximize(self, problem: InnerProblem, generator: torch.Generator) -> Tensor:
        """A member δ of ``problem.region`` for each row, (batch, …), of the region's shape and dtype.

        A row whose value is ∞ is solved: nothing exceeds it, so an attack may leave it as it is (see
        `InnerProblem.criterion`). An empty batch gives an empty δ. All randomness comes from ``generator``.
        """
