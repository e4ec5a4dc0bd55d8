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
CLARABEL = (1e-10, 1e-9, 1e-8)
"""Gaps and residuals that Clarabel aims at: where the cones nearly agree it may overshoot, and gets an easier aim."""


@final
@attrs.frozen(eq=False)
class Optimum:
    """A minimizer, and the least cost with a lower bound of it."""

    z: Array
    value: float
    bound: float


@final
class Program:
    """A program that grows: `columns` are variables, the other methods add constraints on them."""

    def __init__(self) -> None:
        self.width = 0
        """How many variables there are."""
        self._cost: list[Array] = []
        self._lower: list[Array] = []
        self._upper: list[Array] = []
        self._rows: dict[str, list[tuple[Terms, Array]]] = {"at_most": [], "equal": [], "cone": []}

    def columns(
        self, count: int, cost: ArrayLike = 0.0, lower: ArrayLike = -np.inf, upper: ArrayLike = np.inf
    ) -> slice:
        """New variables."""
        start, self.width = self.width, self.width + count
        for parts, values in ((self._cost, cost), (self._lower, lower), (self._upper, upper)):
            parts.append(np.broadcast_to(np.asarray(values, dtype=float), (count,)))
        return slice(start, self.width)

    def at_most(self, terms: Terms, limits: ArrayLike) -> None:
        """Σ M z ≤ limits."""
        self._rows["at_most"].append((terms, np.atleast_1d(np.asarray(limits, dtype=float))))

    def equal(self, terms: Terms, values: ArrayLike) -> None:
        """Σ M z = values."""
        self._rows["equal"].append((terms, np.atleast_1d(np.asarray(values, dtype=float))))

    def cone(self, length: Terms, vector: Terms, constant: ArrayLike) -> None:
        """Σ M z ≥ ‖Σ N z + constant‖₂: one row of terms for the length, the others for the vector."""
        shift = np.atleast_1d(np.asarray(constant, dtype=float))
        top = [
            (span, sparse.vstack([matrix, sparse.csr_array((len(shift), matrix.shape[1]))])) for span, matrix in length
        ]
        rest = [(span, sparse.vstack([sparse.csr_array((1, matrix.shape[1])), matrix])) for span, matrix in vector]
        self._rows["cone"].append(([*top, *rest], np.append(0.0, shift)))

    def solve(self) -> Optimum:
        """The optimum.

        Raises:
            InfeasibleError: no z satisfies the constraints.
            UnboundedError: the cost has no lower bound.
        """
        return self._by_clarabel() if self._rows["cone"] else self._by_highs()

    def _stacked(self, kind: str) -> tuple[Any, Array]:
        """All blocks of a kind as one sparse matrix, and their right sides."""
        height = 0
        rows, columns, values = [np.zeros(0, int)], [np.zeros(0, int)], [np.zeros(0)]
        for terms, right in self._rows[kind]:
            for span, matrix in terms:
                block = sparse.coo_array(np.atleast_2d(matrix) if isinstance(matrix, np.ndarray) else matrix)
                rows.append(block.row + height)
                columns.append(block.col + span.start)
                values.append(block.data)
            height += len(right)
        entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
        right = np.concatenate([np.zeros(0), *(right for _, right in self._rows[kind])])
        return sparse.csr_array(entries, shape=(height, self.width)), right

    def _by_highs(self) -> Optimum:
        cost, bounds = (
            np.concatenate(self._cost),
            np.column_stack([np.concatenate(self._lower), np.concatenate(self._upper)]),
        )
        (matrix, limits), (equal, values) = self._stacked("at_most"), self._stacked("equal")
        for presolve in (True, False):  # presolve may know only that it is one of infeasible and unbounded
            answer = linprog(cost, matrix, limits, equal, values, bounds, options={**HIGHS, "presolve": presolve})
            if answer.status in (0, 2, 3):
                break
        _check(answer.status == 0, answer.status == 2, answer.status == 3, answer.message)
        return Optimum(answer.x, float(answer.fun), float(answer.fun))

    def _by_clarabel(self) -> Optimum:
        clarabel = _clarabel()
        cost = np.concatenate(self._cost)
        matrix, limits = self._stacked("at_most")
        equal, values = self._stacked("equal")
        cones, constants = self._stacked("cone")
        lower, upper = np.concatenate(self._lower), np.concatenate(self._upper)
        identity = sparse.csr_array(sparse.identity(self.width))
        below, above = np.isfinite(lower), np.isfinite(upper)
        everything = sparse.vstack([equal, matrix, -identity[below], identity[above], -cones], format="csc")
        right = np.concatenate([values, limits, -lower[below], upper[above], constants])
        kinds = [
            clarabel.ZeroConeT(len(values)),
            clarabel.NonnegativeConeT(len(limits) + int(below.sum()) + int(above.sum())),
            *(clarabel.SecondOrderConeT(len(constant)) for _, constant in self._rows["cone"]),
        ]
        empty = sparse.csc_matrix((self.width, self.width))
        data = (empty, cost, sparse.csc_matrix(everything), right, kinds)
        for aim in CLARABEL:
            answer = clarabel.DefaultSolver(*data, _settings(clarabel, aim)).solve()
            status = str(answer.status)
            if status in ("Solved", "PrimalInfeasible", "DualInfeasible"):
                break
        _check(status == "Solved", status == "PrimalInfeasible", status == "DualInfeasible", f"Clarabel says {status}")
        return Optimum(np.array(answer.x), float(answer.obj_val), float(answer.obj_val_dual))


def _check(solved: bool, infeasible: bool, unbounded: bool, message: str) -> None:
    if infeasible:
        raise InfeasibleError("no x satisfies all constraints for all members of their sets: make the sets smaller")
    if unbounded:
        raise UnboundedError("the cost falls without end: give bounds (lower, upper) to x")
    if not solved:
        raise RobustfwError(f"the program was not solved: {message}")


def _clarabel() -> Any:
    try:
        return importlib.import_module("clarabel")
    except ImportError as error:
        raise UsageError(
            "programs with ‖·‖₂ in them need the solver Clarabel: pip install 'robustfw[linear]', "
            'or solve robust linear programs by method="cutting-set"'
        ) from error


def _settings(clarabel: Any, aim: float) -> Any:
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    for name in ("tol_gap_abs", "tol_gap_rel", "tol_feas"):
        setattr(settings, name, aim)
    settings.iterative_refinement_reltol = settings.iterative_refinement_abstol = 1e-15
    return settings
