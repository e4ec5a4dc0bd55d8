"""Auto-PGD: projected gradient ascent whose steps shrink, row by row, where they no longer pay."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, final

import attrs
from attrs.validators import ge, gt, le

from robustfw import Attack
from robustfw_attacks.best import Best
from robustfw_attacks.iterated import starting_point

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from robustfw.inner.problem import InnerProblem
    from robustfw.regions import Region

FORWARD = 0.75
"""α: the share of the new step; 1 − α is that of the last move (Croce & Hein 2020, eq. 4)."""
FIRST_PERIOD = 0.22
"""The first checkpoint, as a share of all steps."""
SHORTER = 0.03
"""By how much each period is shorter than the one before,"""
SHORTEST = 0.06
"""down to this share of all steps."""


@final
@attrs.frozen
class Apgd(Attack):
    """Auto-PGD (Croce & Hein 2020, algorithm 1), over any set: no step length to choose.

    z = P(δ_k + η·s), s the steepest move in the set's own geometry, and δ_{k+1} = P(δ_k + α(z − δ_k) +
    (1 − α)(δ_k − δ_{k−1})), α = 0.75. Each example has its own η, at first twice the set. At checkpoints η is halved
    where fewer than ``rho`` of the steps since the last one have raised J, or where neither η nor the best J has
    changed since; such an example goes on from its best iterate, with the gradient there. The checkpoints come after
    0.22 of the steps and then closer and closer. The result is each example's best iterate, the last one included.

    It raises the problem's own J. Where rows can be solved (in evaluation) they are dropped.
    """

    steps: Annotated[int, "gradients per example"] = attrs.field(default=100, validator=ge(1))
    rho: Annotated[float, "share of steps that must raise J, or the next ones are half as long"] = attrs.field(
        default=0.75, validator=[gt(0), le(1)]
    )
    random_start: Annotated[bool, "start from a random member instead of 0"] = True

    @property
    def linear_share(self) -> float:
        """One step, of twice the set, goes within 30° of the best member of a ball from the worst of starts."""
        return 0.9 if self.steps > 2 else 0.85

    def maximize(self, problem: InnerProblem, generator: torch.Generator) -> Tensor:
        """``steps`` forward and backward passes, and a forward pass for the last iterate."""
        best = Best.none_yet(problem)
        if not len(problem):
            return best.delta
        delta = starting_point(problem, generator, random=self.random_start)
        value, gradient = problem.value_and_grad(delta)
        best.offer(delta, value)
        climb = _Climb.begin(delta, value, gradient)
        rows, periods = None, dict(checkpoints(self.steps))
        for k in range(1, self.steps + 1):
            # 1. leave out what is solved: nothing exceeds it
            if problem.goal is not None:
                going = (~climb.value.isposinf()).nonzero()[:, 0]
                if not len(going):
                    return best.delta
                if len(going) < len(problem):
                    problem, climb = problem[going], climb[going]
                    rows = going if rows is None else rows[going]
            # 2. a step, and where it led
            delta = climb.next_point(problem.region, momentum=k > 1)
            if k == self.steps:
                best.offer(delta, problem.value(delta), rows, ties=True)
                break
            value, gradient = problem.value_and_grad(delta)
            best.offer(delta, value, rows, ties=True)
            climb.go_on(delta, value, gradient)
            # 3. shorter steps from the best iterate where these ones did not pay
            if k in periods:
                climb.shorten(periods[k], self.rho)
        return best.delta


def checkpoints(steps: int) -> list[tuple[int, int]]:
    """(w_j, w_j − w_{j−1}): after how many steps rows are looked at, and how many of them are new.

    w_j = ⌈p_j·steps⌉ with p_0 = 0, p_1 = 0.22 and p_{j+1} = p_j + max(p_j − p_{j−1} − 0.03, 0.06).
    """
    found, share, period, last = [], FIRST_PERIOD, FIRST_PERIOD, 0
    while share <= 1:
        at = math.ceil(share * steps - 1e-9)
        if at > last:
            found.append((at, at - last))
        last, period = at, max(period - SHORTER, SHORTEST)
        share += period
    return found


@attrs.define(eq=False)
class _Climb:
    """Where each row stands; every tensor has the rows as its first axis."""

    delta: Tensor
    before: Tensor
    """The point before that one."""
    value: Tensor
    gradient: Tensor
    peak: Tensor
    """The row's best point so far,"""
    peak_value: Tensor
    peak_gradient: Tensor
    halvings: Tensor
    """How often the step was halved: it is 2·2^−halvings of the set."""
    rises: Tensor
    """How many steps since the last checkpoint have raised J."""
    at_checkpoint: Tensor
    """The best value at the last checkpoint,"""
    halved: Tensor
    """and whether the step was halved there."""

    @classmethod
    def begin(cls, delta: Tensor, value: Tensor, gradient: Tensor) -> _Climb:
        """At the start, where nothing has risen yet."""
        import torch

        none = torch.zeros(len(delta), dtype=torch.long, device=delta.device)
        return cls(delta, delta, value, gradient, delta, value, gradient, none, none.clone(), value, none > 0)

    def __getitem__(self, rows: Tensor) -> _Climb:
        return _Climb(**{field.name: getattr(self, field.name)[rows] for field in attrs.fields(_Climb)})

    def next_point(self, region: Region, *, momentum: bool) -> Tensor:
        """The next iterate, a member: the projected step, and a quarter of the last move beside it."""
        target = region.project(self.delta + self._steps(region))
        if not momentum:
            return target
        return region.project(self.delta + FORWARD * (target - self.delta) + (1 - FORWARD) * (self.delta - self.before))

    def _steps(self, region: Region) -> Tensor:
        """Each row's steepest move: one call of the region for all rows whose steps are equally long."""
        import torch

        levels = self.halvings.unique().tolist()
        if len(levels) == 1:
            return region.ascent(self.gradient, self.delta, 2.0 ** (1 - levels[0]))
        steps = torch.empty_like(self.delta)
        for level in levels:
            rows = (self.halvings == level).nonzero()[:, 0]
            steps[rows] = region[rows].ascent(self.gradient[rows], self.delta[rows], 2.0 ** (1 - level))
        return steps

    def go_on(self, delta: Tensor, value: Tensor, gradient: Tensor) -> None:
        """Take the next iterate, and note whether it is higher than the last and than all."""
        self.rises += value > self.value
        self.before, self.delta, self.value, self.gradient = self.delta, delta, value, gradient
        higher = value >= self.peak_value
        self.peak, self.peak_gradient = (
            new.where(_column(higher, new), old) for new, old in ((delta, self.peak), (gradient, self.peak_gradient))
        )
        self.peak_value = value.where(higher, self.peak_value)

    def shorten(self, period: int, rho: float) -> None:
        """Halve the steps of rows that rose too seldom or not at all, and put these rows back to their best point."""
        seldom = self.rises < rho * period
        stuck = ~self.halved & (self.peak_value <= self.at_checkpoint)
        self.halved = seldom | stuck
        self.halvings = self.halvings + self.halved
        self.rises = self.rises * 0
        self.at_checkpoint = self.peak_value
        back = _column(self.halved, self.delta)
        self.delta = self.peak.where(back, self.delta)
        self.gradient = self.peak_gradient.where(back, self.gradient)
        self.value = self.peak_value.where(self.halved, self.value)


def _column(rows: Tensor, like: Tensor) -> Tensor:
    """A mask of rows, shaped to go with ``like``."""
    return rows.reshape(-1, *[1] * (like.dim() - 1))
