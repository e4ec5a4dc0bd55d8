"""Tables: continuous, integer and immutable features, and categories in one-hot groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import attrs
import torch
from torch import Tensor

from robustfw import UsageError
from robustfw.regions import (
    Bound,
    Region,
    exact,
    exact_bound,
    norms,
    per_row,
    step_per_row,
    toward_zero,
    uniform_like,
    with_unit_maximum,
)

if TYPE_CHECKING:
    from robustfw_sets.sets import Tabular

SLACK = 1e-6
"""Share of a whole step that an integer feature's room may fall short by rounding and still hold the step."""


@final
@attrs.frozen(eq=False)
class TableRegion(Region):
    """The product of an interval, a lattice or a single point for each feature, and a list of moves for each group.

    All oracles decide feature by feature and group by group, which is exact. In a group the moves are: stay, or to the
    category k, δ = e_k − x; those that leave the range are none.
    """

    x: Tensor
    radius: Tensor
    """(batch, d), float64; 0 for what does not change."""
    step: Tensor
    """(batch, d), float64; 0 for continuous features."""
    lower: Tensor
    """(batch, d), float64: the range."""
    upper: Tensor
    moves: Tensor
    """(batch, groups): the factor of the set; from 1 on a category may change."""
    groups: tuple[tuple[int, ...], ...]

    @classmethod
    def at(cls, x: Tensor, options: Tabular) -> TableRegion:
        """The moves that the options leave to each row of x."""
        rows = exact(x.detach()).flatten(1)
        width = rows.shape[1]
        named = [*options.immutable, *options.integer, *(f for group in options.one_hot for f in group)]
        if named and max(named) >= width:
            raise UsageError(f"tabular names feature {max(named)}, but examples have {width}, from 0 to {width - 1}")
        radii = options.radius if isinstance(options.radius, tuple) else (options.radius,) * width
        if len(radii) != width:
            raise UsageError(f"{len(radii)} radii do not fit {width} features: give one, or one per feature")
        radius = rows.new_tensor([float(r) for r in radii])
        radius[[*options.immutable, *(f for group in options.one_hot for f in group)]] = 0
        steps = options.step if isinstance(options.step, tuple) else (options.step,) * len(options.integer)
        step = torch.zeros_like(radius)
        for feature, size in zip(options.integer, steps, strict=True):
            step[feature] = float(size)
        infinite = torch.full_like(rows, torch.inf)
        moves = rows.new_ones(len(rows), len(options.one_hot))
        radius, step = radius.expand(len(rows), -1), step.expand(len(rows), -1)
        return cls(x.detach(), radius, step, -infinite, infinite, moves, options.one_hot)

    @property
    def like(self) -> Tensor:
        return self.x

    @property
    def convex(self) -> bool:
        return not self.groups and not bool((self.step > 0).any())

    def _sides(self) -> tuple[Tensor, Tensor]:
        """The ends of each feature's interval or lattice, (batch, d); 0 for features in groups."""
        low, high = torch.maximum(self.lower, -self.radius), torch.minimum(self.upper, self.radius)
        size = torch.where(self.step > 0, self.step, 1)
        whole = (size * -((-low / size) + SLACK).floor(), size * (high / size + SLACK).floor())
        lattice = self.step > 0
        return torch.where(lattice, whole[0], low).clamp(max=0), torch.where(lattice, whole[1], high).clamp(min=0)

    def _choices(self, group: tuple[int, ...], row_moves: Tensor) -> tuple[Tensor, Tensor]:
        """The moves of a group, (batch, 1 + k, k), the first of which is to stay, and which of them are open."""
        categories = exact(self.x).flatten(1)[:, group]
        moved = torch.eye(len(group)).to(categories) - categories[:, None]
        choices = torch.cat([torch.zeros_like(moved[:, :1]), moved], 1)
        low, high = self.lower[:, None, group], self.upper[:, None, group]
        fits = ((choices >= low - SLACK) & (choices <= high + SLACK)).all(2)
        fits = fits & (row_moves >= 1 - SLACK)[:, None]
        fits[:, 0] = True
        return choices, fits

    def _choose(self, values: Tensor, scores: tuple[Tensor, ...]) -> Tensor:
        """``values`` with the columns of each group replaced by its open move of highest score, the first at a tie."""
        for number, (group, score) in enumerate(zip(self.groups, scores, strict=True)):
            choices, fits = self._choices(group, self.moves[:, number])
            best = torch.where(fits, score, -torch.inf).argmax(1)
            values[:, group] = choices[torch.arange(len(best), device=best.device), best]
        return values

    def _scores(self, towards: Tensor, curvature: float) -> tuple[Tensor, ...]:
        """⟨towards, move⟩ − curvature/2·‖move‖² for the moves of each group, (batch, 1 + k)."""
        scores = []
        for number, group in enumerate(self.groups):
            choices, _ = self._choices(group, self.moves[:, number])
            gain = (towards[:, None, group] * choices).sum(2)
            scores.append(gain - curvature / 2 * choices.square().sum(2))
        return tuple(scores)

    def _member(self, rows: Tensor, like: Tensor) -> Tensor:
        """(batch, d) in the shape and type of a tensor that was asked about."""
        return toward_zero(rows, like.dtype).reshape(like.shape)

    def _nearest(self, far: Tensor) -> Tensor:
        """The nearest member, (batch, d), float64."""
        low, high = self._sides()
        size = torch.where(self.step > 0, self.step, 1)
        rounded = torch.where(self.step > 0, (far.clamp(-1e15, 1e15) / size).round() * size, far)
        return self._choose(torch.clamp(rounded, low, high), self._scores(far, 1.0))

    def violation(self, delta: Tensor) -> Tensor:
        """The distance to the nearest member, but for what the type of δ rounds."""
        point = exact(delta).flatten(1)
        nearest = self._nearest(point)
        apart = (point - nearest).abs()
        rounding = torch.finfo(delta.dtype).eps * nearest.abs()
        return norms(torch.where(apart > rounding, apart, 0)).to(delta.dtype)

    def project(self, point: Tensor) -> Tensor:
        """Continuous features clamped, integer ones rounded to the nearest open step, groups to the nearest move."""
        return self._member(self._nearest(exact(point).flatten(1)), point)

    def support(self, direction: Tensor) -> Tensor:
        """Each feature at the end that gains, each group at the move that gains most; 0 where nothing does."""
        towards = with_unit_maximum(exact(direction)).flatten(1)
        low, high = self._sides()
        corner = torch.where(towards == 0, 0, torch.where(towards > 0, high, low))
        return self._member(self._choose(corner, self._scores(towards, 0.0)), direction)

    def support_bound(self, direction: Tensor) -> Tensor:
        """⟨g, support(g)⟩, which is exact, in float64, and what rounding to the type of x may add."""
        farthest = exact(self.support(exact(direction)))
        rounding = torch.finfo(self.like.dtype).eps * norms(exact(direction)) * norms(farthest)
        return exact_bound(direction, farthest) + rounding

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """A share ``step`` of the way from δ to the farthest member; the projection then rounds."""
        share = step_per_row(step, delta)
        share = share.clamp(max=1) if isinstance(share, Tensor) else min(share, 1.0)
        return share * (self.support(direction) - delta)

    def sample(self, generator: torch.Generator) -> Tensor:
        """Uniform: on intervals, on the open steps of a lattice, on the open moves of a group."""
        low, high = self._sides()
        share = exact(uniform_like(self.like, generator)).flatten(1)
        size = torch.where(self.step > 0, self.step, 1)
        steps = ((share * ((high - low) / size + 1)).floor() * size).clamp(max=high - low)
        values = low + torch.where(self.step > 0, steps, share * (high - low))
        scores = tuple(uniform_like(self.moves.new_empty(len(self), 1 + len(g)), generator) for g in self.groups)
        return self._member(self._choose(values, scores), self.like)

    def within(self, lower: Bound, upper: Bound) -> TableRegion:
        """The same moves, without those that leave the range."""
        bounds = (torch.as_tensor(b, dtype=self.lower.dtype, device=self.lower.device) for b in (lower, upper))
        low, high = (bound.expand_as(self.like).flatten(1) for bound in bounds)
        return attrs.evolve(self, lower=torch.maximum(self.lower, low), upper=torch.minimum(self.upper, high))

    def scaled(self, factor: Tensor | float) -> TableRegion:
        """Smaller radii, so fewer whole steps; categories change from a factor of 1 on.

        Without lattices and groups this is factor·𝒰 with its range; a range of theirs stays.
        """
        by = per_row(factor, self.radius)
        low, high = self.lower, self.upper
        if self.convex:
            low, high = (torch.where(by > 0, by * side, 0) for side in (low, high))
        return attrs.evolve(self, radius=by * self.radius, lower=low, upper=high, moves=by * self.moves)
