"""Exact projections and linear maximizers of norm balls, with and without a box around them.

Everything here works on (rows, d) tensors, one independent problem per row, without a loop over rows. A ball has its
radius in (rows, 1). A box is given by its corner in the direction that coordinates want to move, no farther out than
the radius and 0 where the direction is, and by None where there is no box; the corner's magnitudes u ≥ 0 are the room.
Magnitudes and signs are kept apart: each of these sets contains, with δ, every point that is nearer to 0 in each
coordinate and of the same sign, so only magnitudes have to be solved for.

The multiplier of the radius is found exactly: by Newton's method on the piecewise linear or quadratic equation that it
satisfies, which ends on the piece of the root and there takes two more steps, against the rounding of the long sums.
Where that would take many steps, and on devices where looking whether it has ended means waiting for them, the
breakpoints are sorted.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

POLISH = 2
"""Newton steps after the sorted search. One is enough on all we measured; the second costs little."""
FAR = 1e3
"""Radii from which on a point is far."""
SELECTED = 8, 32
"""Coordinates that an ℓ1 step looks at, first and where these do not do, before it sorts them all."""
CLIMB = 16
"""Newton steps before breakpoints are sorted."""
DIGITS = 16
"""Roundings by which a sum may be off."""
FAINT = 1e-4
"""The least share of a squared length that is told from rounding."""
SHORT = 4096
"""Coordinates up to which torch's norm is as exact as its sum."""


def shrunk_l1(magnitude: Tensor, room: Tensor | None, radius: Tensor) -> Tensor:
    """min(max(a − λ, 0), u) with the λ ≥ 0 that makes its sum r, or λ = 0 where that fits already.

    This is the projection on the ℓ1 ball ∩ box in magnitudes (Duchi et al. 2008 without the box). The sum is
    piecewise linear in λ with breakpoints a_j and a_j − u_j. Magnitudes are measured from the largest one that
    matters: differences of neighbouring large numbers are exact, so that a far point loses no digits.
    """
    fits = _capped(magnitude, room).sum(1, keepdim=True) <= radius
    top = magnitude.amax(1, keepdim=True)
    below = magnitude - top
    if _may_look(magnitude):
        level, left = _climbed_level(below, room, radius, -top, ~fits[:, 0])
        if bool(left.any()):
            rest = None if room is None else room[left]
            level[left] = _sorted_level(below[left], rest, radius[left], -top[left])
    else:
        level = _sorted_level(below, room, radius, -top)
    for _ in range(POLISH):
        below, level = _polished(below, room, radius, level)
    moved = _at_most(torch.minimum((below - level).clamp_(min=0), magnitude), room, radius)
    as_it_is = fits.to(magnitude)
    return _capped(as_it_is * magnitude + (1 - as_it_is) * moved, room)


def _may_look(rows: Tensor) -> bool:
    """Whether Python may ask for a value: elsewhere than on a CPU that means waiting until the device is done."""
    return rows.device.type == "cpu"


def _climbed_level(
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
        surplus = _capped(excess.clamp_(min=0), room).sum(1, keepdim=True) - radius
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
    above = _positive(excess)
    count = above.sum(1, keepdim=True)
    if room is None:
        return count, torch.zeros_like(count)
    return count, _reached(excess, room).mul_(above).sum(1, keepdim=True)


def _sorted_level(below: Tensor, room: Tensor | None, radius: Tensor, floor: Tensor) -> Tensor:
    """The same by a search among the sorted breakpoints."""
    breakpoints = below if room is None else torch.cat([below, torch.maximum(below - room, floor)], dim=1)
    breakpoints, order = breakpoints.sort(dim=1, descending=True)
    slopes = torch.where(order < below.shape[1], 1.0, -1.0).to(below).cumsum(1)
    gaps = breakpoints[:, :-1] - breakpoints[:, 1:]
    filled = torch.cat([torch.zeros_like(radius), (slopes[:, :-1] * gaps).cumsum(1)], dim=1)
    last = torch.searchsorted(filled, radius).sub(1).clamp(min=0)
    slope = slopes.gather(1, last).clamp(min=1)
    return breakpoints.gather(1, last) - (radius - filled.gather(1, last)) / slope


def _at_most(moved: Tensor, room: Tensor | None, radius: Tensor) -> Tensor:
    """Magnitudes with the last digits above the radius, which rounding may add, taken off in proportion."""
    total = _capped(moved, room).sum(1, keepdim=True)
    return _capped(moved, room) * (radius / total.clamp(min=torch.finfo(total.dtype).tiny)).clamp(max=1)


def _polished(below: Tensor, room: Tensor | None, radius: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    """Magnitudes and the level measured anew, from the largest coordinate that is neither at 0 nor full.

    The level is the root of the linear piece it lies on: Σ free (a − λ) + Σ full u = r.
    """
    excess = below - level
    free, left = _positive(excess), radius
    if room is not None:
        full = _reached(excess, room).mul_(free)
        free, left = free - full, radius - (full * room).sum(1, keepdim=True)
    count = free.sum(1, keepdim=True)
    lowest = torch.finfo(below.dtype).min / 4
    anchor = torch.where(count > 0, (free * below + (1 - free) * lowest).amax(1, keepdim=True), 0)
    below, level = below - anchor, level - anchor
    root = ((free * below).sum(1, keepdim=True) - left) / count.clamp(min=1)
    return below, torch.where(count > 0, root, level)


def _positive(value: Tensor) -> Tensor:
    """1 where v > 0, else 0: as numbers, in which a CPU compares several times as fast as in truth values."""
    return value.clone().gt_(0)


def _reached(value: Tensor, limit: Tensor) -> Tensor:
    """1 where v ≥ l, else 0."""
    return value.clone().ge_(limit)


def _capped(magnitude: Tensor, room: Tensor | None) -> Tensor:
    return magnitude if room is None else torch.minimum(magnitude, room)


def project_l1(point: Tensor, corner: Tensor | None, radius: Tensor) -> Tensor:
    """argmin ‖δ − z‖₂ over ‖δ‖₁ ≤ r, |δ_j| ≤ u_j.

    In float32 a point a thousand radii away leaves no digits for the room; such rows are solved in float64.
    """
    magnitude, room = point.abs(), None if corner is None else corner.abs()
    if point.dtype == torch.float32 and point.device.type not in ("cpu", "mps"):  # which rows are far cannot be asked
        wide_room = None if room is None else room.double()
        return shrunk_l1(magnitude.double(), wide_room, radius.double()).float().copysign(point)
    shrunk = shrunk_l1(magnitude, room, radius)
    far = magnitude.amax(1) > FAR * radius[:, 0]
    if point.dtype == torch.float32 and _may_look(point) and far.any():
        exact_room = None if room is None else room[far].double()
        shrunk[far] = shrunk_l1(magnitude[far].double(), exact_room, radius[far].double()).float()
    return shrunk.copysign(point)


def support_l1(direction: Tensor, corner: Tensor | None, radius: Tensor) -> Tensor:
    """argmax ⟨g, δ⟩ over ‖δ‖₁ ≤ r, |δ_j| ≤ u_j: coordinates filled in the order of |g_j| (Croce & Hein 2021).

    Ties go to the lower index; a coordinate with g_j = 0 stays. Without a box the first coordinate takes it all.
    """
    if corner is None:
        gain, first = direction.abs().max(dim=1, keepdim=True)
        filled = torch.where(gain > 0, radius, 0)
        return torch.zeros_like(direction).scatter(1, first, filled).copysign(direction)
    counts = [count for count in SELECTED if count < corner.shape[1]] if _may_look(corner) else []
    return _filled(_gains(direction, corner), corner, radius, [*counts, corner.shape[1]])


def _gains(direction: Tensor, corner: Tensor) -> Tensor:
    """|g|, and 0 where there is no room: what cannot move has no say in what else does."""
    return corner.sign().mul_(direction)


def _filled(gains: Tensor, corner: Tensor, radius: Tensor, counts: Sequence[int]) -> Tensor:
    """The best coordinates filled one after the other: of ``counts[0]`` of them, of more where these do not do."""
    filled, done = _filled_among(gains, corner, radius, counts[0])
    if len(counts) > 1 and not bool(done.all()):
        left = ~done
        filled[left] = _filled(gains[left], corner[left], radius[left], counts[1:])
    return filled


def _filled_among(gains: Tensor, corner: Tensor, radius: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` best coordinates filled one after the other, and in which rows others cannot have a share.

    That is where the radius is spent on gains above the least one selected, of which there may be more outside.
    """
    if count == gains.shape[1]:
        best, order = gains.sort(dim=1, descending=True, stable=True)
        done = torch.ones(len(gains), dtype=torch.bool, device=gains.device)
    else:
        order = gains.topk(count, dim=1).indices.sort(dim=1).values
        best, places = gains.gather(1, order).sort(dim=1, descending=True, stable=True)
        order = order.gather(1, places)
    corner = corner.gather(1, order)
    room = corner.abs()
    if count < gains.shape[1]:
        certain = torch.where(best > best[:, -1:], room, 0).sum(1)
        done = (certain >= radius[:, 0]) | (best[:, -1] == 0)
    before = torch.cat([torch.zeros_like(radius), room[:, :-1].cumsum(1)], dim=1)
    share = torch.minimum((radius - before).clamp_(min=0), room).copysign_(corner)
    return torch.zeros_like(gains).scatter_(1, order, share), done


def _stretched(weight: Tensor, room: Tensor, radius: Tensor) -> Tensor:
    """min(ηw, u) with the η that makes it as long as r, or all the room where that fits into the ball.

    Both oracles of the ℓ2 ball ∩ box are clip(η|v|): with v = g it is the maximizer of ⟨g, δ⟩, with v = z and η at
    most 1 the projection of z. The squared length is concave and piecewise linear in η², so that Newton's method
    climbs from η = r/‖w‖₂ to the root without passing it, in a few steps, save for rooms of all sizes; there the
    breakpoints u_j/w_j are sorted. A row is done when its length is r.

    Args:
        weight: w = |v|, 0 where and only where there is no room.
    """
    target = radius.square()
    fits = _square_sum(room) <= target
    # ∞·0 is no number, and a coordinate without room stays: the largest number will do for ∞
    stretch = (target / _square_sum(weight)).sqrt_().masked_fill_(fits, torch.finfo(weight.dtype).max)
    if not _may_look(weight):
        return torch.minimum(torch.where(fits, stretch, _sorted_stretch(weight, room, target)) * weight, room)
    rounding = (DIGITS * torch.finfo(target.dtype).eps * target).masked_fill_(fits, torch.inf)
    for _ in range(CLIMB):
        moved = stretch * weight
        reached = torch.minimum(moved, room)
        length = _square_sum(reached)
        done = (length - target).abs_() <= rounding
        if bool(done.all()):
            return reached
        full = _square_sum(moved.ge_(room).mul_(room))
        free = torch.maximum(length - full, FAINT * length)
        growth = (target - full).clamp_(min=0).div_(free).sqrt_().masked_fill_(done, 1)
        stretch.mul_(growth)
    left = ~done[:, 0]
    stretch = _sorted_stretch(weight[left], room[left], target[left])
    reached[left] = torch.minimum(stretch * weight[left], room[left])
    return reached


def _square_sum(rows: Tensor) -> Tensor:
    """‖v‖₂² of each row, (rows, 1). The norm takes no memory, but loses digits over many coordinates."""
    if rows.shape[1] <= SHORT:
        return torch.linalg.vector_norm(rows, dim=1, keepdim=True).square_()
    return rows.square().sum(1, keepdim=True)


def _newton(stretch: Tensor, full: Tensor, squares: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
    """The root of the piece on which these coordinates are full (1, else 0); where there is none, η as it is."""
    of_weight, of_room = squares
    rest = target - (full * of_room).sum(1, keepdim=True)
    active = torch.addcmul(of_weight, full, of_weight, value=-1).sum(1, keepdim=True)
    root = (rest.clamp(min=0) / active.clamp(min=torch.finfo(active.dtype).tiny)).sqrt()
    return torch.where((active > 0) & (rest >= 0), root, stretch)


def _sorted_stretch(weight: Tensor, room: Tensor, target: Tensor) -> Tensor:
    """The same η by a search among the sorted breakpoints, polished by Newton's method."""
    squares = weight.square(), room.square()
    breaks, order = torch.where(weight > 0, room / weight, torch.inf).sort(dim=1)
    fixed = squares[1].gather(1, order).cumsum(1)
    free = squares[0].gather(1, order).flip(1).cumsum(1).flip(1)[:, 1:]
    free = torch.cat([free, torch.zeros_like(target)], dim=1)
    reached = fixed + torch.where(free > 0, breaks.square() * free, 0)
    count = torch.searchsorted(reached, target)
    first = (torch.arange(weight.shape[1], device=weight.device) < count).to(weight)
    full = torch.zeros_like(weight).scatter(1, order, first)
    stretch = _newton(torch.zeros_like(target), full, squares, target)
    for _ in range(POLISH):
        stretch = _newton(stretch, (stretch * weight).ge_(room), squares, target)
    return stretch


def _scaled(weight: Tensor) -> Tensor:
    """Magnitudes, in place, relative to the row's largest: squares of tiny numbers would vanish."""
    return weight.div_(weight.amax(1, keepdim=True).clamp_(min=torch.finfo(weight.dtype).tiny))


def _length(rows: Tensor) -> Tensor:
    """‖v‖₂, 1 for a row of zeros."""
    length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return torch.where(length > 0, length, 1)


def support_l2(direction: Tensor, corner: Tensor | None, radius: Tensor) -> Tensor:
    """argmax ⟨g, δ⟩ over ‖δ‖₂ ≤ r, |δ_j| ≤ u_j: r·g/‖g‖₂ without a box; 0 where g vanishes."""
    if corner is None:
        weight = _scaled(direction.abs())
        return (radius / _length(weight) * weight).copysign_(direction)
    return _stretched(_scaled(_gains(direction, corner)), corner.abs(), radius).copysign_(direction)


def project_l2(point: Tensor, corner: Tensor | None, radius: Tensor) -> Tensor:
    """argmin ‖δ − z‖₂ over ‖δ‖₂ ≤ r, |δ_j| ≤ u_j: z·min(1, r/‖z‖₂) without a box."""
    clipped = point if corner is None else torch.minimum(point.abs(), corner.abs()).copysign_(point)
    inside = torch.linalg.vector_norm(clipped, dim=1, keepdim=True) <= radius
    return torch.where(inside, clipped, support_l2(point, corner, radius))


def keep_largest(gains: Tensor, count: int) -> Tensor:
    """A mask of the ``count`` largest gains of each row, ties to the lower index."""
    order = gains.sort(dim=1, descending=True, stable=True).indices[:, :count]
    return torch.zeros_like(gains, dtype=torch.bool).scatter(1, order, True)
