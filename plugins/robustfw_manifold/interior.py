"""A small convex problem per row: a ball in few coordinates, under many bounds."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

ACCURACY = 1e-10
"""How much bounds may be exceeded, relative to the radius: even a set that is a single point has an interior then."""
FLOOR = 1e-13
"""Least product of a slack and its multiplier: if products fall faster than the residual, it never converges."""
ITERATIONS = 100
"""Most iterations; 10 to 60 are usual."""
TINY = 1e-300
"""Least slack and multiplier, so that quotients stay finite."""
CONVERGED = 1e-12
"""Largest residual and constraint error of a row that has converged; what is left is rounding."""


@attrs.frozen(eq=False)
class BallSolution:
    """The minimizer, and the multipliers that prove how good it is."""

    point: Tensor
    """c, (batch, k)"""
    pull: Tensor
    """(batch, d): the multiplier of each bound, positive for an upper one and negative for a lower one."""


def solve(
    basis: Tensor, lower: Tensor, upper: Tensor, drive: Tensor, weight: Tensor
) -> BallSolution:
    """argmin ½·weight·‖c‖² − ⟨drive, c⟩ over ‖c‖₂ ≤ 1, lower ≤ Bᵀc ≤ upper, for each row, in float64.

    Mehrotra's predictor-corrector method; each iteration is one product BᵀDB and one k x k system per row. The
    alternating projections of `robustfw.regions.Intersection` need thousands of rounds where the subspace grazes the
    box, as the tangents of images do that are mostly black and white; this takes 10 to 60 iterations.

    Args:
        basis: B, (batch, k, d), orthonormal rows, or zeros.
        lower: (batch, d), not positive; −∞ where there is no bound.
        upper: (batch, d), not negative; ∞ where there is no bound.
        drive: (batch, k), of length 1 at most.
        weight: (batch, 1), between 0 and 1.
    """
    # |Bᵀc| ≤ 1, so that a bound of 2 never holds
    above = upper.clamp(max=2)
    below = -lower.clamp(min=-2)
    bounds = torch.cat([above, below], 1) + ACCURACY
    state = _State(basis, drive, weight, bounds)
    for _ in range(ITERATIONS):
        if not state.iterate():
            break
    # what rounding left outside of the ball is taken off
    length = torch.linalg.vector_norm(state.point, dim=1, keepdim=True)
    point = state.point / length.clamp(min=1)
    up, down = state.multipliers[:, :-1].chunk(2, 1)
    return BallSolution(point, up - down)


class _State:
    """Point, slacks and multipliers of all rows; the last constraint is ½‖c‖² ≤ ½."""

    def __init__(
        self, basis: Tensor, drive: Tensor, weight: Tensor, bounds: Tensor
    ) -> None:
        self.basis = basis
        self.drive = drive
        self.weight = weight
        self.bounds = bounds
        self.point = torch.zeros_like(drive)
        ball = torch.full_like(weight, 0.5)
        self.slacks = torch.cat([bounds, ball], 1).clamp(min=0.1)
        self.multipliers = torch.full_like(self.slacks, 0.1)

    def iterate(self) -> bool:
        """One predictor and one corrector step; False once all rows have converged."""
        product = self.slacks * self.multipliers
        gap = product.mean(1, keepdim=True)
        residual = self._residual()
        error = self._constraint_error()
        # 1. stop once every row has converged
        scale = 1 + _largest(self.multipliers)
        rough = _largest(residual) > CONVERGED * scale
        outside = _largest(error) > CONVERGED
        active = (gap > 2 * FLOOR) | rough | outside
        if not active.any():
            return False
        # 2. predict: Newton's step towards products of 0, and the products that it leads to
        factor = self._factor()
        step = self._step(factor, residual, error, product)
        slacks = self.slacks + step.reach * step.slacks
        multipliers = self.multipliers + step.reach * step.multipliers
        gap_ahead = (slacks * multipliers).mean(1, keepdim=True)
        # Mehrotra's centre: the less the gap falls, the more the products are kept alike
        ratio = (gap_ahead / gap).clamp(0, 1)
        centre = (gap * ratio**3).clamp(min=FLOOR)
        # 3. correct: add second-order terms to Newton's equations, as far as the first step could be taken: a full
        # correction for a step that is cut short goes round in circles
        share = step.reach.square()
        residual = residual + share * step.multipliers[:, -1:] * step.point
        square_length = step.point.square().sum(1, keepdim=True)
        ball_error = error[:, -1:] + share * square_length / 2
        error = torch.cat([error[:, :-1], ball_error], 1)
        product = product + share * step.slacks * step.multipliers - centre
        step = self._step(factor, residual, error, product)
        # 4. go nearly as far as slacks and multipliers stay positive
        reach = (0.995 * step.reach).clamp(max=1)
        length = torch.where(active, reach, 0)
        slacks = self.slacks + length * step.slacks
        multipliers = self.multipliers + length * step.multipliers
        self.point = self.point + length * step.point
        self.slacks = slacks.clamp(min=TINY)
        self.multipliers = multipliers.clamp(min=TINY)
        return True

    def _residual(self) -> Tensor:
        """∇ of the Lagrangian, (batch, k)."""
        pull = self._sum_of_normals(self.multipliers)
        weight = self.weight + self.multipliers[:, -1:]
        return weight * self.point - self.drive + pull

    def _constraint_error(self) -> Tensor:
        """fᵢ(c) + sᵢ, which is 0 where constraint and slack agree, (batch, 2d + 1)."""
        values = self._linear_values(self.point)
        square_length = self.point.square().sum(1, keepdim=True)
        ball = square_length / 2 - 0.5
        constraints = torch.cat([values - self.bounds, ball], 1)
        return constraints + self.slacks

    def _linear_values(self, c: Tensor) -> Tensor:
        """(Bᵀc, −Bᵀc), (batch, 2d)."""
        values = torch.einsum("bkd,bk->bd", self.basis, c)
        return torch.cat([values, -values], 1)

    def _sum_of_normals(self, multipliers: Tensor) -> Tensor:
        """The sum of the bounds' normals, weighted by their multipliers, (batch, k)."""
        up, down = multipliers[:, :-1].chunk(2, 1)
        return torch.einsum("bkd,bd->bk", self.basis, up - down)

    def _factor(self) -> Tensor:
        """The Cholesky factor of (weight + λ)I + Σ λᵢ/sᵢ ∇fᵢ∇fᵢᵀ."""
        ratio = self.multipliers / self.slacks
        # 1. the bounds: B diag(λ/s) Bᵀ
        up, down = ratio[:, :-1].chunk(2, 1)
        matrix = (self.basis * (up + down)[:, None]) @ self.basis.mT
        # 2. the ball, whose normal is c
        ball_ratio = ratio[:, -1:, None]
        ball = ball_ratio * self.point[:, :, None] * self.point[:, None]
        matrix = matrix + ball
        # 3. the objective, with a little more against rounding
        weight = self.weight + self.multipliers[:, -1:]
        margin = 1e-14 * matrix.diagonal(dim1=1, dim2=2)
        diagonal = weight + margin + 1e-14
        return torch.linalg.cholesky(matrix + torch.diag_embed(diagonal))

    def _step(
        self, factor: Tensor, residual: Tensor, error: Tensor, product: Tensor
    ) -> _Step:
        """Newton's step towards a product of slacks and multipliers that is smaller by ``product``."""
        # 1. the point, after slacks and multipliers are eliminated
        shift = (self.multipliers * error - product) / self.slacks
        ball_shift = shift[:, -1:] * self.point
        right = -residual - self._sum_of_normals(shift) - ball_shift
        point = torch.cholesky_solve(right[:, :, None], factor)[:, :, 0]
        # 2. slacks and multipliers that go with it
        ball_change = (self.point * point).sum(1, keepdim=True)
        change = torch.cat([self._linear_values(point), ball_change], 1)
        slacks = -error - change
        multipliers = (-product - self.multipliers * slacks) / self.slacks
        # 3. how far both stay positive
        slack_reach = _reach(self.slacks, slacks)
        multiplier_reach = _reach(self.multipliers, multipliers)
        reach = torch.minimum(slack_reach, multiplier_reach)
        return _Step(point, slacks, multipliers, reach)


@attrs.frozen(eq=False)
class _Step:
    """Changes of point, slacks and multipliers."""

    point: Tensor
    slacks: Tensor
    multipliers: Tensor
    reach: Tensor
    """(batch, 1): the share of the step, 1 at most, after which a slack or a multiplier is 0."""


def _reach(values: Tensor, change: Tensor) -> Tensor:
    """The largest share of a change, 1 at most, that keeps positive values from falling below 0, (batch, 1)."""
    ratio = torch.where(change < 0, -values / change, torch.inf)
    return ratio.amin(1, keepdim=True).clamp(max=1)


def _largest(values: Tensor) -> Tensor:
    """The largest magnitude of each row, (batch, 1)."""
    return values.abs().amax(1, keepdim=True)
