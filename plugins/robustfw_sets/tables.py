"""Tables: continuous, integer and immutable features, and categories in one-hot groups."""

from __future__ import annotations

import itertools
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
    round_toward_zero,
    share_of_way,
    uniform_like,
    with_unit_maximum,
)

if TYPE_CHECKING:
    from robustfw_sets.sets import Tabular
    from robustfw_sets.table_layout import TableLayout

SLACK = 1e-6
"""Share of a whole step by which an integer feature's room may be too small, by rounding, and still hold the step."""


@final
@attrs.frozen(eq=False)
class TableRegion(Region):
    """The product of an interval, a lattice or a single point for each feature, and a list of moves for each group.

    All oracles decide feature by feature and group by group, which is exact. The moves of a group are to stay, or to
    change to the category k, δ = e_k − x, if that is within the range.
    """

    x: Tensor
    """The examples, (batch, *shape)."""
    radius: Tensor
    """Largest change of each feature, (batch, d), float64; 0 for immutable features and those in groups."""
    step: Tensor
    """Size of a whole step of integer features, (batch, d), float64; 0 for continuous features."""
    lower: Tensor
    """Lower bounds of δ, (batch, d), float64."""
    upper: Tensor
    """Upper bounds of δ, (batch, d), float64."""
    moves: Tensor
    """The factor of the set, (batch, groups); from 1 on a category may change."""
    groups: tuple[tuple[int, ...], ...]
    """The features of each one-hot group."""

    @classmethod
    def at(cls, x: Tensor, options: Tabular, layout: TableLayout) -> TableRegion:
        """The region of the changes that the options allow at each row of x.

        Args:
            x: examples (batch, *shape).
            options: radii and steps.
            layout: the roles of the features.

        Raises:
            UsageError: the options name features that x does not have, or the radii do not fit its features.
        """
        rows = exact(x.detach()).flatten(1)
        width = rows.shape[1]
        grouped = list(itertools.chain.from_iterable(layout.one_hot))
        named = [*layout.immutable, *layout.integer, *grouped]
        named += [feature for feature, _ in layout.radii]
        if named and max(named) >= width:
            raise UsageError(
                f"tabular names feature {max(named)}, but examples have {width}, from 0 to {width - 1}"
            )
        radii = options.radius
        if not isinstance(radii, tuple):
            radii = (radii,) * width
        if len(radii) != width:
            raise UsageError(
                f"{len(radii)} radii do not fit {width} features: give one, or one per feature"
            )
        radius = rows.new_tensor([float(r) for r in radii])
        for feature, size in layout.radii:
            radius[feature] = float(size)
        radius[[*layout.immutable, *grouped]] = 0
        steps = options.step
        if not isinstance(steps, tuple):
            steps = (steps,) * len(layout.integer)
        if len(steps) != len(layout.integer):
            raise UsageError(
                f"{len(layout.integer)} integer features need as many steps, or one for all"
            )
        step = torch.zeros_like(radius)
        for feature, size in zip(layout.integer, steps, strict=True):
            step[feature] = float(size)
        infinite = torch.full_like(rows, torch.inf)
        moves = rows.new_ones(len(rows), len(layout.one_hot))
        return cls(
            x.detach(),
            radius.expand(len(rows), -1),
            step.expand(len(rows), -1),
            -infinite,
            infinite,
            moves,
            layout.one_hot,
        )

    @property
    def like(self) -> Tensor:
        """A tensor of the shape, dtype and device of δ."""
        return self.x

    @property
    def convex(self) -> bool:
        return not self.groups and not bool((self.step > 0).any())

    def _sides(self) -> tuple[Tensor, Tensor]:
        """The ends of each feature's interval or lattice, (batch, d); 0 for features in groups."""
        low = torch.maximum(self.lower, -self.radius)
        high = torch.minimum(self.upper, self.radius)
        # integer features go to the last whole step within their interval
        is_integer = self.step > 0
        size = torch.where(is_integer, self.step, 1)
        lowest_step = size * -((-low / size) + SLACK).floor()
        highest_step = size * (high / size + SLACK).floor()
        low = torch.where(is_integer, lowest_step, low).clamp(max=0)
        high = torch.where(is_integer, highest_step, high).clamp(min=0)
        return low, high

    def _choices(
        self, group: tuple[int, ...], row_moves: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The moves of a group, (batch, 1 + k, k), the first to stay, and which of them are open, (batch, 1 + k)."""
        categories = exact(self.x).flatten(1)[:, group]
        changes = torch.eye(len(group)).to(categories) - categories[:, None]
        stay = torch.zeros_like(changes[:, :1])
        choices = torch.cat([stay, changes], 1)
        low = self.lower[:, None, group]
        high = self.upper[:, None, group]
        not_below = choices >= low - SLACK
        not_above = choices <= high + SLACK
        within_range = (not_below & not_above).all(2)
        may_change = row_moves >= 1 - SLACK
        is_open = within_range & may_change[:, None]
        is_open[:, 0] = True
        return choices, is_open

    def _choose(self, values: Tensor, scores: tuple[Tensor, ...]) -> Tensor:
        """Replace, in ``values``, the columns of each group by its open move of highest score, the first at a tie."""
        for number, (group, score) in enumerate(zip(self.groups, scores, strict=True)):
            choices, is_open = self._choices(group, self.moves[:, number])
            open_score = torch.where(is_open, score, -torch.inf)
            best = open_score.argmax(1)
            rows = torch.arange(len(best), device=best.device)
            values[:, group] = choices[rows, best]
        return values

    def _scores(self, direction: Tensor, curvature: float) -> tuple[Tensor, ...]:
        """⟨direction, move⟩ − curvature/2·‖move‖² for the moves of each group, (batch, 1 + k)."""
        scores = []
        for number, group in enumerate(self.groups):
            choices, _ = self._choices(group, self.moves[:, number])
            gain = (direction[:, None, group] * choices).sum(2)
            cost = curvature / 2 * choices.square().sum(2)
            scores.append(gain - cost)
        return tuple(scores)

    def _member(self, rows: Tensor, like: Tensor) -> Tensor:
        """Rows (batch, d), rounded toward 0, in the shape and type of ``like``."""
        return round_toward_zero(rows, like.dtype).reshape(like.shape)

    def _nearest(self, far: Tensor) -> Tensor:
        """The member nearest to points (batch, d), as (batch, d), float64."""
        low, high = self._sides()
        is_integer = self.step > 0
        size = torch.where(is_integer, self.step, 1)
        steps = (far.clamp(-1e15, 1e15) / size).round()
        rounded = torch.where(is_integer, steps * size, far)
        nearest = torch.clamp(rounded, low, high)
        return self._choose(nearest, self._scores(far, 1.0))

    def violation(self, delta: Tensor) -> Tensor:
        """The ℓ2 distance to the nearest member, without differences that are rounding in the type of δ; (batch,)."""
        point = exact(delta).flatten(1)
        nearest = self._nearest(point)
        differences = (point - nearest).abs()
        rounding = torch.finfo(delta.dtype).eps * nearest.abs()
        differences = torch.where(differences > rounding, differences, 0)
        return norms(differences).to(delta.dtype)

    def project(self, point: Tensor) -> Tensor:
        """Continuous features clamped, integer ones rounded to the nearest open step, groups to the nearest move."""
        nearest = self._nearest(exact(point).flatten(1))
        return self._member(nearest, point)

    def support(self, direction: Tensor) -> Tensor:
        """Each feature at the end that gains, each group at the move that gains most; 0 where nothing does."""
        unit = with_unit_maximum(exact(direction)).flatten(1)
        low, high = self._sides()
        end = torch.where(unit > 0, high, low)
        corner = torch.where(unit == 0, 0, end)
        farthest = self._choose(corner, self._scores(unit, 0.0))
        return self._member(farthest, direction)

    def support_bound(self, direction: Tensor) -> Tensor:
        """⟨g, support(g)⟩ by the exact support in float64, and a margin for rounding to the type of x; (batch,)."""
        gradient = exact(direction)
        farthest = exact(self.support(gradient))
        eps = torch.finfo(self.like.dtype).eps
        rounding = eps * norms(gradient) * norms(farthest)
        return exact_bound(direction, farthest) + rounding

    def ascent(self, direction: Tensor, delta: Tensor, step: Tensor | float) -> Tensor:
        """Go a share ``step`` of the way from δ to the farthest member; the projection then rounds.

        Args:
            direction: the gradient, of the shape of δ.
            delta: members at which the step starts.
            step: share of the way, one for all rows or one per row, (batch,); more than 1 counts as 1.
        """
        return share_of_way(step, self.support(direction) - delta)

    def sample(self, generator: torch.Generator) -> Tensor:
        """Members drawn uniformly from intervals, open steps of lattices and open moves of groups."""
        low, high = self._sides()
        share = exact(uniform_like(self.like, generator)).flatten(1)
        width = high - low
        # 1. a place in each interval, or a step of each lattice
        is_integer = self.step > 0
        size = torch.where(is_integer, self.step, 1)
        count = width / size + 1
        number = (share * count).floor()
        steps = (number * size).clamp(max=width)
        values = low + torch.where(is_integer, steps, share * width)
        # 2. a move of each group, that of the largest random score
        shapes = [
            self.moves.new_empty(len(self), 1 + len(group)) for group in self.groups
        ]
        scores = tuple(uniform_like(shape, generator) for shape in shapes)
        return self._member(self._choose(values, scores), self.like)

    def clip(self, lower: Bound, upper: Bound) -> TableRegion:
        """The region of the changes that also keep lower ≤ δ ≤ upper."""
        dtype = self.lower.dtype
        device = self.lower.device
        low = torch.as_tensor(lower, dtype=dtype, device=device)
        low = low.expand_as(self.like).flatten(1)
        high = torch.as_tensor(upper, dtype=dtype, device=device)
        high = high.expand_as(self.like).flatten(1)
        return attrs.evolve(
            self,
            lower=torch.maximum(self.lower, low),
            upper=torch.minimum(self.upper, high),
        )

    def scale(self, factor: Tensor | float) -> TableRegion:
        """The region with radii scaled by the factor, so with fewer whole steps; categories change from 1 on.

        Without lattices and groups this is factor·𝒰, and the range is scaled as well; otherwise the range stays.
        """
        factors = per_row(factor, self.radius)
        low = self.lower
        high = self.upper
        if self.convex:
            low = torch.where(factors > 0, factors * low, 0)
            high = torch.where(factors > 0, factors * high, 0)
        return attrs.evolve(
            self,
            radius=factors * self.radius,
            lower=low,
            upper=high,
            moves=factors * self.moves,
        )
