"""The support vector machine as a robust classifier: the hinge loss with one budget for all examples."""

from __future__ import annotations

from typing import Literal, final

import attrs
import numpy as np
import torch
from numpy.typing import ArrayLike

import robustfw
from robustfw import UsageError
from robustfw_linear.cones import ConicProgram
from robustfw_linear.examples import Array, check_examples, hinges
from robustfw_linear.formulas import numbers
from robustfw_linear.solution import Solution

DUAL_ORDER = {"linf": 1, "l2": 2, "l1": np.inf}
"""Name of a norm to the order of its dual ‖w‖_* = max ⟨w, δ⟩ over ‖δ‖ ≤ 1."""


@final
@attrs.frozen(eq=False)
class RobustSVM:
    """min over (w, b) of max over Σᵢ‖δᵢ‖ ≤ c of Σᵢ max(0, 1 − yᵢ(⟨w, xᵢ − δᵢ⟩ + b)) (Xu, Caramanis & Mannor 2009).

    The budget c is shared by all examples. If no (w, b) separates them, this is the support vector machine
    Σᵢ max(0, 1 − yᵢ(⟨w, xᵢ⟩ + b)) + c‖w‖_* (`solve_regularized`), for every (w, b) (their theorem 3). If one does, it
    is not, and may be 0 where the support vector machine is not; `solve` is exact in both cases. A solution's x is
    (w, b).
    """

    examples: Array = attrs.field(converter=numbers)
    """(m, n)."""
    labels: Array = attrs.field(converter=numbers)
    """−1 and 1, (m,)."""
    budget: float = attrs.field(default=1.0, converter=float)
    """c ≥ 0."""
    norm: Literal["linf", "l2", "l1"] = "l2"
    """The norm ‖δᵢ‖; the penalty has its dual."""

    def __attrs_post_init__(self) -> None:
        check_examples(self.examples, self.labels)
        if not 0 <= self.budget < np.inf:
            raise UsageError(
                f"budget must be finite and not negative, not {self.budget}"
            )
        if self.norm not in DUAL_ORDER:
            raise UsageError(
                f"there is no norm {self.norm!r} here; known: {', '.join(DUAL_ORDER)}"
            )

    def worst_case(self, x: ArrayLike) -> Array:
        """Perturbations δ, (m, n), that attain the maximum at (w, b): all of the budget on one example.

        The sum of losses is convex in δ and the set is the hull of those that move one example only, so that one of
        them is worst: the first example whose loss grows most.
        """
        values = np.asarray(x, dtype=float)
        w = values[:-1]
        b = values[-1]
        # 1. the perturbation of the whole budget that lowers a margin most
        direction = torch.as_tensor(w[None].copy())
        spec = {"use": self.norm, "radius": self.budget}
        region = robustfw.make("uncertainty", spec).at(direction)
        farthest = np.asarray(region.support(direction)[0])
        gain = float(farthest @ w)
        # 2. the example whose loss it raises most
        losses = hinges(self.examples, self.labels, values)
        margins = self.labels * (self.examples @ w + b)
        perturbed_losses = np.maximum(0, 1 - margins + gain)
        worst = int((perturbed_losses - losses).argmax())
        delta = np.zeros_like(self.examples)
        delta[worst] = self.labels[worst] * farthest
        return delta

    def robust_loss(self, x: ArrayLike) -> float:
        """The maximum over the set of the sum of losses, at x = (w, b)."""
        values = np.asarray(x, dtype=float)
        perturbed = self.examples - self.worst_case(values)
        return float(hinges(perturbed, self.labels, values).sum())

    def regularized_loss(self, x: ArrayLike) -> float:
        """Σᵢ max(0, 1 − yᵢ(⟨w, xᵢ⟩ + b)) + c‖w‖_* at x = (w, b)."""
        values = np.asarray(x, dtype=float)
        length = float(np.linalg.norm(values[:-1], DUAL_ORDER[self.norm]))
        losses = hinges(self.examples, self.labels, values)
        return float(losses.sum()) + self.budget * length

    def solve(self) -> Solution:
        """The robust optimum: min t over t ≥ Σ_{j≠i} ξ_j + ηᵢ for each i, ηᵢ the loss of i with all the budget."""
        program, x, losses, length = self._program(0.0, 0.0)
        count = len(self.labels)
        identity = np.eye(count)
        row_of_ones = np.ones((1, count))
        ones = np.ones((count, 1))
        total = program.add_columns(1)
        largest = program.add_columns(1, cost=1.0)
        perturbed_losses = program.add_columns(count, lower=0.0)
        # Σ ξ = total
        sum_of_losses = (losses, row_of_ones)
        program.add_equations([sum_of_losses, (total, -np.ones((1, 1)))], 0.0)
        # ηᵢ ≥ 1 − yᵢ(⟨w, xᵢ⟩ + b) + cν, with ν ≥ ‖w‖_*
        program.add_inequalities(
            [
                *self._margins(x),
                (perturbed_losses, -identity),
                (length, self.budget * ones),
            ],
            np.full(count, -1.0),
        )
        # t ≥ total − ξᵢ + ηᵢ
        program.add_inequalities(
            [
                (total, ones),
                (losses, -identity),
                (perturbed_losses, identity),
                (largest, -ones),
            ],
            np.zeros(count),
        )
        optimum = program.solve()
        minimizer = optimum.z[x]
        loss = self.robust_loss(minimizer)
        return self._make_solution(minimizer, loss, optimum.bound)

    def solve_regularized(self) -> Solution:
        """The minimizer of `regularized_loss`, whether or not the condition of the theorem holds."""
        program, x, _, _ = self._program(1.0, self.budget)
        optimum = program.solve()
        minimizer = optimum.z[x]
        loss = self.regularized_loss(minimizer)
        return self._make_solution(minimizer, loss, optimum.bound)

    @property
    def separable(self) -> bool:
        """Whether some (w, b) has yᵢ(⟨w, xᵢ⟩ + b) > 0 for all i: the case that the theorem leaves out."""
        program, _, _, _ = self._program(1.0, 0.0)
        return program.solve().value < 1e-9

    def _margins(self, x: slice) -> list[tuple[slice, Array]]:
        """The terms −yᵢ(⟨w, xᵢ⟩ + b) of constraints on the columns x."""
        ones = np.ones((len(self.labels), 1))
        extended = np.hstack([self.examples, ones])
        return [(x, -self.labels[:, None] * extended)]

    def _program(
        self, loss_cost: float, length_cost: float
    ) -> tuple[ConicProgram, slice, slice, slice]:
        """A program with the columns (w, b), the losses ξ and ν ≥ ‖w‖_*, at these costs of a loss and of ν."""
        count, width = self.examples.shape
        program = ConicProgram()
        x = program.add_columns(width + 1)
        losses = program.add_columns(count, cost=loss_cost, lower=0.0)
        length = program.add_columns(1, cost=length_cost)
        # ξᵢ ≥ 1 − yᵢ(⟨w, xᵢ⟩ + b)
        terms = [*self._margins(x), (losses, -np.eye(count))]
        program.add_inequalities(terms, np.full(count, -1.0))
        w = slice(x.start, x.stop - 1)
        _bound_norm(program, w, length, DUAL_ORDER[self.norm])
        return program, x, losses, length

    def _make_solution(self, x: Array, value: float, bound: float) -> Solution:
        """The solution of one program and one oracle call."""
        return Solution(x, value, bound, 0.0, "reformulation", solves=1, oracle_calls=1)


def _bound_norm(program: ConicProgram, w: slice, length: slice, order: float) -> None:
    """Add the constraint ‖w‖ ≤ ν, in the norm of this order: 1, 2 or ∞."""
    count = w.stop - w.start
    identity = np.eye(count)
    if order == 2:
        bound = [(length, np.ones((1, 1)))]
        program.add_cone(bound, [(w, identity)], np.zeros(count))
        return
    if order == 1:
        # |w_j| ≤ s_j and Σ s ≤ ν
        sizes = program.add_columns(count)
        size_matrix = identity
        sum_of_sizes = (sizes, np.ones((1, count)))
        program.add_inequalities([sum_of_sizes, (length, -np.ones((1, 1)))], 0.0)
    else:
        # |w_j| ≤ ν
        sizes = length
        size_matrix = np.ones((count, 1))
    for sign in (1, -1):
        terms = [(w, sign * identity), (sizes, -size_matrix)]
        program.add_inequalities(terms, np.zeros(count))
