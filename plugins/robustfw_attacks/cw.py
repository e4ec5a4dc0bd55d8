"""The attack of Carlini and Wagner, over any set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, final

import attrs
from attrs.validators import ge, gt

from robustfw import Attack
from robustfw_attacks.nearest import Nearest, border_distance, gradient_length
from robustfw_attacks.targets import has_classes, mask_finitely

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from robustfw.inner.problem import InnerProblem

APART = 10.0
"""The factor between two weights while only one end of the bisection is known, as in the authors' program."""
BETAS = (0.9, 0.999)
"""Adam's decay rates of the averages of gradients and of their squares (Kingma & Ba 2015)."""
EPSILON = 1e-8
"""Added to Adam's denominator, for gradients that are scaled to about 1."""


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

    **With a criterion** the result is the nearest solved δ; of a row that is never solved, the δ of highest margin.
    **Without a criterion** there is nothing to be near to: moves that are steepest in the set's geometry, along Adam's
    mean of the gradients, raise J itself, and the result is the member of highest J, as far away as the set lets it be.

    A problem without classes has no z_y; where it has a criterion, c weighs the direction of ∇J, of length 1 at each
    step.
    """

    steps: Annotated[int, "gradients per example and weight c"] = attrs.field(
        default=60, validator=ge(1)
    )
    rounds: Annotated[int, "weights c that are tried"] = attrs.field(
        default=6, validator=ge(1)
    )
    step: Annotated[
        float,
        "of a coordinate at first, relative to the set or, if less, the border's distance",
    ] = attrs.field(default=0.1, validator=gt(0))

    @property
    def minimal(self) -> bool:
        """True: the attack looks for the nearest solved member."""
        return True

    @property
    def linear_share(self) -> float:
        """The share of a linear maximum that all steps together reach."""
        return min(0.9, self.step * self.steps / 4)

    def maximize(self, problem: InnerProblem, generator: torch.Generator) -> Tensor:
        """Each example's nearest solved δ, or the one of highest margin, (batch, *shape).

        It takes at most ``rounds · (steps + 1)`` forward and backward passes, and two more.
        """
        import torch

        from robustfw import losses

        nearest = Nearest.empty(problem)
        zero = problem.region.zero()
        rows = torch.arange(len(problem), device=zero.device)
        if not len(problem):
            return zero
        if problem.criterion is None:
            self._ascend(problem, nearest, rows)
            return nearest.delta
        # 1. leave out the rows that are solved at δ = 0
        problem = mask_finitely(problem)
        logits = problem.logits(zero)
        nearest.offer(zero, problem.evaluate_outputs(logits), rows)
        rows = nearest.open_rows
        if not len(rows):
            return nearest.delta
        unsolved = problem[rows]
        by_margin = has_classes(problem, logits)
        if by_margin:
            unsolved = attrs.evolve(unsolved, loss=losses.margin)
        nearest.value[rows] = -torch.inf  # from here on values are margins
        # 2. the first c is the least that reaches the border if J is linear and of slope 1
        distance = border_distance(unsolved, by_margin=by_margin)
        scale = distance.masked_fill(distance == 0, 1)
        weight = 2 * scale
        unit = gradient_length(unsolved) if by_margin else None
        # 3. bisect c between the largest that failed and the least that succeeded
        low = torch.zeros_like(weight)
        high = torch.full_like(weight, torch.inf)
        for _ in range(self.rounds):
            balance = _Balance(weight, distance, scale, unit)
            solved = self._descend(unsolved, balance, nearest, rows)
            low = low.where(solved, weight)
            high = high.where(~solved, weight)
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
            step = self.step * (1 - k / self.steps)
            move = problem.region.ascent(mean, delta, step)
            delta = problem.region.project(delta + move)
        nearest.offer(delta, problem.value(delta), rows)

    def _descend(
        self, problem: InnerProblem, balance: _Balance, nearest: Nearest, rows: Tensor
    ) -> Tensor:
        """One round of Adam with a fixed c for each row; a mask of the rows that were solved on the way, (rows,)."""
        import torch

        from robustfw.regions import per_row, wide
        from robustfw_attacks.directions import unit_rows

        delta = problem.region.zero() if problem.start is None else problem.start
        dtype = wide(delta.dtype)
        mean = torch.zeros_like(delta, dtype=dtype)
        square = torch.zeros_like(mean)
        solved_once = torch.zeros(len(delta), dtype=torch.bool, device=delta.device)
        first_step = None
        for k in range(self.steps + 1):
            # 1. evaluate the net, and keep what is solved
            value, gradient, solved = problem.probe(delta)
            assert solved is not None  # there is a criterion
            value = value.masked_fill(solved, torch.inf)
            nearest.offer(delta, value, rows)
            solved_once |= value.isposinf()
            if k == self.steps:
                break
            # 2. the first step is relative to the set, or to the border's distance where that is less
            if first_step is None:
                farthest = problem.region.support(unit_rows(gradient))
                reach = farthest.flatten(1).abs().amax(1).to(dtype)
                limit = torch.minimum(reach, balance.distance)
                first_step = self.step * per_row(limit, mean)
            # 3. Adam's step, shrinking to 0, and back into the set
            ascent = balance.ascent(gradient.to(dtype), delta.to(dtype), solved)
            mean = BETAS[0] * mean + (1 - BETAS[0]) * ascent
            square = BETAS[1] * square + (1 - BETAS[1]) * ascent.square()
            unbiased_mean = mean / (1 - BETAS[0] ** (k + 1))
            unbiased_square = square / (1 - BETAS[1] ** (k + 1))
            direction = unbiased_mean / (unbiased_square.sqrt() + EPSILON)
            move = (1 - k / self.steps) * first_step * direction
            point = delta.to(dtype) + move
            delta = problem.region.project(point.to(delta.dtype))
        return solved_once


@attrs.frozen(eq=False)
class _Balance:
    """The objective c·J − ‖δ‖₂² of one round of Adam; every tensor is (rows,)."""

    weight: Tensor
    """The weight c of a J whose gradient has length 1 at 0."""
    distance: Tensor
    """The distance of the linear model's border."""
    scale: Tensor
    """``distance``, with 1 in place of 0."""
    unit: Tensor | None
    """‖∇J‖₂ at 0, by which gradients are divided; None: each gradient is divided by its own length."""

    def ascent(self, gradient: Tensor, delta: Tensor, solved: Tensor) -> Tensor:
        """c·∇J − 2δ, divided by twice the border's distance: about 1 at first, whatever the units of J and x.

        Args:
            gradient: ∇J at δ, (rows, *shape).
            delta: (rows, *shape).
            solved: mask of the rows that meet the criterion, where J no longer counts, (rows,).
        """
        from robustfw.regions import per_row
        from robustfw_attacks.directions import lengths, unit_rows

        if self.unit is None:
            direction = unit_rows(gradient)
            length = lengths(direction).clamp(min=1)
            direction = direction / per_row(length, direction)
        else:
            direction = gradient / per_row(self.unit, gradient)
        weight = self.weight.masked_fill(solved, 0) / (2 * self.scale)
        gain = per_row(weight, direction) * direction
        return gain - delta / per_row(self.scale, delta)
