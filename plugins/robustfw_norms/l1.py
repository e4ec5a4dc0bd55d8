"""Projection and linear maximizer of the ℓ1 ball, with and without a box; see `robustfw_norms.oracles`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from robustfw_norms.oracles import CLIMB, POLISH, Sides, corner, may_look

FAR = 1e3
"""Largest magnitude of a point, in radii, up to which float32 suffices for its projection."""

ONE_BY_ONE = 24
"""Largest number of coordinates that `support` fills one at a time before it selects several at once."""

CROWD = 0.9
"""Share of all rows, per round, above which the rows that are left are too many to go on one coordinate at a time."""

SELECTED = 32
"""Number of best coordinates that are selected before all coordinates are sorted."""


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
    lowered = _limit_sum(
        torch.minimum((below - level).clamp_(min=0), magnitude), room, radius
    )
    unchanged = fits.to(magnitude)
    return _cap(unchanged * magnitude + (1 - unchanged) * lowered, room)


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
        level = torch.maximum(
            level, below.mean(1, keepdim=True) - radius / below.shape[1]
        )
    before_above = before_full = torch.full_like(floor, -1)
    unsolved = unsolved.clone()
    for _ in range(CLIMB):
        # 1. the sum at the level, and the bracket that it narrows
        excess = below - level
        above, full = _count_pieces(excess, room)
        surplus = _cap(excess.clamp_(min=0), room).sum(1, keepdim=True) - radius
        low = torch.where(surplus >= 0, level, low)
        high = torch.where(surplus <= 0, level, high)
        # 2. the root of the linear piece, or the middle of the bracket where the root is outside
        count = above - full
        root = level + surplus / count.clamp(min=1)
        inside = (count > 0) & (root >= low) & (root <= high)
        level = torch.where(
            unsolved[:, None], torch.where(inside, root, (low + high) / 2), level
        )
        # 3. rows that stay on their piece are solved
        unsolved &= ((above != before_above) | (full != before_full) | ~inside)[:, 0]
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
    return count, _mask_full(excess, room).mul_(above).sum(1, keepdim=True)


def _search_level(
    below: Tensor, room: Tensor | None, radius: Tensor, floor: Tensor
) -> Tensor:
    """The level at which Σ min(max(a − level, 0), u) = r, (rows, 1), by a search among the sorted breakpoints."""
    # 1. all levels at which a coordinate leaves 0 or becomes full, in descending order
    breakpoints = (
        below
        if room is None
        else torch.cat([below, torch.maximum(below - room, floor)], dim=1)
    )
    breakpoints, order = breakpoints.sort(dim=1, descending=True)
    # 2. the sum at each of them: between two it grows by the number of coordinates that are free
    slopes = torch.where(order < below.shape[1], 1.0, -1.0).to(below).cumsum(1)
    gaps = breakpoints[:, :-1] - breakpoints[:, 1:]
    sums = torch.cat(
        [torch.zeros_like(radius), (slopes[:, :-1] * gaps).cumsum(1)], dim=1
    )
    # 3. the piece on which the sum reaches r, and its root
    last = torch.searchsorted(sums, radius).sub(1).clamp(min=0)
    slope = slopes.gather(1, last).clamp(min=1)
    return breakpoints.gather(1, last) - (radius - sums.gather(1, last)) / slope


def _limit_sum(magnitude: Tensor, room: Tensor | None, radius: Tensor) -> Tensor:
    """Capped magnitudes, scaled down where rounding has brought their sum above the radius."""
    total = _cap(magnitude, room).sum(1, keepdim=True)
    share = (radius / total.clamp(min=torch.finfo(total.dtype).tiny)).clamp(max=1)
    return _cap(magnitude, room) * share


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
    lowest = torch.finfo(below.dtype).min / 4
    largest_free = (free * below + (1 - free) * lowest).amax(1, keepdim=True)
    anchor = torch.where(count > 0, largest_free, 0)
    below = below - anchor
    level = level - anchor
    root = ((free * below).sum(1, keepdim=True) - remaining) / count.clamp(min=1)
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
    if point.dtype == torch.float32 and point.device.type not in ("cpu", "mps"):
        # to ask which rows are far would wait for the device: all are solved in float64
        wide_room = None if room is None else room.double()
        return (
            shrink(magnitude.double(), wide_room, radius.double())
            .float()
            .copysign(point)
        )
    nearest = shrink(magnitude, room, radius)
    far = magnitude.amax(1) > FAR * radius[:, 0]
    if point.dtype == torch.float32 and may_look(point) and far.any():
        wide_room = None if room is None else room[far].double()
        nearest[far] = shrink(
            magnitude[far].double(), wide_room, radius[far].double()
        ).float()
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
        filled = torch.where(gain > 0, radius, 0)
        return torch.zeros_like(direction).scatter(1, first, filled).copysign(direction)
    farthest = corner(direction, sides, radius)
    if not may_look(direction):
        return _fill_largest(
            _gains(direction, farthest), farthest, radius, direction.shape[1]
        )[0]
    filled, unfinished = _fill_one_by_one(_gains(direction, farthest), farthest, radius)
    if len(unfinished):
        ends = farthest[unfinished]
        filled[unfinished] = _fill_best(
            _gains(direction[unfinished], ends), ends, radius[unfinished]
        )
    return filled


def _gains(direction: Tensor, corner: Tensor) -> Tensor:
    """|g| where there is room, else 0: coordinates that cannot move must not be chosen."""
    return corner.sign().mul_(direction)


def _fill_one_by_one(
    gain: Tensor, corner: Tensor, radius: Tensor
) -> tuple[Tensor, Tensor]:
    """Fill the best coordinate of each row, then the next best: images in an attack mostly need one to three.

    numpy finds the largest entry of each row in a fifth of torch's time, and is faster on a few numbers.

    Args:
        gain: |g|, (rows, d); it is overwritten.
        corner: the ends of the coordinates' room, (rows, d).
        radius: r, (rows, 1).

    Returns:
        The filled coordinates, (rows, d), and the indices of the rows that are not finished, since many are left.
    """
    filled = torch.zeros_like(gain)
    gains = gain.detach().numpy()
    ends = corner.detach().numpy()
    result = filled.detach().numpy()
    length = radius.numpy()[:, 0]
    rows = np.arange(len(gains))
    remaining_gains = gains
    # the spent part of the radius, in float64 like the sums of torch
    spent = np.zeros(len(gains))
    for number in range(ONE_BY_ONE):
        # 1. the best coordinate of each row, and how far it may move
        best = remaining_gains.argmax(1)
        moves = remaining_gains[np.arange(len(rows)), best] > 0
        end = ends[rows, best]
        # 2. it gets the rest of the radius, at most its room; 0 where no coordinate is left
        budget = np.maximum(length[rows] - spent.astype(length.dtype), 0)
        result[rows, best] += np.copysign(np.minimum(budget, np.abs(end)) * moves, end)
        gains[rows, best] = 0
        spent += np.abs(end)
        # 3. rows with something left to spend go on, unless they are too many
        unfinished = moves & (spent.astype(length.dtype) < length[rows])
        rows = rows[unfinished]
        spent = spent[unfinished]
        if not len(rows) or (number + 1) * len(rows) > CROWD * len(gains):
            break
        remaining_gains = gains[rows]
    return filled, torch.from_numpy(rows)


def _fill_best(gain: Tensor, corner: Tensor, radius: Tensor) -> Tensor:
    """Fill coordinates in the order of their gains: the `SELECTED` best ones, or all where these are too few."""
    if corner.shape[1] <= SELECTED:
        return _fill_largest(gain, corner, radius, corner.shape[1])[0]
    filled, done = _fill_largest(gain, corner, radius, SELECTED)
    if not bool(done.all()):
        unfinished = ~done
        part = _fill_largest(
            gain[unfinished], corner[unfinished], radius[unfinished], corner.shape[1]
        )
        filled[unfinished] = part[0]
    return filled


def _fill_largest(
    gain: Tensor, corner: Tensor, radius: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Fill the ``count`` coordinates of largest gain in the order of their gains.

    Returns:
        The filled coordinates, (rows, d), and the mask of the rows in which no other coordinate can have a share: the
        radius is spent on gains above the smallest one selected, which others outside may equal.
    """
    # 1. the largest gains in descending order, ties to the lower index
    if count == gain.shape[1]:
        best, order = gain.sort(dim=1, descending=True, stable=True)
        done = torch.ones(len(gain), dtype=torch.bool, device=gain.device)
    else:
        order = gain.topk(count, dim=1).indices.sort(dim=1).values
        best, places = gain.gather(1, order).sort(dim=1, descending=True, stable=True)
        order = order.gather(1, places)
    ends = corner.gather(1, order)
    room = ends.abs()
    if count < gain.shape[1]:
        certain = torch.where(best > best[:, -1:], room, 0).sum(1)
        done = (certain >= radius[:, 0]) | (best[:, -1] == 0)
    # 2. each gets the part of the radius that the ones before it leave, at most its room
    before = torch.cat([torch.zeros_like(radius), room[:, :-1].cumsum(1)], dim=1)
    share = torch.minimum((radius - before).clamp_(min=0), room).copysign_(ends)
    return torch.zeros_like(gain).scatter_(1, order, share), done
