"""Quadratic and linear programs over {A δ ≤ b} ∩ box, one for each row of a batch, and their solutions."""

from __future__ import annotations

import attrs
from torch import Tensor

TABLE = 5_000_000
"""Largest number of entries of a cached table of products of pairs of coefficients."""


class Normals:
    """The matrix A, (k, n), of inequalities that all rows of a batch have in common."""

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
        """One matrix for each row of the weights w: A·diag(w)·Aᵀ, or Aᵀ·diag(w)·A.

        Products of pairs of entries of A are cached, so that one matrix product gives all matrices.

        Args:
            weights: w of (batch, n) for the first form, of (batch, k) for the second.
            of_rows: True gives A·diag(w)·Aᵀ, (batch, k, k); False gives Aᵀ·diag(w)·A, (batch, n, n).
        """
        factors = self.matrix.mT if of_rows else self.matrix
        size = factors.shape[1]
        if factors.numel() * size > TABLE:
            return factors.mT @ (weights[..., None] * factors)
        if of_rows not in self._outer:
            products = factors[:, :, None] * factors[:, None, :]
            self._outer[of_rows] = products.flatten(1)
        return (weights @ self._outer[of_rows]).reshape(-1, size, size)


@attrs.frozen(eq=False)
class Program:
    """min ½·weight·‖δ‖² − ⟨drive, δ⟩ over A δ ≤ b, lower ≤ δ ≤ upper, for each row; 0 is feasible.

    All tensors are float64. ``weight`` is 1 for a projection of ``drive`` and 0 for a linear program.
    """

    normals: Normals
    """The matrix A, whose rows have length 1 or 0."""
    offsets: Tensor
    """The right sides b ≥ 0, (batch, k)."""
    lower: Tensor
    """Lower sides of the box, (batch, n); −∞ for none."""
    upper: Tensor
    """Upper sides of the box, (batch, n); ∞ for none."""
    drive: Tensor
    """The linear term, (batch, n)."""
    weight: Tensor
    """The quadratic term, (batch, 1)."""

    def __getitem__(self, rows: Tensor) -> Program:
        """The programs of some of the rows."""
        return Program(
            normals=self.normals,
            offsets=self.offsets[rows],
            lower=self.lower[rows],
            upper=self.upper[rows],
            drive=self.drive[rows],
            weight=self.weight[rows],
        )


@attrs.frozen(eq=False)
class Answer:
    """The minimizers of programs, and the multipliers of A δ ≤ b, which bound their error."""

    point: Tensor
    """The minimizers δ, (batch, n)."""
    multipliers: Tensor
    """The multipliers y ≥ 0, (batch, k)."""
    unsolved: Tensor
    """The mask of rows whose error after `ITERATIONS` steps is above 10³ times the precision, (batch,)."""
