"""The ℓp ball for any p ≥ 1, with the data range as a part of itself."""

from __future__ import annotations

from typing import final

import attrs
import torch
from torch import Tensor

from robustfw.regions import exact, normal_like, uniform_like
from robustfw_sets.boxed import BoxedRegion, infinite_sides

OUTER = 100
"""Steps on the multiplier of the radius at most; Newton's method in a bracket takes 6 to 15."""
INNER = 30
"""Newton steps on each coordinate at most; they come from above, and take 3 to 8."""
ROUNDING = 1e-14
"""Relative change at which either stops."""
TINY = 1e-300


@final
@attrs.frozen(eq=False)
class LpBall(BoxedRegion):
    """{‖δ‖_p ≤ r} ∩ box."""

    p: float

    @classmethod
    def at(cls, x: Tensor, p: float, radius: float) -> LpBall:
        """The ball of this radius at every row of x."""
        lower, upper = infinite_sides(x.detach())
        return cls(x.detach(), lower.new_full((len(x), 1), radius), lower, upper, p)

    def violation(self, delta: Tensor) -> Tensor:
        """The larger of ‖δ‖_p − r and the way out of the box."""
        point = self._rows(delta)
        largest = point.abs().amax(1, keepdim=True)
        scale = torch.where(largest > 0, largest, 1)
        length = scale * (point.abs() / scale).pow(self.p).sum(1, keepdim=True).pow(1 / self.p)
        beyond = (length - self.radius)[:, 0]
        beyond = torch.where(beyond > 16 * torch.finfo(point.dtype).eps * self.radius[:, 0], beyond, 0)
        return torch.maximum(beyond, self._box_violation(point)).to(delta.dtype)

    def project(self, point: Tensor) -> Tensor:
        """argmin ‖δ − z‖₂: magnitudes m with m + λ·p·mᵖ⁻¹ = |z|, cut off at the box, with the λ ≥ 0 that fits."""
        rows = self._rows(point)
        return self._member(project(rows.abs(), self._room(rows), self.radius, self.p), rows, point)

    def support(self, direction: Tensor) -> Tensor:
        """argmax ⟨g, δ⟩: magnitudes min(η·|g|^(1/(p − 1)), room) with the η that fits (Hölder's equality)."""
        rows = self._direction_rows(direction)
        return self._member(support(rows.abs(), self._room(rows), self.radius, self.p), rows, direction)

    def sample(self, generator: torch.Generator) -> Tensor:
        """A random direction, a random length of it in the ball, projected on the box."""
        noise = exact(normal_like(self.like, generator)).flatten(1)
        length = noise.abs().pow(self.p).sum(1, keepdim=True).pow(1 / self.p)
        share = uniform_like(self.radius, generator) ** (1 / noise.shape[1])
        rows = self.radius * share * noise / length.clamp(min=TINY)
        return self._member(project(rows.abs(), self._room(rows), self.radius, self.p), rows, self.like)


def project(target: Tensor, room: Tensor, radius: Tensor, p: float) -> Tensor:
    """argmin ‖m − a‖₂ over 0 ≤ m ≤ u, ‖m‖_p ≤ r, for magnitudes a, u of (batch, d) and r of (batch, 1).

    m(λ) is the solution of m + λ·p·mᵖ⁻¹ = a in each coordinate, at most u. Its norm falls in λ, from the cut-off a at
    λ = 0 to less than r at λ = ‖a‖_q / (p·rᵖ⁻¹), 1/p + 1/q = 1. In units of r that is a scalar equation for log λ.
    """
    inside = torch.minimum(target, room)
    length = _norm(inside, p)
    outside = (length > radius)[:, 0] & (radius[:, 0] > 0)
    found = torch.where(radius > 0, inside, 0)
    if outside.any():
        unit = radius[outside]
        solve = _thresholds if p == 1 else _multipliers
        shrunk = solve(target[outside] / unit, room[outside] / unit, p)
        # the last digits above the radius, which rounding may leave
        shrunk = shrunk * (1 / _norm(shrunk, p).clamp(min=TINY)).clamp(max=1)
        found[outside] = unit * shrunk
    return torch.minimum(found, room)


def _norm(magnitudes: Tensor, p: float) -> Tensor:
    """‖m‖_p, (batch, 1); a far point is scaled first."""
    scale = magnitudes.amax(1, keepdim=True)
    scale = torch.where((scale > 0) & scale.isfinite(), scale, 1)
    return scale * (magnitudes / scale).pow(p).sum(1, keepdim=True).pow(1 / p)


def _thresholds(target: Tensor, room: Tensor, p: float) -> Tensor:
    """p = 1: min(max(a − λ, 0), u) with Σ = 1, by a search among the breakpoints a and a − u."""
    del p
    breaks = torch.cat([target, (target - room).clamp(min=0)], 1)
    breaks, order = breaks.sort(dim=1, descending=True)
    slopes = torch.where(order < target.shape[1], 1.0, -1.0).to(target).cumsum(1)
    filled = torch.cat(
        [torch.zeros_like(breaks[:, :1]), (slopes[:, :-1] * (breaks[:, :-1] - breaks[:, 1:])).cumsum(1)], 1
    )
    last = torch.searchsorted(filled, torch.ones_like(filled[:, :1])).sub(1).clamp(min=0)
    level = breaks.gather(1, last) - (1 - filled.gather(1, last)) / slopes.gather(1, last).clamp(min=1)
    return torch.minimum((target - level.clamp(min=0)).clamp(min=0), room)


def _multipliers(target: Tensor, room: Tensor, p: float) -> Tensor:
    """p > 1: m(λ) with ‖m(λ)‖_p = 1, by Newton's method on log ‖m‖_p over log λ, within a bracket."""
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
        low, high = torch.where(error > 0, level, low), torch.where(error > 0, high, level)
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
    if p >= 2:
        linear, weight, power = torch.ones_like(load), load, p - 1
    else:
        linear, weight, power = load, torch.ones_like(load), 1 / (p - 1)
    root = torch.minimum(1 / linear, weight.pow(-1 / power)).clamp(max=1)
    for _ in range(INNER):
        powered = root.pow(power - 1)
        step = (linear * root + weight * powered * root - 1) / (linear + power * weight * powered)
        root = (root - step).clamp(min=0)
        if bool((step.abs() <= ROUNDING * root).all()):
            break
    share = root if p >= 2 else root.pow(power)
    magnitude = torch.where(positive, safe * share, 0)
    # dm/dλ = −p·mᵖ⁻¹ / (1 + λ·p·(p − 1)·mᵖ⁻²), without a negative power of m
    if p >= 2:
        slope = -p * magnitude.pow(p - 1) / (1 + multiplier * p * (p - 1) * magnitude.pow(p - 2))
    else:
        slope = -p * magnitude / (magnitude.pow(2 - p) + multiplier * p * (p - 1))
    return magnitude, slope


def support(gain: Tensor, room: Tensor, radius: Tensor, p: float) -> Tensor:
    """argmax ⟨g, m⟩ over 0 ≤ m ≤ u, ‖m‖_p ≤ r, for gains g ≥ 0 and room u of (batch, d).

    For p > 1 that is min(η·w, u) with w = g^(1/(p − 1)): coordinates fill in the order of u/w, and on each piece η is
    known. In logarithms, since w spans hundreds of orders of magnitude for p near 1. For p = 1 the best are filled.
    """
    open_ = (gain > 0) & (room > 0)
    unit = torch.where(radius > 0, radius, 1)
    room = torch.where(open_, room / unit, 0)
    if p == 1:
        _, order = torch.where(open_, gain, -1).sort(dim=1, descending=True, stable=True)
        sorted_room = room.gather(1, order)
        before = torch.cat([torch.zeros_like(unit), sorted_room[:, :-1].cumsum(1)], 1)
        share = torch.minimum((1 - before).clamp(min=0), sorted_room)
        return torch.where(radius > 0, unit * torch.zeros_like(gain).scatter(1, order, share), 0)
    weight = torch.where(open_, gain, 1).log() / (p - 1)
    breaks = torch.where(open_, torch.where(open_, room, 1).log() - weight, torch.inf)
    breaks, order = breaks.sort(dim=1)
    # 1. what is used up by the coordinates that are full, and what the free ones use per η^p
    filled = torch.where(open_, room, 0).gather(1, order).pow(p).cumsum(1)
    full = torch.cat([torch.zeros_like(unit), filled], 1)[:, :-1]
    powers = torch.where(open_, p * weight, -torch.inf).gather(1, order)
    free = powers.flip(1).logcumsumexp(1).flip(1)
    # 2. the first piece at whose end the radius is used up
    stretch = ((1 - full).clamp(min=0).log() - free) / p
    ends = (stretch <= breaks).to(gain)
    piece = ends.argmax(1, keepdim=True)
    reached = stretch.gather(1, piece)
    level = torch.where(ends.amax(1, keepdim=True) > 0, reached, torch.inf)
    moved = torch.where(open_, torch.minimum((level + weight).clamp(max=700).exp(), room), 0)
    moved = moved * (1 / _norm(moved, p).clamp(min=TINY)).clamp(max=1)
    return torch.where(radius > 0, unit * torch.minimum(moved, room), 0)
