"""The linear systems of the interior-point method's Newton steps, one for each row, of size min(k, n)."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from robustfw.regions._programs import Normals

RIDGE = 1e-13
"""Relative increase of each diagonal entry of a system, against rounding where it is nearly singular."""
IMMOVABLE = 1e30
"""Diagonal entry of a coordinate that must not move."""


@attrs.frozen(eq=False)
class NewtonSystem:
    """Θd + Aᵀz = right and Ad − W⁻¹z = below, for diagonal Θ and W, with the matrix factorized."""

    normals: Normals
    """The matrix A, (k, n), which all rows share."""
    theta: Tensor
    """The diagonal of Θ, (batch, n)."""
    ratio: Tensor
    """The diagonal of W, (batch, k)."""
    factor: Tensor
    """The Cholesky factor of Θ + AᵀWA, (batch, n, n), or of W⁻¹ + AΘ⁻¹Aᵀ, (batch, k, k)."""
    by_woodbury: bool
    """Whether the factor is that of the k × k matrix."""

    @classmethod
    def factorize(
        cls, normals: Normals, theta: Tensor, ratio: Tensor, *, by_woodbury: bool
    ) -> NewtonSystem:
        """The system with its Cholesky factor.

        Args:
            normals: A.
            theta: the diagonal of Θ, (batch, n).
            ratio: the diagonal of W, (batch, k).
            by_woodbury: whether to eliminate d, which needs Θ⁻¹ and leaves a k × k matrix.
        """
        if by_woodbury:
            gram = normals.gram(1 / theta, of_rows=True)
            diagonal = 1 / ratio
        else:
            gram = normals.gram(ratio, of_rows=False)
            diagonal = theta
        matrix = gram + torch.diag_embed(diagonal)
        matrix.diagonal(dim1=1, dim2=2).mul_(1 + RIDGE)
        factor, _ = torch.linalg.cholesky_ex(matrix)
        return cls(normals, theta, ratio, factor, by_woodbury)

    def solve(self, right: Tensor, below: Tensor) -> tuple[Tensor, Tensor]:
        """The solution d, (batch, n), and z, (batch, k)."""
        if self.by_woodbury:
            reduced = self.normals.times(right / self.theta) - below
            z = self._solve_cholesky(reduced)
            d = (right - self.normals.times_transpose(z)) / self.theta
            return d, z
        reduced = right + self.normals.times_transpose(self.ratio * below)
        d = self._solve_cholesky(reduced)
        z = self.ratio * (self.normals.times(d) - below)
        return d, z

    def residuals(self, right: Tensor, d: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """What is left of ``right``, and of 0 in place of ``below``, for iterative refinement.

        Args:
            right: the right side, (batch, n).
            d: the first part of the solution, (batch, n).
            z: the second part of the solution, (batch, k).
        """
        of_right = right - self.theta * d - self.normals.times_transpose(z)
        of_below = z / self.ratio - self.normals.times(d)
        return of_right, of_below

    def _solve_cholesky(self, right: Tensor) -> Tensor:
        """The solutions of the factorized systems, of the shape (batch, m) of their right sides."""
        columns = right[..., None]
        return torch.cholesky_solve(columns, self.factor)[..., 0]
