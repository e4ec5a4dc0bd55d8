"""The share of the data range that a set covers, which shows whether its radius is in the unit of the data."""

from __future__ import annotations

import torch
from torch import Tensor

from robustfw.regions._base import Bound, Region
from robustfw.regions._rows import exact

DIRECTIONS = 2
"""Number of random sign directions; each is tried with both signs."""


def coverage(region: Region, x: Tensor, lower: Bound, upper: Bound) -> Tensor:
    """The share of the data range that a set covers, from 0 to 1, (batch,): 1 is a set that reaches all of it.

    The mean over random directions g ∈ {−1, 1}ᵈ of min(1, max_{δ ∈ 𝒰} ⟨g, δ⟩ / Σⱼ (upper − lower)ⱼ): for ℓ∞ of radius
    r in [0, 1] that is min(1, r), for ℓ2 min(1, r/√d), for ℓ1 min(1, r/d). A set in the wrong unit, ``linf:radius=8``
    where 8/255 was meant, has 1. For a set whose x̃ is not x + δ, the share is that of Σⱼ |x̃ − x|ⱼ at such members.

    Args:
        region: the bare set at x, not yet within the data range.
        x: (batch, *shape).
        lower: lower end of the data range: a number, or a tensor that broadcasts to x.
        upper: upper end of the data range, likewise.
    """
    if not len(x):
        return exact(x).new_zeros(0)
    high = torch.as_tensor(upper, device=x.device)
    low = torch.as_tensor(lower, device=x.device)
    extent = exact(high - low)
    total_extent = extent.expand_as(x).flatten(1).sum(1)
    safe_extent = torch.where(total_extent > 0, total_extent, 1)
    generator = torch.Generator().manual_seed(0)
    shares = []
    for _ in range(DIRECTIONS):
        coins = torch.rand(region.like.shape, generator=generator) < 0.5
        signs = torch.where(coins, 1.0, -1.0).to(region.like)
        for direction in (signs, -signs):
            share = _reach(region, x, direction) / safe_extent
            shares.append(share.clamp(0, 1))
    return torch.stack(shares).mean(0)


def _reach(region: Region, x: Tensor, direction: Tensor) -> Tensor:
    """⟨g, δ⟩ at the farthest member, or Σ |x̃ − x| where x̃ is not x + δ, (batch,)."""
    farthest = region.support(direction)
    if region.additive:
        return (exact(farthest) * exact(direction)).flatten(1).sum(1)
    perturbed = exact(region.apply(x, farthest))
    change = perturbed - exact(x)
    return change.flatten(1).abs().sum(1)
