"""Projection and linear maximizer of the ℓ2 ball, with and without a box; see `robustfw_norms.oracles`."""

from __future__ import annotations

import torch
from torch import Tensor

from robustfw_norms.oracles import CLIMB, POLISH, Sides, corner, may_look

DIGITS = 16
"""Error of a sum, in units of its rounding, at which it counts as equal to the target."""

EARLY = 2
"""Number of the last step without a test whether all rows are done, since a few of them are at most."""

SECANTS = 5
"""Number of steps along secants of the squared length, before Newton's method. Three mostly suffice on images."""

FAINT = 1e-4
"""Smallest squared length of the free coordinates, as a share of r², that is treated as non-zero."""

COARSE = 1 / 16
"""Smallest denominator of a secant step, as a share of r²: between two close points the rest is rounding."""

SHORT = 4096
"""Largest number of coordinates for which torch's norm is as exact as its sum."""

SMALLEST = 1e-24
"""Smallest squared length for which fp32 represents the square of every coordinate that matters."""

LARGEST = 1e24
"""Largest squared length for which fp32 represents the square of every coordinate that matters."""


def _solve_by_secants(direction: Tensor, sides: Sides, radius: Tensor) -> Tensor:
    """clip(ηv) with the η that makes its length r, or the farthest corner where that is in the ball.

    Both oracles of the ℓ2 ball ∩ box are of this form: v = g gives the maximizer of ⟨g, δ⟩, v = z and η at most 1 the
    projection of z. The squared length is concave and piecewise linear in η²: the secant through two points short of
    the root, at first through 0, does not pass it, and ends there once both are on its piece. So does Newton's method,
    which costs twice as much, since full coordinates must be found, but is better where few are not full. Few steps
    suffice, except for rooms of all sizes, whose breakpoints are sorted. A row is done when its length is r, and stays
    as it is then: no row depends on the number of steps of others.
    """
    target = radius.square()
    direction, squares = _scale_and_square(direction)
    numbers = torch.finfo(target.dtype)
    tiny = numbers.tiny
    rounding = DIGITS * numbers.eps * target
    smallest_free = (FAINT * target).clamp_(min=tiny)
    smallest_secant = (COARSE * target).clamp_(min=tiny)
    stretch = (target / squares).sqrt_()
    before = growth = target
    for number in range(CLIMB):
        # 1. rows that never reach r, since all their room fits into the ball, take the corner
        if number == SECANTS:
            farthest = _farthest_corner(direction, sides)
            fits = _square_sum(farthest) <= target
            stretch.masked_fill_(fits, numbers.max)
            rounding.masked_fill_(fits, torch.inf)
        # 2. the squared length that is missing at this stretch
        stretched = stretch * direction
        clipped = torch.clamp(stretched, *sides)
        length = _square_sum(clipped)
        missing = target - length
        if number > EARLY:
            # a faint share of free coordinates is rounded, and the step from it may be too long
            done = missing.abs() <= rounding
            if bool(done.all()):
                return clipped
            missing.masked_fill_(done, 0)
        # 3. the squared length of the free coordinates: by the first point, by the secant, or by counting
        if number == 0:
            free = torch.maximum(length, smallest_free)
        elif number < SECANTS:
            secant = (length - before).mul_(growth).div_(growth - 1)
            # 0/0 where nothing moved, which fmax replaces
            free = torch.fmax(secant, smallest_secant)
        else:
            full = stretched.ne_(clipped).mul_(clipped)
            free = torch.maximum(length - _square_sum(full), smallest_free)
        # 4. the step in η²
        before = length
        growth = missing.div_(free).add_(1).clamp_(min=0)
        stretch.mul_(growth.sqrt())
    # 5. sorted breakpoints for the rows that are left
    unsolved = ~done[:, 0]
    low, high = sides
    unsolved_sides = (low[unsolved], high[unsolved])
    clipped[unsolved] = _solve_by_sorting(
        direction[unsolved], unsolved_sides, radius[unsolved]
    )
    return clipped


def _farthest_corner(direction: Tensor, sides: Sides) -> Tensor:
    """The corner of the box in the direction; where the box is infinite, the square of its coordinate is, too."""
    limit = torch.finfo(direction.dtype).max
    unlimited = torch.full_like(direction[:, :1], limit)
    return corner(direction, sides, unlimited)


def _solve_by_sorting(direction: Tensor, sides: Sides, radius: Tensor) -> Tensor:
    """clip(ηv) of length r, or the farthest corner, by a search among the sorted breakpoints u_j/|v_j|."""
    target = radius.square()
    farthest = corner(direction, sides, radius)
    # the sign is 0 where there is no room: such coordinates play no part
    side = farthest.sign()
    room = farthest.abs()
    weight = side * direction
    weight.div_(_largest(weight))
    stretch = _search_stretch(weight, room, target)
    # ∞·0 is not a number, and a coordinate without room stays: the largest number replaces ∞
    fits = _square_sum(room) <= target
    limit = torch.finfo(stretch.dtype).max
    stretch = stretch.masked_fill_(fits, limit)
    magnitude = torch.minimum(stretch * weight, room)
    return magnitude.mul_(side)


def _search_stretch(weight: Tensor, room: Tensor, target: Tensor) -> Tensor:
    """η with ‖min(η·weight, room)‖² = target, (rows, 1); ``weight`` is 0 where and only where there is no room."""
    weight_squares = weight.square()
    room_squares = room.square()
    # 1. the squared length at each breakpoint: of the coordinates that are full there, and of the free ones
    breaks = torch.where(weight > 0, room / weight, torch.inf)
    breaks, order = breaks.sort(dim=1)
    full_part = room_squares.gather(1, order).cumsum(1)
    from_last = weight_squares.gather(1, order).flip(1)
    free_squares = from_last.cumsum(1).flip(1)[:, 1:]
    free_squares = torch.cat([free_squares, torch.zeros_like(target)], dim=1)
    stretched = breaks.square() * free_squares
    free_part = torch.where(free_squares > 0, stretched, 0)
    lengths = full_part + free_part
    # 2. the piece on which the target is reached
    count = torch.searchsorted(lengths, target)
    places = torch.arange(weight.shape[1], device=weight.device)
    is_full = (places < count).to(weight)
    full = torch.zeros_like(weight).scatter(1, order, is_full)
    # 3. its root, and Newton steps against the rounding of the long sums
    squares = weight_squares, room_squares
    start = torch.zeros_like(target)
    stretch = _newton_stretch(start, full, squares, target)
    for _ in range(POLISH):
        full = (stretch * weight).ge_(room)
        stretch = _newton_stretch(stretch, full, squares, target)
    return stretch


def _newton_stretch(
    stretch: Tensor, full: Tensor, squares: tuple[Tensor, Tensor], target: Tensor
) -> Tensor:
    """The root η of the piece whose full coordinates are marked by 1 in ``full``; where it has none, η as it is.

    ``squares`` are those of the weights and of the rooms.
    """
    weight_squares, room_squares = squares
    full_part = (full * room_squares).sum(1, keepdim=True)
    missing = target - full_part
    free_squares = torch.addcmul(weight_squares, full, weight_squares, value=-1)
    free = free_squares.sum(1, keepdim=True)
    tiny = torch.finfo(free.dtype).tiny
    root = (missing.clamp(min=0) / free.clamp(min=tiny)).sqrt()
    has_root = (free > 0) & (missing >= 0)
    return torch.where(has_root, root, stretch)


def _scale_and_square(direction: Tensor) -> tuple[Tensor, Tensor]:
    """v and ‖v‖₂² > 0 of each row; a row whose squares would underflow or overflow is scaled first."""
    squares = _square_sum(direction)
    if may_look(direction) and len(direction):
        least, most = map(float, squares.aminmax())
        if least >= SMALLEST and most <= LARGEST:
            return direction, squares
    exact = (squares >= SMALLEST) & (squares <= LARGEST)
    scale = _largest(direction.abs())
    direction = direction / scale.masked_fill_(exact, 1)
    squares = _square_sum(direction)
    tiny = torch.finfo(squares.dtype).tiny
    return direction, squares.clamp_(min=tiny)


def _square_sum(rows: Tensor) -> Tensor:
    """‖v‖₂² of each row, (rows, 1). The norm takes no memory, but loses digits over many coordinates."""
    if rows.shape[1] <= SHORT:
        lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        return lengths.square_()
    return rows.square().sum(1, keepdim=True)


def _largest(values: Tensor) -> Tensor:
    """The largest value of each row, (rows, 1), replaced by the smallest positive number where it is 0."""
    tiny = torch.finfo(values.dtype).tiny
    return values.amax(1, keepdim=True).clamp_(min=tiny)


def support(direction: Tensor, sides: Sides | None, radius: Tensor) -> Tensor:
    """argmax ⟨g, δ⟩ over ‖δ‖₂ ≤ r in the box: r·g/‖g‖₂ without one; 0 where g vanishes.

    Args:
        direction: g, (rows, d).
        sides: the sides of the box; None: no box.
        radius: r, (rows, 1).
    """
    if sides is None:
        direction, squares = _scale_and_square(direction)
        return radius / squares.sqrt_() * direction
    if may_look(direction):
        return _solve_by_secants(direction, sides, radius)
    return _solve_by_sorting(direction, sides, radius)


def project(point: Tensor, sides: Sides | None, radius: Tensor) -> Tensor:
    """argmin ‖δ − z‖₂ over ‖δ‖₂ ≤ r in the box: z·min(1, r/‖z‖₂) without one.

    Args:
        point: z, (rows, d).
        sides: the sides of the box; None: no box.
        radius: r, (rows, 1).
    """
    clipped = point if sides is None else torch.clamp(point, *sides)
    outside = _square_sum(clipped).sqrt_() > radius
    if not may_look(point):
        return torch.where(outside, support(point, sides, radius), clipped)
    if bool(outside.all()):
        return support(point, sides, radius)
    if bool(outside.any()):
        rows = outside[:, 0]
        if sides is None:
            outside_sides = None
            clipped = clipped.clone()
        else:
            low, high = sides
            outside_sides = (low[rows], high[rows])
        clipped[rows] = support(point[rows], outside_sides, radius[rows])
    return clipped
