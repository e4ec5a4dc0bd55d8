"""𝒰: the interface of an uncertainty set. What it evaluates to, a `Region`, is in `robustfw.regions`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self, final

import attrs

if TYPE_CHECKING:
    from torch import Tensor

    from robustfw.data.splits import Split
    from robustfw.regions import Region


class UncertaintySet(ABC):
    """𝒰: x ↦ 𝒰(x), the perturbations that are allowed at x (eq. 9 of Shaham et al. 2015).

    A subclass is a frozen attrs class whose fields are its options, in the units of the data
    (pixels in [0, 1], never standardised). Every field has a default.
    """

    shapes: ClassVar[tuple[tuple[int, ...], ...] | None] = None
    """Shapes of one example that the set can be tried on, for a set that does not take any: ``((12,),)`` for a table of
    twelve columns. The laws of `robustfw.testing` use them. A class attribute, or a property where options decide."""

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

    def scaled(self, factor: float) -> UncertaintySet:
        """A set of that share of the size, for warm-up and for sweeps: factor·𝒰, by the `scaled` of its regions.

        A set of which half a member is none overrides this, or the `scaled` of its regions: fewer changes, a radius
        that is rounded, milder severities. In either way 1 gives the set itself, 0 the set {0}, and what is a member
        for one factor is so for every larger one.

        Args:
            factor: ≥ 0; above 1 the set grows, where it can.
        """
        return ScaledSet(self, factor)


@final
@attrs.frozen
class ScaledSet(UncertaintySet):
    """factor·𝒰(x), or what the inner set has in its place (see `UncertaintySet.scaled`)."""

    inner: UncertaintySet
    factor: float

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...] | None:  # type: ignore[override]  # a property is allowed, too
        return self.inner.shapes

    def fitted(self, train: Split) -> ScaledSet:
        """The inner set, fitted."""
        return attrs.evolve(self, inner=self.inner.fitted(train))

    def at(self, x: Tensor) -> Region:
        """The inner region scaled, or the region of the inner set's own smaller set."""
        if type(self.inner).scaled is UncertaintySet.scaled:
            return self.inner.at(x).scaled(self.factor)
        return self.inner.scaled(self.factor).at(x)

    def scaled(self, factor: float) -> UncertaintySet:
        """One factor, not a factor of a factor."""
        return self.inner.scaled(self.factor * factor)
