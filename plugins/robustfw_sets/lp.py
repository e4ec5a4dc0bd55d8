"""The ℓp ball for any p ≥ 1, with the data range as a part of itself."""

from __future__ import annotations

from typing import final

import attrs
import torch
from torch import Tensor

from robustfw.regions import exact, normal_like, uniform_like
from robustfw_sets.boxed import BoxedRegion, infinite_sides

OUTER = 100
"""Largest number of steps on the multiplier of the radius; Newton's method in a bracket takes 6 to 15."""
INNER = 30
"""Largest number of Newton steps on each coordinate; they descend to the root, and take 3 to 8."""
ROUNDING = 1e-14
"""Relative change at which both iterations stop."""
TINY = 1e-300
"""Smallest denominator, against a division by 0."""


@final
@attrs.frozen(eq=False)
class LpBall(BoxedRegion):
    """{‖δ‖_p ≤ r} ∩ box."""

    p: float
    """The order p ≥ 1 of the norm."""

    @classmethod
    def at(cls, x: Tensor, p: float, radius: float) -> LpBall:
        """The ball at every row of x, without a box.

        Args:
            x: examples (batch, *shape).
            p: the order of the norm, ≥ 1.
            radius: r.
        """
        lower, upper = infinite_sides(x.detach())
        return cls(x.detach(), lower.new_full((len(x), 1), radius), lower, upper, p)

    def violation(self, delta: Tensor) -> Tensor:
        """The larger of ‖δ‖_p − r, without rounding, and the distance from the box; (batch,)."""
        point = self._rows(delta)
        largest = point.abs().amax(1, keepdim=True)
        scale = torch.where(largest > 0, largest, 1)
        powers = (point.abs() / scale).pow(self.p)
        length = scale * powers.sum(1, keepdim=True).pow(1 / self.p)
        beyond = (length - self.radius)[:, 0]
        rounding = 16 * torch.finfo(point.dtype).eps * self.radius[:, 0]
        beyond = torch.where(beyond > rounding, beyond, 0)
        return torch.maximum(beyond, self._box_violation(point)).to(delta.dtype)

    def project(self, point: Tensor) -> Tensor:
        """argmin ‖δ − z‖₂: magnitudes m with m + λ·p·mᵖ⁻¹ = |z|, cut off at the box, with the λ ≥ 0 that fits."""
        rows = self._rows(point)
        magnitudes = project(rows.abs(), self._room(rows), self.radius, self.p)
        return self._member(magnitudes, rows, point)

    def support(self, direction: Tensor) -> Tensor:
        """argmax ⟨g, δ⟩: magnitudes min(η·|g|^(1/(p − 1)), room) with the η that fits (Hölder's equality)."""
        rows = self._direction_rows(direction)
        magnitudes = support(rows.abs(), self._room(rows), self.radius, self.p)
        return self._member(magnitudes, rows, direction)

    def sample(self, generator: torch.Generator) -> Tensor:
        """Points of random direction and length in the ball, projected on the box."""
        noise = exact(normal_like(self.like, generator)).flatten(1)
        length = noise.abs().pow(self.p).sum(1, keepdim=True).pow(1 / self.p)
        share = uniform_like(self.radius, generator) ** (1 / noise.shape[1])
        rows = self.radius * share * noise / length.clamp(min=TINY)
        magnitudes = project(rows.abs(), self._room(rows), self.radius, self.p)
        return self._member(magnitudes, rows, self.like)


def project(target: Tensor, room: Tensor, radius: Tensor, p: float) -> Tensor:
    """argmin ‖m − a‖₂ over 0 ≤ m ≤ u, ‖m‖_p ≤ r, (batch, d).

    m(λ) is the solution of m + λ·p·mᵖ⁻¹ = a in each coordinate, at most u. Its norm falls in λ, from the cut-off a at
    λ = 0 to less than r at λ = ‖a‖_q / (p·rᵖ⁻¹), 1/p + 1/q = 1. In units of r that is a scalar equation for log λ.

    Args:
        target: a ≥ 0, (batch, d).
        room: u ≥ 0, (batch, d).
        radius: r, (batch, 1).
        p: the order of the norm.
    """
    cut = torch.minimum(target, room)
    length = _norm(cut, p)
    outside = (length > radius)[:, 0] & (radius[:, 0] > 0)
    projected = torch.where(radius > 0, cut, 0)
    if outside.any():
        unit = radius[outside]
        solve = _project_l1 if p == 1 else _project_lp
        magnitudes = solve(target[outside] / unit, room[outside] / unit, p)
        # rounding may leave the norm above the radius by its last digits
        excess = _norm(magnitudes, p).clamp(min=TINY)
        projected[outside] = unit * (magnitudes * (1 / excess).clamp(max=1))
    return torch.minimum(projected, room)


def _norm(magnitudes: Tensor, p: float) -> Tensor:
    """‖m‖_p of each row, (batch, 1), scaled by the largest magnitude so that no power overflows."""
    scale = magnitudes.amax(1, keepdim=True)
    scale = torch.where((scale > 0) & scale.isfinite(), scale, 1)
    return scale * (magnitudes / scale).pow(p).sum(1, keepdim=True).pow(1 / p)


def _project_l1(target: Tensor, room: Tensor, p: float) -> Tensor:
    """For p = 1: min(max(a − λ, 0), u) with Σ = 1, by a search among the breakpoints a and a − u."""
    del p
    # 1. all levels λ at which a coordinate leaves 0 or becomes full, in descending order
    breaks = torch.cat([target, (target - room).clamp(min=0)], 1)
    breaks, order = breaks.sort(dim=1, descending=True)
    # 2. the sum at each of them: between two it grows by the number of coordinates that are free
    slopes = torch.where(order < target.shape[1], 1.0, -1.0).to(target).cumsum(1)
    gaps = breaks[:, :-1] - breaks[:, 1:]
    growth = (slopes[:, :-1] * gaps).cumsum(1)
    sums = torch.cat([torch.zeros_like(breaks[:, :1]), growth], 1)
    # 3. the piece on which the sum reaches 1, and its root
    last = torch.searchsorted(sums, torch.ones_like(sums[:, :1])).sub(1).clamp(min=0)
    slope = slopes.gather(1, last).clamp(min=1)
    level = breaks.gather(1, last) - (1 - sums.gather(1, last)) / slope
    return torch.minimum((target - level.clamp(min=0)).clamp(min=0), room)


def _project_lp(target: Tensor, room: Tensor, p: float) -> Tensor:
    """For p > 1: m(λ) with ‖m(λ)‖_p = 1, by Newton's method on log ‖m‖_p over log λ, within a bracket."""
    high = torch.log(_norm(target, p / (p - 1)) / p)
    low = high - 80
    level = high.clone()
    for _ in range(OUTER):
        multiplier = level.exp()
        free, slope = _coordinates(target, multiplier, p)
        full = free >= room
        magnitudes = torch.where(full, room, free)
        length = _norm(magnitudes, p)
        # 1. a narrower bracket: too long means that λ is too small
        error = length.log()
        low = torch.where(error > 0, level, low)
        high = torch.where(error > 0, high, level)
        solved = error.abs() <= ROUNDING
        high = torch.where(solved, level, high)
        if bool((solved | (high - low <= ROUNDING)).all()):
            break
        # 2. Newton's step, d log‖m‖ / d log λ = Σ mᵖ⁻¹ λ (dm/dλ) / Σ mᵖ over the free coordinates
        weights = (magnitudes / length).pow(p - 1) / length
        change = torch.where(full, 0, weights * multiplier * slope).sum(1, keepdim=True)
        newton = level - error / change
        usable = (newton > low) & (newton < high)
        level = torch.where(usable, newton, (low + high) / 2)
    return torch.minimum(_coordinates(target, high.exp(), p)[0], room)


def _coordinates(target: Tensor, multiplier: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """m with m + λ·p·mᵖ⁻¹ = a in each coordinate, and dm/dλ ≤ 0.

    With t = m/a and c = λ·p·aᵖ⁻² this is t + c·tᵖ⁻¹ = 1. The variable s, t itself or tᵖ⁻¹, in which the equation is
    convex and increasing, lets Newton's method fall to the root from min(1, the root without the other term).
    """
    positive = target > 0
    safe = torch.where(positive, target, 1)
    load = multiplier * p * safe.pow(p - 2)
    # 1. the equation linear·s + weight·s^power = 1, in t for p ≥ 2 and in tᵖ⁻¹ below
    if p >= 2:
        linear = torch.ones_like(load)
        weight = load
        power = p - 1
    else:
        linear = load
        weight = torch.ones_like(load)
        power = 1 / (p - 1)
    # 2. Newton's method from above
    root = torch.minimum(1 / linear, weight.pow(-1 / power)).clamp(max=1)
    for _ in range(INNER):
        powered = root.pow(power - 1)
        step = (linear * root + weight * powered * root - 1) / (
            linear + power * weight * powered
        )
        root = (root - step).clamp(min=0)
        if bool((step.abs() <= ROUNDING * root).all()):
            break
    share = root if p >= 2 else root.pow(power)
    magnitude = torch.where(positive, safe * share, 0)
    # 3. dm/dλ = −p·mᵖ⁻¹ / (1 + λ·p·(p − 1)·mᵖ⁻²), without a negative power of m
    if p >= 2:
        slope = (
            -p
            * magnitude.pow(p - 1)
            / (1 + multiplier * p * (p - 1) * magnitude.pow(p - 2))
        )
    else:
        slope = -p * magnitude / (magnitude.pow(2 - p) + multiplier * p * (p - 1))
    return magnitude, slope


def support(gain: Tensor, room: Tensor, radius: Tensor, p: float) -> Tensor:
    """argmax ⟨g, m⟩ over 0 ≤ m ≤ u, ‖m‖_p ≤ r, for gains g ≥ 0 and room u of (batch, d).

    For p > 1 that is min(η·w, u) with w = g^(1/(p − 1)): coordinates fill in the order of u/w, and on each piece η is
    known. In logarithms, since w spans hundreds of orders of magnitude for p near 1. For p = 1 the best are filled.

    Args:
        gain: g ≥ 0, (batch, d).
        room: u ≥ 0, (batch, d).
        radius: r, (batch, 1).
        p: the order of the norm.
    """
    movable = (gain > 0) & (room > 0)
    unit = torch.where(radius > 0, radius, 1)
    room = torch.where(movable, room / unit, 0)
    magnitudes = (
        _support_l1(gain, room, movable)
        if p == 1
        else _support_lp(gain, room, movable, p)
    )
    return torch.where(radius > 0, unit * magnitudes, 0)


def _support_l1(gain: Tensor, room: Tensor, movable: Tensor) -> Tensor:
    """For p = 1 and r = 1: coordinates filled in the order of their gains."""
    _, order = torch.where(movable, gain, -1).sort(dim=1, descending=True, stable=True)
    sorted_room = room.gather(1, order)
    before = torch.cat(
        [torch.zeros_like(room[:, :1]), sorted_room[:, :-1].cumsum(1)], 1
    )
    share = torch.minimum((1 - before).clamp(min=0), sorted_room)
    return torch.zeros_like(gain).scatter(1, order, share)


def _support_lp(gain: Tensor, room: Tensor, movable: Tensor, p: float) -> Tensor:
    """For p > 1 and r = 1: min(η·w, u) with w = g^(1/(p − 1)) and the η at which the norm is 1."""
    # 1. log w, and the sorted log u/w at which coordinates become full
    weight = torch.where(movable, gain, 1).log() / (p - 1)
    breaks = torch.where(
        movable, torch.where(movable, room, 1).log() - weight, torch.inf
    )
    breaks, order = breaks.sort(dim=1)
    # 2. Σ mᵖ of the coordinates that are full at the start of each piece, and of the free ones for η = 1
    filled = torch.where(movable, room, 0).gather(1, order).pow(p).cumsum(1)
    full = torch.cat([torch.zeros_like(room[:, :1]), filled], 1)[:, :-1]
    powers = torch.where(movable, p * weight, -torch.inf).gather(1, order)
    free = powers.flip(1).logcumsumexp(1).flip(1)
    # 3. the first piece at whose end the norm is 1; where there is none, all coordinates are full
    stretch = ((1 - full).clamp(min=0).log() - free) / p
    is_end = (stretch <= breaks).to(gain)
    piece = is_end.argmax(1, keepdim=True)
    has_end = is_end.amax(1, keepdim=True) > 0
    level = torch.where(has_end, stretch.gather(1, piece), torch.inf)
    magnitudes = torch.where(
        movable, torch.minimum((level + weight).clamp(max=700).exp(), room), 0
    )
    # 4. rounding may leave the norm above 1 by its last digits
    magnitudes = magnitudes * (1 / _norm(magnitudes, p).clamp(min=TINY)).clamp(max=1)
    return torch.minimum(magnitudes, room)
