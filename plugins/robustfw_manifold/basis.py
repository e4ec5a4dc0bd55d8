"""The interface of bases of the tangent space, a kind of plugin of its own."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self

from robustfw import Interface

if TYPE_CHECKING:
    from torch import Tensor

    from robustfw.data.splits import Split
    from robustfw.testing.laws import Law


class Basis(Interface):
    """x ↦ an orthonormal basis of Γ(x), the tangent space of the data at x.

    A subclass is a frozen attrs class whose fields are its options; every field has a default.
    """

    kind: ClassVar[str] = "basis"

    @abstractmethod
    def at(self, x: Tensor) -> Tensor:
        """The basis vectors at each row of x (batch, *shape), (batch, directions, *shape).

        They are orthonormal; a direction that is missing is zeros.
        """

    def fit(self, train: Split) -> Self:
        """The basis fitted to the training examples, as `robustfw.UncertaintySet.fit`; by default itself."""
        return self

    @classmethod
    def laws(cls) -> tuple[Law, ...]:
        """The laws that every basis keeps, for the contract kit."""
        from robustfw_manifold.laws import LAWS

        return LAWS
