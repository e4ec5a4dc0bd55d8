"""Projection and linear maximizer of the ℓ2 ball, with and without a box; see `robustfw_norms.oracles`."""

from __future__ import annotations

import torch
from torch import Tensor

from robustfw_norms.oracles import CLIMB, POLISH, Sides, corner, may_look

DIGITS = 16
"""Roundings by which a sum may be off."""
EARLY = 2
"""The last step after which rows are not looked at yet: a few are done at most."""
SECANTS = 5
"""Steps in which the squared length is followed along secants, before Newton's method. Three mostly do on images."""
FAINT = 1e-4
"""The least squared length of the free coordinates, as a share of r², that is told from rounding,"""
COARSE = 1 / 16
"""and the least that a secant goes by: between two points that are close it is all rounding."""
SHORT = 4096
"""Coordinates up to which torch's norm is as exact as its sum."""
PLAIN = (1e-24, 1e24)
"""Squared lengths, from and to, at which fp32 has the square of every coordinate that counts."""


def _solve_by_secants(direction: Tensor, sides: Sides, radius: Tensor) -> Tensor:
    """clip(ηv) with the η that makes it as long as r, or the farthest corner where that is in the ball.

    Both oracles of the ℓ2 ball ∩ box are that: with v = g it is the maximizer of ⟨g, δ⟩, with v = z and η at most 1 the
    projection of z. The squared length is concave and piecewise linear in η²: the secant through two points short of
    the root, at first through 0, does not pass it, and ends there once both are on its piece. So does Newton's method,
    which costs twice as much, since somebody has to know which coordinates are full, but sees more where few are not.
    Few steps do, save for rooms of all sizes, whose breakpoints are sorted. A row is done when its length is r, and
    stays as it is then: none depends on how long others take.
    """
    target = radius.square()
    direction, squares = _scale_and_square(direction)
    rounding = DIGITS * torch.finfo(target.dtype).eps * target
    least, coarse = ((share * target).clamp_(min=torch.finfo(target.dtype).tiny) for share in (FAINT, COARSE))
    stretch = (target / squares).sqrt_()
    before = growth = target
    for number in range(CLIMB):
        if number == SECANTS:  # rows that never get there, since all their room fits into the ball
            fits = _square_sum(_farthest_corner(direction, sides)) <= target
            stretch.masked_fill_(fits, torch.finfo(stretch.dtype).max)
            rounding.masked_fill_(fits, torch.inf)
        moved = stretch * direction
        reached = torch.clamp(moved, *sides)
        length = _square_sum(reached)
        rest = target - length
        if number > EARLY:
            done = rest.abs() <= rounding  # a faint share is rounded, and the step from it may be too long
            if bool(done.all()):
                return reached
            rest.masked_fill_(done, 0)
        if number == 0:
            free = torch.maximum(length, least)
        elif number < SECANTS:
            free = torch.fmax((length - before).mul_(growth).div_(growth - 1), coarse)  # 0/0 where nothing moved
        else:
            free = torch.maximum(length - _square_sum(moved.ne_(reached).mul_(reached)), least)
        before, growth = length, rest.div_(free).add_(1).clamp_(min=0)
        stretch.mul_(growth.sqrt())
    left = ~done[:, 0]
    low, high = sides
    reached[left] = _solve_by_sorting(direction[left], (low[left], high[left]), radius[left])
    return reached


def _farthest_corner(direction: Tensor, sides: Sides) -> Tensor:
    """The corner of the box alone; where that has no end, so far that no square is a number."""
    return corner(direction, sides, torch.full_like(direction[:, :1], torch.finfo(direction.dtype).max))


def _solve_by_sorting(direction: Tensor, sides: Sides, radius: Tensor) -> Tensor:
    """The same by a search among the sorted breakpoints u_j/|v_j|, polished by Newton's method."""
    target, farthest = radius.square(), corner(direction, sides, radius)
    side, room = farthest.sign(), farthest.abs()  # 0 where there is no room: that has no say in what else is done
    weight = side * direction
    weight.div_(_largest(weight))
    stretch = _search_stretch(weight, room, target)
    # ∞·0 is no number, and a coordinate without room stays: the largest number will do for ∞
    stretch = stretch.masked_fill_(_square_sum(room) <= target, torch.finfo(stretch.dtype).max)
    return torch.minimum(stretch * weight, room).mul_(side)


def _search_stretch(weight: Tensor, room: Tensor, target: Tensor) -> Tensor:
    """η in magnitudes; ``weight`` is 0 where and only where there is no room."""
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


def _newton(stretch: Tensor, full: Tensor, squares: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
    """The root of the piece on which these coordinates are full (1, else 0); where there is none, η as it is."""
    of_weight, of_room = squares
    rest = target - (full * of_room).sum(1, keepdim=True)
    active = torch.addcmul(of_weight, full, of_weight, value=-1).sum(1, keepdim=True)
    root = (rest.clamp(min=0) / active.clamp(min=torch.finfo(active.dtype).tiny)).sqrt()
    return torch.where((active > 0) & (rest >= 0), root, stretch)


def _scale_and_square(direction: Tensor) -> tuple[Tensor, Tensor]:
    """v and ‖v‖₂² of each row, nowhere 0; a row whose squares would vanish, or have no end, is scaled first."""
    squares = _square_sum(direction)
    if may_look(direction) and len(direction):
        least, most = map(float, squares.aminmax())
        if PLAIN[0] <= least and most <= PLAIN[1]:
            return direction, squares
    plain = (squares >= PLAIN[0]) & (squares <= PLAIN[1])
    direction = direction / _largest(direction.abs()).masked_fill_(plain, 1)
    return direction, _square_sum(direction).clamp_(min=torch.finfo(squares.dtype).tiny)


def _square_sum(rows: Tensor) -> Tensor:
    """‖v‖₂² of each row, (rows, 1). The norm takes no memory, but loses digits over many coordinates."""
    if rows.shape[1] <= SHORT:
        return torch.linalg.vector_norm(rows, dim=1, keepdim=True).square_()
    return rows.square().sum(1, keepdim=True)


def _largest(weight: Tensor) -> Tensor:
    """The largest of each row, nowhere 0."""
    return weight.amax(1, keepdim=True).clamp_(min=torch.finfo(weight.dtype).tiny)


def support(direction: Tensor, sides: Sides | None, radius: Tensor) -> Tensor:
    """argmax ⟨g, δ⟩ over ‖δ‖₂ ≤ r in the box: r·g/‖g‖₂ without one; 0 where g vanishes."""
    if sides is None:
        direction, squares = _scale_and_square(direction)
        return radius / squares.sqrt_() * direction
    return (_solve_by_secants if may_look(direction) else _solve_by_sorting)(direction, sides, radius)


def project(point: Tensor, sides: Sides | None, radius: Tensor) -> Tensor:
    """argmin ‖δ − z‖₂ over ‖δ‖₂ ≤ r in the box: z·min(1, r/‖z‖₂) without one."""
    clipped = point if sides is None else torch.clamp(point, *sides)
    outside = _square_sum(clipped).sqrt_() > radius
    if not may_look(point):
        return torch.where(outside, support(point, sides, radius), clipped)
    if bool(outside.all()):
        return support(point, sides, radius)
    if bool(outside.any()):
        rows = outside[:, 0]
        some = None if sides is None else (sides[0][rows], sides[1][rows])
        clipped = clipped.clone() if sides is None else clipped
        clipped[rows] = support(point[rows], some, radius[rows])
    return clipped
