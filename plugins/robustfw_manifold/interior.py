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
class Solution:
    """The minimizer, and the multipliers that prove how good it is."""

    point: Tensor
    """c, (batch, k)"""
    pull: Tensor
    """(batch, d): the multiplier of each bound, positive for an upper one and negative for a lower one."""


def solve(
    basis: Tensor, lower: Tensor, upper: Tensor, drive: Tensor, weight: Tensor
) -> Solution:
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
    bounds = torch.cat([upper.clamp(max=2), -lower.clamp(min=-2)], 1) + ACCURACY
    state = _State(basis, drive, weight, bounds)
    for _ in range(ITERATIONS):
        if not state.iterate():
            break
    up, down = state.multipliers[:, :-1].chunk(2, 1)
    point = state.point / torch.linalg.vector_norm(
        state.point, dim=1, keepdim=True
    ).clamp(min=1)
    return Solution(point, up - down)


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
        rough = _largest(residual) > CONVERGED * (1 + _largest(self.multipliers))
        active = (gap > 2 * FLOOR) | rough | (_largest(error) > CONVERGED)
        if not active.any():
            return False
        # 2. predict: Newton's step towards products of 0, and the products that it leads to
        factor = self._factor()
        step = self._step(factor, residual, error, product)
        ahead = (self.slacks + step.reach * step.slacks) * (
            self.multipliers + step.reach * step.multipliers
        )
        centre = (gap * (ahead.mean(1, keepdim=True) / gap).clamp(0, 1) ** 3).clamp(
            min=FLOOR
        )
        # 3. correct: add second-order terms to Newton's equations, as far as the first step could be taken: a full
        # correction for a step that is cut short goes round in circles
        share = step.reach.square()
        residual = residual + share * step.multipliers[:, -1:] * step.point
        ball_error = (
            error[:, -1:] + share * step.point.square().sum(1, keepdim=True) / 2
        )
        error = torch.cat([error[:, :-1], ball_error], 1)
        step = self._step(
            factor,
            residual,
            error,
            product + share * step.slacks * step.multipliers - centre,
        )
        # 4. go nearly as far as slacks and multipliers stay positive
        length = torch.where(active, (0.995 * step.reach).clamp(max=1), 0)
        self.point = self.point + length * step.point
        self.slacks = (self.slacks + length * step.slacks).clamp(min=TINY)
        self.multipliers = (self.multipliers + length * step.multipliers).clamp(
            min=TINY
        )
        return True

    def _residual(self) -> Tensor:
        """∇ of the Lagrangian, (batch, k)."""
        pull = self._sum_of_normals(self.multipliers)
        return (self.weight + self.multipliers[:, -1:]) * self.point - self.drive + pull

    def _constraint_error(self) -> Tensor:
        """fᵢ(c) + sᵢ, which is 0 where constraint and slack agree, (batch, 2d + 1)."""
        values = self._linear_values(self.point)
        ball = self.point.square().sum(1, keepdim=True) / 2 - 0.5
        return torch.cat([values - self.bounds, ball], 1) + self.slacks

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
        up, down = ratio[:, :-1].chunk(2, 1)
        matrix = (self.basis * (up + down)[:, None]) @ self.basis.mT
        matrix = (
            matrix + ratio[:, -1:, None] * self.point[:, :, None] * self.point[:, None]
        )
        diagonal = (
            (self.weight + self.multipliers[:, -1:])
            + 1e-14 * matrix.diagonal(dim1=1, dim2=2)
            + 1e-14
        )
        return torch.linalg.cholesky(matrix + torch.diag_embed(diagonal))

    def _step(
        self, factor: Tensor, residual: Tensor, error: Tensor, product: Tensor
    ) -> _Step:
        """Newton's step towards a product of slacks and multipliers that is smaller by ``product``."""
        shift = (self.multipliers * error - product) / self.slacks
        right = -residual - self._sum_of_normals(shift) - shift[:, -1:] * self.point
        point = torch.cholesky_solve(right[:, :, None], factor)[:, :, 0]
        change = torch.cat(
            [self._linear_values(point), (self.point * point).sum(1, keepdim=True)], 1
        )
        slacks = -error - change
        multipliers = (-product - self.multipliers * slacks) / self.slacks
        reach = torch.minimum(
            _reach(self.slacks, slacks), _reach(self.multipliers, multipliers)
        )
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
