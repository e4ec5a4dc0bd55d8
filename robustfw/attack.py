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

    It sees an `InnerProblem`: values, gradients and a region. It knows no norm, no network and no label.
    A subclass is a frozen attrs class whose fields are its options; every field has a default.
    """

    @property
    def linear_share(self) -> float:
        """The share of the exact maximum of a linear objective that is promised; the contract kit holds it to that."""
        return 0.9

    @property
    def couples_rows(self) -> bool:
        """Whether a row's δ may depend on the other rows of its batch, as one perturbation for all of them does.

        The contract kit does not ask such an attack to treat rows independently.
        """
        return False

    @property
    def stays_inside(self) -> bool:
        """Whether every δ is a member of its region. An attack for training may leave it on purpose (N-FGSM's noise).

        The contract kit then asks for shape, dtype and finite numbers alone, and no evaluation takes its numbers.
        """
        return True

    @property
    def minimal(self) -> bool:
        """Whether it looks for the nearest solved member: a problem without a goal gives it nothing to be near to."""
        return False

    @property
    def example_shape(self) -> tuple[int, ...]:
        """The shape of one x, without the batch, that the contract kit tries the attack on: one that it takes."""
        return (1, 3, 3)

    @abstractmethod
    def maximize(self, problem: InnerProblem, generator: torch.Generator) -> Tensor:
        """A member δ of ``problem.region``, one for each row, of the region's shape and dtype.

        All randomness comes from ``generator``. A row whose value is ∞ is solved: nothing exceeds it,
        so an attack may leave it as it is (see `InnerProblem.goal`). A batch without rows gives a δ without rows.
        """
