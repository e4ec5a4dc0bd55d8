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
from robustfw_linear.solution import Found, Solution

Array = NDArray[np.float64]
Method: TypeAlias = Literal["reformulation", "cutting-set", "online"]

METHODS: dict[str, Callable[[Problem, float, int], Found]] = {
    "reformulation": lambda problem, accuracy, limit: reformulate(problem),
    "cutting-set": cut,
    "online": learn,
}
ACCURACY = {"reformulation": 1e-9, "cutting-set": 1e-9, "online": 1e-2}
LIMITS = {"reformulation": 1, "cutting-set": 1_000, "online": 100_000}


def solved(problem: Problem, method: Method, accuracy: float | None, limit: int | None) -> Found:
    """The problem by one of the methods, with the method's own accuracy and limit where none is given."""
    if method not in METHODS:
        raise UsageError(f"there is no method {method!r}; known: {', '.join(METHODS)}")
    accuracy = ACCURACY[method] if accuracy is None else accuracy
    limit = LIMITS[method] if limit is None else limit
    if not accuracy > 0 or limit < 1:
        raise UsageError(f"accuracy and limit must be positive, not {accuracy} and {limit}")
    return METHODS[method](problem, accuracy, limit)


def _numbers(value: ArrayLike) -> Array:
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
    """𝒰ᵢ, of the perturbations of row i; one for all, or a list."""
    cost_uncertainty: Uncertainty = attrs.field(default=None, kw_only=True)
    """The set of c's perturbations: the cost is then its worst case."""
    lower: Array = attrs.field(default=-np.inf, converter=_numbers, kw_only=True)
    upper: Array = attrs.field(default=np.inf, converter=_numbers, kw_only=True)
    """Bounds of x, one for all variables or one for each; there are none unless given."""
    equations: tuple[ArrayLike, ArrayLike] | None = attrs.field(default=None, kw_only=True)
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
            if getattr(self, name).shape not in ((), (width,)) or np.isnan(getattr(self, name)).any():
                raise UsageError(f"{name} must be one number, or one for each of the {width} variables")

    def solve(
        self, method: Method = "cutting-set", *, accuracy: float | None = None, limit: int | None = None
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
        found = solved(problem, method, accuracy, limit)
        return self._described(problem, found, method)

    def _described(self, problem: Problem, found: Found, method: str) -> Solution:
        *rows, cost = problem.groups if self._uncertain_cost else (*problem.groups, None)
        over = [group.pessimize(found.z) @ found.z - group.limits for group in rows if group is not None]
        x = found.z[: len(self.cost)]
        return Solution(
            x=x,
            value=float(self.cost @ x) if cost is None else float((cost.pessimize(found.z) @ found.z + found.z[-1])[0]),
            bound=found.bound,
            violation=max((float(part.max(initial=0)) for part in over), default=0.0),
            method=method,
            solves=found.solves,
            oracle_calls=found.oracle_calls,
            cuts=found.cuts,
            promised=found.promised,
        )

    @property
    def _uncertain_cost(self) -> bool:
        return self.cost_uncertainty is not None

    def _problem(self) -> Problem:
        """With an uncertain cost, in z = (x, t): min t over (c + δ)ᵀx − t ≤ 0."""
        extra = int(self._uncertain_cost)
        width = len(self.cost)
        groups = [
            uncertain_rows(self.matrix[rows], self.limits[rows], sets, rest=np.zeros((len(self.matrix[rows]), extra)))
            for rows, sets in self._parts()
        ]
        if extra:
            epigraph = uncertain_rows(self.cost[None], np.zeros(1), self.cost_uncertainty, rest=-np.ones((1, 1)))
            groups.append(epigraph)
        matrix, values = self.equations or (np.zeros((0, width)), np.zeros(0))
        matrix, values = np.asarray(matrix, dtype=float).reshape(-1, width), np.atleast_1d(_numbers(values))
        return Problem(
            np.append(np.zeros(width), 1.0) if extra else self.cost,
            np.append(np.broadcast_to(self.lower, (width,)), [-np.inf] * extra),
            np.append(np.broadcast_to(self.upper, (width,)), [np.inf] * extra),
            tuple(groups),
            (np.hstack([matrix, np.zeros((len(matrix), extra))]), values),
        )

    def _parts(self) -> list[tuple[slice, Uncertainty]]:
        """Which rows have which set; neighbours that share one go together."""
        if isinstance(self.uncertainty, str | dict | UncertaintySet | Region) or self.uncertainty is None:
            return [(slice(None), self.uncertainty)]
        if len(self.uncertainty) != len(self.limits):
            raise UsageError(f"{len(self.uncertainty)} sets for {len(self.limits)} constraints: give one, or one each")
        parts: list[tuple[slice, Uncertainty]] = []
        for i, sets in enumerate(self.uncertainty):
            if parts and parts[-1][1] is sets:
                parts[-1] = (slice(parts[-1][0].start, i + 1), sets)
            else:
                parts.append((slice(i, i + 1), sets))
        return parts
