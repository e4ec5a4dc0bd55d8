"""Steps to the nearest of several linear borders within a set, by projections alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor

from robustfw.regions import Region, inner_products, per_row

if TYPE_CHECKING:
    from collections.abc import Callable

SECANTS = 20
"""Projections that one step may cost; where the set does not hold it back it costs one."""
LONGER = 16.0
"""The most by which a trial is longer than the last."""


@attrs.frozen(eq=False)
class Rays:
    """For each row k rays P(δ + λ·direction), λ ≥ 0, and the gains ⟨slope, P(δ + λ·direction) − δ⟩ along them.

    If direction = slope, and the set is convex, P(δ + λ·slope) is the member nearest to δ of those that gain as much:
    it minimizes ½‖s‖₂² − λ⟨slope, s⟩ over the members δ + s, the Lagrangian of that question. If direction =
    sign(slope) and the set is a box, it is the nearest in ℓ∞.
    """

    region: Region
    delta: Tensor
    slopes: Tensor
    """(n, k, *shape), in float32 at least."""
    directions: Tensor

    def crossing(self, enough: Tensor, wanted: Tensor, measure: Callable[[Tensor], Tensor]) -> Tensor:
        """Of each row the member that gains ``wanted`` on the ray where that is nearest.

        Which ray that is, is estimated from one projected step along each, whose length counts by what it gains. Where
        the set ends before, it is as far as the set goes, or a long way.

        Args:
            enough: (n, k), the gain with which a search may end.
            wanted: (n, k), > enough: the gain that is aimed at.
            measure: the length of a step, (n,).
        """
        n, k = wanted.shape
        row = torch.arange(n, device=wanted.device)
        every = _Single(
            self.region if k == 1 else self.region[row.repeat_interleave(k)],
            self.delta.repeat_interleave(k, 0),
            self.slopes.flatten(0, 1),
            self.directions.flatten(0, 1),
        )
        moved, gain = every.at(every.length(wanted.flatten()))
        far = measure((moved - every.delta).to(gain)) * wanted.flatten() / gain
        best = torch.where(gain > 0, far, torch.inf).reshape(n, k).argmin(1)
        chosen = _Single(self.region, self.delta, self.slopes[row, best], self.directions[row, best])
        return chosen.search(enough[row, best], wanted[row, best])


@attrs.frozen(eq=False)
class _Single:
    """One ray for each row."""

    region: Region
    delta: Tensor
    slope: Tensor
    direction: Tensor

    def at(self, length: Tensor) -> tuple[Tensor, Tensor]:
        """The member at λ = length, and its gain."""
        point = self.delta.to(self.slope) + per_row(length, self.slope) * self.direction
        moved = self.region.project(point.to(self.delta.dtype))
        return moved, inner_products(self.slope, (moved - self.delta).to(self.slope))

    def length(self, gain: Tensor) -> Tensor:
        """The λ of a gain if the set were unbounded; 0 where the slope vanishes."""
        rate = inner_products(self.slope, self.direction)
        return torch.where(rate > 0, gain / rate, 0).nan_to_num(0, 0, 0)

    def search(self, enough: Tensor, wanted: Tensor) -> Tensor:
        """λ by the secant rule. The gain is concave in λ if the set is a box, so that it is approached from below."""
        before, gained = torch.zeros_like(wanted), torch.zeros_like(wanted)
        length = self.length(wanted)
        moved, gain = self.at(length)
        for _ in range(SECANTS):
            short = (gain < enough) & (length > 0)
            if not short.any():
                break
            further = length + (wanted - gain) * (length - before) / (gain - gained)
            further = torch.where(gain > gained, further, torch.inf).clamp(max=LONGER * length)
            before, gained = torch.where(short, length, before), torch.where(short, gain, gained)
            length = torch.where(short, further, length)
            moved, gain = self.at(length)
        return moved
