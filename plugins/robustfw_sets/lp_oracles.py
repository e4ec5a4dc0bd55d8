"""Projection and linear maximizer of the ℓp ball ∩ box in magnitudes, for any p ≥ 1."""

from __future__ import annotations

import torch
from torch import Tensor

OUTER = 100
"""Largest number of steps on the multiplier of the radius; Newton's method in a bracket takes 6 to 15."""
INNER = 30
"""Largest number of Newton steps on each coordinate; they descend to the root, and take 3 to 8."""
ROUNDING = 1e-14
"""Relative change at which both iterations stop."""
TINY = 1e-300
"""Smallest denominator, against a division by 0."""


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
    too_long = (length > radius)[:, 0]
    outside = too_long & (radius[:, 0] > 0)
    projected = torch.where(radius > 0, cut, 0)
    if outside.any():
        # 1. the rows outside, in units of r
        unit = radius[outside]
        unit_target = target[outside] / unit
        unit_room = room[outside] / unit
        magnitudes = _project_on_unit_ball(unit_target, unit_room, p)
        # 2. rounding may leave the norm above the radius by its last digits
        length = _norm(magnitudes, p).clamp(min=TINY)
        shrink = (1 / length).clamp(max=1)
        projected[outside] = unit * (magnitudes * shrink)
    return torch.minimum(projected, room)


def _norm(magnitudes: Tensor, p: float) -> Tensor:
    """‖m‖_p of each row, (batch, 1), scaled by the largest magnitude so that no power overflows."""
    largest = magnitudes.amax(1, keepdim=True)
    usable = (largest > 0) & largest.isfinite()
    scale = torch.where(usable, largest, 1)
    powers = (magnitudes / scale).pow(p)
    total = powers.sum(1, keepdim=True)
    return scale * total.pow(1 / p)


def _project_l1(target: Tensor, room: Tensor) -> Tensor:
    """For p = 1: min(max(a − λ, 0), u) with Σ = 1, by a search among the breakpoints a and a − u."""
    # 1. all levels λ at which a coordinate leaves 0 or becomes full, in descending order
    full_levels = (target - room).clamp(min=0)
    breaks = torch.cat([target, full_levels], 1)
    breaks, order = breaks.sort(dim=1, descending=True)
    # 2. the sum at each of them: between two it grows by the number of coordinates that are free
    is_leaving_zero = order < target.shape[1]
    signs = torch.where(is_leaving_zero, 1.0, -1.0).to(target)
    slopes = signs.cumsum(1)
    gaps = breaks[:, :-1] - breaks[:, 1:]
    growth = (slopes[:, :-1] * gaps).cumsum(1)
    start = torch.zeros_like(breaks[:, :1])
    sums = torch.cat([start, growth], 1)
    # 3. the piece on which the sum reaches 1, and its root
    one = torch.ones_like(start)
    end = torch.searchsorted(sums, one)
    piece = end.sub(1).clamp(min=0)
    slope = slopes.gather(1, piece).clamp(min=1)
    missing = 1 - sums.gather(1, piece)
    level = breaks.gather(1, piece) - missing / slope
    lowered = target - level.clamp(min=0)
    return torch.minimum(lowered.clamp(min=0), room)


def _project_on_unit_ball(target: Tensor, room: Tensor, p: float) -> Tensor:
    """m(λ) with ‖m(λ)‖_p = 1: for p > 1 by Newton's method on log ‖m‖_p over log λ, within a bracket."""
    if p == 1:
        return _project_l1(target, room)
    # the bracket of log λ ends at ‖a‖_q / p, and starts e⁻⁸⁰ of it below
    dual_norm = _norm(target, p / (p - 1))
    high = torch.log(dual_norm / p)
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
        done = solved | (high - low <= ROUNDING)
        if bool(done.all()):
            break
        # 2. Newton's step, d log‖m‖ / d log λ = Σ mᵖ⁻¹ λ (dm/dλ) / Σ mᵖ over the free coordinates
        weights = (magnitudes / length).pow(p - 1) / length
        changes = torch.where(full, 0, weights * multiplier * slope)
        derivative = changes.sum(1, keepdim=True)
        newton = level - error / derivative
        # 3. or the middle of the bracket, where that step leaves it
        middle = (low + high) / 2
        inside = (newton > low) & (newton < high)
        level = torch.where(inside, newton, middle)
    free, _ = _coordinates(target, high.exp(), p)
    return torch.minimum(free, room)


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
    linear_root = 1 / linear
    power_root = weight.pow(-1 / power)
    root = torch.minimum(linear_root, power_root).clamp(max=1)
    for _ in range(INNER):
        powered = root.pow(power - 1)
        error = linear * root + weight * powered * root - 1
        derivative = linear + power * weight * powered
        step = error / derivative
        root = (root - step).clamp(min=0)
        converged = step.abs() <= ROUNDING * root
        if bool(converged.all()):
            break
    share = root if p >= 2 else root.pow(power)
    magnitude = torch.where(positive, safe * share, 0)
    # 3. dm/dλ = −p·mᵖ⁻¹ / (1 + λ·p·(p − 1)·mᵖ⁻²), without a negative power of m
    bend = multiplier * p * (p - 1)
    if p >= 2:
        rise = -p * magnitude.pow(p - 1)
        slope = rise / (1 + bend * magnitude.pow(p - 2))
    else:
        rise = -p * magnitude
        slope = rise / (magnitude.pow(2 - p) + bend)
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
    magnitudes = _support_of_unit_ball(gain, room, movable, p)
    return torch.where(radius > 0, unit * magnitudes, 0)


def _support_l1(gain: Tensor, room: Tensor, movable: Tensor) -> Tensor:
    """For p = 1 and r = 1: coordinates filled in the order of their gains."""
    movable_gain = torch.where(movable, gain, -1)
    _, order = movable_gain.sort(dim=1, descending=True, stable=True)
    sorted_room = room.gather(1, order)
    # what the coordinates before each take of the radius
    nothing = torch.zeros_like(room[:, :1])
    spent = torch.cat([nothing, sorted_room[:, :-1].cumsum(1)], 1)
    budget = (1 - spent).clamp(min=0)
    share = torch.minimum(budget, sorted_room)
    return torch.zeros_like(gain).scatter(1, order, share)


def _support_of_unit_ball(
    gain: Tensor, room: Tensor, movable: Tensor, p: float
) -> Tensor:
    """For r = 1 and p > 1: min(η·w, u) with w = g^(1/(p − 1)) and the η at which the norm is 1."""
    if p == 1:
        return _support_l1(gain, room, movable)
    # 1. log w, and the sorted log u/w at which coordinates become full
    safe_gain = torch.where(movable, gain, 1)
    safe_room = torch.where(movable, room, 1)
    log_weight = safe_gain.log() / (p - 1)
    breaks = torch.where(movable, safe_room.log() - log_weight, torch.inf)
    breaks, order = breaks.sort(dim=1)
    # 2. Σ mᵖ of the coordinates that are full at the start of each piece
    sorted_room = torch.where(movable, room, 0).gather(1, order)
    filled = sorted_room.pow(p).cumsum(1)
    nothing = torch.zeros_like(room[:, :1])
    full = torch.cat([nothing, filled], 1)[:, :-1]
    # and the logarithm of that of the free ones for η = 1
    log_powers = torch.where(movable, p * log_weight, -torch.inf)
    from_last = log_powers.gather(1, order).flip(1)
    log_free = from_last.logcumsumexp(1).flip(1)
    # 3. the first piece at whose end the norm is 1; where there is none, all coordinates are full
    remaining = (1 - full).clamp(min=0)
    log_stretch = (remaining.log() - log_free) / p
    is_end = (log_stretch <= breaks).to(gain)
    piece = is_end.argmax(1, keepdim=True)
    has_end = is_end.amax(1, keepdim=True) > 0
    level = torch.where(has_end, log_stretch.gather(1, piece), torch.inf)
    log_magnitudes = (level + log_weight).clamp(max=700)
    capped = torch.minimum(log_magnitudes.exp(), room)
    magnitudes = torch.where(movable, capped, 0)
    # 4. rounding may leave the norm above 1 by its last digits
    length = _norm(magnitudes, p).clamp(min=TINY)
    shrink = (1 / length).clamp(max=1)
    return torch.minimum(magnitudes * shrink, room)
