"""Robust linear classifiers: the hinge loss with a set around each example, or with one budget for all examples."""

from __future__ import annotations

from typing import Literal, final

import attrs
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

import robustfw
from robustfw import UsageError
from robustfw_linear.cones import Program
from robustfw_linear.problem import Problem, UncertainRows, Uncertainty, uncertain_rows
from robustfw_linear.programs import Method, run_method
from robustfw_linear.solution import Solution

Array = NDArray[np.float64]
DUAL_ORDER = {"linf": 1, "l2": 2, "l1": np.inf}
"""Name of a norm to the order of its dual ‖w‖_* = max ⟨w, δ⟩ over ‖δ‖ ≤ 1."""


def _numbers(value: ArrayLike) -> Array:
    """Converter of attrs: an array of float64."""
    return np.asarray(value, dtype=float)


def _check_examples(examples: Array, labels: Array) -> None:
    """Refuse examples and labels whose shapes do not fit, and labels other than −1 and 1."""
    if examples.ndim != 2 or labels.shape != examples.shape[:1] or not len(labels):
        raise UsageError(
            f"shapes do not fit: examples (m, n) and labels (m,) are {examples.shape} and {labels.shape}"
        )
    if not np.isin(labels, (-1, 1)).all():
        raise UsageError("labels must be -1 and 1")


def _hinges(examples: Array, labels: Array, x: Array) -> Array:
    """The hinge loss of each example at x = (w, b), (m,)."""
    return np.maximum(0, 1 - labels * (examples @ x[:-1] + x[-1]))


@final
@attrs.frozen(eq=False)
class RobustHinge:
    """min over (w, b) of Σᵢ max_{δᵢ ∈ 𝒰ᵢ} max(0, 1 − yᵢ(⟨w, xᵢ + δᵢ⟩ + b)): eq. 9 for a linear net, exactly.

    For a ball of radius ε, and no data range, the worst margin is yᵢ(⟨w, xᵢ⟩ + b) − ε‖w‖_*: a penalty *inside*
    the loss. A solution's x is (w, b), its value the sum of the worst losses.
    """

    examples: Array = attrs.field(converter=_numbers)
    """(m, n)."""
    labels: Array = attrs.field(converter=_numbers)
    """−1 and 1, (m,)."""
    uncertainty: Uncertainty = None
    """𝒰ᵢ: a spec, a set, or a region with a row for each example; None: examples are certain."""
    data_range: tuple[float, float] | None = attrs.field(default=None, kw_only=True)
    """Bounds of x + δ, such as (0, 1); none unless given. Examples must lie within."""

    def __attrs_post_init__(self) -> None:
        _check_examples(self.examples, self.labels)
        low, high = self.data_range or (-np.inf, np.inf)
        if (self.examples < low).any() or (self.examples > high).any():
            raise UsageError(
                f"examples lie outside of the data range {self.data_range}"
            )

    def _rows(self) -> UncertainRows:
        """−yᵢ⟨w, xᵢ + δᵢ⟩ − yᵢb − ξᵢ ≤ −1, in z = (w, b, ξ)."""
        certain = np.hstack([-self.labels[:, None], -np.eye(len(self.labels))])
        limits = -np.ones(len(self.labels))
        return uncertain_rows(
            self.examples,
            limits,
            self.uncertainty,
            rest=certain,
            signs=-self.labels,
            data_range=self.data_range,
        )

    def losses(self, x: ArrayLike) -> Array:
        """The worst loss of each example at x = (w, b), (m,): one support call."""
        return self._worst_losses(self._rows(), np.asarray(x, dtype=float))

    def _worst_losses(self, rows: UncertainRows, x: Array) -> Array:
        """The worst losses, for rows that are made already."""
        z = np.append(x, np.zeros(len(self.labels)))
        return np.maximum(0, rows.pessimize(z) @ z - rows.limits)

    def solve(
        self,
        method: Method = "cutting-set",
        *,
        accuracy: float | None = None,
        limit: int | None = None,
    ) -> Solution:
        """The robust optimum, by one of the methods of `RobustLP`.

        Args:
            method: ``reformulation``, ``cutting-set`` or ``online``, see `RobustLP.solve`.
            accuracy: the violation that is allowed; the method's own unless given.
            limit: how many programs may be solved; the method's own unless given.

        Raises:
            UnboundedError: the loss falls without end for the method, which happens to ``online`` alone.
            RobustfwError: the limit was reached.
        """
        count, width = self.examples.shape
        rows = self._rows()
        # z = (w, b, ξ), with ξ ≥ 0 at the cost 1
        problem = Problem(
            cost=np.append(np.zeros(width + 1), np.ones(count)),
            lower=np.append(np.full(width + 1, -np.inf), np.zeros(count)),
            upper=np.full(width + 1 + count, np.inf),
            groups=(rows,),
            equations=(np.zeros((0, width + 1 + count)), np.zeros(0)),
        )
        result = run_method(problem, method, accuracy, limit)
        x = result.z[: width + 1]
        losses = self._worst_losses(rows, x)
        return Solution(
            x=x,
            value=float(losses.sum()),
            bound=result.bound,
            violation=float((losses - result.z[width + 1 :]).max(initial=0)),
            method=method,
            solves=result.solves,
            oracle_calls=result.oracle_calls,
            cuts=result.cuts,
            promised=result.promised,
        )


@final
@attrs.frozen(eq=False)
class RobustSVM:
    """min over (w, b) of max over Σᵢ‖δᵢ‖ ≤ c of Σᵢ max(0, 1 − yᵢ(⟨w, xᵢ − δᵢ⟩ + b)) (Xu, Caramanis & Mannor 2009).

    The budget c is shared by all examples. If no (w, b) separates them, this is the support vector machine
    Σᵢ max(0, 1 − yᵢ(⟨w, xᵢ⟩ + b)) + c‖w‖_* (`solve_regularized`), for every (w, b) (their theorem 3). If one does, it
    is not, and may be 0 where the support vector machine is not; `solve` is exact in both cases. A solution's x is
    (w, b).
    """

    examples: Array = attrs.field(converter=_numbers)
    """(m, n)."""
    labels: Array = attrs.field(converter=_numbers)
    """−1 and 1, (m,)."""
    budget: float = attrs.field(default=1.0, converter=float)
    """c ≥ 0."""
    norm: Literal["linf", "l2", "l1"] = "l2"
    """The norm ‖δᵢ‖; the penalty has its dual."""

    def __attrs_post_init__(self) -> None:
        _check_examples(self.examples, self.labels)
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
        farthest = np.asarray(
            robustfw.make("uncertainty", spec).at(direction).support(direction)[0]
        )
        gain = float(farthest @ w)
        # 2. the example whose loss it raises most
        losses = _hinges(self.examples, self.labels, values)
        margins = self.labels * (self.examples @ w + b)
        worst = int((np.maximum(0, 1 - margins + gain) - losses).argmax())
        delta = np.zeros_like(self.examples)
        delta[worst] = self.labels[worst] * farthest
        return delta

    def robust_loss(self, x: ArrayLike) -> float:
        """The maximum over the set of the sum of losses, at x = (w, b)."""
        values = np.asarray(x, dtype=float)
        perturbed = self.examples - self.worst_case(values)
        return float(_hinges(perturbed, self.labels, values).sum())

    def regularized_loss(self, x: ArrayLike) -> float:
        """Σᵢ max(0, 1 − yᵢ(⟨w, xᵢ⟩ + b)) + c‖w‖_* at x = (w, b)."""
        values = np.asarray(x, dtype=float)
        penalty = self.budget * float(
            np.linalg.norm(values[:-1], DUAL_ORDER[self.norm])
        )
        return float(_hinges(self.examples, self.labels, values).sum()) + penalty

    def solve(self) -> Solution:
        """The robust optimum: min t over t ≥ Σ_{j≠i} ξ_j + ηᵢ for each i, ηᵢ the loss of i with all the budget."""
        program, x, losses, length = self._program(0.0, 0.0)
        count = len(self.labels)
        identity = np.eye(count)
        ones = np.ones((count, 1))
        total = program.add_columns(1)
        largest = program.add_columns(1, cost=1.0)
        perturbed_losses = program.add_columns(count, lower=0.0)
        # Σ ξ = total
        program.add_equations(
            [(losses, np.ones((1, count))), (total, -np.ones((1, 1)))], 0.0
        )
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
        return self._make_solution(
            optimum.z[x], self.robust_loss(optimum.z[x]), optimum.bound
        )

    def solve_regularized(self) -> Solution:
        """The minimizer of `regularized_loss`, whether or not the condition of the theorem holds."""
        program, x, _, _ = self._program(1.0, self.budget)
        optimum = program.solve()
        return self._make_solution(
            optimum.z[x], self.regularized_loss(optimum.z[x]), optimum.bound
        )

    @property
    def separable(self) -> bool:
        """Whether some (w, b) has yᵢ(⟨w, xᵢ⟩ + b) > 0 for all i: the case that the theorem leaves out."""
        program, _, _, _ = self._program(1.0, 0.0)
        return program.solve().value < 1e-9

    def _margins(self, x: slice) -> list[tuple[slice, Array]]:
        """The terms −yᵢ(⟨w, xᵢ⟩ + b) of constraints on the columns x."""
        extended = np.hstack([self.examples, np.ones((len(self.labels), 1))])
        return [(x, -self.labels[:, None] * extended)]

    def _program(
        self, loss_cost: float, length_cost: float
    ) -> tuple[Program, slice, slice, slice]:
        """A program with the columns (w, b), the losses ξ and ν ≥ ‖w‖_*, at these costs of a loss and of ν."""
        count, width = self.examples.shape
        program = Program()
        x = program.add_columns(width + 1)
        losses = program.add_columns(count, cost=loss_cost, lower=0.0)
        length = program.add_columns(1, cost=length_cost)
        program.add_inequalities(
            [*self._margins(x), (losses, -np.eye(count))], np.full(count, -1.0)
        )
        w = slice(x.start, x.stop - 1)
        _bound_norm(program, w, length, DUAL_ORDER[self.norm])
        return program, x, losses, length

    def _make_solution(self, x: Array, value: float, bound: float) -> Solution:
        """The solution of one program and one oracle call."""
        return Solution(x, value, bound, 0.0, "reformulation", solves=1, oracle_calls=1)


def _bound_norm(program: Program, w: slice, length: slice, order: float) -> None:
    """Add the constraint ‖w‖ ≤ ν, in the norm of this order: 1, 2 or ∞."""
    count = w.stop - w.start
    identity = np.eye(count)
    if order == 2:
        program.add_cone([(length, np.ones((1, 1)))], [(w, identity)], np.zeros(count))
        return
    if order == 1:
        # |w_j| ≤ s_j and Σ s ≤ ν
        sizes = program.add_columns(count)
        size_matrix = identity
        program.add_inequalities(
            [(sizes, np.ones((1, count))), (length, -np.ones((1, 1)))], 0.0
        )
    else:
        # |w_j| ≤ ν
        sizes = length
        size_matrix = np.ones((count, 1))
    for sign in (1, -1):
        program.add_inequalities(
            [(w, sign * identity), (sizes, -size_matrix)], np.zeros(count)
        )
