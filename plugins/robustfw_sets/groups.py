"""Balls of groups of coordinates: the sum or the maximum of the groups' ℓ2 lengths, within the data range, too."""

from __future__ import annotations

from typing import Literal, final

import attrs
import torch
from torch import Tensor

from robustfw import UsageError
from robustfw.regions import exact, normal_like, uniform_like
from robustfw_sets.boxed import BoxedRegion, infinite_sides

OUTER = 120
"""Steps on the multiplier of the radius at most."""
INNER = 60
"""Steps on the stretch of one group at most; Newton's method in a bracket takes 3 to 8."""
ROUNDING = 1e-15
"""Relative width of a bracket, and change of a stretch, at which either stops."""
CLOSE = 1e-13
"""Relative error of the sum of lengths at which the multiplier is known."""
TINY = 1e-300


class Layout:
    """Which coordinates make up a group."""

    def __init__(self, label: Tensor) -> None:
        """``label``: the number of the group of each coordinate, (d,), from 0 on."""
        count = int(label.max()) + 1
        sizes = torch.bincount(label, minlength=count)
        places = torch.arange(int(sizes.max()))
        order = label.argsort(stable=True)
        starts = sizes.cumsum(0) - sizes
        there = places < sizes[:, None]
        self.index = torch.where(there, order[(starts[:, None] + places).clamp(max=len(label) - 1)], len(label))
        """(groups, largest size): coordinates, and d where a group is smaller."""

    def split(self, rows: Tensor) -> Tensor:
        """(batch, groups, largest size) of (batch, d), with 0 where a group is smaller."""
        padded = torch.cat([rows, torch.zeros_like(rows[:, :1])], 1)
        return padded[:, self.index.to(rows.device)]

    def join(self, groups: Tensor) -> Tensor:
        """(batch, d) of (batch, groups, largest size)."""
        width = int((self.index < self.index.max()).sum()) if self._has_padding() else self.index.numel()
        rows = groups.new_zeros(len(groups), width + 1)
        rows[:, self.index.flatten().to(groups.device)] = groups.flatten(1)
        return rows[:, :width]

    def _has_padding(self) -> bool:
        return bool(self.index.numel() > self.index.max() + 1 or self.index.flatten().bincount()[-1] > 1)


def labels(shape: tuple[int, ...], kind: Literal["pixel", "block", "channel"], side: int) -> Tensor:
    """The number of the group of each coordinate of an example, (d,).

    Raises:
        UsageError: blocks of what is no image.
    """
    channels, *places = shape
    if kind == "channel":
        return torch.arange(channels).repeat_interleave(max(1, torch.Size(places).numel()))
    if kind == "pixel":
        return torch.arange(torch.Size(places).numel()).repeat(channels)
    if len(places) != 2:
        raise UsageError(f"blocks need images (channels, height, width), not examples of shape {shape}")
    height, width = places
    across = -(-width // side)
    block = (torch.arange(height) // side)[:, None] * across + torch.arange(width) // side
    return block.flatten().repeat(channels)


@final
@attrs.frozen(eq=False)
class GroupBall(BoxedRegion):
    """{Σ_g ‖δ_g‖₂ ≤ r} ∩ box, or {max_g ‖δ_g‖₂ ≤ r} ∩ box."""

    layout: Layout
    norm: str

    @classmethod
    def at(cls, x: Tensor, label: Tensor, norm: str, radius: float) -> GroupBall:
        """The ball of this radius at every row of x."""
        lower, upper = infinite_sides(x.detach())
        return cls(x.detach(), lower.new_full((len(x), 1), radius), lower, upper, Layout(label), norm)

    def violation(self, delta: Tensor) -> Tensor:
        """The larger of the norm − r and the way out of the box."""
        point = self._rows(delta)
        return torch.maximum(self._excess(self.layout.split(point)), self._box_violation(point)).to(delta.dtype)

    def _excess(self, groups: Tensor) -> Tensor:
        """How far the norm is above r, but for rounding, (batch,)."""
        beyond = self._norm(groups) - self.radius[:, 0]
        return torch.where(beyond > 16 * torch.finfo(groups.dtype).eps * self.radius[:, 0], beyond, 0)

    def _norm(self, groups: Tensor) -> Tensor:
        """Of (batch, groups, size), (batch,)."""
        lengths = torch.linalg.vector_norm(groups, dim=2)
        return lengths.sum(1) if self.norm == "sum" else lengths.amax(1)

    def project(self, point: Tensor) -> Tensor:
        """The nearest point: each group shrunk towards 0 by one multiplier (sum), or to r (maximum), within the box."""
        rows = self._rows(point)
        target, room = self._split(rows)
        inside = torch.minimum(target, room)
        outside = self._excess(inside) > 0
        if outside.any():
            solve = project_sum if self.norm == "sum" else project_maximum
            inside[outside] = solve(target[outside], room[outside], self.radius[outside])
        return self._member(self.layout.join(inside), rows, point)

    def support(self, direction: Tensor) -> Tensor:
        """A farthest point: the groups of longest ‖g‖ first (sum), or each as long as r (maximum), within the box."""
        rows = self._direction_rows(direction)
        gain, room = self._split(rows)
        solve = support_sum if self.norm == "sum" else support_maximum
        return self._member(self.layout.join(solve(gain, room, self.radius)), rows, direction)

    def _split(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Magnitudes and room of each group; no coordinate of a member is longer than r."""
        room = torch.minimum(self._room(rows), self.radius)
        return self.layout.split(rows.abs()), self.layout.split(room)

    def sample(self, generator: torch.Generator) -> Tensor:
        """Random directions of groups with random lengths that fit into r, projected on the box."""
        noise = self.layout.split(exact(normal_like(self.like, generator)).flatten(1))
        unit = noise / torch.linalg.vector_norm(noise, dim=2, keepdim=True).clamp(min=TINY)
        share = uniform_like(noise[:, :, 0], generator)
        if self.norm == "sum":
            weights = -torch.log1p(-share)
            share = weights / weights.sum(1, keepdim=True) * uniform_like(self.radius, generator)
        rows = self.layout.join(self.radius[..., None] * share[..., None] * unit)
        return self.project(rows.reshape(self.like.shape)).to(self.like.dtype)


@attrs.frozen(eq=False)
class Pieces:
    """‖min(θ·a, u)‖₂ of each group as a function of the stretch θ: √(full + θ²·free) between sorted breakpoints u/a."""

    breaks: Tensor
    """(batch, groups, size), ascending; ∞ for a coordinate that does not move."""
    full: Tensor
    """Σ u² over the coordinates that are full below each breakpoint, (batch, groups, size + 1)."""
    free: Tensor
    """Σ a² over the others."""

    @classmethod
    def of(cls, magnitudes: Tensor, room: Tensor) -> Pieces:
        """Of a and u ≥ 0, (batch, groups, size)."""
        moves = (magnitudes > 0) & (room > 0)
        breaks = torch.where(moves, room / torch.where(moves, magnitudes, 1), torch.inf)
        breaks, order = breaks.sort(dim=2)
        rooms = torch.where(moves, room, 0).square().gather(2, order)
        squares = torch.where(moves, magnitudes, 0).square().gather(2, order)
        none = torch.zeros_like(rooms[..., :1])
        full = torch.cat([none, rooms.cumsum(2)], 2)
        free = torch.cat([squares.flip(2).cumsum(2).flip(2), none], 2)
        return cls(breaks, full, free)

    def length_at_breaks(self) -> Tensor:
        """(batch, groups, size); ∞ where a breakpoint is and something is still free."""
        before = self.free[..., :-1]
        reached = torch.where(before > 0, self.breaks.square() * before, 0)
        return (self.full[..., :-1] + reached).sqrt()

    def piece(self, number: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """full, free, and the breakpoints at the start and at the end of a piece (batch, groups) of each group."""
        ends = torch.cat([torch.zeros_like(self.breaks[..., :1]), self.breaks], 2)
        start = ends.gather(2, number[..., None])[..., 0]
        closed = torch.cat([self.breaks, torch.full_like(self.breaks[..., :1], torch.inf)], 2)
        end = closed.gather(2, number[..., None])[..., 0]
        full, free = (part.gather(2, number[..., None])[..., 0] for part in (self.full, self.free))
        return full, free, start, end


def _stretch_to(pieces: Pieces, length: Tensor) -> Tensor:
    """The θ at which each group is so long, (batch, groups); ∞ where it never is."""
    number = (pieces.length_at_breaks() < length[..., None]).sum(2)
    full, free, _, _ = pieces.piece(number)
    rest = (length.square() - full).clamp(min=0)
    return torch.where(free > 0, (rest / torch.where(free > 0, free, 1)).sqrt(), torch.inf)


def _stretch(magnitudes: Tensor, room: Tensor, stretch: Tensor) -> Tensor:
    """min(θ·a, u), where ∞·0 is 0."""
    moved = torch.where(magnitudes > 0, stretch[..., None] * magnitudes, 0)
    return torch.minimum(moved, room)


def project_maximum(target: Tensor, room: Tensor, radius: Tensor) -> Tensor:
    """argmin ‖m − a‖₂ over ‖m_g‖₂ ≤ r for each g, 0 ≤ m ≤ u: min(θ_g·a, u), θ_g ≤ 1."""
    stretch = _stretch_to(Pieces.of(target, room), radius.expand(target.shape[:2]))
    return _shorten(_stretch(target, room, stretch.clamp(max=1)), radius)


def support_maximum(gain: Tensor, room: Tensor, radius: Tensor) -> Tensor:
    """argmax ⟨g, m⟩ over ‖m_g‖₂ ≤ r for each g, 0 ≤ m ≤ u: min(η_g·g, u)."""
    stretch = _stretch_to(Pieces.of(gain, room), radius.expand(gain.shape[:2]))
    return _shorten(_stretch(gain, room, stretch), radius)


def _shorten(groups: Tensor, radius: Tensor) -> Tensor:
    """Groups without the last digits above r, which rounding may leave."""
    lengths = torch.linalg.vector_norm(groups, dim=2, keepdim=True)
    return groups * (radius[..., None] / lengths.clamp(min=TINY)).clamp(max=1)


def project_sum(target: Tensor, room: Tensor, radius: Tensor) -> Tensor:
    """argmin ‖m − a‖₂ over Σ ‖m_g‖₂ ≤ r, 0 ≤ m ≤ u, for points whose cut-off a is longer.

    With the multiplier λ of the radius, a group is min(θ·a, u) with h(θ)·(1 − θ)/θ = λ for its length h(θ), or 0 where
    λ ≥ ‖a‖ (without a box: θ = 1 − λ/‖a‖, soft thresholding). The sum of lengths falls in λ from too much to 0.
    """
    pieces = Pieces.of(target, room)
    moves = pieces.free[..., 0].sqrt()
    low, high = torch.zeros_like(radius), moves.amax(1, keepdim=True)
    short, long = -radius, torch.minimum(target, room).square().sum(2).sqrt().sum(1, keepdim=True) - radius
    level = (low + high) / 2
    for _ in range(OUTER):
        error = _lengths(pieces, moves, level)[1].sum(1, keepdim=True) - radius
        above = error > 0
        # Illinois: the end that stays counts half, so that both ends come in
        long, short = torch.where(above, error, long / 2), torch.where(above, short / 2, error)
        low, high = torch.where(above, level, low), torch.where(above, high, level)
        solved = error.abs() <= CLOSE * radius
        high = torch.where(solved, level, high)
        if bool((solved | (high - low <= ROUNDING * high)).all()):
            break
        level = (low * short - high * long) / (short - long)
        level = torch.where((level > low) & (level < high), level, (low + high) / 2)
    stretch, lengths = _lengths(pieces, moves, high)
    shrink = (radius / lengths.sum(1, keepdim=True).clamp(min=TINY)).clamp(max=1)
    return _stretch(target, room, stretch) * shrink[..., None]


def _lengths(pieces: Pieces, moves: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    """θ with h(θ)·(1 − θ)/θ = λ, and h(θ), of each group, (batch, groups)."""
    # 1. the piece: the left side falls in θ, so it is the first at whose end it is below λ
    at_breaks = pieces.breaks
    pull = pieces.length_at_breaks() * (1 - at_breaks) / at_breaks.clamp(min=TINY)
    number = ((at_breaks < 1) & (pull > level[..., None])).sum(2)
    full, free, start, end = pieces.piece(number)
    # 2. its root: known if nothing is full or nothing is free, else by Newton's method in the bracket
    low, high = start, end.clamp(max=1)
    rest = (1 - level / free.sqrt().clamp(min=TINY)).clamp(min=0)
    held = full.sqrt() / (full.sqrt() + level).clamp(min=TINY)
    stretch = torch.where(full == 0, rest, torch.where(free == 0, held, (low + high) / 2))
    mixed = (full > 0) & (free > 0)
    for _ in range(INNER if bool(mixed.any()) else 0):
        length = (full + stretch.square() * free).sqrt()
        error = length * (1 - stretch) - level * stretch
        low, high = torch.where(error > 0, stretch, low), torch.where(error > 0, high, stretch)
        slope = stretch * free / length.clamp(min=TINY) * (1 - stretch) - length - level
        newton = stretch - error / slope
        better = torch.where((newton >= low) & (newton <= high), newton, (low + high) / 2)
        change = torch.where(mixed, (better - stretch).abs(), 0)
        stretch = torch.where(mixed, better, stretch)
        if bool((change <= ROUNDING).all()):
            break
    stretch = torch.where(level >= moves, 0, stretch)
    return stretch, torch.where(stretch > 0, (full + stretch.square() * free).sqrt(), 0)


def support_sum(gain: Tensor, room: Tensor, radius: Tensor) -> Tensor:
    """argmax ⟨g, m⟩ over Σ ‖m_g‖₂ ≤ r, 0 ≤ m ≤ u.

    With the multiplier λ a group is min(η·g, u) with h(η)/η = λ, and 0 where λ ≥ ‖g‖. At λ = ‖g‖ it may have any length
    up to its first full coordinate: the sum of lengths jumps there. So λ is enclosed, and the answers on both sides,
    which are equally good at the jump, are mixed so that the sum of lengths is r.
    """
    pieces = Pieces.of(gain, room)
    # ‖g‖, from which a group is 0, and h(η)/η at its first breakpoint are one number: else the jump is missed
    pull = (pieces.full[..., :-1] / pieces.breaks.square() + pieces.free[..., :-1]).sqrt()
    moves = pull[..., 0]
    low, high = torch.zeros_like(radius), 2 * moves.amax(1, keepdim=True)
    for _ in range(OUTER):
        level = (low + high) / 2
        fits = _farthest_lengths(pieces, pull, moves, level)[1].sum(1, keepdim=True) <= radius
        low, high = torch.where(fits, low, level), torch.where(fits, level, high)
        if bool((high - low <= ROUNDING * high).all()):
            break
    (few, less), (many, more) = (_farthest_lengths(pieces, pull, moves, level) for level in (high, low))
    less, more = less.sum(1, keepdim=True), more.sum(1, keepdim=True)
    wider = more > less
    share = torch.where(wider, (radius - less) / torch.where(wider, more - less, 1), 0).clamp(0, 1)[..., None]
    return (1 - share) * _stretch(gain, room, few) + share * _stretch(gain, room, many)


def _farthest_lengths(pieces: Pieces, pull: Tensor, moves: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    """η with h(η)/η = λ, and h(η), of each group, (batch, groups); all that there is for λ = 0."""
    number = (pull > level[..., None]).sum(2)
    full, free, start, _ = pieces.piece(number)
    steep = level.square() - free
    stretch = torch.where(steep > 0, (full / torch.where(steep > 0, steep, 1)).sqrt(), torch.inf)
    last = number == pieces.breaks.shape[2]
    stretch = torch.where(last & (level == 0), torch.inf, torch.maximum(stretch, start.nan_to_num(posinf=0)))
    stretch = torch.where(level >= moves, 0, stretch)
    length = (full + torch.where(free > 0, stretch.square() * free, 0)).sqrt()
    return stretch, torch.where(stretch > 0, length, 0)
