"""Oracle-based robust optimization: an online learner picks the coefficients, a solver without uncertainty answers."""

from __future__ import annotations

import math
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustfw import RobustfwError, UsageError
from robustfw.regions import norms, per_row
from robustfw_linear.problem import Problem, UncertainRows
from robustfw_linear.solution import InfeasibleError, MethodResult, UnboundedError

Array = NDArray[np.float64]


def learn(problem: Problem, accuracy: float, limit: int) -> MethodResult:
    """Online gradient ascent on δ against the nominal oracle; the answer is the oracle's mean (Ben-Tal et al. 2015).

    Round t: z_t minimizes the cost for the rows at δ_t (the nominal oracle), then δ_i ← P(δ_i + η_t·∇_δ). Since the
    learner's regret is at most √2·D·√(Σ‖∇‖²), with the steps η_t = D/√(2·Σ_{s ≤ t}‖∇_s‖²), the mean of z_1 … z_T
    violates no row by more than √2·D·G/√T, for D the diameter of the set and G the largest gradient (the largest ‖x‖₂
    where δ is added to the row): ε takes 2D²G²/ε² rounds at most. It costs no more than the robust optimum,
    since every z_t is the optimum of a relaxation.

    The pessimizing oracle looks at the mean after each round, and ends as soon as no row is violated by more
    than ``accuracy``, in the units of b: most often long before the bound.

    Args:
        problem: the rows, sets and cost; its sets are convex.
        accuracy: the violation that is allowed, in the units of b.
        limit: the most rounds.

    Raises:
        InfeasibleError: the oracle proves for one δ that the problem has no solution.
        UnboundedError: for one δ the cost falls without end; the method needs x within bounds.
        RobustfwError: more than ``limit`` rounds.
    """
    learners = [_Learner(group) for group in problem.groups]
    mean = np.zeros_like(problem.cost)
    bound = -math.inf
    for done in range(1, limit + 1):
        # 1. the nominal oracle's answer to δ, and the mean of its answers
        z, cost = _solve_nominal(problem, [learner.rows for learner in learners])
        mean = mean + (z - mean) / done
        bound = max(bound, cost)
        # 2. stop once the mean is good enough
        if _violation(problem, mean) <= accuracy:
            rounds = max(
                (learner.round_bound(accuracy) for learner in learners), default=0.0
            )
            return MethodResult(
                mean, bound, done, oracle_calls=done, promised=max(1.0, rounds)
            )
        # 3. the learners' answers to z
        for learner in learners:
            learner.ascend(z)
    rounds = max(learner.round_bound(accuracy) for learner in learners)
    raise RobustfwError(
        f"after {limit} calls of the nominal oracle a constraint is violated by more than {accuracy:g}: "
        f"allow up to {rounds:.0f} calls (limit), or a larger violation (accuracy)"
    )


def _solve_nominal(problem: Problem, rows: list[Array]) -> tuple[Array, float]:
    """The optimum for one choice of the rows, and a lower bound of its cost."""
    program, z = problem.program(rows)
    try:
        optimum = program.solve()
    except InfeasibleError as error:
        raise InfeasibleError(
            "no x satisfies all constraints for one choice from their sets"
        ) from error
    except UnboundedError as error:
        raise UnboundedError(
            "for one choice from the sets the cost falls without end: the online method needs bounds (lower, upper) "
            'for x; method="cutting-set" may do without'
        ) from error
    return optimum.z[z], optimum.bound


def _violation(problem: Problem, z: Array) -> float:
    """The largest violation of a row at z in its worst case, at least 0."""
    largest = 0.0
    for group in problem.groups:
        excess = group.pessimize(z) @ z - group.limits
        largest = max(largest, float(excess.max(initial=0)))
    return largest


@final
class _Learner:
    """Projected gradient ascent on the δ of each row of a group; its steps need no constant but the diameter."""

    def __init__(self, group: UncertainRows) -> None:
        if not group.region.convex:
            raise UsageError(
                'the online method needs convex sets: solve by method="cutting-set"'
            )
        self.group = group
        self.delta = group.region.zero()
        self.diameter = _diameters(group)
        self.squares = torch.zeros_like(self.diameter)
        """Σ‖∇‖² of each row over the rounds so far."""
        self.steepest = 0.0
        """G, the length of the longest gradient so far."""

    @property
    def rows(self) -> Array:
        """The coefficients at the present δ, (rows, width of z)."""
        return self.group.rows_at(self.delta)

    def ascend(self, z: Array) -> None:
        """One step for every row, along the gradient of its left side at z."""
        gradient = self.group.direction(z)
        lengths = norms(gradient)
        if len(lengths):
            self.steepest = max(self.steepest, float(lengths.max()))
        self.squares = self.squares + lengths.square()
        tiny = torch.finfo(self.squares.dtype).tiny
        step = self.diameter / (2 * self.squares).clamp(min=tiny).sqrt()
        self.delta = self.group.region.project(
            self.delta + per_row(step, gradient) * gradient
        )

    def round_bound(self, accuracy: float) -> float:
        """The most rounds that theory allows, 2D²G²/ε², D the diameter of the largest set and ε the accuracy."""
        diameter = float(self.diameter.max()) if len(self.diameter) else 0.0
        return 2 * (diameter * self.steepest / accuracy) ** 2


def _diameters(group: UncertainRows) -> Tensor:
    """An upper bound of each set's diameter, (rows,): that of the smallest box around it.

    It takes two supports for each coordinate.
    """
    like = group.region.like
    squares = like.new_zeros(len(like))
    flat = like.flatten(1)
    for j in range(flat.shape[1]):
        axis = torch.zeros_like(flat)
        axis[:, j] = 1
        direction = axis.reshape(like.shape)
        high = group.region.support(direction).flatten(1)[:, j]
        low = group.region.support(-direction).flatten(1)[:, j]
        squares = squares + (high - low).square()
    return squares.sqrt()
