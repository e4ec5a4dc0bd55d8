"""𝒰: the interface of an uncertainty set. Its value at x, a `Region`, is in `robustfw.regions`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self, final

import attrs

if TYPE_CHECKING:
    from torch import Tensor

    from robustfw.data.spec import DataSpec
    from robustfw.data.splits import Split
    from robustfw.regions import Region


class UncertaintySet(ABC):
    """𝒰: x ↦ 𝒰(x), the perturbations that are allowed at x (eq. 9 of Shaham et al. 2015).

    A subclass is a frozen attrs class whose fields are its options, in the units of the data
    (pixels in [0, 1], never standardised). Every field has a default.
    """

    shapes: ClassVar[tuple[tuple[int, ...], ...] | None] = None
    """Shapes of one example with which the laws of `robustfw.testing` try the set; None: it takes any shape. A set for
    tables of twelve columns has ``((12,),)``. A class attribute, or a property where options decide."""

    @abstractmethod
    def at(self, x: Tensor) -> Region:
        """𝒰(x) for a batch x of shape (batch, *shape), evaluated once, however many steps follow.

        Row i of the region depends on row i of x only. The set does not know the data range: the caller asks for
        ``at(x).clip(lower - x, upper - x)``.
        """

    def fit(self, train: Split) -> Self:
        """The set fitted to the training examples; by default the set itself, which learns nothing from data.

        Training and measuring call it once, before the first `at`, with the training split of the run and nothing else.
        The result has the same options, is equal to this set, and does not change when it is fitted again.
        """
        return self

    def lay_out(self, spec: DataSpec) -> Self:
        """The set for data of this layout; by default the set itself, which treats all features alike.

        A set whose options name features, or that changes categories as a whole, takes here what the data set says of
        its features: `DataSpec.features`, `DataSpec.groups`. `Threat.on` calls it, perhaps more than once, before and
        after `fit`. The result has the same options, is equal to this set, and knows what it learnt. What
        a data set calls immutable needs no set to know of it: the threat keeps it.
        """
        return self

    def scale(self, factor: float) -> UncertaintySet:
        """The set scaled by a factor, for warm-up and for sweeps: factor·𝒰, by the `scale` of its regions.

        A set in which half of a member is not a member overrides this, or the `scale` of its regions: fewer changes, a
        radius that is rounded, milder severities. In either case 1 gives the set itself, 0 the set {0}, and a member
        for one factor is a member for every larger one.

        Args:
            factor: ≥ 0; above 1 the set grows, where it can.
        """
        return ScaledSet(self, factor)


@final
@attrs.frozen
class ScaledSet(UncertaintySet):
    """factor·𝒰(x), or the inner set's own scaled set (see `UncertaintySet.scale`)."""

    inner: UncertaintySet
    factor: float

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...] | None:  # type: ignore[override]  # a property is allowed, too
        return self.inner.shapes

    def fit(self, train: Split) -> ScaledSet:
        """The scaled set of the fitted inner set."""
        return attrs.evolve(self, inner=self.inner.fit(train))

    def lay_out(self, spec: DataSpec) -> ScaledSet:
        """The scaled set of the inner set for data of this layout."""
        return attrs.evolve(self, inner=self.inner.lay_out(spec))

    def at(self, x: Tensor) -> Region:
        """The scaled region of the inner set at x, or the region of the inner set's own scaled set."""
        if type(self.inner).scale is UncertaintySet.scale:
            return self.inner.at(x).scale(self.factor)
        return self.inner.scale(self.factor).at(x)

    def scale(self, factor: float) -> UncertaintySet:
        """The inner set scaled by the product of both factors, so that factors do not nest."""
        return self.inner.scale(self.factor * factor)
