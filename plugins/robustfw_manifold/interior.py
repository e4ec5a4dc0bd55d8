"""A small convex problem per row: a ball in few coordinates, under many bounds."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

ACCURACY = 1e-10
"""By which bounds may be broken, relative to the radius: it gives a set that is only a point an interior."""
FLOOR = 1e-13
"""Of the products of slacks and multipliers: if they fall farther, ahead of the residual, it never follows."""
ITERATIONS = 100
TINY = 1e-300


@attrs.frozen(eq=False)
class Solution:
    """The minimizer, and the multipliers that prove how good it is."""

    point: Tensor
    """c, (batch, k)"""
    pull: Tensor
    """(batch, d): how hard each bound pushes back, positive for an upper one, in units of ``drive``."""


def solve(basis: Tensor, lower: Tensor, upper: Tensor, drive: Tensor, weight: Tensor) -> Solution:
    """argmin ½·weight·‖c‖² − ⟨drive, c⟩ over ‖c‖₂ ≤ 1, lower ≤ Bᵀc ≤ upper, for each row, in float64.

    Mehrotra's predictor-corrector method; each iteration is one product BᵀDB and one k x k system per row. The
    alternating projections of `robustfw.regions.Intersection` need thousands of rounds where the subspace grazes the
    box, as the tangents of images do that are mostly black and white; this takes 10 to 60 iterations.

    Args:
        basis: (batch, k, d), orthonormal rows, or zeros.
        lower: (batch, d), not positive; −∞ where there is none. ``upper`` likewise.
        drive: (batch, k), of length 1 at most; weight: (batch, 1), between 0 and 1.
    """
    # |Bᵀc| ≤ 1, so that a bound of 2 does nothing
    bounds = torch.cat([upper.clamp(max=2), -lower.clamp(min=-2)], 1) + ACCURACY
    state = _State(basis, drive, weight, bounds)
    for _ in range(ITERATIONS):
        if not state.iterate():
            break
    up, down = state.multipliers[:, :-1].chunk(2, 1)
    point = state.point / torch.linalg.vector_norm(state.point, dim=1, keepdim=True).clamp(min=1)
    return Solution(point, up - down)


class _State:
    """Point, slacks and multipliers of all rows; the last constraint is ½‖c‖² ≤ ½."""

    def __init__(self, basis: Tensor, drive: Tensor, weight: Tensor, bounds: Tensor) -> None:
        self.basis, self.drive, self.weight, self.bounds = basis, drive, weight, bounds
        self.point = torch.zeros_like(drive)
        ball = torch.full_like(weight, 0.5)
        self.slacks = torch.cat([bounds, ball], 1).clamp(min=0.1)
        self.multipliers = torch.full_like(self.slacks, 0.1)

    def iterate(self) -> bool:
        """One predictor and one corrector step; False once all rows have converged."""
        product = self.slacks * self.multipliers
        gap = product.mean(1, keepdim=True)
        residual, outside = self._residual(), self._outside()
        rough = _largest(residual) > 1e-12 * (1 + _largest(self.multipliers))  # the rest is rounding
        going = (gap > 2 * FLOOR) | rough | (_largest(outside) > 1e-12)
        if not going.any():
            return False
        factor = self._factor()
        step = self._step(factor, residual, outside, product)
        ahead = (self.slacks + step.reach * step.slacks) * (self.multipliers + step.reach * step.multipliers)
        centre = (gap * (ahead.mean(1, keepdim=True) / gap).clamp(0, 1) ** 3).clamp(min=FLOOR)
        # What the second step adds to Newton's equations, as far as the first one could be taken: a full correction
        # for a step that is cut short goes round in circles.
        sure = step.reach.square()
        turned = residual + sure * step.multipliers[:, -1:] * step.point
        outside = torch.cat([outside[:, :-1], outside[:, -1:] + sure * step.point.square().sum(1, keepdim=True) / 2], 1)
        step = self._step(factor, turned, outside, product + sure * step.slacks * step.multipliers - centre)
        by = torch.where(going, (0.995 * step.reach).clamp(max=1), 0)
        self.point = self.point + by * step.point
        self.slacks = (self.slacks + by * step.slacks).clamp(min=TINY)
        self.multipliers = (self.multipliers + by * step.multipliers).clamp(min=TINY)
        return True

    def _residual(self) -> Tensor:
        """∇ of the Lagrangian, (batch, k)."""
        return (self.weight + self.multipliers[:, -1:]) * self.point - self.drive + self._back(self.multipliers)

    def _outside(self) -> Tensor:
        """How far constraints and slacks do not add up, (batch, 2d + 1)."""
        moved = self._along(self.point)
        ball = self.point.square().sum(1, keepdim=True) / 2 - 0.5
        return torch.cat([moved - self.bounds, ball], 1) + self.slacks

    def _along(self, c: Tensor) -> Tensor:
        """(Bᵀc, −Bᵀc)."""
        moved = torch.einsum("bkd,bk->bd", self.basis, c)
        return torch.cat([moved, -moved], 1)

    def _back(self, multipliers: Tensor) -> Tensor:
        """Σ of the bounds' normals, each as often as its multiplier says."""
        up, down = multipliers[:, :-1].chunk(2, 1)
        return torch.einsum("bkd,bd->bk", self.basis, up - down)

    def _factor(self) -> Tensor:
        """The Cholesky factor of (weight + λ)I + Σ λᵢ/sᵢ ∇fᵢ∇fᵢᵀ."""
        ratio = self.multipliers / self.slacks
        up, down = ratio[:, :-1].chunk(2, 1)
        matrix = (self.basis * (up + down)[:, None]) @ self.basis.mT
        matrix = matrix + ratio[:, -1:, None] * self.point[:, :, None] * self.point[:, None]
        diagonal = (self.weight + self.multipliers[:, -1:]) + 1e-14 * matrix.diagonal(dim1=1, dim2=2) + 1e-14
        return torch.linalg.cholesky(matrix + torch.diag_embed(diagonal))

    def _step(self, factor: Tensor, residual: Tensor, outside: Tensor, product: Tensor) -> _Step:
        """Newton's step towards a product of slacks and multipliers that is smaller by ``product``."""
        shift = (self.multipliers * outside - product) / self.slacks
        right = -residual - self._back(shift) - shift[:, -1:] * self.point
        point = torch.cholesky_solve(right[:, :, None], factor)[:, :, 0]
        normal = torch.cat([self._along(point), (self.point * point).sum(1, keepdim=True)], 1)
        slacks = -outside - normal
        multipliers = (-product - self.multipliers * slacks) / self.slacks
        reach = torch.minimum(_reach(self.slacks, slacks), _reach(self.multipliers, multipliers))
        return _Step(point, slacks, multipliers, reach)


@attrs.frozen(eq=False)
class _Step:
    point: Tensor
    slacks: Tensor
    multipliers: Tensor
    reach: Tensor
    """(batch, 1): the share of it, 1 at most, after which a slack or a multiplier is 0."""


def _reach(values: Tensor, change: Tensor) -> Tensor:
    ratio = torch.where(change < 0, -values / change, torch.inf)
    return ratio.amin(1, keepdim=True).clamp(max=1)


def _largest(values: Tensor) -> Tensor:
    return values.abs().amax(1, keepdim=True)
