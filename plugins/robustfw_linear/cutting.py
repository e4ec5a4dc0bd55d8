"""The cutting-set method: robust optimization by a solver for finitely many constraints and a pessimizing oracle."""

from __future__ import annotations

from typing import final

import attrs
import numpy as np
from numpy.typing import NDArray

from robustfw import RobustfwError
from robustfw_linear.problem import Problem
from robustfw_linear.solution import Found, UnboundedError

Array = NDArray[np.float64]

CORNERS_ONLY = 8
"""Rounds before points between the corners are looked at too."""
DESCENT = 1e-9
"""Slope, relative to the cost, from which on a ray counts as descending."""


def cut(problem: Problem, accuracy: float, limit: int) -> Found:
    """Solve for the rows known so far, add those that are worst at the solution, repeat (Mutapcic & Boyd 2009).

    It ends when the pessimizing oracle finds no row violated by more than ``accuracy``, relative to the sizes in
    it. Every master is a relaxation, so that the last one's value bounds the optimum from below; the cost is at most
    ``accuracy`` above it. A master without a lower bound is first given the rows that its rays violate.

    Raises:
        InfeasibleError: the rows found so far have no solution in common, which proves that the problem has none.
        UnboundedError: a ray descends and satisfies every row, or no cut found bounds the master.
        RobustfwError: more than ``limit`` masters.
    """
    master = _Master(problem)
    try:
        master.solve()
    except UnboundedError:
        _cut_rays(master, accuracy, limit)
    z, bound = master.close(accuracy, limit)
    return Found(z, bound, master.solves, master.oracle_calls, master.cuts)


@final
class _Master:
    """The problem with finitely many rows, and the counts of what was spent on it."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.known = [(group.nominal, np.arange(len(group.limits))) for group in problem.groups]
        self.solves = self.oracle_calls = self.cuts = 0

    def solve(self) -> tuple[Array, float]:
        """Its solution and value."""
        self.solves += 1
        program, z = self.problem.certain()
        for group, (rows, owners) in zip(self.problem.groups, self.known, strict=True):
            program.at_most([(z, rows)], group.limits[owners])
        optimum = program.solve()
        return optimum.z[z], optimum.bound

    def add(self, index: int, rows: Array, owners: NDArray[np.intp]) -> None:
        """Rows of one group, with the constraints that they are members of."""
        before, whose = self.known[index]
        self.known[index] = np.vstack([before, rows]), np.concatenate([whose, owners])
        self.cuts += len(rows)

    def close(self, accuracy: float, limit: int) -> tuple[Array, float]:
        """Cuts until none is violated; the solution and its value."""
        for done in range(limit):
            z, bound = self.solve()
            if self.separate(z, accuracy) <= accuracy:
                return z, bound
            if done >= CORNERS_ONLY:
                z = self.central(bound + accuracy * max(1.0, abs(bound)))
                if self.separate(z, accuracy) <= accuracy:
                    return z, bound
        raise RobustfwError(
            f"after {limit} rounds of cuts a constraint is still violated: allow more rounds (limit), "
            "a larger violation (accuracy), or give x bounds"
        )

    def separate(self, z: Array, accuracy: float) -> float:
        """The largest relative violation at z; every row that is violated by more than the accuracy becomes a cut."""
        worst, excess = self.problem.excess(z)
        self.oracle_calls += 1
        for index, (rows, over) in enumerate(zip(worst, excess, strict=True)):
            chosen = np.flatnonzero(over > accuracy)
            self.add(index, rows[chosen], chosen)
        return max((float(over.max(initial=0)) for over in excess), default=0.0)

    def central(self, level: float) -> Array:
        """The point of the master farthest from its rows, at a cost up to this level (Elzinga & Moore 1975).

        Where many points are optimal, the master's are corners, which stick out of a round set for a long time.
        """
        self.solves += 1
        program, z = attrs.evolve(self.problem, cost=np.zeros_like(self.problem.cost)).certain()
        distance = program.columns(1, cost=-1.0, upper=1.0)
        for group, (rows, owners) in zip(self.problem.groups, self.known, strict=True):
            lengths = np.linalg.norm(rows, axis=1, keepdims=True)
            program.at_most([(z, rows), (distance, lengths)], group.limits[owners])
        program.at_most([(z, self.problem.cost[None])], level)
        return program.solve().z[z]


def _cut_rays(master: _Master, accuracy: float, limit: int) -> None:
    """Rows that forbid the master's descending rays; those of the problem itself are an error.

    The rays form a robust program of their own, within a unit box and therefore bounded.
    """
    problem = master.problem
    rays = _Master(problem.recession())
    _, slope = rays.close(accuracy, limit)
    if slope < -DESCENT * np.abs(problem.cost).sum():
        _Master(attrs.evolve(problem, cost=np.zeros_like(problem.cost))).close(accuracy, limit)  # infeasible, perhaps
        raise UnboundedError("the cost falls without end, in the worst case too: give bounds (lower, upper) to x")
    master.known = list(rays.known)
    master.solves, master.oracle_calls, master.cuts = 1 + rays.solves, rays.oracle_calls, rays.cuts
