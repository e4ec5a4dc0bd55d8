"""Auto-PGD: projected gradient ascent whose steps shrink, row by row, where they no longer pay."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, final

import attrs
from attrs.validators import ge, gt, le

from robustfw import Attack
from robustfw_attacks.best import Best
from robustfw_attacks.iterated import choose_start

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
"""How much shorter each period between checkpoints is than the one before, as a share of all steps."""
SHORTEST = 0.06
"""The shortest period between two checkpoints, as a share of all steps."""
ROUNDING = 1e-9
"""Taken off before a checkpoint is rounded up: sums of shares such as 0.22 + 0.19 are off by less than that."""


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

    steps: Annotated[int, "gradients per example"] = attrs.field(
        default=100, validator=ge(1)
    )
    rho: Annotated[
        float, "share of steps that must raise J, or the next ones are half as long"
    ] = attrs.field(default=0.75, validator=[gt(0), le(1)])
    random_start: Annotated[bool, "start from a random member instead of 0"] = True

    @property
    def linear_share(self) -> float:
        """One step, of twice the set, goes within 30° of the best member of a ball from the worst of starts."""
        return 0.9 if self.steps > 2 else 0.85

    def maximize(self, problem: InnerProblem, generator: torch.Generator) -> Tensor:
        """Each example's best iterate, (batch, *shape).

        It takes ``steps`` forward and backward passes, and a forward pass for the last iterate.
        """
        best = Best.empty(problem)
        if not len(problem):
            return best.delta
        delta = choose_start(problem, generator, random=self.random_start)
        value, gradient = problem.value_and_grad(delta)
        best.offer(delta, value)
        climb = _Climb.begin(delta, value, gradient)
        rows: Tensor | None = (
            None  # indices of the rows that are still attacked; None: all
        )
        periods = dict(checkpoints(self.steps))
        for k in range(1, self.steps + 1):
            # 1. drop the rows that are solved: no value exceeds theirs
            if problem.criterion is not None:
                unsolved = (~climb.value.isposinf()).nonzero()[:, 0]
                if not len(unsolved):
                    return best.delta
                if len(unsolved) < len(problem):
                    problem = problem[unsolved]
                    climb = climb[unsolved]
                    rows = unsolved if rows is None else rows[unsolved]
            # 2. take a step, and evaluate the net there; the last iterate needs no gradient
            delta = climb.next_point(problem.region, momentum=k > 1)
            if k == self.steps:
                best.offer(delta, problem.value(delta), rows, ties=True)
                break
            value, gradient = problem.value_and_grad(delta)
            best.offer(delta, value, rows, ties=True)
            climb.update(delta, value, gradient)
            # 3. at a checkpoint: halve the steps of rows that did not gain, and restart these at their best iterate
            if k in periods:
                climb.halve_steps(periods[k], self.rho)
        return best.delta


def checkpoints(steps: int) -> list[tuple[int, int]]:
    """Pairs (w_j, w_j − w_{j−1}): the step after which progress is judged, and the number of steps since the last one.

    w_j = ⌈p_j·steps⌉ with p_0 = 0, p_1 = 0.22 and p_{j+1} = p_j + max(p_j − p_{j−1} − 0.03, 0.06).
    """
    pairs = []
    share = FIRST_PERIOD
    period = FIRST_PERIOD
    previous = 0
    while share <= 1:
        checkpoint = math.ceil(share * steps - ROUNDING)
        if checkpoint > previous:
            pairs.append((checkpoint, checkpoint - previous))
        previous = checkpoint
        period = max(period - SHORTER, SHORTEST)
        share += period
    return pairs


@attrs.define(eq=False)
class _Climb:
    """The state of the ascent; every tensor has the rows as its first axis."""

    delta: Tensor
    previous: Tensor
    """The iterate before ``delta``."""
    value: Tensor
    """J at ``delta``, (rows,)."""
    gradient: Tensor
    """∇J at ``delta``."""
    peak: Tensor
    """The row's best iterate so far."""
    peak_value: Tensor
    """J at ``peak``, (rows,)."""
    peak_gradient: Tensor
    """∇J at ``peak``."""
    halvings: Tensor
    """How often the step was halved: it is 2·2^−halvings of the set."""
    rises: Tensor
    """How many steps since the last checkpoint have raised J."""
    checkpoint_value: Tensor
    """The best value at the last checkpoint."""
    halved: Tensor
    """Whether the step was halved at the last checkpoint."""

    @classmethod
    def begin(cls, delta: Tensor, value: Tensor, gradient: Tensor) -> _Climb:
        """The state at the start, where nothing has risen yet.

        Args:
            delta: members to start from, (rows, *shape).
            value: J there, (rows,).
            gradient: ∇J there, (rows, *shape).
        """
        import torch

        zeros = torch.zeros(len(delta), dtype=torch.long, device=delta.device)
        return cls(
            delta=delta,
            previous=delta,
            value=value,
            gradient=gradient,
            peak=delta,
            peak_value=value,
            peak_gradient=gradient,
            halvings=zeros,
            rises=zeros.clone(),
            checkpoint_value=value,
            halved=zeros > 0,
        )

    def __getitem__(self, rows: Tensor) -> _Climb:
        return _Climb(
            **{
                field.name: getattr(self, field.name)[rows]
                for field in attrs.fields(_Climb)
            }
        )

    def next_point(self, region: Region, *, momentum: bool) -> Tensor:
        """The next iterate, a member of the region; with momentum the last move counts for a quarter.

        z = P(δ_k + η·s), and with momentum P(δ_k + α(z − δ_k) + (1 − α)(δ_k − δ_{k−1})).
        """
        target = region.project(self.delta + self._steps(region))
        if not momentum:
            return target
        step = FORWARD * (target - self.delta)
        inertia = (1 - FORWARD) * (self.delta - self.previous)
        return region.project(self.delta + step + inertia)

    def _steps(self, region: Region) -> Tensor:
        """Each row's steepest move: one call of the region for all rows whose steps are equally long."""
        import torch

        levels = self.halvings.unique().tolist()
        if len(levels) == 1:
            return region.ascent(self.gradient, self.delta, 2.0 ** (1 - levels[0]))
        steps = torch.empty_like(self.delta)
        for level in levels:
            rows = (self.halvings == level).nonzero()[:, 0]
            gradient = self.gradient[rows]
            delta = self.delta[rows]
            steps[rows] = region[rows].ascent(gradient, delta, 2.0 ** (1 - level))
        return steps

    def update(self, delta: Tensor, value: Tensor, gradient: Tensor) -> None:
        """Take the next iterate, count it where it is higher than the last one, and keep it where it is the best.

        Args:
            delta: the next iterate, (rows, *shape).
            value: J there, (rows,).
            gradient: ∇J there, (rows, *shape).
        """
        self.rises += value > self.value
        self.previous = self.delta
        self.delta = delta
        self.value = value
        self.gradient = gradient
        higher = value >= self.peak_value
        self.peak = delta.where(_broadcast(higher, delta), self.peak)
        self.peak_gradient = gradient.where(
            _broadcast(higher, gradient), self.peak_gradient
        )
        self.peak_value = value.where(higher, self.peak_value)

    def halve_steps(self, period: int, rho: float) -> None:
        """Halve the steps of rows that rose too seldom or not at all, and put these rows back to their best iterate.

        ``period`` is the number of steps since the last checkpoint, ``rho`` the share of them that must raise J.
        """
        # conditions 1 and 2 of algorithm 1
        seldom = self.rises < rho * period
        stuck = ~self.halved & (self.peak_value <= self.checkpoint_value)
        self.halved = seldom | stuck
        self.halvings = self.halvings + self.halved
        # a new period begins
        self.rises = self.rises * 0
        self.checkpoint_value = self.peak_value
        restart = _broadcast(self.halved, self.delta)
        self.delta = self.peak.where(restart, self.delta)
        self.gradient = self.peak_gradient.where(restart, self.gradient)
        self.value = self.peak_value.where(self.halved, self.value)


def _broadcast(rows: Tensor, like: Tensor) -> Tensor:
    """A mask of rows, (rows,), shaped (rows, 1, …) to go with ``like``."""
    return rows.reshape(-1, *[1] * (like.dim() - 1))
