"""Robust counterparts: a constraint for all members of a set, written as finitely many."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robustfw import UsageError
from robustfw_linear.cones import ConicProgram
from robustfw_linear.conic import Conic
from robustfw_linear.problem import Problem
from robustfw_linear.solution import MethodResult

Array = NDArray[np.float64]


def reformulate(problem: Problem) -> MethodResult:
    """Solve one program in which each inner maximum is replaced by its dual (see `Conic`).

    That is a linear program for polyhedral sets and one with second-order cones for ellipsoids (Ben-Tal & Nemirovski
    1999). Its accuracy is the solver's.

    Raises:
        UsageError: a set is known by its oracles alone.
        InfeasibleError: no x satisfies every constraint for all members of its set.
        UnboundedError: the cost falls without end.
    """
    program, z = problem.certain_program()
    for group in problem.groups:
        if group.conics is None:
            raise UsageError(
                f"no formula is known for {type(group.region).__name__}, only its oracles: "
                'solve by method="cutting-set", or write the set as one of those in robustfw_linear'
            )
        x = slice(z.start, z.start + group.data.shape[1])
        # rows that share a set share its worst case at x
        worst_cases: dict[tuple[int, float], list[tuple[slice, Array]]] = {}
        for row, limit, sign, conic in zip(
            group.nominal, group.limits, group.signs, group.conics, strict=True
        ):
            key = (id(conic), float(sign))
            if key not in worst_cases:
                worst_cases[key] = _dualize(program, x, sign * conic.basis, conic)
            program.add_inequalities([(z, row), *worst_cases[key]], limit)
    optimum = program.solve()
    return MethodResult(optimum.z[z], optimum.bound, solves=1)


def _dualize(
    program: ConicProgram, x: slice, basis: Array, conic: Conic
) -> list[tuple[slice, Array]]:
    """The terms dᵀλ + ρσ, with λ ≥ 0 and ‖Pᵀx − Dᵀλ‖₂ ≤ σ, whose least value is max_{δ ∈ 𝒰} ⟨δ, x⟩."""
    multipliers = program.add_columns(len(conic.offsets), lower=0.0)
    gradient = [(x, basis.T), (multipliers, -conic.normals.T)]
    terms = [(multipliers, conic.offsets)]
    if np.isinf(conic.radius):
        program.add_equations(gradient, np.zeros(conic.basis.shape[1]))
    else:
        length = program.add_columns(1)
        program.add_cone(
            [(length, np.ones((1, 1)))], gradient, np.zeros(conic.basis.shape[1])
        )
        terms.append((length, np.array([conic.radius])))
    return terms
