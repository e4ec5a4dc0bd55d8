"""Quadratic and linear programs over {A δ ≤ b} ∩ box, many small ones at once: an interior-point method."""

from __future__ import annotations

from typing import TypeAlias

import attrs
import torch
from torch import Tensor

Parts: TypeAlias = tuple[Tensor, ...]
"""Numbers of the inequalities (batch, k), of the lower sides (batch, n) and of the upper sides (batch, n)."""

ITERATIONS = 60
"""Newton steps at most; 10 to 25 are the rule."""
PRECISION = 1e-10
"""Relative size of residuals and complementarity products at which a row is solved, unless less is asked for."""
BACKTRACK = 0.995
"""Share of the way to the border that a step goes."""
ROOM = 1e-10
"""Least offset of an inequality, and width of the box in a coordinate that moves, relative to the size of the set."""
REFINEMENTS = 1
"""Corrections of each solution of a linear system by what it missed."""
RIDGE = 1e-13
"""By which share each diagonal entry of a system grows, against rounding where it is nearly singular."""
IMMOVABLE = 1e30
"""What holds a coordinate that must not move."""
FLOOR = 0.1
"""Least complementarity product that a step aims at, in units of `PRECISION`."""
FLAT = 1e-4
"""What the gradient of a linear program counts, relative to that of a quadratic one."""
TABLE = 5_000_000
"""Numbers that a table of products of pairs of coefficients may have."""
UNBOUNDED = 1e12
"""Sides of a box, relative to the size of the set, from which on they do nothing."""


class Normals:
    """A, (k, n): the left side of inequalities that all rows of a batch have in common."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix
        self._outer: dict[bool, Tensor] = {}

    def times(self, points: Tensor) -> Tensor:
        """A δ, (batch, k)."""
        return points @ self.matrix.mT

    def times_transpose(self, multipliers: Tensor) -> Tensor:
        """Aᵀ y, (batch, n)."""
        return multipliers @ self.matrix

    def gram(self, weights: Tensor, *, of_rows: bool) -> Tensor:
        """A·diag(w)·Aᵀ for w of (batch, n), or Aᵀ·diag(w)·A for w of (batch, k), one matrix for each row.

        Products of pairs of entries are kept, so that one matrix product makes all matrices.
        """
        factors = self.matrix.mT if of_rows else self.matrix
        size = factors.shape[1]
        if factors.numel() * size > TABLE:
            return factors.mT @ (weights[..., None] * factors)
        if of_rows not in self._outer:
            self._outer[of_rows] = (factors[:, :, None] * factors[:, None, :]).flatten(1)
        return (weights @ self._outer[of_rows]).reshape(-1, size, size)


@attrs.frozen(eq=False)
class Program:
    """min ½·weight·‖δ‖² − ⟨drive, δ⟩ over A δ ≤ b, lower ≤ δ ≤ upper, for each row; 0 is feasible.

    All tensors are float64. ``weight`` is 1 for a projection of ``drive`` and 0 for a linear program.
    """

    normals: Normals
    """A, rows of length 1 or 0."""
    offsets: Tensor
    """b ≥ 0, (batch, k)."""
    lower: Tensor
    """(batch, n), −∞ where there is none."""
    upper: Tensor
    drive: Tensor
    """(batch, n)."""
    weight: Tensor
    """(batch, 1)."""

    def __getitem__(self, rows: Tensor) -> Program:
        tensors = self.offsets, self.lower, self.upper, self.drive, self.weight
        return Program(self.normals, *(tensor[rows] for tensor in tensors))


@attrs.frozen(eq=False)
class Answer:
    """The minimizers, and the multipliers of A δ ≤ b that prove how good they are."""

    point: Tensor
    """δ, (batch, n)."""
    multipliers: Tensor
    """y ≥ 0, (batch, k)."""
    unsolved: Tensor
    """Rows that `ITERATIONS` steps did not bring to the precision × 10³, (batch,)."""


def solve(program: Program, precision: float = PRECISION) -> Answer:
    """Mehrotra's predictor-corrector method (Nocedal & Wright 2006, algorithm 14.3 and section 16.6), row by row.

    Each step is one system per row, of size min(k, n): (Θ + AᵀWA) d = r with diagonal Θ and W, which by Woodbury's
    identity needs Θ⁻¹ and a k × k matrix where there are fewer inequalities than coordinates. A row that is solved is
    taken out, so that none depends on how long others take.
    """
    point = torch.zeros_like(program.drive)
    multipliers = torch.zeros_like(program.offsets)
    unsolved = torch.zeros_like(program.weight[:, 0], dtype=torch.bool)
    if not len(point):
        return Answer(point, multipliers, unsolved)
    state = _State.begin(attrs.evolve(program, offsets=program.offsets.clamp(min=ROOM)))
    rows = torch.arange(len(point), device=point.device)
    for _ in range(ITERATIONS):
        error = state.error()
        going = error > precision
        if not going.all():
            point[rows[~going]] = state.point[~going]
            multipliers[rows[~going]] = state.dual[0][~going]
            rows, state = rows[going], state.pick(going)
        if not len(rows):
            return Answer(point, multipliers, unsolved)
        state.step()
    point[rows], multipliers[rows] = state.point, state.dual[0]
    unsolved[rows] = state.error() > 1e3 * precision
    return Answer(point, multipliers, unsolved)


@attrs.define(eq=False)
class _State:
    """Point, slacks and multipliers of the inequalities, of the lower sides and of the upper sides, in this order."""

    program: Program
    point: Tensor
    slack: Parts
    dual: Parts
    has: Parts
    """1 where there is such an inequality, 0 where its side is infinite or the coordinate fixed."""
    fixed: Tensor
    """Coordinates whose sides leave no room: they stay 0, (batch, n)."""

    @classmethod
    def begin(cls, program: Program) -> _State:
        """The middle of the box, shrunk to the unit of length, and slacks and multipliers of at least one tenth."""
        fixed = program.upper - program.lower <= ROOM
        has_lower = (program.lower > -UNBOUNDED) & ~fixed
        has_upper = (program.upper < UNBOUNDED) & ~fixed
        low = torch.where(has_lower, program.lower, -1).clamp(min=-1)
        high = torch.where(has_upper, program.upper, 1).clamp(max=1)
        point = torch.where(fixed, 0, (low + high) / 2)
        has = (torch.ones_like(program.offsets), has_lower.to(point), has_upper.to(point))
        state = cls(program, point, (point, point, point), (point, point, point), has, fixed)
        room = state._room(point)
        state.slack = tuple(torch.where(h > 0, r.clamp(min=0.1), 1) for h, r in zip(has, room, strict=True))
        state.dual = tuple(0.1 * h for h in has)
        return state

    def pick(self, rows: Tensor) -> _State:
        """The same state for some of the rows."""
        slack, dual, has = (tuple(part[rows] for part in parts) for parts in (self.slack, self.dual, self.has))
        return _State(self.program[rows], self.point[rows], slack, dual, has, self.fixed[rows])

    def _room(self, point: Tensor) -> Parts:
        """b − Aδ, δ − lower, upper − δ; 1 where there is no side."""
        program, (_, has_lower, has_upper) = self.program, self.has
        above = torch.where(has_lower > 0, point - program.lower, 1)
        below = torch.where(has_upper > 0, program.upper - point, 1)
        return program.offsets - program.normals.times(point), above, below

    def _residuals(self) -> tuple[Tensor, Parts]:
        """How far the gradient of the Lagrangian is from 0, and each slack from its room."""
        program, (y, v_lower, v_upper) = self.program, self.dual
        gradient = program.drive - program.weight * self.point - program.normals.times_transpose(y) + v_lower - v_upper
        room = self._room(self.point)
        gradient = torch.where(self.fixed, 0, gradient)
        return gradient, tuple(h * (r - s) for h, r, s in zip(self.has, room, self.slack, strict=True))

    def _gap(self, slack: Parts, dual: Parts) -> Tensor:
        """Σ slack·dual / number of inequalities, (batch, 1)."""
        products = torch.cat([s * d for s, d in zip(slack, dual, strict=True)], 1)
        count = torch.cat(self.has, 1).sum(1, keepdim=True)
        return products.sum(1, keepdim=True) / count.clamp(min=1)

    def error(self) -> Tensor:
        """The largest residual and complementarity gap, (batch,), in units of the drive and of the size of the set.

        The gradient of a linear program counts less: where a face is as good as a corner its last digits are rounding,
        and the value of the program is off by that times the size of the set.
        """
        gradient, room = self._residuals()
        gradient = gradient * torch.where(self.program.weight > 0, 1, FLAT)
        worst = torch.stack([part.abs().amax(1) for part in (gradient, *room)]).amax(0)
        return torch.maximum(worst, self._gap(self.slack, self.dual)[:, 0])

    def step(self) -> None:
        """A predictor with no centring says how much centring the corrector needs."""
        gradient, room = self._residuals()
        solver = self._factorize()
        target = tuple(-s * d for s, d in zip(self.slack, self.dual, strict=True))
        move, slacks, duals = self._direction(solver, gradient, room, target)
        reach = _longest_step(self.slack, slacks), _longest_step(self.dual, duals)
        ahead = self._gap(_advance(self.slack, slacks, reach[0]), _advance(self.dual, duals, reach[1]))
        gap = self._gap(self.slack, self.dual)
        # products that fall ahead of the residuals make systems so ill-conditioned that these never follow
        centre = ((ahead / gap.clamp(min=1e-300)).pow(3) * gap).clamp(min=FLOOR * PRECISION)
        target = tuple(h * (centre - ds * dd) + t for h, ds, dd, t in zip(self.has, slacks, duals, target, strict=True))
        move, slacks, duals = self._direction(solver, gradient, room, target)
        primal = BACKTRACK * _longest_step(self.slack, slacks)
        dual = BACKTRACK * _longest_step(self.dual, duals)
        # with a quadratic term the residual of the duals depends on the point, too: one length for both
        common = torch.minimum(primal, dual)
        curved = self.program.weight > 0
        primal, dual = torch.where(curved, common, primal), torch.where(curved, common, dual)
        self.point = self.point + primal * move
        self.slack = _advance(self.slack, slacks, primal)
        self.dual = _advance(self.dual, duals, dual)

    def _factorize(self) -> tuple[Tensor, Tensor, Tensor]:
        """Θ, W, and the Cholesky factor of Θ + AᵀWA, or of W⁻¹ + AΘ⁻¹Aᵀ where that is smaller and Θ has an inverse."""
        normals = self.program.normals
        ratio = [h * d / s for h, d, s in zip(self.has, self.dual, self.slack, strict=True)]
        theta = torch.where(self.fixed, IMMOVABLE, self.program.weight + ratio[1] + ratio[2])
        if self._uses_woodbury():
            matrix = normals.gram(1 / theta, of_rows=True) + torch.diag_embed(1 / ratio[0])
        else:
            matrix = normals.gram(ratio[0], of_rows=False) + torch.diag_embed(theta)
        matrix.diagonal(dim1=1, dim2=2).mul_(1 + RIDGE)
        factor, _ = torch.linalg.cholesky_ex(matrix)
        return theta, ratio[0], factor

    def _uses_woodbury(self) -> bool:
        """Whether to solve in the inequalities: they are fewer, and every coordinate has a side or a weight."""
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
        """Newton's step to slack·dual = slack·dual + target, with all residuals gone: of point, slacks and duals."""
        normals = self.program.normals
        theta, ratio, _ = solver
        pull = [(t - d * r) / s for t, d, r, s in zip(target, self.dual, room, self.slack, strict=True)]
        right = gradient - normals.times_transpose(pull[0]) + pull[1] - pull[2]
        move, push = self._solve(solver, right, torch.zeros_like(pull[0]))
        for _ in range(REFINEMENTS):
            missed = right - theta * move - normals.times_transpose(push)
            apart = push / ratio - normals.times(move)
            better = self._solve(solver, missed, apart)
            move, push = move + better[0], push + better[1]
        slacks = (room[0] - normals.times(move), room[1] + self.has[1] * move, room[2] - self.has[2] * move)
        # from the solution of the system, not by dividing by slacks: else the duals lose all digits near the end
        duals = (
            pull[0] + push,
            pull[1] - self.has[1] * self.dual[1] / self.slack[1] * move,
            pull[2] + self.has[2] * self.dual[2] / self.slack[2] * move,
        )
        return move, slacks, duals

    def _solve(self, solver: tuple[Tensor, Tensor, Tensor], right: Tensor, below: Tensor) -> tuple[Tensor, Tensor]:
        """d and z with Θd + Aᵀz = right and Ad − W⁻¹z = below."""
        normals = self.program.normals
        theta, ratio, factor = solver
        if self._uses_woodbury():
            push = _solve_cholesky(factor, normals.times(right / theta) - below)
            return (right - normals.times_transpose(push)) / theta, push
        move = _solve_cholesky(factor, right + normals.times_transpose(ratio * below))
        return move, ratio * (normals.times(move) - below)


def _solve_cholesky(factor: Tensor, right: Tensor) -> Tensor:
    """The solution of the systems with these Cholesky factors, (batch, m)."""
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
    return tuple(value + length * move for value, move in zip(values, moves, strict=True))
