"""How much of the data range a set covers: whether its radius is in the unit of the data."""

from __future__ import annotations

import torch
from torch import Tensor

from robustfw.regions._base import Bound, Region
from robustfw.regions._rows import exact

DIRECTIONS = 2
"""Random sign directions, each of which is looked at both ways."""


def coverage(region: Region, x: Tensor, lower: Bound, upper: Bound) -> Tensor:
    """The share of the data range that a set covers, from 0 to 1, (batch,): 1 is a set that reaches all of it.

    The mean over random directions g ∈ {−1, 1}ᵈ of min(1, max_{δ ∈ 𝒰} ⟨g, δ⟩ / Σⱼ (upper − lower)ⱼ): for ℓ∞ of radius
    r in [0, 1] that is min(1, r), for ℓ2 min(1, r/√d), for ℓ1 min(1, r/d). A set in the wrong unit, ``linf:radius=8``
    where 8/255 was meant, has 1. For a set whose x̃ is not x + δ, the share is that of Σⱼ |x̃ − x|ⱼ at such members.

    Args:
        region: the bare set at x, not yet within the data range.
        x: (batch, *shape).
        lower: of the data range: a number, or a tensor that broadcasts to x; ``upper`` likewise.
    """
    if not len(x):
        return exact(x).new_zeros(0)
    extent = exact(torch.as_tensor(upper, device=x.device) - torch.as_tensor(lower, device=x.device))
    whole = extent.expand_as(x).flatten(1).sum(1)
    generator = torch.Generator().manual_seed(0)
    shares = []
    for _ in range(DIRECTIONS):
        coins = torch.rand(region.like.shape, generator=generator) < 0.5
        signs = torch.where(coins, 1.0, -1.0).to(region.like)
        for direction in (signs, -signs):
            reached = _reach(region, x, direction)
            shares.append((reached / torch.where(whole > 0, whole, 1)).clamp(0, 1))
    return torch.stack(shares).mean(0)


def _reach(region: Region, x: Tensor, direction: Tensor) -> Tensor:
    """⟨g, δ⟩ at the farthest member, or Σ |x̃ − x| where δ is no change of x, (batch,)."""
    farthest = region.support(direction)
    if region.additive:
        return (exact(farthest) * exact(direction)).flatten(1).sum(1)
    return (exact(region.apply(x, farthest)) - exact(x)).flatten(1).abs().sum(1)
