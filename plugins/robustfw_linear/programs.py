"""Robust linear programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias, final

import attrs
import numpy as np
from numpy.typing import ArrayLike, NDArray

from robustfw import Region, UncertaintySet, UsageError
from robustfw_linear.cutting import cut
from robustfw_linear.online import learn
from robustfw_linear.problem import Problem, Uncertainty, uncertain_rows
from robustfw_linear.reformulation import reformulate
from robustfw_linear.solution import MethodResult, Solution

Array = NDArray[np.float64]
Method: TypeAlias = Literal["reformulation", "cutting-set", "online"]

METHODS: dict[str, Callable[[Problem, float, int], MethodResult]] = {
    "reformulation": lambda problem, accuracy, limit: reformulate(problem),
    "cutting-set": cut,
    "online": learn,
}
"""Name of a method to its function of the problem, the accuracy and the limit."""
ACCURACY = {"reformulation": 1e-9, "cutting-set": 1e-9, "online": 1e-2}
"""The accuracy of each method, unless another is given."""
LIMITS = {"reformulation": 1, "cutting-set": 1_000, "online": 100_000}
"""The most programs that each method solves, unless another limit is given."""


def run_method(
    problem: Problem, method: Method, accuracy: float | None, limit: int | None
) -> MethodResult:
    """Solve a problem by one of the methods.

    Args:
        problem: the rows, sets and cost.
        method: a key of `METHODS`.
        accuracy: the violation that is allowed; None: the method's own.
        limit: how many programs may be solved; None: the method's own.

    Raises:
        UsageError: there is no such method, or accuracy or limit is not positive.
        InfeasibleError: no x satisfies every constraint for all members of its set.
        UnboundedError: the cost falls without end.
        RobustfwError: the limit was reached.
    """
    if method not in METHODS:
        raise UsageError(f"there is no method {method!r}; known: {', '.join(METHODS)}")
    accuracy = ACCURACY[method] if accuracy is None else accuracy
    limit = LIMITS[method] if limit is None else limit
    if not accuracy > 0 or limit < 1:
        raise UsageError(
            f"accuracy and limit must be positive, not {accuracy} and {limit}"
        )
    return METHODS[method](problem, accuracy, limit)


def _numbers(value: ArrayLike) -> Array:
    """Converter of attrs: an array of float64."""
    return np.asarray(value, dtype=float)


@final
@attrs.frozen(eq=False)
class RobustLP:
    """min_x cᵀx over all x with aᵢᵀx ≤ bᵢ for every aᵢ that 𝒰ᵢ allows, and l ≤ x ≤ u (eqs. 5 and 6).

    The rows of ``matrix`` are a batch, and the sets are what `robustfw.make` knows, with a row in the place of an
    example: ``"linf:radius=0.1"`` is a box, ``"l2"`` a ball, ``"l1"`` its dual; or one of `Box`, `Ellipsoid`, `Budget`,
    `Polytope` and `Polyhedron`; or any `robustfw.Region` with a row for each constraint. A list has one per constraint.

    An uncertain limit bᵢ is an uncertain coefficient of a variable that is fixed to −1 by its bounds.
    """

    cost: Array = attrs.field(converter=_numbers)
    """c, (n,)."""
    matrix: Array = attrs.field(converter=_numbers)
    """A, (m, n), the nominal rows aᵢ."""
    limits: Array = attrs.field(converter=_numbers)
    """b, (m,)."""
    uncertainty: Uncertainty | Sequence[Uncertainty] = None
    """𝒰ᵢ, the set of the perturbations of row i: one for all rows, or a list of one for each."""
    cost_uncertainty: Uncertainty = attrs.field(default=None, kw_only=True)
    """The set of c's perturbations: the cost is then its worst case."""
    lower: Array = attrs.field(default=-np.inf, converter=_numbers, kw_only=True)
    """Lower bounds l of x, one for all variables or one for each; −∞ unless given."""
    upper: Array = attrs.field(default=np.inf, converter=_numbers, kw_only=True)
    """Upper bounds u of x, one for all variables or one for each; ∞ unless given."""
    equations: tuple[ArrayLike, ArrayLike] | None = attrs.field(
        default=None, kw_only=True
    )
    """(E, f): certain equations E x = f."""

    def __attrs_post_init__(self) -> None:
        width = len(self.cost) if self.cost.ndim == 1 else -1
        if self.matrix.ndim != 2 or self.matrix.shape != (*self.limits.shape, width):
            raise UsageError(
                f"shapes do not fit: cost (n,), matrix (m, n) and limits (m,) are "
                f"{self.cost.shape}, {self.matrix.shape} and {self.limits.shape}"
            )
        for name in ("cost", "matrix", "limits"):
            if not np.isfinite(getattr(self, name)).all():
                raise UsageError(f"{name} must be finite")
        for name in ("lower", "upper"):
            bound = getattr(self, name)
            if bound.shape not in ((), (width,)) or np.isnan(bound).any():
                raise UsageError(
                    f"{name} must be one number, or one for each of the {width} variables"
                )

    def solve(
        self,
        method: Method = "cutting-set",
        *,
        accuracy: float | None = None,
        limit: int | None = None,
    ) -> Solution:
        """The robust optimum.

        Args:
            method: ``reformulation`` (one program; needs sets in formulas), ``cutting-set`` (needs their oracles) or
                ``online`` (needs nothing of the solver but the nominal problem; a coarse answer, in many cheap calls).
            accuracy: the violation that is allowed; 1e-9, relative to the sizes in a row, or 1e-2, in the units of b,
                for ``online``. The reformulation has its solver's.
            limit: how many programs may be solved; 1,000, or 100,000 for ``online``.

        Raises:
            InfeasibleError: no x satisfies every constraint for all members of its set.
            UnboundedError: the cost falls without end.
        """
        problem = self._problem()
        result = run_method(problem, method, accuracy, limit)
        return self._make_solution(problem, result, method)

    def _make_solution(
        self, problem: Problem, result: MethodResult, method: str
    ) -> Solution:
        """The solution in the variables x, with its worst cost and its violation."""
        z = result.z
        x = z[: len(self.cost)]
        groups = list(problem.groups)
        value = float(self.cost @ x)
        if self._uncertain_cost:
            # the last group is (c + δ)ᵀx − t ≤ 0
            epigraph = groups.pop()
            value = float((epigraph.pessimize(z) @ z + z[-1])[0])
        violation = 0.0
        for group in groups:
            excess = group.pessimize(z) @ z - group.limits
            violation = max(violation, float(excess.max(initial=0)))
        return Solution(
            x=x,
            value=value,
            bound=result.bound,
            violation=violation,
            method=method,
            solves=result.solves,
            oracle_calls=result.oracle_calls,
            cuts=result.cuts,
            promised=result.promised,
        )

    @property
    def _uncertain_cost(self) -> bool:
        """Whether the cost is uncertain."""
        return self.cost_uncertainty is not None

    def _problem(self) -> Problem:
        """The problem in z = x, or with an uncertain cost in z = (x, t): min t over (c + δ)ᵀx − t ≤ 0."""
        extra = int(self._uncertain_cost)  # the number of variables beside x
        width = len(self.cost)
        groups = []
        for rows, uncertainty in self._row_groups():
            data = self.matrix[rows]
            limits = self.limits[rows]
            zeros = np.zeros((len(data), extra))
            groups.append(uncertain_rows(data, limits, uncertainty, rest=zeros))
        # an uncertain cost is a row ⟨c, x⟩ − t ≤ 0 beside the cost t
        cost = self.cost
        if extra:
            minus_one = -np.ones((1, 1))
            epigraph = uncertain_rows(
                cost[None], np.zeros(1), self.cost_uncertainty, rest=minus_one
            )
            groups.append(epigraph)
            cost = np.append(np.zeros(width), 1.0)
        lower = np.broadcast_to(self.lower, (width,))
        upper = np.broadcast_to(self.upper, (width,))
        matrix, values = self.equations or (np.zeros((0, width)), np.zeros(0))
        matrix = np.asarray(matrix, dtype=float).reshape(-1, width)
        zeros = np.zeros((len(matrix), extra))
        left_sides = np.hstack([matrix, zeros])
        right_sides = np.atleast_1d(_numbers(values))
        return Problem(
            cost=cost,
            lower=np.append(lower, [-np.inf] * extra),
            upper=np.append(upper, [np.inf] * extra),
            groups=tuple(groups),
            equations=(left_sides, right_sides),
        )

    def _row_groups(self) -> list[tuple[slice, Uncertainty]]:
        """Which rows have which set; neighbours that share one are in one group."""
        if (
            isinstance(self.uncertainty, str | dict | UncertaintySet | Region)
            or self.uncertainty is None
        ):
            return [(slice(None), self.uncertainty)]
        if len(self.uncertainty) != len(self.limits):
            raise UsageError(
                f"{len(self.uncertainty)} sets for {len(self.limits)} constraints: give one, or one each"
            )
        groups: list[tuple[slice, Uncertainty]] = []
        for i, uncertainty in enumerate(self.uncertainty):
            if groups and groups[-1][1] is uncertainty:
                rows, _ = groups[-1]
                groups[-1] = (slice(rows.start, i + 1), uncertainty)
            else:
                groups.append((slice(i, i + 1), uncertainty))
        return groups
