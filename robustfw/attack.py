"""max: the interface of an attack."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from robustfw.problem import InnerProblem


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
    def stays_inside(self) -> bool:
        """Whether every δ is a member of the region, which is then checked.

        An attack for training may say that it is not: one that adds noise to a member, say. It cannot measure.
        """
        return True

    @property
    def couples_rows(self) -> bool:
        """Whether the δ of a row depends on the other rows of the batch."""
        return False

    @property
    def minimal(self) -> bool:
        """Whether it looks for the nearest solved member: a problem without a goal gives it nothing to be near to."""
        return False

    @abstractmethod
    def maximize(self, problem: InnerProblem, generator: torch.Generator) -> Tensor:
        """A member δ of ``problem.region``, one for each row, of the region's shape and dtype.

        All randomness comes from ``generator``. A row whose value is ∞ is solved: nothing exceeds it,
        so an attack may leave it as it is (see `InnerProblem.goal`).
        """
