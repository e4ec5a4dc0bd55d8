"""Orthonormal rows from rows that are not, for a whole batch of small matrices at once."""

from __future__ import annotations

import torch
from torch import Tensor

RANK = 1e-4
"""Singular values below this share of the largest count as 0: differences of float32 images are no better."""


def orthonormal(vectors: Tensor) -> Tensor:
    """Orthonormal rows with the span of (batch, m, d) rows, and zero rows for what is missing to the rank m.

    Rows are brought to length 1 first, so that none counts less for being short.
    """
    exact = vectors.double()
    lengths = torch.linalg.vector_norm(exact, dim=2, keepdim=True)
    return leading(torch.where(lengths > 0, exact / lengths, 0), vectors.shape[1]).to(vectors.dtype)


def leading(vectors: Tensor, count: int) -> Tensor:
    """The first right singular vectors of (batch, m, d) matrices as rows, at most ``count``; zero rows beyond the rank.

    By the eigenvectors of the m x m Gram matrix, in float64, which is many times faster than a batch of singular value
    decompositions; what squaring costs in orthogonality is brought back by one Cholesky step.
    """
    exact = vectors.double()
    values, mixtures = torch.linalg.eigh(exact @ exact.mT)
    values, mixtures = values.flip(1)[:, :count], mixtures.flip(2)[:, :, :count]
    kept = values > RANK**2 * values[:, :1].clamp(min=torch.finfo(values.dtype).tiny)
    scale = torch.where(kept, values.clamp(min=torch.finfo(values.dtype).tiny).rsqrt(), 0)
    return _tightened(scale[:, :, None] * (mixtures.mT @ exact), kept).to(vectors.dtype)


def _tightened(rows: Tensor, kept: Tensor) -> Tensor:
    """Nearly orthonormal rows made so, in their order: L⁻¹B with LLᵀ = BBᵀ."""
    gram = rows @ rows.mT + torch.diag_embed((~kept).to(rows))
    return torch.linalg.solve_triangular(torch.linalg.cholesky(gram), rows, upper=False)
