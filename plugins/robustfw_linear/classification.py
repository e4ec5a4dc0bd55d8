"""Robust linear classifiers: the hinge loss with a set around each example."""

from __future__ import annotations

from typing import final

import attrs
import numpy as np
from numpy.typing import ArrayLike

from robustfw import UsageError
from robustfw_linear.examples import Array, check_examples
from robustfw_linear.formulas import numbers
from robustfw_linear.problem import Problem, UncertainRows, Uncertainty, uncertain_rows
from robustfw_linear.programs import Method, run_method
from robustfw_linear.solution import Solution


@final
@attrs.frozen(eq=False)
class RobustHinge:
    """min over (w, b) of Σᵢ max_{δᵢ ∈ 𝒰ᵢ} max(0, 1 − yᵢ(⟨w, xᵢ + δᵢ⟩ + b)): eq. 9 for a linear net, exactly.

    For a ball of radius ε, and no data range, the worst margin is yᵢ(⟨w, xᵢ⟩ + b) − ε‖w‖_*: a penalty *inside*
    the loss. A solution's x is (w, b), its value the sum of the worst losses.
    """

    examples: Array = attrs.field(converter=numbers)
    """(m, n)."""
    labels: Array = attrs.field(converter=numbers)
    """−1 and 1, (m,)."""
    uncertainty: Uncertainty = None
    """𝒰ᵢ: a spec, a set, or a region with a row for each example; None: examples are certain."""
    data_range: tuple[float, float] | None = attrs.field(default=None, kw_only=True)
    """Bounds of x + δ, such as (0, 1); none unless given. Examples must lie within."""

    def __attrs_post_init__(self) -> None:
        check_examples(self.examples, self.labels)
        low, high = self.data_range or (-np.inf, np.inf)
        if (self.examples < low).any() or (self.examples > high).any():
            raise UsageError(
                f"examples lie outside of the data range {self.data_range}"
            )

    def _rows(self) -> UncertainRows:
        """−yᵢ⟨w, xᵢ + δᵢ⟩ − yᵢb − ξᵢ ≤ −1, in z = (w, b, ξ)."""
        count = len(self.labels)
        # the columns of b and ξ
        certain = np.hstack([-self.labels[:, None], -np.eye(count)])
        limits = -np.ones(count)
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
        worst = rows.pessimize(z) @ z
        return np.maximum(0, worst - rows.limits)

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
        free = width + 1
        columns = free + count
        cost = np.append(np.zeros(free), np.ones(count))
        lower = np.append(np.full(free, -np.inf), np.zeros(count))
        upper = np.full(columns, np.inf)
        no_equations = (np.zeros((0, columns)), np.zeros(0))
        problem = Problem(
            cost=cost,
            lower=lower,
            upper=upper,
            groups=(rows,),
            equations=no_equations,
        )
        result = run_method(problem, method, accuracy, limit)
        x = result.z[:free]
        losses = self._worst_losses(rows, x)
        excess = losses - result.z[free:]
        return Solution(
            x=x,
            value=float(losses.sum()),
            bound=result.bound,
            violation=float(excess.max(initial=0)),
            method=method,
            solves=result.solves,
            oracle_calls=result.oracle_calls,
            cuts=result.cuts,
            promised=result.promised,
        )
