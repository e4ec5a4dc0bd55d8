"""An interior-point method for many small quadratic and linear programs over {A δ ≤ b} ∩ box at once."""

from __future__ import annotations

from typing import TypeAlias

import attrs
import torch
from torch import Tensor

from robustfw.regions._programs import Answer, Program

Parts: TypeAlias = tuple[Tensor, ...]
"""Three tensors: for the inequalities (batch, k), the lower sides (batch, n) and the upper sides (batch, n)."""

ITERATIONS = 60
"""Largest number of Newton steps; 10 to 25 are the rule."""
PRECISION = 1e-10
"""Default size of residuals and complementarity gap at which a row counts as solved, relative to the set."""
BACKTRACK = 0.995
"""Share of the longest feasible step that a step takes."""
ROOM = 1e-10
"""Smallest offset of an inequality, and width of the box in a coordinate that may move, relative to the set's size."""
REFINEMENTS = 1
"""Rounds of iterative refinement of each linear system."""
RIDGE = 1e-13
"""Relative increase of each diagonal entry of a system, against rounding where it is nearly singular."""
IMMOVABLE = 1e30
"""Diagonal entry of a coordinate that must not move."""
FLOOR = 0.1
"""Smallest complementarity product at which a step aims, in units of `PRECISION`."""
FLAT = 1e-4
"""Weight of the gradient in the error of a linear program; 1 for a quadratic one."""
UNBOUNDED = 1e12
"""Sides of a box, relative to the size of the set, from which on they count as infinite."""


def solve(program: Program, precision: float = PRECISION) -> Answer:
    """Mehrotra's predictor-corrector method (Nocedal & Wright 2006, algorithm 14.3 and section 16.6), row by row.

    Each step solves one system per row, of size min(k, n): (Θ + AᵀWA) d = r with diagonal Θ and W, which by Woodbury's
    identity needs Θ⁻¹ and a k × k matrix where there are fewer inequalities than coordinates. A row that is solved is
    removed, so that no row depends on the number of steps of others.

    Args:
        program: the programs, one for each row.
        precision: error, as of `_State.error`, at which a row counts as solved.
    """
    point = torch.zeros_like(program.drive)
    multipliers = torch.zeros_like(program.offsets)
    unsolved = torch.zeros_like(program.weight[:, 0], dtype=torch.bool)
    if not len(point):
        return Answer(point, multipliers, unsolved)
    state = _State.begin(attrs.evolve(program, offsets=program.offsets.clamp(min=ROOM)))
    rows = torch.arange(len(point), device=point.device)
    for _ in range(ITERATIONS):
        # 1. solved rows are stored and removed
        going = state.error() > precision
        if not going.all():
            solved = ~going
            point[rows[solved]] = state.point[solved]
            multipliers[rows[solved]] = state.dual[0][solved]
            rows = rows[going]
            state = state.select(going)
        if not len(rows):
            return Answer(point, multipliers, unsolved)
        # 2. a Newton step of the others
        state.step()
    point[rows] = state.point
    multipliers[rows] = state.dual[0]
    unsolved[rows] = state.error() > 1e3 * precision
    return Answer(point, multipliers, unsolved)


@attrs.define(eq=False)
class _State:
    """The iterate: point, slacks and duals of the inequalities, the lower sides and the upper sides, in this order."""

    program: Program
    point: Tensor
    slack: Parts
    dual: Parts
    has: Parts
    """1 where there is such an inequality, 0 where the side is infinite or the coordinate fixed."""
    fixed: Tensor
    """The mask of coordinates whose sides leave no room, (batch, n); they stay 0."""

    @classmethod
    def begin(cls, program: Program) -> _State:
        """The starting point: the middle of the box within the unit cube, with slacks and duals of at least 0.1."""
        fixed = program.upper - program.lower <= ROOM
        has_lower = (program.lower > -UNBOUNDED) & ~fixed
        has_upper = (program.upper < UNBOUNDED) & ~fixed
        low = torch.where(has_lower, program.lower, -1).clamp(min=-1)
        high = torch.where(has_upper, program.upper, 1).clamp(max=1)
        point = torch.where(fixed, 0, (low + high) / 2)
        has = (
            torch.ones_like(program.offsets),
            has_lower.to(point),
            has_upper.to(point),
        )
        state = cls(
            program, point, (point, point, point), (point, point, point), has, fixed
        )
        room = state._room(point)
        state.slack = tuple(
            torch.where(exists > 0, distance.clamp(min=0.1), 1)
            for exists, distance in zip(has, room, strict=True)
        )
        state.dual = tuple(0.1 * exists for exists in has)
        return state

    def select(self, rows: Tensor) -> _State:
        """The state of some of the rows."""
        slack = tuple(part[rows] for part in self.slack)
        dual = tuple(part[rows] for part in self.dual)
        has = tuple(part[rows] for part in self.has)
        return _State(
            self.program[rows], self.point[rows], slack, dual, has, self.fixed[rows]
        )

    def _room(self, point: Tensor) -> Parts:
        """The distances b − Aδ, δ − lower and upper − δ; 1 where there is no side."""
        program = self.program
        _, has_lower, has_upper = self.has
        above = torch.where(has_lower > 0, point - program.lower, 1)
        below = torch.where(has_upper > 0, program.upper - point, 1)
        inequalities = program.offsets - program.normals.times(point)
        return inequalities, above, below

    def _residuals(self) -> tuple[Tensor, Parts]:
        """The residual of the Lagrangian's gradient, and that of each slack against its distance."""
        program = self.program
        y, v_lower, v_upper = self.dual
        gradient = (
            program.drive
            - program.weight * self.point
            - program.normals.times_transpose(y)
            + v_lower
            - v_upper
        )
        gradient = torch.where(self.fixed, 0, gradient)
        room = self._room(self.point)
        slacks = tuple(
            exists * (distance - slack)
            for exists, distance, slack in zip(self.has, room, self.slack, strict=True)
        )
        return gradient, slacks

    def _gap(self, slack: Parts, dual: Parts) -> Tensor:
        """The complementarity gap Σ slack·dual / number of inequalities, (batch, 1)."""
        products = torch.cat([s * d for s, d in zip(slack, dual, strict=True)], 1)
        count = torch.cat(self.has, 1).sum(1, keepdim=True)
        return products.sum(1, keepdim=True) / count.clamp(min=1)

    def error(self) -> Tensor:
        """The largest residual and complementarity gap, (batch,), in units of the drive and of the size of the set.

        The gradient of a linear program has the smaller weight `FLAT`: where a whole face is optimal its last digits
        are rounding, which changes the value of the program by no more than that times the size of the set.
        """
        gradient, room = self._residuals()
        gradient = gradient * torch.where(self.program.weight > 0, 1, FLAT)
        residuals = [part.abs().amax(1) for part in (gradient, *room)]
        worst = torch.stack(residuals).amax(0)
        return torch.maximum(worst, self._gap(self.slack, self.dual)[:, 0])

    def step(self) -> None:
        """One step of the method: a predictor without centring decides how much centring the corrector needs."""
        gradient, room = self._residuals()
        solver = self._factorize()
        # 1. the predictor aims at products slack·dual = 0
        target = tuple(
            -slack * dual for slack, dual in zip(self.slack, self.dual, strict=True)
        )
        move, slacks, duals = self._direction(solver, gradient, room, target)
        slack_ahead = _advance(self.slack, slacks, _longest_step(self.slack, slacks))
        dual_ahead = _advance(self.dual, duals, _longest_step(self.dual, duals))
        ahead = self._gap(slack_ahead, dual_ahead)
        # 2. the corrector aims at products of one size; where these fall ahead of the residuals, systems become so
        # ill-conditioned that the residuals never follow
        gap = self._gap(self.slack, self.dual)
        centre = ((ahead / gap.clamp(min=1e-300)).pow(3) * gap).clamp(
            min=FLOOR * PRECISION
        )
        target = tuple(
            exists * (centre - slack * dual) + product
            for exists, slack, dual, product in zip(
                self.has, slacks, duals, target, strict=True
            )
        )
        move, slacks, duals = self._direction(solver, gradient, room, target)
        # 3. the lengths; with a quadratic term the residual of the duals depends on the point, too: one length for both
        primal = BACKTRACK * _longest_step(self.slack, slacks)
        dual = BACKTRACK * _longest_step(self.dual, duals)
        common = torch.minimum(primal, dual)
        curved = self.program.weight > 0
        primal = torch.where(curved, common, primal)
        dual = torch.where(curved, common, dual)
        self.point = self.point + primal * move
        self.slack = _advance(self.slack, slacks, primal)
        self.dual = _advance(self.dual, duals, dual)

    def _factorize(self) -> tuple[Tensor, Tensor, Tensor]:
        """Θ, W, and the Cholesky factor of Θ + AᵀWA, or of W⁻¹ + AΘ⁻¹Aᵀ where that is smaller and Θ has an inverse."""
        normals = self.program.normals
        ratios = [
            exists * dual / slack
            for exists, dual, slack in zip(self.has, self.dual, self.slack, strict=True)
        ]
        theta = torch.where(
            self.fixed, IMMOVABLE, self.program.weight + ratios[1] + ratios[2]
        )
        if self._uses_woodbury():
            matrix = normals.gram(1 / theta, of_rows=True) + torch.diag_embed(
                1 / ratios[0]
            )
        else:
            matrix = normals.gram(ratios[0], of_rows=False) + torch.diag_embed(theta)
        matrix.diagonal(dim1=1, dim2=2).mul_(1 + RIDGE)
        factor, _ = torch.linalg.cholesky_ex(matrix)
        return theta, ratios[0], factor

    def _uses_woodbury(self) -> bool:
        """Whether to solve a k × k system: inequalities are fewer, and every coordinate has a side or a weight."""
        inequalities, coordinates = self.program.normals.matrix.shape
        held = (self.program.weight > 0) | (self.has[1] + self.has[2] > 0) | self.fixed
        return inequalities < coordinates and bool(held.all())

    def _direction(
        self,
        solver: tuple[Tensor, Tensor, Tensor],
        gradient: Tensor,
        room: Parts,
        target: Parts,
    ) -> tuple[Tensor, Parts, Parts]:
        """Newton's step of point, slacks and duals that raises slack·dual by target and removes all residuals.

        Args:
            solver: the result of `_factorize`.
            gradient: the residual of the gradient, (batch, n).
            room: the residuals of the slacks.
            target: the wanted change of the products slack·dual.
        """
        normals = self.program.normals
        theta, ratio, _ = solver
        # 1. slacks and duals eliminated: one system in the point
        pull = [
            (product - dual * residual) / slack
            for product, dual, residual, slack in zip(
                target, self.dual, room, self.slack, strict=True
            )
        ]
        right = gradient - normals.times_transpose(pull[0]) + pull[1] - pull[2]
        move, push = self._solve(solver, right, torch.zeros_like(pull[0]))
        # 2. iterative refinement
        for _ in range(REFINEMENTS):
            point_residual = right - theta * move - normals.times_transpose(push)
            dual_residual = push / ratio - normals.times(move)
            move_correction, push_correction = self._solve(
                solver, point_residual, dual_residual
            )
            move = move + move_correction
            push = push + push_correction
        # 3. the slacks and duals that belong to the move
        slacks = (
            room[0] - normals.times(move),
            room[1] + self.has[1] * move,
            room[2] - self.has[2] * move,
        )
        # from the solution of the system, not by dividing by slacks: else the duals lose all digits near the end
        duals = (
            pull[0] + push,
            pull[1] - self.has[1] * self.dual[1] / self.slack[1] * move,
            pull[2] + self.has[2] * self.dual[2] / self.slack[2] * move,
        )
        return move, slacks, duals

    def _solve(
        self, solver: tuple[Tensor, Tensor, Tensor], right: Tensor, below: Tensor
    ) -> tuple[Tensor, Tensor]:
        """d and z with Θd + Aᵀz = right and Ad − W⁻¹z = below."""
        normals = self.program.normals
        theta, ratio, factor = solver
        if self._uses_woodbury():
            push = _solve_cholesky(factor, normals.times(right / theta) - below)
            return (right - normals.times_transpose(push)) / theta, push
        move = _solve_cholesky(factor, right + normals.times_transpose(ratio * below))
        return move, ratio * (normals.times(move) - below)


def _solve_cholesky(factor: Tensor, right: Tensor) -> Tensor:
    """The solutions (batch, m) of the systems with these Cholesky factors and right sides (batch, m)."""
    return torch.cholesky_solve(right[..., None], factor)[..., 0]


def _longest_step(values: Parts, moves: Parts) -> Tensor:
    """The longest step up to 1 that keeps all values positive, (batch, 1)."""
    longest = [
        torch.where(move < 0, -value / move, torch.inf).amin(1, keepdim=True)
        for value, move in zip(values, moves, strict=True)
        if value.shape[1]
    ]
    return torch.stack(longest).amin(0).clamp(max=1)


def _advance(values: Parts, moves: Parts, length: Tensor) -> Parts:
    """values + length · moves."""
    return tuple(
        value + length * move for value, move in zip(values, moves, strict=True)
    )
