"""Linear and second-order cone programs, block by block: min cᵀz over Az ≤ b, Ez = f, l ≤ z ≤ u, Mz + m in a cone.

Linear programs go to HiGHS, which SciPy brings. The cones (‖w‖₂ ≤ σ) need Clarabel, a light interior-point solver.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, TypeAlias, final

import attrs
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.optimize import linprog

from robustfw import RobustfwError, UsageError
from robustfw_linear.solution import InfeasibleError, UnboundedError

Array = NDArray[np.float64]
Terms: TypeAlias = Sequence[tuple[slice, Any]]
"""Σ_k M_k z[columns_k]: slices of columns and matrices (dense or sparse, all of the same height)."""

HIGHS = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
"""Options of HiGHS."""
CLARABEL = (1e-10, 1e-9, 1e-8)
"""Clarabel's tolerances, tried in turn: where cones nearly coincide it may not reach the first."""


@final
@attrs.frozen(eq=False)
class Optimum:
    """A solution of a program."""

    z: Array
    """The minimizer, (width,)."""
    value: float
    """The cost at z."""
    bound: float
    """A lower bound of the least cost."""


@final
class ConicProgram:
    """A program that grows: `add_columns` adds variables, the other methods add constraints on them."""

    def __init__(self) -> None:
        self.width = 0
        """The number of variables."""
        self._cost: list[Array] = []
        self._lower: list[Array] = []
        self._upper: list[Array] = []
        self._inequalities: list[tuple[Terms, Array]] = []
        self._equations: list[tuple[Terms, Array]] = []
        self._cones: list[tuple[Terms, Array]] = []

    def add_columns(
        self,
        count: int,
        cost: ArrayLike = 0.0,
        lower: ArrayLike = -np.inf,
        upper: ArrayLike = np.inf,
    ) -> slice:
        """Add variables.

        Args:
            count: how many.
            cost: c of these variables, one number or one for each.
            lower: their lower bounds, one number or one for each.
            upper: their upper bounds, one number or one for each.

        Returns:
            Their places in z.
        """
        start = self.width
        self.width = start + count
        for parts, values in (
            (self._cost, cost),
            (self._lower, lower),
            (self._upper, upper),
        ):
            parts.append(np.broadcast_to(np.asarray(values, dtype=float), (count,)))
        return slice(start, self.width)

    def add_inequalities(self, terms: Terms, limits: ArrayLike) -> None:
        """Add the constraints Σ M z ≤ limits."""
        self._inequalities.append(
            (terms, np.atleast_1d(np.asarray(limits, dtype=float)))
        )

    def add_equations(self, terms: Terms, values: ArrayLike) -> None:
        """Add the constraints Σ M z = values."""
        self._equations.append((terms, np.atleast_1d(np.asarray(values, dtype=float))))

    def add_cone(self, length: Terms, vector: Terms, constant: ArrayLike) -> None:
        """Add the constraint Σ M z ≥ ‖Σ N z + constant‖₂.

        Args:
            length: the terms M, of one row.
            vector: the terms N, of a row for each entry of the vector.
            constant: added to the vector.
        """
        shift = np.atleast_1d(np.asarray(constant, dtype=float))
        # the solver's rows are (length, vector): a block of either has zeros in the other's rows
        terms = []
        for span, matrix in length:
            below = sparse.csr_array((len(shift), matrix.shape[1]))
            terms.append((span, sparse.vstack([matrix, below])))
        for span, matrix in vector:
            above = sparse.csr_array((1, matrix.shape[1]))
            terms.append((span, sparse.vstack([above, matrix])))
        self._cones.append((terms, np.append(0.0, shift)))

    def solve(self) -> Optimum:
        """The optimum, by HiGHS, or by Clarabel where there are cones.

        Raises:
            InfeasibleError: no z satisfies the constraints.
            UnboundedError: the cost has no lower bound.
            UsageError: there are cones, and Clarabel is not installed.
            RobustfwError: the solver failed.
        """
        return self._solve_by_clarabel() if self._cones else self._solve_by_highs()

    def _stack(self, constraints: list[tuple[Terms, Array]]) -> tuple[Any, Array]:
        """Constraints as one sparse matrix, and their right sides."""
        height = 0
        rows = [np.zeros(0, int)]
        columns = [np.zeros(0, int)]
        values = [np.zeros(0)]
        right_sides = [np.zeros(0)]
        for terms, right in constraints:
            for span, matrix in terms:
                block = sparse.coo_array(
                    np.atleast_2d(matrix) if isinstance(matrix, np.ndarray) else matrix
                )
                rows.append(block.row + height)
                columns.append(block.col + span.start)
                values.append(block.data)
            right_sides.append(right)
            height += len(right)
        entries = (
            np.concatenate(values),
            (np.concatenate(rows), np.concatenate(columns)),
        )
        return sparse.csr_array(entries, shape=(height, self.width)), np.concatenate(
            right_sides
        )

    def _solve_by_highs(self) -> Optimum:
        """The optimum of a linear program."""
        cost = np.concatenate(self._cost)
        bounds = np.column_stack(
            [np.concatenate(self._lower), np.concatenate(self._upper)]
        )
        matrix, limits = self._stack(self._inequalities)
        equal, values = self._stack(self._equations)
        # presolve may find that the program is infeasible or unbounded without finding which of them
        for presolve in (True, False):
            answer = linprog(
                cost,
                matrix,
                limits,
                equal,
                values,
                bounds,
                options={**HIGHS, "presolve": presolve},
            )
            if answer.status in (0, 2, 3):
                break
        _check_status(
            answer.status == 0, answer.status == 2, answer.status == 3, answer.message
        )
        return Optimum(answer.x, float(answer.fun), float(answer.fun))

    def _solve_by_clarabel(self) -> Optimum:
        """The optimum of a program with second-order cones."""
        clarabel = _import_clarabel()
        cost = np.concatenate(self._cost)
        matrix, limits = self._stack(self._inequalities)
        equal, values = self._stack(self._equations)
        cones, constants = self._stack(self._cones)
        # 1. bounds of variables as inequalities, where there are any
        lower = np.concatenate(self._lower)
        upper = np.concatenate(self._upper)
        below = np.isfinite(lower)
        above = np.isfinite(upper)
        identity = sparse.csr_array(sparse.identity(self.width))
        # 2. Clarabel's form: s = right − system·z lies in a product of cones
        system = sparse.vstack(
            [equal, matrix, -identity[below], identity[above], -cones], format="csc"
        )
        right = np.concatenate([values, limits, -lower[below], upper[above], constants])
        inequalities = len(limits) + int(below.sum()) + int(above.sum())
        kinds = [
            clarabel.ZeroConeT(len(values)),
            clarabel.NonnegativeConeT(inequalities),
        ]
        for _, constant in self._cones:
            kinds.append(clarabel.SecondOrderConeT(len(constant)))
        quadratic = sparse.csc_matrix((self.width, self.width))
        data = (quadratic, cost, sparse.csc_matrix(system), right, kinds)
        # 3. solve to the first tolerance that is reached
        for tolerance in CLARABEL:
            answer = clarabel.DefaultSolver(
                *data, _make_settings(clarabel, tolerance)
            ).solve()
            status = str(answer.status)
            if status in ("Solved", "PrimalInfeasible", "DualInfeasible"):
                break
        message = f"Clarabel says {status}"
        _check_status(
            status == "Solved",
            status == "PrimalInfeasible",
            status == "DualInfeasible",
            message,
        )
        return Optimum(
            np.array(answer.x), float(answer.obj_val), float(answer.obj_val_dual)
        )


def _check_status(
    solved: bool, infeasible: bool, unbounded: bool, message: str
) -> None:
    """Raise the error that belongs to a solver's status."""
    if infeasible:
        raise InfeasibleError(
            "no x satisfies all constraints for all members of their sets: make the sets smaller"
        )
    if unbounded:
        raise UnboundedError(
            "the cost falls without end: give bounds (lower, upper) to x"
        )
    if not solved:
        raise RobustfwError(f"the program was not solved: {message}")


def _import_clarabel() -> Any:
    """The module clarabel, which is an optional dependency."""
    try:
        return importlib.import_module("clarabel")
    except ImportError as error:
        raise UsageError(
            "programs with ‖·‖₂ in them need the solver Clarabel: pip install 'robustfw[linear]', "
            'or solve robust linear programs by method="cutting-set"'
        ) from error


def _make_settings(clarabel: Any, tolerance: float) -> Any:
    """Clarabel's settings with this tolerance of gaps and residuals."""
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = tolerance
    settings.tol_gap_rel = tolerance
    settings.tol_feas = tolerance
    settings.iterative_refinement_reltol = 1e-15
    settings.iterative_refinement_abstol = 1e-15
    return settings
