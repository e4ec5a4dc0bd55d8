"""Orthonormal rows and singular vectors of a batch of small matrices."""

from __future__ import annotations

import torch
from torch import Tensor

RANK = 1e-4
"""Singular values below this share of the largest count as 0: differences of float32 images are no better."""


def orthonormal(vectors: Tensor) -> Tensor:
    """Orthonormal rows that span the rows of (batch, m, d) matrices, (batch, m, d); zero rows beyond the rank.

    Rows are brought to length 1 first, so that none counts less for being short.
    """
    exact = vectors.double()
    lengths = torch.linalg.vector_norm(exact, dim=2, keepdim=True)
    units = torch.where(lengths > 0, exact / lengths, 0)
    return singular_vectors(units, vectors.shape[1]).to(vectors.dtype)


def singular_vectors(vectors: Tensor, count: int) -> Tensor:
    """The first right singular vectors of (batch, m, d) matrices as rows, at most ``count``; zero rows beyond the rank.

    They are found from the eigenvectors of the m x m Gram matrix, in float64, which is many times faster than a batch
    of singular value decompositions; what squaring costs in orthogonality is brought back by one Cholesky step.
    """
    exact = vectors.double()
    tiny = torch.finfo(exact.dtype).tiny
    # 1. the largest eigenvalues of MMᵀ, the largest first, and their eigenvectors
    values, eigenvectors = torch.linalg.eigh(exact @ exact.mT)
    values = values.flip(1)[:, :count]
    eigenvectors = eigenvectors.flip(2)[:, :, :count]
    # 2. v = Mᵀu/σ, where σ counts as positive
    largest = values[:, :1].clamp(min=tiny)
    positive = values > RANK**2 * largest
    inverse = values.clamp(min=tiny).rsqrt()
    scale = torch.where(positive, inverse, 0)
    rows = scale[:, :, None] * (eigenvectors.mT @ exact)
    # 3. these rows B are nearly orthonormal, L⁻¹B with LLᵀ = BBᵀ is so exactly
    missing = (~positive).to(rows)
    gram = rows @ rows.mT + torch.diag_embed(missing)
    factor = torch.linalg.cholesky(gram)
    orthonormal = torch.linalg.solve_triangular(factor, rows, upper=False)
    return orthonormal.to(vectors.dtype)
