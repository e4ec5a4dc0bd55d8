"""The attack of Carlini and Wagner, over any set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, final

import attrs
from attrs.validators import ge, gt

from robustfw import Attack
from robustfw_attacks.nearest import Nearest, first_order, slope
from robustfw_attacks.targets import has_classes, with_finite_logits

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from robustfw.inner.problem import InnerProblem

APART = 10.0
"""The factor between two weights while only one end of the bisection is known, as in the authors' program."""
BETAS = (0.9, 0.999)
"""Adam's shares of the old averages, as everywhere (Kingma & Ba 2015)."""
EPSILON = 1e-8
"""Adam's smallest denominator, relative to gradients that are scaled to about 1."""


@final
@attrs.frozen
class CarliniWagner(Attack):
    """min ‖δ‖₂² + c·max(0, z_y − max_{k ≠ y} z_k) over 𝒰, with the least c that suffices (Carlini & Wagner 2017).

    z are the logits at x + δ. Each example has its own c, found by bisection, and keeps the nearest solved δ of all
    that were tried. Adam descends and the set's projection takes δ back: the authors' change of variables by tanh is
    for a box alone, while projecting serves the box (``linf:radius=1`` within the data range) and every other set.
    The first c is the one that just reaches the border if z are linear, instead of a number in the data's units, and
    the steps, which shrink to 0 in each round, are relative to that border's distance. J is measured in units of its
    gradient's length at 0, so that c·J gives the same δ.

    **With a goal** the result is the nearest solved δ; of a row that is never solved, the δ of highest margin.
    **Without a goal** there is nothing to be near to: moves that are steepest in the set's geometry, along Adam's mean
    of the gradients, raise J itself, and the result is the member of highest J, as far away as the set lets it be.

    A problem without classes has no z_y; where it has a goal, c weighs the direction of ∇J, of length 1 at each step.
    """

    steps: Annotated[int, "gradients per example and weight c"] = attrs.field(default=60, validator=ge(1))
    rounds: Annotated[int, "weights c that are tried"] = attrs.field(default=6, validator=ge(1))
    step: Annotated[float, "of a coordinate at first, relative to the set or, if less, the border's distance"] = (
        attrs.field(default=0.1, validator=gt(0))
    )

    @property
    def minimal(self) -> bool:
        """The nearest solved member is what it looks for."""
        return True

    @property
    def linear_share(self) -> float:
        """How far the steps together go."""
        return min(0.9, self.step * self.steps / 4)

    def maximize(self, problem: InnerProblem, generator: torch.Generator) -> Tensor:
        """At most ``rounds · (steps + 1)`` forward and backward passes, and two more."""
        import torch

        from robustfw import losses

        nearest = Nearest.none_yet(problem)
        zero = problem.region.zero()
        rows = torch.arange(len(problem), device=zero.device)
        if not len(problem):
            return zero
        if problem.goal is None:
            self._ascend(problem, nearest, rows)
            return nearest.delta
        problem = with_finite_logits(problem)
        logits = problem.logits(zero)
        nearest.offer(zero, problem.judged(logits), rows)
        rows = nearest.unsolved
        if not len(rows):
            return nearest.delta
        rest = problem[rows]
        by_margin = has_classes(problem, logits)
        if by_margin:
            rest = attrs.evolve(rest, loss=losses.margin)
        nearest.value[rows] = -torch.inf  # from here on values are margins
        distance = first_order(rest, by_margin=by_margin)
        far = distance.masked_fill(distance == 0, 1)
        weight = 2 * far  # the least c that goes so far if J is linear and of slope 1
        unit = slope(rest) if by_margin else None
        low, high = torch.zeros_like(weight), torch.full_like(weight, torch.inf)  # c that fails, c that succeeds
        for _ in range(self.rounds):
            solved = self._round(rest, _Balance(weight, distance, far, unit), nearest, rows)
            low, high = low.where(solved, weight), high.where(~solved, weight)
            between = (low * high).sqrt().where(low > 0, high / APART)
            weight = between.where(high.isfinite(), low * APART)
        return nearest.delta

    def _ascend(self, problem: InnerProblem, nearest: Nearest, rows: Tensor) -> None:
        """Raise J alone: moves that are steepest in the set's geometry, along Adam's mean of the gradients."""
        import torch

        from robustfw_attacks.directions import unit_mean

        delta = problem.region.zero() if problem.start is None else problem.start
        mean = torch.zeros_like(delta)
        for k in range(self.steps):
            value, gradient = problem.value_and_grad(delta)
            nearest.offer(delta, value, rows)
            mean = BETAS[0] * mean + (1 - BETAS[0]) * unit_mean(gradient)
            move = problem.region.ascent(mean, delta, self.step * (1 - k / self.steps))
            delta = problem.region.project(delta + move)
        nearest.offer(delta, problem.value(delta), rows)

    def _round(self, problem: InnerProblem, balance: _Balance, nearest: Nearest, rows: Tensor) -> Tensor:
        """Adam with one weight each; whether a row was solved on the way, (rows,)."""
        import torch

        from robustfw.regions import per_row, wide
        from robustfw_attacks.directions import unit_rows

        delta = problem.region.zero() if problem.start is None else problem.start
        kind = wide(delta.dtype)
        mean = torch.zeros_like(delta, dtype=kind)
        square = torch.zeros_like(mean)
        solved_once = torch.zeros(len(delta), dtype=torch.bool, device=delta.device)
        pace = None
        for k in range(self.steps + 1):
            value, gradient, solved = problem.probe(delta)
            assert solved is not None  # there is a goal
            judged = value.masked_fill(solved, torch.inf)
            nearest.offer(delta, judged, rows)
            solved_once |= judged.isposinf()
            if k == self.steps:
                break
            if pace is None:
                reach = problem.region.support(unit_rows(gradient)).flatten(1).abs().amax(1).to(kind)
                pace = self.step * per_row(torch.minimum(reach, balance.distance), mean)
            ascent = balance.ascent(gradient.to(kind), delta.to(kind), solved)
            mean = BETAS[0] * mean + (1 - BETAS[0]) * ascent
            square = BETAS[1] * square + (1 - BETAS[1]) * ascent.square()
            unbiased = square / (1 - BETAS[1] ** (k + 1))
            direction = mean / (1 - BETAS[0] ** (k + 1)) / (unbiased.sqrt() + EPSILON)
            move = (1 - k / self.steps) * pace * direction
            delta = problem.region.project((delta.to(kind) + move).to(delta.dtype))
        return solved_once


@attrs.frozen(eq=False)
class _Balance:
    """What one round of Adam weighs against each other; every tensor is (rows,)."""

    weight: Tensor
    """c, of J whose gradient has length 1 at 0."""
    distance: Tensor
    """How far the border of the linear model is."""
    far: Tensor
    """The same, nowhere 0."""
    unit: Tensor | None
    """‖∇J‖₂ at 0; None: the length of each gradient."""

    def ascent(self, gradient: Tensor, delta: Tensor, solved: Tensor) -> Tensor:
        """c·∇J − 2δ, divided by twice the border's distance: about 1 at first, whatever the units of J and x."""
        from robustfw.regions import per_row
        from robustfw_attacks.directions import lengths, unit_rows

        if self.unit is None:
            direction = unit_rows(gradient)
            direction = direction / per_row(lengths(direction).clamp(min=1), direction)
        else:
            direction = gradient / per_row(self.unit, gradient)
        weight = self.weight.masked_fill(solved, 0) / (2 * self.far)
        return per_row(weight, direction) * direction - delta / per_row(self.far, delta)
