"""Tensor arithmetic row by row: what every region needs, and every author of one."""

from __future__ import annotations

import torch
from torch import Tensor


def per_row(values: Tensor | float, like: Tensor) -> Tensor:
    """Numbers, one for all rows or one per row, shaped (batch or 1, 1, …, 1) to go with ``like``."""
    return torch.as_tensor(values, dtype=like.dtype, device=like.device).reshape(-1, *[1] * (like.dim() - 1))


def norms(delta: Tensor) -> Tensor:
    """‖δ‖₂ of each row, (batch,)."""
    return torch.linalg.vector_norm(delta.flatten(1), dim=1)


def inner_products(left: Tensor, right: Tensor) -> Tensor:
    """⟨left, right⟩ of each row, (batch,)."""
    return (left.flatten(1) * right.flatten(1)).sum(1)


def uniform_like(like: Tensor, generator: torch.Generator) -> Tensor:
    """U[0, 1) of the shape and device of ``like``, in float32 at least, drawn where the generator lives."""
    return torch.rand(like.shape, generator=generator, device=generator.device, dtype=wide(like.dtype)).to(like.device)


def normal_like(like: Tensor, generator: torch.Generator) -> Tensor:
    """N(0, 1) of the shape and device of ``like``, in float32 at least, drawn where the generator lives."""
    return torch.randn(like.shape, generator=generator, device=generator.device, dtype=wide(like.dtype)).to(like.device)


def wide(dtype: torch.dtype) -> torch.dtype:
    """The type to compute in: float32 for half precision, else the type itself."""
    return torch.promote_types(dtype, torch.float32)


def toward_zero(exact: Tensor, dtype: torch.dtype) -> Tensor:
    """``exact`` in a narrower type, rounded so that no coordinate grows: a member of a ball stays a member."""
    if exact.dtype == dtype:
        return exact
    rounded = exact.to(dtype)
    smaller = torch.nextafter(rounded, torch.zeros_like(rounded))
    return torch.where(rounded.to(exact.dtype).abs() > exact.abs(), smaller, rounded)
