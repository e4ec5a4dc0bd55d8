"""The threat model: an uncertainty set and the range of the data, which all perturbed examples keep."""

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
    from robustfw.data.spec import DataSpec
    from robustfw.data.splits import Split


WHOLE_RANGE = 0.999
"""Coverage of the data range, from 0 to 1, from which on a set counts as covering all of it."""
EXAMPLES = 8
"""Number of examples at which a set is compared with the data range."""


@final
@attrs.frozen
class Threat:
    """{δ ∈ 𝒰(x) : lower ≤ x + δ ≤ upper}: the perturbations that are allowed at x, a set and a data range together."""

    uncertainty: UncertaintySet
    bounds: Bounds = (0.0, 1.0)
    immutable: tuple[int, ...] = ()
    """Features that no perturbation changes, by their numbers in the flattened example."""
    masked: bool = False
    """Whether x are sequences (batch, time, features) whose last feature is a mask, 0 at padded steps: these steps and
    the mask do not change."""

    @classmethod
    def on(cls, uncertainty: UncertaintySet, spec: DataSpec) -> Threat:
        """The threat of a set on data: within its range, and with all that must not change as it is.

        Args:
            uncertainty: the set, which learns the layout of the data's features (`UncertaintySet.lay_out`).
            spec: the declared facts of the data.
        """
        return cls(
            uncertainty=uncertainty.lay_out(spec),
            bounds=spec.bounds,
            immutable=spec.immutable,
            masked=spec.masked,
        )

    def frozen(self, x: Tensor) -> Tensor | None:
        """The mask of the values of x, (batch, *shape), that no perturbation changes; None where all may change."""
        if not self.immutable and not self.masked:
            return None
        frozen = torch.zeros_like(x, dtype=torch.bool)
        if self.masked:
            frozen |= x[..., -1:] == 0
            frozen[..., -1] = True
        if self.immutable:
            flat = frozen.reshape(len(x), -1)
            flat[:, list(self.immutable)] = True
            frozen = flat.reshape(x.shape)
        return frozen

    def fit(self, train: Split) -> Threat:
        """The threat with its set fitted to the training examples (`UncertaintySet.fit`)."""
        return attrs.evolve(self, uncertainty=self.uncertainty.fit(train))

    def scale(self, factor: float) -> Threat:
        """The threat with the set scaled by a factor ≥ 0 (`UncertaintySet.scale`), for warm-up and sweeps."""
        return attrs.evolve(self, uncertainty=self.uncertainty.scale(factor))

    def with_uncertainty(self, uncertainty: UncertaintySet) -> Threat:
        """The threat of another set within this data range."""
        return attrs.evolve(self, uncertainty=uncertainty)

    def warn_of_unit(self, x: Tensor) -> None:
        """Warn if half of the set already covers the whole data range: its radius is in another unit, probably.

        A radius of 8 where 8/255 was meant leaves nothing of the image, and every net at chance. The first 8 of the
        examples x, (batch, *shape), are tried.
        """
        if self.bounds is None or not len(x):
            return
        examples = x[:EXAMPLES]
        lower, upper = ends(self.bounds, examples)
        half = self.scale(0.5).uncertainty.at(examples)
        share = coverage(half, x=examples, lower=lower, upper=upper)
        if bool(share.median() >= WHOLE_RANGE):
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
            checked: x is known to be finite and within its bounds; the check waits for the device.

        Raises:
            DataError: x is not floating point, not finite, or not within its bounds.
        """
        if not checked:
            check_range(x, self.bounds)
        return self.clip(self.uncertainty.at(x), x)

    def clip(self, region: Region, x: Tensor) -> Region:
        """The region of the members δ of a region at x, (batch, *shape), whose x̃ is in the data range.

        Members leave alone what is frozen (`frozen`).
        """
        frozen = self.frozen(x)
        if self.bounds is None and frozen is None:
            return region
        # in float32 at least, since 1 − x rounds in half precision
        wide_x = x.to(torch.promote_types(x.dtype, torch.float32))
        lower, upper = ends(self.bounds, x)
        # x may be outside of its range by rounding, and a region contains 0 all the same
        low = (lower - wide_x).clamp_(max=0)
        high = (upper - wide_x).clamp_(min=0)
        if frozen is not None:
            low = low.masked_fill(frozen, 0)
            high = high.masked_fill(frozen, 0)
        return region.clip(low, high)

    def apply(self, region: Region, x: Tensor, delta: Tensor) -> Tensor:
        """The perturbed examples x̃, (batch, *shape), within the data range.

        The clamp removes the last bit that rounding x + δ may add to a member of the region.

        Args:
            region: 𝒰(x) within the data range, whose `apply` says what δ means.
            x: examples (batch, *shape).
            delta: members of the region.
        """
        perturbed = region.apply(x, delta)
        frozen = self.frozen(x)
        if frozen is not None:
            perturbed = torch.where(frozen, x, perturbed)
        if self.bounds is None:
            return perturbed
        lower, upper = ends(self.bounds, x)
        if isinstance(lower, float) and isinstance(upper, float):
            return perturbed.clamp(lower, upper)
        low = torch.as_tensor(lower).to(perturbed)
        high = torch.as_tensor(upper).to(perturbed)
        above_low = torch.maximum(perturbed, low)
        return torch.minimum(above_low, high)
