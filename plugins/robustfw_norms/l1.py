"""Projection and linear maximizer of the ℓ1 ball, with and without a box; see `robustfw_norms.oracles`."""

from __future__ import annotations

import torch
from torch import Tensor

from robustfw_norms.l1_filling import fill_best, fill_largest, fill_one_by_one
from robustfw_norms.oracles import CLIMB, POLISH, Sides, corner, may_look

FAR = 1e3
"""Largest magnitude of a point, in radii, up to which float32 suffices for its projection."""


def shrink(magnitude: Tensor, room: Tensor | None, radius: Tensor) -> Tensor:
    """min(max(a − λ, 0), u) with the λ ≥ 0 that makes its sum r, or λ = 0 where the sum is at most r already.

    This is the projection on the ℓ1 ball ∩ box in magnitudes (Duchi et al. 2008 without the box). The sum is
    piecewise linear in λ with breakpoints a_j and a_j − u_j. Magnitudes are measured from the largest one that
    matters: differences of neighbouring large numbers are exact, so that a far point loses no digits.

    Args:
        magnitude: a ≥ 0, (rows, d).
        room: u ≥ 0, (rows, d); None: no box.
        radius: r, (rows, 1).
    """
    fits = _cap(magnitude, room).sum(1, keepdim=True) <= radius
    # 1. magnitudes and the level λ relative to the largest magnitude of each row
    top = magnitude.amax(1, keepdim=True)
    below = magnitude - top
    # 2. the level by Newton's method, or by sorting where that takes many steps
    if may_look(magnitude):
        level, unsolved = _newton_level(below, room, radius, -top, ~fits[:, 0])
        if bool(unsolved.any()):
            unsolved_room = None if room is None else room[unsolved]
            level[unsolved] = _search_level(
                below[unsolved], unsolved_room, radius[unsolved], -top[unsolved]
            )
    else:
        level = _search_level(below, room, radius, -top)
    # 3. two more steps against the rounding of the long sums
    for _ in range(POLISH):
        below, level = _refine_level(below, room, radius, level)
    lowered = (below - level).clamp_(min=0)
    lowered = torch.minimum(lowered, magnitude)
    lowered = _limit_sum(lowered, room, radius)
    # 4. rows that fit already stay as they are
    unchanged = fits.to(magnitude)
    mixed = unchanged * magnitude + (1 - unchanged) * lowered
    return _cap(mixed, room)


def _newton_level(
    below: Tensor, room: Tensor | None, radius: Tensor, floor: Tensor, unsolved: Tensor
) -> tuple[Tensor, Tensor]:
    """The level between ``floor`` and 0 at which Σ min(max(a − level, 0), u) = r, by Newton's method in a bracket.

    It has the root once it stays on the same linear piece: as many coordinates are above 0, and as many full. (The sets
    of these are nested from level to level.) A row that is done stays as it is: no row depends on the number of steps
    of others. ``unsolved`` is the mask of the rows to solve, (rows,).

    Returns:
        The levels, (rows, 1), and the mask of the rows that are not solved after `CLIMB` steps.
    """
    low = floor
    high = torch.zeros_like(floor)
    level = torch.maximum(-radius, floor)
    if room is None:
        # without a box the sum is convex in the level, and both starting levels are left of the root
        dimension = below.shape[1]
        mean = below.mean(1, keepdim=True)
        level = torch.maximum(level, mean - radius / dimension)
    before_above = before_full = torch.full_like(floor, -1)
    unsolved = unsolved.clone()
    for _ in range(CLIMB):
        # 1. the sum at the level, and the bracket that it narrows
        excess = below - level
        above, full = _count_pieces(excess, room)
        capped = _cap(excess.clamp_(min=0), room)
        surplus = capped.sum(1, keepdim=True) - radius
        low = torch.where(surplus >= 0, level, low)
        high = torch.where(surplus <= 0, level, high)
        # 2. the root of the linear piece, or the middle of the bracket where the root is outside
        count = above - full
        root = level + surplus / count.clamp(min=1)
        middle = (low + high) / 2
        inside = (count > 0) & (root >= low) & (root <= high)
        better = torch.where(inside, root, middle)
        level = torch.where(unsolved[:, None], better, level)
        # 3. rows that stay on their piece are solved
        changed = (above != before_above) | (full != before_full)
        unsolved &= (changed | ~inside)[:, 0]
        before_above = above
        before_full = full
        if not bool(unsolved.any()):
            break
    return level, unsolved


def _count_pieces(excess: Tensor, room: Tensor | None) -> tuple[Tensor, Tensor]:
    """The number of coordinates of each row that are above 0, and of those among them that are full; (rows, 1)."""
    above = _mask_positive(excess)
    count = above.sum(1, keepdim=True)
    if room is None:
        return count, torch.zeros_like(count)
    full = _mask_full(excess, room).mul_(above)
    return count, full.sum(1, keepdim=True)


def _search_level(
    below: Tensor, room: Tensor | None, radius: Tensor, floor: Tensor
) -> Tensor:
    """The level at which Σ min(max(a − level, 0), u) = r, (rows, 1), by a search among the sorted breakpoints."""
    # 1. all levels at which a coordinate leaves 0 or becomes full, in descending order
    breakpoints = below
    if room is not None:
        full_levels = torch.maximum(below - room, floor)
        breakpoints = torch.cat([below, full_levels], dim=1)
    breakpoints, order = breakpoints.sort(dim=1, descending=True)
    # 2. the sum at each of them: between two it grows by the number of coordinates that are free
    is_leaving_zero = order < below.shape[1]
    signs = torch.where(is_leaving_zero, 1.0, -1.0).to(below)
    slopes = signs.cumsum(1)
    gaps = breakpoints[:, :-1] - breakpoints[:, 1:]
    growth = (slopes[:, :-1] * gaps).cumsum(1)
    sums = torch.cat([torch.zeros_like(radius), growth], dim=1)
    # 3. the piece on which the sum reaches r, and its root
    end = torch.searchsorted(sums, radius)
    piece = end.sub(1).clamp(min=0)
    slope = slopes.gather(1, piece).clamp(min=1)
    missing = radius - sums.gather(1, piece)
    return breakpoints.gather(1, piece) - missing / slope


def _limit_sum(magnitude: Tensor, room: Tensor | None, radius: Tensor) -> Tensor:
    """Capped magnitudes, scaled down where rounding has brought their sum above the radius."""
    capped = _cap(magnitude, room)
    total = capped.sum(1, keepdim=True)
    tiny = torch.finfo(total.dtype).tiny
    share = (radius / total.clamp(min=tiny)).clamp(max=1)
    return capped * share


def _refine_level(
    below: Tensor, room: Tensor | None, radius: Tensor, level: Tensor
) -> tuple[Tensor, Tensor]:
    """Magnitudes and level relative to the largest coordinate that is neither at 0 nor full.

    The level is solved for again as the root of the linear piece it lies on: Σ free (a − λ) + Σ full u = r.
    """
    excess = below - level
    free = _mask_positive(excess)
    remaining = radius
    if room is not None:
        full = _mask_full(excess, room).mul_(free)
        free = free - full
        remaining = radius - (full * room).sum(1, keepdim=True)
    count = free.sum(1, keepdim=True)
    # 1. measure from the largest free coordinate
    lowest = torch.finfo(below.dtype).min / 4
    candidates = free * below + (1 - free) * lowest
    largest_free = candidates.amax(1, keepdim=True)
    anchor = torch.where(count > 0, largest_free, 0)
    below = below - anchor
    level = level - anchor
    # 2. the root of the linear piece
    free_sum = (free * below).sum(1, keepdim=True)
    root = (free_sum - remaining) / count.clamp(min=1)
    return below, torch.where(count > 0, root, level)


def _mask_positive(values: Tensor) -> Tensor:
    """1 where v > 0, else 0, in the type of the values: a CPU compares so several times as fast as with booleans."""
    return values.clone().gt_(0)


def _mask_full(values: Tensor, limits: Tensor) -> Tensor:
    """1 where v ≥ limit, else 0, in the type of the values."""
    return values.clone().ge_(limits)


def _cap(magnitude: Tensor, room: Tensor | None) -> Tensor:
    """min(a, u); a without a box."""
    return magnitude if room is None else torch.minimum(magnitude, room)


def project(point: Tensor, sides: Sides | None, radius: Tensor) -> Tensor:
    """argmin ‖δ − z‖₂ over ‖δ‖₁ ≤ r in the box.

    In float32 a point a thousand radii away leaves no digits for the room; such rows are solved in float64.

    Args:
        point: z, (rows, d).
        sides: the sides of the box; None: no box.
        radius: r, (rows, 1).
    """
    magnitude = point.abs()
    room = None if sides is None else corner(point, sides, radius).abs_()
    is_single = point.dtype == torch.float32
    if is_single and point.device.type not in ("cpu", "mps"):
        # to ask which rows are far would wait for the device: all are solved in float64
        wide_room = None if room is None else room.double()
        nearest = shrink(magnitude.double(), wide_room, radius.double())
        return nearest.float().copysign(point)
    nearest = shrink(magnitude, room, radius)
    far = magnitude.amax(1) > FAR * radius[:, 0]
    if is_single and may_look(point) and far.any():
        wide_room = None if room is None else room[far].double()
        far_magnitude = magnitude[far].double()
        far_nearest = shrink(far_magnitude, wide_room, radius[far].double())
        nearest[far] = far_nearest.float()
    return nearest.copysign(point)


def support(direction: Tensor, sides: Sides | None, radius: Tensor) -> Tensor:
    """argmax ⟨g, δ⟩ over ‖δ‖₁ ≤ r in the box: coordinates filled in the order of |g_j| (Croce & Hein 2021).

    Ties go to the lower index; a coordinate with g_j = 0 stays 0. Without a box the first coordinate gets all of r.

    Args:
        direction: g, (rows, d).
        sides: the sides of the box; None: no box.
        radius: r, (rows, 1).
    """
    if sides is None:
        gain, first = direction.abs().max(dim=1, keepdim=True)
        move = torch.where(gain > 0, radius, 0)
        magnitude = torch.zeros_like(direction).scatter(1, first, move)
        return magnitude.copysign(direction)
    farthest = corner(direction, sides, radius)
    gain = _gains(direction, farthest)
    if not may_look(direction):
        filled, _ = fill_largest(gain, farthest, radius, direction.shape[1])
        return filled
    filled, unfinished = fill_one_by_one(gain, farthest, radius)
    if len(unfinished):
        ends = farthest[unfinished]
        gain = _gains(direction[unfinished], ends)
        filled[unfinished] = fill_best(gain, ends, radius[unfinished])
    return filled


def _gains(direction: Tensor, corner: Tensor) -> Tensor:
    """|g| where there is room, else 0: coordinates that cannot move must not be chosen."""
    return corner.sign().mul_(direction)
