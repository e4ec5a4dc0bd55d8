"""Projection and linear maximizer of the ℓ1 ball, with and without a box; see `robustfw_norms.oracles`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from robustfw_norms.oracles import CLIMB, POLISH, Sides, corner, may_look

FAR = 1e3
"""Radii from which on a point is far."""
ONE_BY_ONE = 24
"""Coordinates that a step fills by looking for the best one at a time, before it selects several."""
CROWD = 0.9
"""Share of the rows, over the number of rounds, above which those that are left need too many."""
SELECTED = 32
"""Coordinates that it selects before it sorts them all."""


def shrink(magnitude: Tensor, room: Tensor | None, radius: Tensor) -> Tensor:
    """min(max(a − λ, 0), u) with the λ ≥ 0 that makes its sum r, or λ = 0 where that fits already.

    This is the projection on the ℓ1 ball ∩ box in magnitudes (Duchi et al. 2008 without the box). The sum is
    piecewise linear in λ with breakpoints a_j and a_j − u_j. Magnitudes are measured from the largest one that
    matters: differences of neighbouring large numbers are exact, so that a far point loses no digits.
    """
    fits = _cap(magnitude, room).sum(1, keepdim=True) <= radius
    top = magnitude.amax(1, keepdim=True)
    below = magnitude - top
    if may_look(magnitude):
        level, left = _newton_level(below, room, radius, -top, ~fits[:, 0])
        if bool(left.any()):
            rest = None if room is None else room[left]
            level[left] = _search_level(below[left], rest, radius[left], -top[left])
    else:
        level = _search_level(below, room, radius, -top)
    for _ in range(POLISH):
        below, level = _refine_level(below, room, radius, level)
    moved = _limit_sum(torch.minimum((below - level).clamp_(min=0), magnitude), room, radius)
    as_it_is = fits.to(magnitude)
    return _cap(as_it_is * magnitude + (1 - as_it_is) * moved, room)


def _newton_level(
    below: Tensor, room: Tensor | None, radius: Tensor, floor: Tensor, left: Tensor
) -> tuple[Tensor, Tensor]:
    """The level at which Σ min(max(a − level, 0), u) = r, from ``floor`` to 0; and the rows where it was not found.

    Newton's method within brackets that each step narrows. It has the root once it stays on the same linear piece:
    as many coordinates are above 0, and as many full. (Which ones are is nested from level to level.) A row that is
    done stays as it is: none depends on how long others take.

    Args:
        left: rows to be solved.
    """
    low, high, level = floor, torch.zeros_like(floor), torch.maximum(-radius, floor)
    if room is None:  # the sum is convex then, and both are on the root's left
        level = torch.maximum(level, below.mean(1, keepdim=True) - radius / below.shape[1])
    before_above = before_full = torch.full_like(floor, -1)
    left = left.clone()
    for _ in range(CLIMB):
        excess = below - level
        above, full = _counts(excess, room)
        surplus = _cap(excess.clamp_(min=0), room).sum(1, keepdim=True) - radius
        low, high = torch.where(surplus >= 0, level, low), torch.where(surplus <= 0, level, high)
        count = above - full
        root = level + surplus / count.clamp(min=1)
        straight = (count > 0) & (root >= low) & (root <= high)
        level = torch.where(left[:, None], torch.where(straight, root, (low + high) / 2), level)
        left &= ((above != before_above) | (full != before_full) | ~straight)[:, 0]
        before_above, before_full = above, full
        if not bool(left.any()):
            break
    return level, left


def _counts(excess: Tensor, room: Tensor | None) -> tuple[Tensor, Tensor]:
    """How many coordinates of each row are above 0, and how many of these full."""
    above = _mask_positive(excess)
    count = above.sum(1, keepdim=True)
    if room is None:
        return count, torch.zeros_like(count)
    return count, _mask_full(excess, room).mul_(above).sum(1, keepdim=True)


def _search_level(below: Tensor, room: Tensor | None, radius: Tensor, floor: Tensor) -> Tensor:
    """The same by a search among the sorted breakpoints."""
    breakpoints = below if room is None else torch.cat([below, torch.maximum(below - room, floor)], dim=1)
    breakpoints, order = breakpoints.sort(dim=1, descending=True)
    slopes = torch.where(order < below.shape[1], 1.0, -1.0).to(below).cumsum(1)
    gaps = breakpoints[:, :-1] - breakpoints[:, 1:]
    filled = torch.cat([torch.zeros_like(radius), (slopes[:, :-1] * gaps).cumsum(1)], dim=1)
    last = torch.searchsorted(filled, radius).sub(1).clamp(min=0)
    slope = slopes.gather(1, last).clamp(min=1)
    return breakpoints.gather(1, last) - (radius - filled.gather(1, last)) / slope


def _limit_sum(moved: Tensor, room: Tensor | None, radius: Tensor) -> Tensor:
    """Magnitudes with the last digits above the radius, which rounding may add, taken off in proportion."""
    total = _cap(moved, room).sum(1, keepdim=True)
    return _cap(moved, room) * (radius / total.clamp(min=torch.finfo(total.dtype).tiny)).clamp(max=1)


def _refine_level(below: Tensor, room: Tensor | None, radius: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    """Magnitudes and the level measured anew, from the largest coordinate that is neither at 0 nor full.

    The level is the root of the linear piece it lies on: Σ free (a − λ) + Σ full u = r.
    """
    excess = below - level
    free, left = _mask_positive(excess), radius
    if room is not None:
        full = _mask_full(excess, room).mul_(free)
        free, left = free - full, radius - (full * room).sum(1, keepdim=True)
    count = free.sum(1, keepdim=True)
    lowest = torch.finfo(below.dtype).min / 4
    anchor = torch.where(count > 0, (free * below + (1 - free) * lowest).amax(1, keepdim=True), 0)
    below, level = below - anchor, level - anchor
    root = ((free * below).sum(1, keepdim=True) - left) / count.clamp(min=1)
    return below, torch.where(count > 0, root, level)


def _mask_positive(value: Tensor) -> Tensor:
    """1 where v > 0, else 0: as numbers, in which a CPU compares several times as fast as in truth values."""
    return value.clone().gt_(0)


def _mask_full(value: Tensor, limit: Tensor) -> Tensor:
    """1 where v ≥ l, else 0."""
    return value.clone().ge_(limit)


def _cap(magnitude: Tensor, room: Tensor | None) -> Tensor:
    return magnitude if room is None else torch.minimum(magnitude, room)


def project(point: Tensor, sides: Sides | None, radius: Tensor) -> Tensor:
    """argmin ‖δ − z‖₂ over ‖δ‖₁ ≤ r in the box.

    In float32 a point a thousand radii away leaves no digits for the room; such rows are solved in float64.
    """
    magnitude, room = point.abs(), None if sides is None else corner(point, sides, radius).abs_()
    if point.dtype == torch.float32 and point.device.type not in ("cpu", "mps"):  # which rows are far cannot be asked
        wide_room = None if room is None else room.double()
        return shrink(magnitude.double(), wide_room, radius.double()).float().copysign(point)
    found = shrink(magnitude, room, radius)
    far = magnitude.amax(1) > FAR * radius[:, 0]
    if point.dtype == torch.float32 and may_look(point) and far.any():
        exact_room = None if room is None else room[far].double()
        found[far] = shrink(magnitude[far].double(), exact_room, radius[far].double()).float()
    return found.copysign(point)


def support(direction: Tensor, sides: Sides | None, radius: Tensor) -> Tensor:
    """argmax ⟨g, δ⟩ over ‖δ‖₁ ≤ r in the box: coordinates filled in the order of |g_j| (Croce & Hein 2021).

    Ties go to the lower index; a coordinate with g_j = 0 stays. Without a box the first coordinate takes it all.
    """
    if sides is None:
        gain, first = direction.abs().max(dim=1, keepdim=True)
        filled = torch.where(gain > 0, radius, 0)
        return torch.zeros_like(direction).scatter(1, first, filled).copysign(direction)
    farthest = corner(direction, sides, radius)
    if not may_look(direction):
        return _fill_largest(_gains(direction, farthest), farthest, radius, direction.shape[1])[0]
    filled, left = _fill_one_by_one(_gains(direction, farthest), farthest, radius)
    if len(left):
        some = farthest[left]
        filled[left] = _fill_best(_gains(direction[left], some), some, radius[left])
    return filled


def _gains(direction: Tensor, corner: Tensor) -> Tensor:
    """|g|, and 0 where there is no room: what cannot move has no say in what else does."""
    return corner.sign().mul_(direction)


def _fill_one_by_one(gain: Tensor, corner: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
    """The best coordinates filled, each in a round of its own: in images that an attack moves, mostly one to three.

    numpy finds the largest of each row in a fifth of torch's time, and works on a few numbers in less.

    Args:
        gain: is used up.

    Returns:
        What is filled, and the rows that need more than it was worth to go through.
    """
    filled = torch.zeros_like(gain)
    worth, room, found = (of.detach().numpy() for of in (gain, corner, filled))
    length, rows, some = radius.numpy()[:, 0], np.arange(len(worth)), worth
    before = np.zeros(len(worth))  # in float64, as torch adds up
    for number in range(ONE_BY_ONE):
        best = some.argmax(1)
        moves, limit = some[np.arange(len(rows)), best] > 0, room[rows, best]
        rest = np.maximum(length[rows] - before.astype(length.dtype), 0)
        found[rows, best] += np.copysign(np.minimum(rest, np.abs(limit)) * moves, limit)  # 0, where none is left
        worth[rows, best] = 0
        before += np.abs(limit)
        left = moves & (before.astype(length.dtype) < length[rows])
        rows, before = rows[left], before[left]
        if not len(rows) or (number + 1) * len(rows) > CROWD * len(worth):
            break
        some = worth[rows]
    return filled, torch.from_numpy(rows)


def _fill_best(gain: Tensor, corner: Tensor, radius: Tensor) -> Tensor:
    """Coordinates filled one after the other: of the `SELECTED` best, of all where these do not do."""
    if corner.shape[1] <= SELECTED:
        return _fill_largest(gain, corner, radius, corner.shape[1])[0]
    filled, done = _fill_largest(gain, corner, radius, SELECTED)
    if not bool(done.all()):
        left = ~done
        filled[left] = _fill_largest(gain[left], corner[left], radius[left], corner.shape[1])[0]
    return filled


def _fill_largest(gain: Tensor, corner: Tensor, radius: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` best coordinates filled one after the other, and in which rows others cannot have a share.

    That is where the radius is spent on gains above the least one selected, of which there may be more outside.
    """
    if count == gain.shape[1]:
        best, order = gain.sort(dim=1, descending=True, stable=True)
        done = torch.ones(len(gain), dtype=torch.bool, device=gain.device)
    else:
        order = gain.topk(count, dim=1).indices.sort(dim=1).values
        best, places = gain.gather(1, order).sort(dim=1, descending=True, stable=True)
        order = order.gather(1, places)
    corner = corner.gather(1, order)
    room = corner.abs()
    if count < gain.shape[1]:
        certain = torch.where(best > best[:, -1:], room, 0).sum(1)
        done = (certain >= radius[:, 0]) | (best[:, -1] == 0)
    before = torch.cat([torch.zeros_like(radius), room[:, :-1].cumsum(1)], dim=1)
    share = torch.minimum((radius - before).clamp_(min=0), room).copysign_(corner)
    return torch.zeros_like(gain).scatter_(1, order, share), done
