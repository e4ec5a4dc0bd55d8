"""𝒰: the interface of an uncertainty set. What it evaluates to, a `Region`, is in `robustfw.regions`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self, final

import attrs

if TYPE_CHECKING:
    from torch import Tensor

    from robustfw.regions import Region
    from robustfw.splits import Split


class UncertaintySet(ABC):
    """𝒰: x ↦ 𝒰(x), the perturbations that are allowed at x (eq. 9 of Shaham et al. 2015).

    A subclass is a frozen attrs class whose fields are its options, in the units of the data
    (pixels in [0, 1], never standardised). Every field has a default.
    """

    @abstractmethod
    def at(self, x: Tensor) -> Region:
        """𝒰(x) for a batch x of shape (batch, *shape), evaluated once, however many steps follow.

        Row i of the region depends on row i of x only. The data range is no concern of the set:
        whoever knows it asks for ``at(x).within(lower - x, upper - x)``.
        """

    def fitted(self, train: Split) -> Self:
        """The set after a look at the training examples; itself, unless it learns something from data.

        Whoever trains or measures asks for it once, before the first `at`, and shows it the training split of the run
        and nothing else. What is returned has the same options, is equal to this one, and stays as it is when it is
        fitted again.
        """
        return self


@final
@attrs.frozen
class ScaledSet(UncertaintySet):
    """factor·𝒰(x): for curricula and for sweeps over the radius."""

    inner: UncertaintySet
    factor: float

    def fitted(self, train: Split) -> ScaledSet:
        """The inner set, fitted."""
        return attrs.evolve(self, inner=self.inner.fitted(train))

    def at(self, x: Tensor) -> Region:
        """The inner region, scaled."""
        return self.inner.at(x).scaled(self.factor)
