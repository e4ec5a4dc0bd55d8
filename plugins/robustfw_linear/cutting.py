"""The cutting-set method: robust optimization by a solver for finitely many constraints and a pessimizing oracle."""

from __future__ import annotations

from typing import final

import attrs
import numpy as np
from numpy.typing import NDArray

from robustfw import RobustfwError
from robustfw_linear.problem import Problem
from robustfw_linear.solution import MethodResult, UnboundedError

Array = NDArray[np.float64]

CORNERS_ONLY = 8
"""Rounds in which cuts are made at the master's corners alone, before its central points are used too."""
DESCENT = 1e-9
"""Least slope of a ray that counts as descending, relative to the cost."""


def cut(problem: Problem, accuracy: float, limit: int) -> MethodResult:
    """Solve for the rows known so far, add those that are worst at the solution, repeat (Mutapcic & Boyd 2009).

    It ends when the pessimizing oracle finds no row violated by more than ``accuracy``, relative to the sizes in
    it. Every master is a relaxation, so that the last one's value bounds the optimum from below; the cost is at most
    ``accuracy`` above it. A master without a lower bound is first given the rows that its rays violate.

    Args:
        problem: the rows, sets and cost.
        accuracy: the violation that is allowed, relative to the sizes in a row.
        limit: the most masters.

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
    z, bound = master.cut_until_satisfied(accuracy, limit)
    return MethodResult(z, bound, master.solves, master.oracle_calls, master.cuts)


@final
class _Master:
    """The problem with finitely many rows, and counts of the work done."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.cut_rows = [
            (group.nominal, np.arange(len(group.limits))) for group in problem.groups
        ]
        """For each group its rows so far, and the index of the constraint that each of them belongs to."""
        self.solves = 0
        self.oracle_calls = 0
        self.cuts = 0

    def solve(self) -> tuple[Array, float]:
        """The solution for the rows so far, and its value."""
        self.solves += 1
        program, z = self.problem.certain_program()
        groups = zip(self.problem.groups, self.cut_rows, strict=True)
        for group, (rows, owners) in groups:
            program.add_inequalities([(z, rows)], group.limits[owners])
        optimum = program.solve()
        return optimum.z[z], optimum.bound

    def add_cuts(self, index: int, rows: Array, owners: NDArray[np.intp]) -> None:
        """Add rows to one group.

        Args:
            index: the group's.
            rows: coefficients, (rows, width of z).
            owners: the constraint that each row belongs to, (rows,).
        """
        previous_rows, previous_owners = self.cut_rows[index]
        self.cut_rows[index] = (
            np.vstack([previous_rows, rows]),
            np.concatenate([previous_owners, owners]),
        )
        self.cuts += len(rows)

    def cut_until_satisfied(self, accuracy: float, limit: int) -> tuple[Array, float]:
        """Solve and cut until no row is violated by more than the accuracy; the solution and its value."""
        for done in range(limit):
            z, bound = self.solve()
            if self.separate(z, accuracy) <= accuracy:
                return z, bound
            # after some rounds, cut at a central point as well
            if done >= CORNERS_ONLY:
                z = self.central_point(bound + accuracy * max(1.0, abs(bound)))
                if self.separate(z, accuracy) <= accuracy:
                    return z, bound
        raise RobustfwError(
            f"after {limit} rounds of cuts a constraint is still violated: allow more rounds (limit), "
            "a larger violation (accuracy), or give x bounds"
        )

    def separate(self, z: Array, accuracy: float) -> float:
        """Add every row that is violated at z by more than the accuracy; the largest relative violation."""
        worst_rows, excesses = self.problem.excess(z)
        self.oracle_calls += 1
        for index, (rows, excess) in enumerate(zip(worst_rows, excesses, strict=True)):
            violated = np.flatnonzero(excess > accuracy)
            self.add_cuts(index, rows[violated], violated)
        return max((float(excess.max(initial=0)) for excess in excesses), default=0.0)

    def central_point(self, level: float) -> Array:
        """The point of the master farthest from its rows, at a cost up to this level (Elzinga & Moore 1975).

        Where many points are optimal, the master's are corners, which stick out of a round set for a long time.
        """
        self.solves += 1
        costless = attrs.evolve(self.problem, cost=np.zeros_like(self.problem.cost))
        program, z = costless.certain_program()
        distance = program.add_columns(1, cost=-1.0, upper=1.0)
        groups = zip(self.problem.groups, self.cut_rows, strict=True)
        for group, (rows, owners) in groups:
            lengths = np.linalg.norm(rows, axis=1, keepdims=True)
            terms = [(z, rows), (distance, lengths)]
            program.add_inequalities(terms, group.limits[owners])
        program.add_inequalities([(z, self.problem.cost[None])], level)
        return program.solve().z[z]


def _cut_rays(master: _Master, accuracy: float, limit: int) -> None:
    """Give the master the rows that forbid its descending rays.

    The rays form a robust program of their own, within a unit box and therefore bounded.

    Raises:
        InfeasibleError: the problem has no solution.
        UnboundedError: a descending ray satisfies every row.
    """
    problem = master.problem
    rays = _Master(problem.recession())
    _, slope = rays.cut_until_satisfied(accuracy, limit)
    if slope < -DESCENT * np.abs(problem.cost).sum():
        # unbounded, unless no point is feasible, which the problem without a cost finds out
        costless = _Master(attrs.evolve(problem, cost=np.zeros_like(problem.cost)))
        costless.cut_until_satisfied(accuracy, limit)
        raise UnboundedError(
            "the cost falls without end, in the worst case too: give bounds (lower, upper) to x"
        )
    master.cut_rows = list(rays.cut_rows)
    master.solves = 1 + rays.solves
    master.oracle_calls = rays.oracle_calls
    master.cuts = rays.cuts
