"""The box-constrained L-BFGS attack, which began it all (eq. 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, final

import attrs
from attrs.validators import ge, in_

from robustfw import Attack
from robustfw_attacks.nearest import Nearest, border_distance, gradient_length
from robustfw_attacks.targets import (
    MEANING,
    TARGETS,
    Target,
    has_classes,
    mask_finitely,
    targets,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from robustfw.inner.problem import InnerProblem
    from robustfw_attacks.descent import Observer

APART = 4.0
"""The factor between two weights while only one end of the bisection is known."""


@final
@attrs.frozen
class Lbfgs(Attack):
    """min c·‖δ‖₂² + J(θ, x + δ, t) over 𝒰, with the largest c that meets the criterion (Szegedy et al. 2013, eq. 1).

    t is another class, and c is found for each example by bisection; the result is the nearest solved δ of all that
    were tried. The box of eq. 1 is the set itself: with ``linf:radius=1`` within the data range it is [0, 1]ᵈ, and with
    any other set the nearest member of that is looked for.

    Eq. 1 has c‖δ‖₂. Its square is taken here: both have the same curve of minimizers, since a minimizer of
    c‖δ‖₂ + J of length t is a stationary point of (c/2t)·‖δ‖₂² + J, and c is searched for anyway; but the square is
    smooth at 0, where the descent begins, and bends the flat far side of cross-entropy, over which c‖δ‖₂ jumps.

    The descent is a batched L-BFGS of our own (`robustfw_attacks.descent`). SciPy's L-BFGS-B, image by image, came as
    near with the same number of evaluations and took several times as long (`benchmarks/distances.py`). With several
    classes cross-entropy's curve of minimizers bends away from all of them, and ends farther off than ``cw``. J is
    measured in units of its gradient's length at 0, so that 1e-30·J gives the same δ.

    **With a criterion** the result is the nearest solved δ; of a row that is never solved, the δ of highest J.
    **Without a criterion** there is nothing to be near to: c = 0, and δ maximizes J itself over the set (eq. 10), as
    far away as the set lets it be. A problem without classes has no t, and J is raised until the criterion is met.
    """

    target: Annotated[Target, MEANING] = attrs.field(
        default="second", validator=in_(TARGETS)
    )
    steps: Annotated[int, "most gradients per example and weight c"] = attrs.field(
        default=20, validator=ge(1)
    )
    rounds: Annotated[int, "weights c that are tried"] = attrs.field(
        default=9, validator=ge(1)
    )

    @property
    def minimal(self) -> bool:
        """True: the attack looks for the nearest solved member."""
        return True

    def maximize(self, problem: InnerProblem, generator: torch.Generator) -> Tensor:
        """Each example's nearest solved δ, or the one of highest J, (batch, *shape).

        It takes at most ``rounds · steps`` forward and backward passes for each target, and two forward passes.
        """
        import torch

        from robustfw_attacks.descent import descend

        nearest = Nearest.empty(problem)
        if not len(problem):
            return nearest.delta
        start = problem.region.zero() if problem.start is None else problem.start
        rows = torch.arange(len(problem), device=problem.x.device)
        # without a criterion: raise J alone
        if problem.criterion is None:
            unweighted = start.new_zeros(len(start))
            end = descend(
                problem, start, unweighted, self.steps, _make_observer(nearest)
            )
            nearest.offer(end, problem.value(end), rows, ties=True)
            return nearest.delta
        # with a criterion: leave out the rows that are solved at δ = 0
        problem = mask_finitely(problem)
        zero = problem.region.zero()
        logits = problem.logits(zero)
        nearest.offer(zero, problem.evaluate_outputs(logits), rows)
        rows = nearest.open_rows
        if not len(rows):
            return nearest.delta
        labels = targets(problem, logits, self.target, generator)
        unsolved = problem[rows]
        by_margin = has_classes(problem, logits)
        if not labels:
            self._bisect(unsolved, start[rows], nearest, rows, by_margin=by_margin)
        for target in labels:
            targeted = unsolved.with_target(target[rows])
            self._bisect(targeted, start[rows], nearest, rows, by_margin=by_margin)
        return nearest.delta

    def _bisect(
        self,
        problem: InnerProblem,
        delta: Tensor,
        nearest: Nearest,
        rows: Tensor,
        *,
        by_margin: bool,
    ) -> None:
        """Each round goes on from the last one's minimizer, towards 0 where that was solved and away where not."""
        import torch

        from robustfw_attacks.descent import descend

        observe = _make_observer(nearest, rows)
        unit = gradient_length(problem)
        # 1. the c that the border asks for if it is where the linear model has it and ∇J there is half of that at 0
        distance = border_distance(problem, by_margin=by_margin)
        tiny = torch.finfo(distance.dtype).tiny ** 0.5
        weight = 1 / (4 * distance.clamp(min=tiny))
        # 2. bisect c between the largest that succeeded and the least that failed
        low = torch.zeros_like(weight)
        high = torch.full_like(weight, torch.inf)
        for _ in range(self.rounds):
            delta = descend(problem, delta, weight, self.steps, observe, unit=unit)
            solved = problem.value(delta).isposinf()
            low = low.where(~solved, weight)
            high = high.where(solved, weight)
            between = (low * high).sqrt().where(low > 0, high / APART)
            weight = between.where(high.isfinite(), low * APART)


def _make_observer(nearest: Nearest, rows: Tensor | None = None) -> Observer:
    """A function that offers each δ of a descent to ``nearest``; ``rows`` are the descent's rows there, None: all."""

    def observe(
        delta: Tensor, value: Tensor, solved: Tensor | None, number: Tensor
    ) -> None:
        """Offer one evaluation.

        Args:
            delta: (rows, *shape).
            value: J there, (rows,).
            solved: mask of the rows that meet the criterion, (rows,); None without a criterion.
            number: the rows' indices in the descent, (rows,).
        """
        value = value if solved is None else value.masked_fill(solved, float("inf"))
        nearest.offer(delta, value, number if rows is None else rows[number])

    return observe
