"""The attack of Carlini and Wagner, over any set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, final

import attrs
from attrs.validators import ge, gt

from robustfw import Attack
from robustfw_attacks.nearest import Nearest, first_order

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from robustfw.problem import InnerProblem

APART = 10.0
"""The factor between two weights while only one end of the bisection is known, as in the authors' program."""
BETAS, EPSILON = (0.9, 0.999), 1e-8
"""Adam's, as everywhere (Kingma & Ba 2015)."""


@final
@attrs.frozen
class CarliniWagner(Attack):
    """min ‖δ‖₂² + c·max(0, z_y − max_{k ≠ y} z_k) over 𝒰, with the least c that suffices (Carlini & Wagner 2017).

    z are the logits at x + δ. Each example has its own c, found by bisection, and keeps the nearest solved δ of all
    that were tried. Adam descends and the set's projection takes δ back: the authors' change of variables by tanh is
    for a box alone, while projecting serves the box (``linf:radius=1`` within the data range) and every other set.
    The first c is the one that just reaches the border if z are linear, instead of a number in the data's units, and
    the steps, which shrink to 0 in each round, are relative to that border's distance.

    Without a goal there is nothing to be near to, and Adam ascends J itself over the set. So it does in a problem
    without labels, which has no z_y, but for the distance; J then counts until the goal is reached.
    """

    steps: Annotated[int, "gradients per example and weight c"] = attrs.field(default=60, validator=ge(1))
    rounds: Annotated[int, "weights c that are tried"] = attrs.field(default=6, validator=ge(1))
    step: Annotated[float, "of a coordinate at first, relative to the set or, if less, the border's distance"] = (
        attrs.field(default=0.1, validator=gt(0))
    )

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
            self._round(problem, None, None, nearest, rows)
            return nearest.delta
        nearest.offer(zero, problem.value(zero), rows)
        rows = nearest.unsolved
        if not len(rows):
            return nearest.delta
        rest = problem[rows]
        if rest.labelled:
            rest = attrs.evolve(rest, loss=losses.margin)
        nearest.value[rows] = -torch.inf  # from here on values are margins
        distance = first_order(rest)
        weight = _first_weight(rest, distance)
        low, high = torch.zeros_like(weight), torch.full_like(weight, torch.inf)  # c that fails, c that succeeds
        for _ in range(self.rounds):
            solved = self._round(rest, weight, distance, nearest, rows)
            low, high = low.where(solved, weight), high.where(~solved, weight)
            between = (low * high).sqrt().where(low > 0, high / APART)
            weight = between.where(high.isfinite(), low * APART)
        return nearest.delta

    def _round(
        self,
        problem: InnerProblem,
        weight: Tensor | None,
        distance: Tensor | None,
        nearest: Nearest,
        rows: Tensor,
    ) -> Tensor:
        """Adam with one weight each (None: J alone); whether a row was solved on the way, (rows,)."""
        import torch

        from robustfw.regions import per_row, wide

        delta = problem.region.zero() if problem.start is None else problem.start
        kind = wide(delta.dtype)
        mean, square = (torch.zeros_like(delta, dtype=kind) for _ in range(2))
        solved_once = torch.zeros(len(delta), dtype=torch.bool, device=delta.device)
        pace = None
        for k in range(self.steps + 1):
            value, gradient, solved = problem.probe(delta)
            judged = value if solved is None else value.masked_fill(solved, torch.inf)
            nearest.offer(delta, judged, rows)
            solved_once |= judged.isposinf()
            if k == self.steps:
                break
            if pace is None:
                reach = problem.region.support(gradient).flatten(1).abs().amax(1).to(kind)
                pace = self.step * per_row(reach if distance is None else torch.minimum(reach, distance), mean)
            ascent = gradient.to(kind)
            if weight is None or solved is None:
                ascent = ascent / per_row(ascent.flatten(1).abs().mean(1).clamp(min=torch.finfo(kind).tiny), ascent)
            else:
                ascent = per_row(weight.where(~solved, 0), ascent) * ascent - 2 * delta.to(kind)
            mean = BETAS[0] * mean + (1 - BETAS[0]) * ascent
            square = BETAS[1] * square + (1 - BETAS[1]) * ascent.square()
            unbiased = square / (1 - BETAS[1] ** (k + 1))
            direction = mean / (1 - BETAS[0] ** (k + 1)) / (unbiased.sqrt() + EPSILON)
            move = (1 - k / self.steps) * pace * direction
            delta = problem.region.project((delta.to(kind) + move).to(delta.dtype))
        return solved_once


def _first_weight(problem: InnerProblem, distance: Tensor) -> Tensor:
    """2·distance/‖∇J‖₂ at 0: the least c that goes so far if J is linear."""
    import torch

    from robustfw.regions import norms

    _, gradient, _ = problem.probe(problem.region.zero())
    tiny = torch.finfo(distance.dtype).tiny ** 0.5
    return (2 * distance / norms(gradient.to(distance)).clamp(min=tiny)).clamp(tiny, 1 / tiny)
