"""Tensor arithmetic row by row: what every region needs, and every author of one."""

from __future__ import annotations

import torch
from torch import Tensor

PLAIN = {torch.float64: 1e-140}
"""Norms from which on no square that counts has underflowed; narrower types are added up in float32."""
PLAIN_IN_FLOAT32 = 1e-14


def per_row(values: Tensor | float, like: Tensor) -> Tensor:
    """Numbers, one for all rows or one per row, shaped (batch or 1, 1, …, 1) to go with ``like``."""
    return torch.as_tensor(values, dtype=like.dtype, device=like.device).reshape(-1, *[1] * (like.dim() - 1))


def step_per_row(step: Tensor | float, like: Tensor) -> Tensor | float:
    """A step length that multiplies ``like``: a number as it is, a tensor (batch,) shaped (batch, 1, …, 1)."""
    return per_row(step, like) if isinstance(step, Tensor) else step


def norms(delta: Tensor) -> Tensor:
    """‖δ‖₂ of each row, (batch,), without underflow or overflow of the squares.

    Rows whose plain norm can be trusted keep it; the others are divided by their largest magnitude first. On a device
    other than the CPU, where looking means waiting, all rows are.
    """
    rows = delta.flatten(1)
    plain = torch.linalg.vector_norm(rows, dim=1)
    if not rows.numel():
        return plain
    if plain.device.type == "cpu":
        smallest, largest = (float(extreme) for extreme in plain.detach().aminmax())
        if PLAIN.get(delta.dtype, PLAIN_IN_FLOAT32) <= smallest and largest < torch.inf:
            return plain
    scale = largest_magnitudes(rows)
    return torch.linalg.vector_norm(rows / scale, dim=1) * scale[:, 0]


def largest_magnitudes(rows: Tensor) -> Tensor:
    """max_j |v_j| of each row of (batch, d), (batch, 1) and detached; 1 where that is 0 or not finite."""
    largest = rows.detach().abs().amax(1, keepdim=True)
    return torch.where((largest > 0) & largest.isfinite(), largest, 1)


def with_unit_maximum(direction: Tensor) -> Tensor:
    """Each row divided by its largest magnitude: the same direction, with squares and sums that are numbers."""
    if not direction.numel():
        return direction
    return direction / per_row(largest_magnitudes(direction.flatten(1)), direction)


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


def exact(tensor: Tensor) -> Tensor:
    """The tensor in the type in which membership is decided: float64, or float32 on devices that have no wider one."""
    return tensor.to(torch.float32 if tensor.device.type == "mps" else torch.float64)


def toward_zero(exact: Tensor, dtype: torch.dtype) -> Tensor:
    """``exact`` in a narrower type, rounded so that no coordinate grows: a member of a ball stays a member."""
    if exact.dtype == dtype:
        return exact
    rounded = exact.to(dtype)
    smaller = torch.nextafter(rounded, torch.zeros_like(rounded))
    return torch.where(rounded.to(exact.dtype).abs() > exact.abs(), smaller, rounded)
