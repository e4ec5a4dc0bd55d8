"""Attacks of many gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, final

import attrs
from attrs.validators import ge, gt, in_, optional

from robustfw import Attack, UsageError
from robustfw_attacks.best import Best

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from robustfw.inner.problem import InnerProblem


@final
@attrs.frozen
class Pgd(Attack):
    """Projected gradient ascent: δ ← P(δ + step_k · direction) (Madry et al. 2018), in the set's own geometry.

    With ``direction=support`` a step is the steepest one over step·𝒰 (sign step for ℓ∞, normalised gradient for ℓ2;
    for ℓ1 the best coordinates, and later the gradient), with ``gradient`` it follows ∇J, as long as the set reaches
    that way. The result is each example's best iterate, the last one included. Where rows can be solved (in evaluation)
    they are dropped.

    A step that is given is the same for all k, as in Madry et al. Without one, step_k = 1 − k/steps: the first steps
    cross the set and the last ones settle, where steps of one length go to and fro around a maximum.
    """

    steps: Annotated[int, "gradients per example"] = attrs.field(
        default=10, validator=ge(1)
    )
    step: Annotated[
        float | None,
        "constant step, relative to the set; if none, from 1 linearly to 0",
    ] = attrs.field(default=None, validator=optional(gt(0)))
    direction: Annotated[
        Literal["support", "gradient"],
        "steepest in the set's geometry, or along the gradient",
    ] = attrs.field(default="support", validator=in_(("support", "gradient")))
    random_start: Annotated[bool, "start from a random member instead of 0"] = True
    momentum: Annotated[
        float, "share of the last direction that is kept (Dong et al. 2018)"
    ] = attrs.field(default=0.0, validator=ge(0))
    result: Annotated[
        Literal["best", "last"],
        "best iterate; the last saves one forward pass, for training",
    ] = attrs.field(default="best", validator=in_(("best", "last")))

    @property
    def linear_share(self) -> float:
        """The share of a linear maximum that all steps together reach: 0.9, or 0.7 along the gradient, at most.

        Steepest steps fill any set, those along the gradient starve its small entries; few steps end on the way.
        """
        way = sum(self._step_length(k) for k in range(self.steps)) - self.random_start
        most = 0.9 if self.direction == "support" else 0.7
        return max(0.0, min(way, most))

    def maximize(self, problem: InnerProblem, generator: torch.Generator) -> Tensor:
        """Each example's best iterate, or the last one, (batch, *shape).

        It takes ``steps`` forward and backward passes, and a forward pass for the last iterate.
        """
        from robustfw_attacks.directions import unit_mean

        best = Best.empty(problem)
        velocity = problem.region.zero()
        if not len(problem):
            return best.delta
        delta = choose_start(problem, generator, random=self.random_start)
        rows: Tensor | None = (
            None  # indices of the rows that are still attacked; None: all
        )
        for k in range(self.steps):
            value, gradient = problem.value_and_grad(delta)
            best.offer(delta, value, rows, ties=True)
            # 1. drop the rows that are solved
            unsolved = ~value.isposinf() if problem.criterion else None
            if unsolved is not None and not unsolved.all():
                rows = unsolved.nonzero()[:, 0] if rows is None else rows[unsolved]
                if not len(rows):
                    return best.delta
                problem = problem[unsolved]
                delta = delta[unsolved]
                gradient = gradient[unsolved]
                velocity = velocity[unsolved]
            # 2. step along the direction, and project
            velocity = (
                self.momentum * velocity + unit_mean(gradient)
                if self.momentum
                else gradient
            )
            delta = problem.region.project(
                delta + self._move(problem, velocity, delta, self._step_length(k))
            )
        if self.result == "last" and not problem.criterion:
            return delta
        best.offer(delta, problem.value(delta), rows, ties=True)
        return best.delta

    def _step_length(self, k: int) -> float:
        """step_k, relative to the set."""
        return 1 - k / self.steps if self.step is None else self.step

    def _move(
        self, problem: InnerProblem, direction: Tensor, delta: Tensor, step: float
    ) -> Tensor:
        """The step from δ before projection: ``step`` times the set's reach in the chosen geometry."""
        from robustfw.regions import per_row
        from robustfw_attacks.directions import lengths, unit_rows

        if self.direction == "support":
            return problem.region.ascent(direction, delta, step)
        unit = unit_rows(direction)
        reach = lengths(problem.region.support(unit))
        length = lengths(unit).clamp(
            min=1
        )  # at least 1, except where the direction vanishes
        return step * per_row(reach / length, unit) * unit


def choose_start(
    problem: InnerProblem, generator: torch.Generator, *, random: bool
) -> Tensor:
    """The point where an ascent begins, (batch, *shape): the problem's own start, else a random member or 0.

    Args:
        problem: its region has the members, its ``start`` comes first where there is one.
        generator: draws the random member.
        random: whether to start from a random member instead of 0.
    """
    if problem.start is not None:
        return problem.start
    return problem.region.sample(generator) if random else problem.region.zero()


@final
@attrs.frozen
class FrankWolfe(Attack):
    """Frank-Wolfe: δ ← (1 − γ)·δ + γ·support(∇J), γ = 2/(k + 2): projection-free, each iterate an average of members.

    Needs a convex set: averages leave any other.
    """

    steps: Annotated[int, "gradients per example"] = attrs.field(
        default=20, validator=ge(1)
    )

    def maximize(self, problem: InnerProblem, generator: torch.Generator) -> Tensor:
        """Each example's best iterate, (batch, *shape).

        It takes ``steps`` forward and backward passes, and a forward pass for the last iterate.

        Raises:
            UsageError: the set is not convex.
        """
        if not problem.region.convex:
            raise UsageError("frank-wolfe needs a convex set: use pgd for this one")
        from robustfw.regions import round_toward_zero, wide

        best = Best.empty(problem)
        if not len(problem):
            return best.delta
        delta = choose_start(problem, generator, random=False)
        average = delta.to(wide(delta.dtype))
        for k in range(self.steps):
            value, gradient = problem.value_and_grad(delta)
            best.offer(delta, value, ties=True)
            share = 2 / (k + 2)
            average = (1 - share) * average + share * problem.region.support(
                gradient
            ).to(average)
            delta = average
            # an average that is rounded to half precision may be outside the set
            if average.dtype != gradient.dtype:
                delta = problem.region.project(
                    round_toward_zero(average, gradient.dtype)
                )
        best.offer(delta, problem.value(delta), ties=True)
        return best.delta
