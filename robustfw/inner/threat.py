"""All that an adversary may do to x: an uncertainty set, and the range of the data."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, final

import attrs
import torch
from torch import Tensor

from robustfw.data.bounds import Bounds, check_range, ends, spell_bounds
from robustfw.errors import RobustfwWarning
from robustfw.regions import Region, coverage
from robustfw.uncertainty import UncertaintySet

if TYPE_CHECKING:
    from robustfw.data.splits import Split


EVERYTHING = 0.999
"""The share of the range that counts as all of it."""
FEW = 8
"""Examples that a set is held against the range at."""


@final
@attrs.frozen
class Threat:
    """{δ ∈ 𝒰(x) : lower ≤ x + δ ≤ upper}: what may be done to x, a set and a data range that travel together."""

    uncertainty: UncertaintySet
    bounds: Bounds = (0.0, 1.0)

    def fitted(self, train: Split) -> Threat:
        """The threat after a look at the training examples (`UncertaintySet.fitted`)."""
        return attrs.evolve(self, uncertainty=self.uncertainty.fitted(train))

    def scaled(self, factor: float) -> Threat:
        """The threat with a smaller or larger set (`UncertaintySet.scaled`), for warm-up and sweeps."""
        return attrs.evolve(self, uncertainty=self.uncertainty.scaled(factor))

    def within(self, uncertainty: UncertaintySet) -> Threat:
        """Another set in the same range."""
        return attrs.evolve(self, uncertainty=uncertainty)

    def warn_of_unit(self, x: Tensor) -> None:
        """Warn where half of the set already reaches the whole data range: its radius is in another unit, probably.

        A radius of 8 where 8/255 was meant leaves nothing of the image, and every net at chance.
        """
        if self.bounds is None or not len(x):
            return
        few = x[:FEW]
        share = coverage(self.scaled(0.5).uncertainty.at(few), few, *ends(self.bounds, few))
        if bool(share.median() >= EVERYTHING):
            lower, upper = ends(self.bounds, few)
            warnings.warn(
                f"{self.uncertainty} is more than twice as large as the data's range {spell_bounds(lower, upper)}: "
                "nothing is left of an example, so its radius may be in another unit (8 for 8/255)",
                RobustfwWarning,
                stacklevel=3,
            )

    def region(self, x: Tensor, *, checked: bool = False) -> Region:
        """𝒰(x) within the data range.

        Args:
            x: examples (batch, *shape).
            checked: x is known to be finite and within its bounds; to look costs a wait for the device.

        Raises:
            DataError: x is not floating point, not finite, or not within its bounds.
        """
        if not checked:
            check_range(x, self.bounds)
        return self.clip(self.uncertainty.at(x), x)

    def clip(self, region: Region, x: Tensor) -> Region:
        """The members of a region at x that leave x̃ in the data range."""
        if self.bounds is None:
            return region
        wide = x.to(torch.promote_types(x.dtype, torch.float32))  # 1 − x rounds in half precision
        lower, upper = ends(self.bounds, x)
        # x may be outside by rounding; a region contains 0 all the same
        return region.within((lower - wide).clamp_(max=0), (upper - wide).clamp_(min=0))

    def apply(self, region: Region, x: Tensor, delta: Tensor) -> Tensor:
        """x̃; the clamp takes back the last bit that rounding x + δ may add to a member of the region."""
        moved = region.apply(x, delta)
        if self.bounds is None:
            return moved
        lower, upper = ends(self.bounds, x)
        if isinstance(lower, float) and isinstance(upper, float):
            return moved.clamp(lower, upper)
        return torch.minimum(torch.maximum(moved, torch.as_tensor(lower).to(moved)), torch.as_tensor(upper).to(moved))
