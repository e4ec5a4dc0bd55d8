"""Oracles of balls of groups in magnitudes: the sum or the maximum of the groups' ℓ2 lengths is at most r."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

OUTER = 120
"""Largest number of steps on the multiplier of the radius."""

INNER = 60
"""Largest number of steps on the stretch of one group; Newton's method in a bracket takes 3 to 8."""

ROUNDING = 1e-15
"""Relative width of a bracket, and change of a stretch, at which the iterations stop."""

CLOSE = 1e-13
"""Relative error of the sum of lengths at which the multiplier counts as solved."""

TINY = 1e-300
"""Smallest denominator, against a division by 0."""


@attrs.frozen(eq=False)
class Pieces:
    """‖min(θ·a, u)‖₂ of each group as a function of the stretch θ: √(full + θ²·free) between sorted breakpoints u/a."""

    breaks: Tensor
    """The breakpoints, (batch, groups, size), ascending; ∞ for a coordinate that does not move."""
    full: Tensor
    """Σ u² over the coordinates that are full below each breakpoint, (batch, groups, size + 1)."""
    free: Tensor
    """Σ a² over the other coordinates, (batch, groups, size + 1)."""

    @classmethod
    def from_magnitudes(cls, magnitudes: Tensor, room: Tensor) -> Pieces:
        """The pieces of magnitudes a ≥ 0 and rooms u ≥ 0, (batch, groups, size) each."""
        moves = (magnitudes > 0) & (room > 0)
        safe_magnitudes = torch.where(moves, magnitudes, 1)
        breaks = torch.where(moves, room / safe_magnitudes, torch.inf)
        breaks, order = breaks.sort(dim=2)
        # sums from the first coordinate that becomes full
        room_squares = torch.where(moves, room, 0).square()
        sorted_room_squares = room_squares.gather(2, order)
        nothing = torch.zeros_like(sorted_room_squares[..., :1])
        full = torch.cat([nothing, sorted_room_squares.cumsum(2)], 2)
        # sums from the last one
        squares = torch.where(moves, magnitudes, 0).square()
        from_last = squares.gather(2, order).flip(2)
        free_sums = from_last.cumsum(2).flip(2)
        free = torch.cat([free_sums, nothing], 2)
        return cls(breaks, full, free)

    def length_at_breaks(self) -> Tensor:
        """The length at each breakpoint, (batch, groups, size); ∞ at an infinite one where coordinates are free."""
        full = self.full[..., :-1]
        free = self.free[..., :-1]
        stretched = self.breaks.square() * free
        free_part = torch.where(free > 0, stretched, 0)
        return (full + free_part).sqrt()

    def piece(self, number: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """full, free, first and last stretch of one piece of each group, given by its number (batch, groups)."""
        index = number[..., None]
        zero = torch.zeros_like(self.breaks[..., :1])
        infinity = torch.full_like(zero, torch.inf)
        starts = torch.cat([zero, self.breaks], 2)
        ends = torch.cat([self.breaks, infinity], 2)
        full = self.full.gather(2, index)[..., 0]
        free = self.free.gather(2, index)[..., 0]
        start = starts.gather(2, index)[..., 0]
        end = ends.gather(2, index)[..., 0]
        return full, free, start, end


def _stretch_to(pieces: Pieces, length: Tensor) -> Tensor:
    """The θ at which each group has this length, (batch, groups); ∞ where it is never so long."""
    is_shorter = pieces.length_at_breaks() < length[..., None]
    number = is_shorter.sum(2)
    full, free, _, _ = pieces.piece(number)
    missing = (length.square() - full).clamp(min=0)
    is_free = free > 0
    safe_free = torch.where(is_free, free, 1)
    stretch = (missing / safe_free).sqrt()
    return torch.where(is_free, stretch, torch.inf)


def _stretch(magnitudes: Tensor, room: Tensor, stretch: Tensor) -> Tensor:
    """min(θ·a, u), where ∞·0 is 0."""
    product = stretch[..., None] * magnitudes
    stretched = torch.where(magnitudes > 0, product, 0)
    return torch.minimum(stretched, room)


def _shorten(groups: Tensor, radius: Tensor) -> Tensor:
    """Groups scaled down to r where rounding has left their length above r by its last digits."""
    lengths = torch.linalg.vector_norm(groups, dim=2, keepdim=True)
    share = radius[..., None] / lengths.clamp(min=TINY)
    return groups * share.clamp(max=1)


def project_maximum(target: Tensor, room: Tensor, radius: Tensor) -> Tensor:
    """argmin ‖m − a‖₂ over ‖m_g‖₂ ≤ r for each group g, 0 ≤ m ≤ u: min(θ_g·a, u), θ_g ≤ 1.

    Args:
        target: a ≥ 0, (batch, groups, size).
        room: u ≥ 0, (batch, groups, size).
        radius: r, (batch, 1).
    """
    pieces = Pieces.from_magnitudes(target, room)
    radii = radius.expand(target.shape[:2])
    # members are not stretched
    stretch = _stretch_to(pieces, radii).clamp(max=1)
    groups = _stretch(target, room, stretch)
    return _shorten(groups, radius)


def support_maximum(gain: Tensor, room: Tensor, radius: Tensor) -> Tensor:
    """argmax ⟨g, m⟩ over ‖m_g‖₂ ≤ r for each group g, 0 ≤ m ≤ u: min(η_g·g, u).

    Args:
        gain: g ≥ 0, (batch, groups, size).
        room: u ≥ 0, (batch, groups, size).
        radius: r, (batch, 1).
    """
    pieces = Pieces.from_magnitudes(gain, room)
    radii = radius.expand(gain.shape[:2])
    stretch = _stretch_to(pieces, radii)
    groups = _stretch(gain, room, stretch)
    return _shorten(groups, radius)


def project_sum(target: Tensor, room: Tensor, radius: Tensor) -> Tensor:
    """argmin ‖m − a‖₂ over Σ ‖m_g‖₂ ≤ r, 0 ≤ m ≤ u, for points whose cut-off a is longer.

    With the multiplier λ of the radius, a group is min(θ·a, u) with h(θ)·(1 − θ)/θ = λ for its length h(θ), or 0 where
    λ ≥ ‖a‖ (without a box: θ = 1 − λ/‖a‖, soft thresholding). The sum of lengths falls in λ from too much to 0.

    Args:
        target: a ≥ 0, (batch, groups, size).
        room: u ≥ 0, (batch, groups, size).
        radius: r, (batch, 1).
    """
    pieces = Pieces.from_magnitudes(target, room)
    moves = pieces.free[..., 0].sqrt()
    # a bracket of λ with the errors of the sum of lengths at its ends
    low = torch.zeros_like(radius)
    high = moves.amax(1, keepdim=True)
    short = -radius
    cut_squares = torch.minimum(target, room).square()
    cut_lengths = cut_squares.sum(2).sqrt()
    long = cut_lengths.sum(1, keepdim=True) - radius
    level = (low + high) / 2
    for _ in range(OUTER):
        # 1. the error at λ, and the bracket that it narrows
        _, lengths = _project_lengths(pieces, moves, level)
        error = lengths.sum(1, keepdim=True) - radius
        above = error > 0
        # Illinois: the error of the end that stays is halved, so that both ends approach the root
        long = torch.where(above, error, long / 2)
        short = torch.where(above, short / 2, error)
        low = torch.where(above, level, low)
        high = torch.where(above, high, level)
        solved = error.abs() <= CLOSE * radius
        high = torch.where(solved, level, high)
        done = solved | (high - low <= ROUNDING * high)
        if bool(done.all()):
            break
        # 2. the secant through both ends, or the middle of the bracket
        secant = (low * short - high * long) / (short - long)
        middle = (low + high) / 2
        inside = (secant > low) & (secant < high)
        level = torch.where(inside, secant, middle)
    # 3. the groups at λ, scaled down where rounding has left the sum of lengths above r
    stretch, lengths = _project_lengths(pieces, moves, high)
    total = lengths.sum(1, keepdim=True).clamp(min=TINY)
    shrink = (radius / total).clamp(max=1)
    groups = _stretch(target, room, stretch)
    return groups * shrink[..., None]


def _project_lengths(
    pieces: Pieces, moves: Tensor, level: Tensor
) -> tuple[Tensor, Tensor]:
    """θ with h(θ)·(1 − θ)/θ = λ, and h(θ), of each group, (batch, groups)."""
    # 1. the piece: the left side falls in θ, so it is the first at whose end it is below λ
    breaks = pieces.breaks
    length = pieces.length_at_breaks()
    pull = length * (1 - breaks) / breaks.clamp(min=TINY)
    is_before = (breaks < 1) & (pull > level[..., None])
    number = is_before.sum(2)
    full, free, start, end = pieces.piece(number)
    low = start
    high = end.clamp(max=1)
    # 2. its root where no coordinate is full: 1 − λ/√free
    free_length = free.sqrt().clamp(min=TINY)
    none_full = (1 - level / free_length).clamp(min=0)
    # or where none is free: √full/(√full + λ)
    full_length = full.sqrt()
    none_free = full_length / (full_length + level).clamp(min=TINY)
    guess = torch.where(free == 0, none_free, (low + high) / 2)
    stretch = torch.where(full == 0, none_full, guess)
    # 3. elsewhere by Newton's method in the bracket
    mixed = (full > 0) & (free > 0)
    steps = INNER if bool(mixed.any()) else 0
    for _ in range(steps):
        length = (full + stretch.square() * free).sqrt()
        error = length * (1 - stretch) - level * stretch
        low = torch.where(error > 0, stretch, low)
        high = torch.where(error > 0, high, stretch)
        growth = stretch * free / length.clamp(min=TINY)
        slope = growth * (1 - stretch) - length - level
        newton = stretch - error / slope
        middle = (low + high) / 2
        inside = (newton >= low) & (newton <= high)
        better = torch.where(inside, newton, middle)
        change = torch.where(mixed, (better - stretch).abs(), 0)
        stretch = torch.where(mixed, better, stretch)
        if bool((change <= ROUNDING).all()):
            break
    # 4. groups that λ brings to 0
    stretch = torch.where(level >= moves, 0, stretch)
    length = (full + stretch.square() * free).sqrt()
    return stretch, torch.where(stretch > 0, length, 0)


def support_sum(gain: Tensor, room: Tensor, radius: Tensor) -> Tensor:
    """argmax ⟨g, m⟩ over Σ ‖m_g‖₂ ≤ r, 0 ≤ m ≤ u.

    With the multiplier λ a group is min(η·g, u) with h(η)/η = λ, and 0 where λ ≥ ‖g‖. At λ = ‖g‖ it may have any length
    up to its first full coordinate: the sum of lengths jumps there. So λ is enclosed, and the answers on both sides,
    which are equally good at the jump, are mixed so that the sum of lengths is r.

    Args:
        gain: g ≥ 0, (batch, groups, size).
        room: u ≥ 0, (batch, groups, size).
        radius: r, (batch, 1).
    """
    pieces = Pieces.from_magnitudes(gain, room)
    # ‖g‖, from which a group is 0, and h(η)/η at its first breakpoint are one number: else the jump is missed
    full = pieces.full[..., :-1]
    free = pieces.free[..., :-1]
    pull = (full / pieces.breaks.square() + free).sqrt()
    moves = pull[..., 0]
    # 1. λ by bisection
    low = torch.zeros_like(radius)
    high = 2 * moves.amax(1, keepdim=True)
    for _ in range(OUTER):
        level = (low + high) / 2
        _, lengths = _support_lengths(pieces, pull, moves, level)
        fits = lengths.sum(1, keepdim=True) <= radius
        low = torch.where(fits, low, level)
        high = torch.where(fits, level, high)
        narrow = high - low <= ROUNDING * high
        if bool(narrow.all()):
            break
    # 2. the answers on both sides
    short_stretch, short_lengths = _support_lengths(pieces, pull, moves, high)
    long_stretch, long_lengths = _support_lengths(pieces, pull, moves, low)
    short_groups = _stretch(gain, room, short_stretch)
    long_groups = _stretch(gain, room, long_stretch)
    # 3. mixed so that the sum of lengths is r
    short = short_lengths.sum(1, keepdim=True)
    long = long_lengths.sum(1, keepdim=True)
    jumps = long > short
    jump = torch.where(jumps, long - short, 1)
    share = torch.where(jumps, (radius - short) / jump, 0)
    share = share.clamp(0, 1)[..., None]
    return (1 - share) * short_groups + share * long_groups


def _support_lengths(
    pieces: Pieces, pull: Tensor, moves: Tensor, level: Tensor
) -> tuple[Tensor, Tensor]:
    """η with h(η)/η = λ, and h(η), of each group, (batch, groups); for λ = 0 the largest length."""
    # 1. the piece, on which h(η)² = full + η²·free
    is_before = pull > level[..., None]
    number = is_before.sum(2)
    full, free, start, _ = pieces.piece(number)
    # 2. its root η² = full/(λ² − free), not before the start of the piece
    steep = level.square() - free
    has_root = steep > 0
    safe_steep = torch.where(has_root, steep, 1)
    root = (full / safe_steep).sqrt()
    stretch = torch.where(has_root, root, torch.inf)
    stretch = torch.maximum(stretch, start.nan_to_num(posinf=0))
    # 3. all coordinates full for λ = 0, none moved where λ ≥ ‖g‖
    is_last = number == pieces.breaks.shape[2]
    stretch = torch.where(is_last & (level == 0), torch.inf, stretch)
    stretch = torch.where(level >= moves, 0, stretch)
    # 4. its length
    stretched = stretch.square() * free
    free_part = torch.where(free > 0, stretched, 0)
    length = (full + free_part).sqrt()
    return stretch, torch.where(stretch > 0, length, 0)
