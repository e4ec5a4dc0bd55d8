"""An interior-point method for many small quadratic and linear programs over {A δ ≤ b} ∩ box at once."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from robustfw.regions._newton_system import IMMOVABLE, NewtonSystem
from robustfw.regions._programs import Answer, Program
from robustfw.regions._sides import Parts, advance, distances, longest_step

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
    offsets = program.offsets.clamp(min=ROOM)
    state = _State.begin(attrs.evolve(program, offsets=offsets))
    rows = torch.arange(len(point), device=point.device)
    for _ in range(ITERATIONS):
        # 1. solved rows are stored and removed
        going = state.error() > precision
        if not going.all():
            solved = ~going
            solved_rows = rows[solved]
            point[solved_rows] = state.point[solved]
            multipliers[solved_rows] = state.dual[0][solved]
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
        # 1. the sides that count
        fixed = program.upper - program.lower <= ROOM
        has_lower = (program.lower > -UNBOUNDED) & ~fixed
        has_upper = (program.upper < UNBOUNDED) & ~fixed
        # 2. the point
        low = torch.where(has_lower, program.lower, -1).clamp(min=-1)
        high = torch.where(has_upper, program.upper, 1).clamp(max=1)
        middle = (low + high) / 2
        point = torch.where(fixed, 0, middle)
        # 3. slacks and duals
        has_inequality = torch.ones_like(program.offsets)
        has = (has_inequality, has_lower.to(point), has_upper.to(point))
        slacks = []
        for exists, distance in zip(has, distances(program, has, point), strict=True):
            slack = torch.where(exists > 0, distance.clamp(min=0.1), 1)
            slacks.append(slack)
        duals = tuple(0.1 * exists for exists in has)
        return cls(
            program=program,
            point=point,
            slack=tuple(slacks),
            dual=duals,
            has=has,
            fixed=fixed,
        )

    def select(self, rows: Tensor) -> _State:
        """The state of some of the rows."""
        slack = tuple(part[rows] for part in self.slack)
        dual = tuple(part[rows] for part in self.dual)
        has = tuple(part[rows] for part in self.has)
        return _State(
            program=self.program[rows],
            point=self.point[rows],
            slack=slack,
            dual=dual,
            has=has,
            fixed=self.fixed[rows],
        )

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
        room = distances(program, self.has, self.point)
        slack_residuals = []
        for exists, distance, slack in zip(self.has, room, self.slack, strict=True):
            slack_residuals.append(exists * (distance - slack))
        return gradient, tuple(slack_residuals)

    def _gap(self, slack: Parts, dual: Parts) -> Tensor:
        """The complementarity gap Σ slack·dual / number of inequalities, (batch, 1)."""
        products = [s * d for s, d in zip(slack, dual, strict=True)]
        total = torch.cat(products, 1).sum(1, keepdim=True)
        count = torch.cat(self.has, 1).sum(1, keepdim=True)
        return total / count.clamp(min=1)

    def error(self) -> Tensor:
        """The largest residual and complementarity gap, (batch,), in units of the drive and of the size of the set.

        The gradient of a linear program has the smaller weight `FLAT`: where a whole face is optimal its last digits
        are rounding, which changes the value of the program by no more than that times the size of the set.
        """
        gradient, room = self._residuals()
        gradient_weight = torch.where(self.program.weight > 0, 1, FLAT)
        weighted_gradient = gradient * gradient_weight
        residuals = [part.abs().amax(1) for part in (weighted_gradient, *room)]
        largest_residual = torch.stack(residuals).amax(0)
        gap = self._gap(self.slack, self.dual)[:, 0]
        return torch.maximum(largest_residual, gap)

    def step(self) -> None:
        """One step of the method: a predictor without centring decides how much centring the corrector needs."""
        gradient, room = self._residuals()
        system = self._factorize()
        # 1. the predictor aims at products slack·dual = 0
        to_zero = tuple(
            -slack * dual for slack, dual in zip(self.slack, self.dual, strict=True)
        )
        _, slack_move, dual_move = self._direction(
            system, gradient=gradient, room=room, target=to_zero
        )
        slack_length = longest_step(self.slack, slack_move)
        dual_length = longest_step(self.dual, dual_move)
        slack_ahead = advance(self.slack, slack_move, slack_length)
        dual_ahead = advance(self.dual, dual_move, dual_length)
        # 2. the corrector aims at products of one size; where these fall ahead of the residuals, systems become so
        # ill-conditioned that the residuals never follow
        centre = self._centre(self._gap(slack_ahead, dual_ahead))
        targets = []
        for i, exists in enumerate(self.has):
            second_order = slack_move[i] * dual_move[i]
            targets.append(exists * (centre - second_order) + to_zero[i])
        move, slack_move, dual_move = self._direction(
            system, gradient=gradient, room=room, target=tuple(targets)
        )
        # 3. the lengths; with a quadratic term the residual of the duals depends on the point, too: one length for both
        slack_length = BACKTRACK * longest_step(self.slack, slack_move)
        dual_length = BACKTRACK * longest_step(self.dual, dual_move)
        common = torch.minimum(slack_length, dual_length)
        curved = self.program.weight > 0
        slack_length = torch.where(curved, common, slack_length)
        dual_length = torch.where(curved, common, dual_length)
        # 4. the step
        self.point = self.point + slack_length * move
        self.slack = advance(self.slack, slack_move, slack_length)
        self.dual = advance(self.dual, dual_move, dual_length)

    def _centre(self, gap_ahead: Tensor) -> Tensor:
        """The size of slack·dual at which the corrector aims, (batch, 1): gap · (gap ahead / gap)³."""
        gap = self._gap(self.slack, self.dual)
        ratio = gap_ahead / gap.clamp(min=1e-300)
        centre = ratio.pow(3) * gap
        return centre.clamp(min=FLOOR * PRECISION)

    def _factorize(self) -> NewtonSystem:
        """The system of this step's directions, with Θ = weight + dual/slack of the sides and W = dual/slack of A's."""
        ratios = []
        for exists, dual, slack in zip(self.has, self.dual, self.slack, strict=True):
            ratios.append(exists * dual / slack)
        diagonal = self.program.weight + ratios[1] + ratios[2]
        return NewtonSystem.factorize(
            self.program.normals,
            theta=torch.where(self.fixed, IMMOVABLE, diagonal),
            ratio=ratios[0],
            by_woodbury=self._uses_woodbury(),
        )

    def _uses_woodbury(self) -> bool:
        """Whether to solve a k × k system: inequalities are fewer, and every coordinate has a side or a weight."""
        inequalities, coordinates = self.program.normals.matrix.shape
        if inequalities >= coordinates:
            return False
        has_side = self.has[1] + self.has[2] > 0
        has_weight = self.program.weight > 0
        return bool((has_weight | has_side | self.fixed).all())

    def _direction(
        self,
        system: NewtonSystem,
        gradient: Tensor,
        room: Parts,
        target: Parts,
    ) -> tuple[Tensor, Parts, Parts]:
        """Newton's step of point, slacks and duals that raises slack·dual by target and removes all residuals.

        Args:
            system: the result of `_factorize`.
            gradient: the residual of the gradient, (batch, n).
            room: the residuals of the slacks.
            target: the wanted change of the products slack·dual.
        """
        normals = self.program.normals
        # 1. slacks and duals eliminated: one system in the point
        pull = []
        for i, product in enumerate(target):
            pull.append((product - self.dual[i] * room[i]) / self.slack[i])
        right = gradient - normals.times_transpose(pull[0]) + pull[1] - pull[2]
        move, push = system.solve(right, torch.zeros_like(pull[0]))
        # 2. iterative refinement
        for _ in range(REFINEMENTS):
            residuals = system.residuals(right, move, push)
            move_correction, push_correction = system.solve(*residuals)
            move = move + move_correction
            push = push + push_correction
        # 3. the slacks and duals that belong to the move
        _, has_lower, has_upper = self.has
        slack_move = (
            room[0] - normals.times(move),
            room[1] + has_lower * move,
            room[2] - has_upper * move,
        )
        # from the solution of the system, not by dividing by slacks: else the duals lose all digits near the end
        dual_move = (
            pull[0] + push,
            pull[1] - has_lower * self.dual[1] / self.slack[1] * move,
            pull[2] + has_upper * self.dual[2] / self.slack[2] * move,
        )
        return move, slack_move, dual_move
