"""Exact projections and linear maximizers of norm balls, with and without a box around them.

Everything here works on (rows, d) tensors, one independent problem per row, without a loop over rows. A ball has its
radius in (rows, 1); a box is given by the room u ≥ 0 that each coordinate has in the direction it wants to move, and
by None where there is no box. Magnitudes and signs are kept apart: each of these sets contains, with δ, every point
that is nearer to 0 in each coordinate and of the same sign, so only magnitudes have to be solved for.

The multiplier of the radius is found exactly: by sorting the breakpoints of the piecewise linear or quadratic equation
that it satisfies, and by two Newton steps on the piece found, which remove the rounding error of the long sums.
"""

from __future__ import annotations

import torch
from torch import Tensor

POLISH = 2
"""Newton steps after the sorted search. One is enough on all we measured; the second costs little."""
FAR = 1e3
"""Radii from which on a point is far."""


def shrunk_l1(magnitude: Tensor, room: Tensor | None, radius: Tensor) -> Tensor:
    """min(max(a − λ, 0), u) with the λ ≥ 0 that makes its sum r, or λ = 0 where that fits already.

    This is the projection on the ℓ1 ball ∩ box in magnitudes (Duchi et al. 2008 without the box). The sum is
    piecewise linear in λ with breakpoints a_j and a_j − u_j. Magnitudes are measured from the largest one that
    matters: differences of neighbouring large numbers are exact, so that a far point loses no digits.
    """
    top = magnitude.amax(1, keepdim=True)
    below = magnitude - top
    breakpoints = below if room is None else torch.cat([below, torch.maximum(below - room, -top)], dim=1)
    breakpoints, order = breakpoints.sort(dim=1, descending=True)
    slopes = torch.where(order < magnitude.shape[1], 1.0, -1.0).to(magnitude).cumsum(1)
    gaps = breakpoints[:, :-1] - breakpoints[:, 1:]
    filled = torch.cat([torch.zeros_like(radius), (slopes[:, :-1] * gaps).cumsum(1)], dim=1)
    last = torch.searchsorted(filled, radius).sub(1).clamp(min=0)
    slope = slopes.gather(1, last).clamp(min=1)
    level = breakpoints.gather(1, last) - (radius - filled.gather(1, last)) / slope
    for _ in range(POLISH):
        below, level = _polished(below, room, radius, level)
    moved = _at_most(torch.minimum((below - level).clamp(min=0), magnitude), room, radius)
    fits = _capped(magnitude, room).sum(1, keepdim=True) <= radius
    return _capped(torch.where(fits, magnitude, moved), room)


def _at_most(moved: Tensor, room: Tensor | None, radius: Tensor) -> Tensor:
    """Magnitudes with the last digits above the radius, which rounding may add, taken off in proportion."""
    total = _capped(moved, room).sum(1, keepdim=True)
    return _capped(moved, room) * (radius / total.clamp(min=torch.finfo(total.dtype).tiny)).clamp(max=1)


def _polished(below: Tensor, room: Tensor | None, radius: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    """Magnitudes and the level measured anew, from the largest coordinate that is neither at 0 nor full.

    The level is the root of the linear piece it lies on: Σ free (a − λ) + Σ full u = r.
    """
    excess = below - level
    full = None if room is None else excess >= room
    free = excess > 0 if full is None else (excess > 0) & ~full
    count = free.sum(1, keepdim=True)
    anchor = torch.where(count > 0, below.masked_fill(~free, -torch.inf).amax(1, keepdim=True), 0)
    below, level = below - anchor, level - anchor
    left = radius
    if room is not None and full is not None:
        left = radius - torch.where(full, room, 0).sum(1, keepdim=True)
    root = (torch.where(free, below, 0).sum(1, keepdim=True) - left) / count.clamp(min=1)
    return below, torch.where(count > 0, root, level)


def _capped(magnitude: Tensor, room: Tensor | None) -> Tensor:
    return magnitude if room is None else torch.minimum(magnitude, room)


def project_l1(point: Tensor, room: Tensor | None, radius: Tensor) -> Tensor:
    """argmin ‖δ − z‖₂ over ‖δ‖₁ ≤ r, |δ_j| ≤ u_j.

    In float32 a point a thousand radii away leaves no digits for the room; such rows are solved in float64.
    """
    magnitude = point.abs()
    shrunk = shrunk_l1(magnitude, room, radius)
    far = magnitude.amax(1) > FAR * radius[:, 0]
    if point.dtype == torch.float32 and point.device.type != "mps" and far.any():
        exact_room = None if room is None else room[far].double()
        shrunk[far] = shrunk_l1(magnitude[far].double(), exact_room, radius[far].double()).float()
    return shrunk.copysign(point)


def support_l1(direction: Tensor, room: Tensor | None, radius: Tensor) -> Tensor:
    """argmax ⟨g, δ⟩ over ‖δ‖₁ ≤ r, |δ_j| ≤ u_j: coordinates filled in the order of |g_j| (Croce & Hein 2021).

    Ties go to the lower index; a coordinate with g_j = 0 stays. Without a box the first coordinate takes it all.
    """
    if room is None:
        gain, first = direction.abs().max(dim=1, keepdim=True)
        filled = torch.where(gain > 0, radius, 0)
        return torch.zeros_like(direction).scatter(1, first, filled).copysign(direction)
    gains, order = direction.abs().sort(dim=1, descending=True, stable=True)
    room = torch.where(gains > 0, room.gather(1, order), 0)
    before = torch.cat([torch.zeros_like(radius), room[:, :-1].cumsum(1)], dim=1)
    filled = torch.minimum((radius - before).clamp(min=0), room)
    return torch.zeros_like(direction).scatter(1, order, filled).copysign(direction)


def l2_stretch(direction: Tensor, room: Tensor, radius: Tensor) -> Tensor:
    """η with ‖min(η|v|, u)‖₂ = r, or ∞ where the whole room fits into the ball; (rows, 1).

    Both oracles of the ℓ2 ball ∩ box are clip(ηv): with v = g it is the maximizer of ⟨g, δ⟩, with v = z and η at
    most 1 the projection of z. The squared norm is piecewise quadratic in η with breakpoints u_j/|v_j|.
    """
    weight = direction.abs()
    room = torch.where(weight > 0, room, 0)
    breaks, order = torch.where(weight > 0, room / weight, torch.inf).sort(dim=1)
    fixed = room.gather(1, order).square().cumsum(1)
    squares = weight.gather(1, order).square()
    free = squares.flip(1).cumsum(1).flip(1)[:, 1:]
    free = torch.cat([free, torch.zeros_like(radius)], dim=1)
    reached = fixed + torch.where(free > 0, breaks.square() * free, 0)
    target = radius.square()
    count = torch.searchsorted(reached, target)
    saturated = count == direction.shape[1]
    before = (count - 1).clamp(min=0)
    rest = target - torch.where(count > 0, fixed.gather(1, before), 0)
    active = torch.where(count > 0, free.gather(1, before), squares.sum(1, keepdim=True))
    stretch = (rest.clamp(min=0) / active.clamp(min=torch.finfo(active.dtype).tiny)).sqrt()
    for _ in range(POLISH):
        full = stretch * weight >= room
        rest = target - torch.where(full, room, 0).square().sum(1, keepdim=True)
        active = torch.where(full, 0, weight).square().sum(1, keepdim=True)
        better = (rest / active.clamp(min=torch.finfo(active.dtype).tiny)).sqrt()
        stretch = torch.where((active > 0) & (rest >= 0), better, stretch)
    return torch.where(saturated, torch.inf, stretch)


def _largest(rows: Tensor) -> Tensor:
    """max_j |v_j|, 1 for a row of zeros: dividing by it keeps squares of tiny numbers from vanishing."""
    largest = rows.abs().amax(1, keepdim=True)
    return torch.where(largest > 0, largest, 1)


def _stretched(direction: Tensor, room: Tensor, stretch: Tensor) -> Tensor:
    weight = direction.abs()
    full = torch.where(weight > 0, room, 0)
    moved = torch.where(stretch.isinf(), full, torch.minimum(torch.where(stretch.isinf(), 0, stretch) * weight, room))
    return moved.copysign(direction)


def support_l2(direction: Tensor, room: Tensor | None, radius: Tensor) -> Tensor:
    """argmax ⟨g, δ⟩ over ‖δ‖₂ ≤ r, |δ_j| ≤ u_j: r·g/‖g‖₂ without a box; 0 where g vanishes."""
    unit = direction / _largest(direction)
    if room is None:
        length = torch.linalg.vector_norm(unit, dim=1, keepdim=True)
        return radius * unit / torch.where(length > 0, length, 1)
    return _stretched(unit, room, l2_stretch(unit, room, radius))


def project_l2(point: Tensor, room: Tensor | None, radius: Tensor) -> Tensor:
    """argmin ‖δ − z‖₂ over ‖δ‖₂ ≤ r, |δ_j| ≤ u_j: z·min(1, r/‖z‖₂) without a box."""
    clipped = _capped(point.abs(), room).copysign(point)
    inside = torch.linalg.vector_norm(clipped, dim=1, keepdim=True) <= radius
    return torch.where(inside, clipped, support_l2(point, room, radius))


def keep_largest(gains: Tensor, count: int) -> Tensor:
    """A mask of the ``count`` largest gains of each row, ties to the lower index."""
    order = gains.sort(dim=1, descending=True, stable=True).indices[:, :count]
    return torch.zeros_like(gains, dtype=torch.bool).scatter(1, order, True)
