"""Projection and linear maximizer of the ℓ2 ball, with and without a box; see `robustfw_norms.oracles`."""

from __future__ import annotations

import torch
from torch import Tensor

from robustfw_norms.oracles import CLIMB, POLISH, may_look

DIGITS = 16
"""Roundings by which a sum may be off."""
SOON = 3
"""Newton steps after which rows are looked for that never get there, since all their room fits into the ball."""
FAINT = 1e-4
"""The least squared length of the free coordinates, as a share of r², that is told from rounding."""
SHORT = 4096
"""Coordinates up to which torch's norm is as exact as its sum."""
PLAIN = (1e-24, 1e24)
"""Squared lengths, from and to, at which fp32 has the square of every weight that counts."""


def _stretched(weight: Tensor, room: Tensor, radius: Tensor) -> Tensor:
    """min(ηw, u) with the η that makes it as long as r, or all the room where that fits into the ball.

    Both oracles of the ℓ2 ball ∩ box are clip(η|v|): with v = g it is the maximizer of ⟨g, δ⟩, with v = z and η at
    most 1 the projection of z. The squared length is concave and piecewise linear in η², so that Newton's method
    climbs from η = r/‖w‖₂ to the root without passing it, in a few steps, save for rooms of all sizes; there the
    breakpoints u_j/w_j are sorted. A row is done when its length is r.

    Args:
        weight: w = |v|, 0 where and only where there is no room; perhaps scaled, in place.
    """
    target = radius.square()
    # ∞·0 is no number, and a coordinate without room stays: the largest number will do for ∞
    most = torch.finfo(weight.dtype).max
    stretch = (target / _safe_square_sum(weight)).sqrt_().clamp_(max=most)
    if not may_look(weight):
        stretch = _sorted_stretch(weight, room, target).masked_fill_(_square_sum(room) <= target, most)
        return torch.minimum(stretch * weight, room)
    rounding, least = DIGITS * torch.finfo(target.dtype).eps * target, FAINT * target
    for number in range(CLIMB):
        if number == SOON:
            fits = _square_sum(room) <= target
            stretch.masked_fill_(fits, most)
            rounding.masked_fill_(fits, torch.inf)
        moved = stretch * weight
        reached = torch.minimum(moved, room)
        length = _square_sum(reached)
        done = (length - target).abs_() <= rounding  # a faint share is rounded, and the step from it may be too long
        if bool(done.all()):
            return reached
        full = _square_sum(moved.ge_(room).mul_(room))
        free = torch.maximum(length - full, least)
        growth = (target - full).clamp_(min=0).div_(free).sqrt_().masked_fill_(done, 1)
        stretch.mul_(growth)
    left = ~done[:, 0]
    weight, room = _scaled(weight[left]), room[left]
    reached[left] = torch.minimum(_sorted_stretch(weight, room, target[left]) * weight, room)
    return reached


def _safe_square_sum(weight: Tensor) -> Tensor:
    """‖w‖₂² of each row; a row whose squares would vanish, or have no end, is scaled first, in place."""
    if not may_look(weight):
        return _square_sum(_scaled(weight))
    squares = _square_sum(weight)
    least, most = map(float, squares.aminmax()) if len(weight) else PLAIN
    if PLAIN[0] <= least and most <= PLAIN[1]:
        return squares
    plain = (squares >= PLAIN[0]) & (squares <= PLAIN[1])
    weight.div_(_largest(weight).masked_fill_(plain, 1))
    return _square_sum(weight)


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
    return weight.div_(_largest(weight))


def _largest(weight: Tensor) -> Tensor:
    """The largest of each row, nowhere 0."""
    return weight.amax(1, keepdim=True).clamp_(min=torch.finfo(weight.dtype).tiny)


def _length(rows: Tensor) -> Tensor:
    """‖v‖₂, 1 for a row of zeros."""
    length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return torch.where(length > 0, length, 1)


def support(direction: Tensor, corner: Tensor | None, radius: Tensor) -> Tensor:
    """argmax ⟨g, δ⟩ over ‖δ‖₂ ≤ r, |δ_j| ≤ u_j: r·g/‖g‖₂ without a box; 0 where g vanishes."""
    if corner is None:
        weight = _scaled(direction.abs())
        return (radius / _length(weight) * weight).copysign_(direction)
    side = corner.sign()  # 0 where there is no room: what cannot move has no say in what else does
    return _stretched(side * direction, corner.abs(), radius).mul_(side)


def project(point: Tensor, corner: Tensor | None, radius: Tensor) -> Tensor:
    """argmin ‖δ − z‖₂ over ‖δ‖₂ ≤ r, |δ_j| ≤ u_j: z·min(1, r/‖z‖₂) without a box."""
    clipped = point if corner is None else torch.minimum(point.abs(), corner.abs()).copysign_(point)
    inside = torch.linalg.vector_norm(clipped, dim=1, keepdim=True) <= radius
    return torch.where(inside, clipped, support(point, corner, radius))
