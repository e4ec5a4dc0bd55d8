"""Tensor arithmetic row by row, for regions and for authors of regions."""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST_NORM = {torch.float64: 1e-140}
"""Smallest norm by type for which no square that matters has underflowed; other types see `SMALLEST_NORM_FLOAT32`."""

SMALLEST_NORM_FLOAT32 = 1e-14
"""Smallest norm for which no square that matters has underflowed in float32, in which narrower types are summed."""


def per_row(values: Tensor | float, like: Tensor) -> Tensor:
    """One number for all rows, or one per row, as a tensor (1 or batch, 1, …, 1) that broadcasts to ``like``."""
    trailing = [1] * (like.dim() - 1)
    numbers = torch.as_tensor(values, dtype=like.dtype, device=like.device)
    return numbers.reshape(-1, *trailing)


def step_per_row(step: Tensor | float, like: Tensor) -> Tensor | float:
    """A step length that broadcasts to ``like``: a number as it is, or a tensor (batch,) as (batch, 1, …, 1)."""
    if isinstance(step, Tensor):
        return per_row(step, like)
    return step


def share_of_way(step: Tensor | float, way: Tensor) -> Tensor:
    """A share ``step`` of the way to a member, for sets in which no step is longer than that.

    Args:
        step: the share, one for all rows or one per row, (batch,); more than 1 counts as 1.
        way: the whole way, (batch, *shape).
    """
    share = step_per_row(step, way)
    if isinstance(share, Tensor):
        return share.clamp(max=1) * way
    return min(share, 1.0) * way


def norms(delta: Tensor) -> Tensor:
    """‖δ‖₂ of each row, (batch,), without underflow or overflow of the squares.

    On a CPU the plain norms are returned if none is so small or large that squares may have been lost. Otherwise all
    rows are divided by their largest magnitude first; on other devices always, since a look at the norms would wait
    for the device.
    """
    rows = delta.flatten(1)
    plain = torch.linalg.vector_norm(rows, dim=1)
    if not rows.numel():
        return plain
    if plain.device.type == "cpu":
        smallest, largest = plain.detach().aminmax()
        least = SMALLEST_NORM.get(delta.dtype, SMALLEST_NORM_FLOAT32)
        if least <= float(smallest) and float(largest) < torch.inf:
            return plain
    scale = largest_magnitudes(rows)
    scaled_norms = torch.linalg.vector_norm(rows / scale, dim=1)
    return scaled_norms * scale[:, 0]


def largest_magnitudes(rows: Tensor) -> Tensor:
    """max_j |v_j| of each row of a tensor (batch, d), as (batch, 1), detached; 1 where that is 0 or not finite."""
    largest = rows.detach().abs().amax(1, keepdim=True)
    usable = (largest > 0) & largest.isfinite()
    return torch.where(usable, largest, 1)


def with_unit_maximum(direction: Tensor) -> Tensor:
    """Each row divided by its largest magnitude: a direction whose squares and sums neither vanish nor overflow."""
    if not direction.numel():
        return direction
    largest = largest_magnitudes(direction.flatten(1))
    return direction / per_row(largest, direction)


def inner_products(left: Tensor, right: Tensor) -> Tensor:
    """⟨left, right⟩ of each row, (batch,)."""
    products = left.flatten(1) * right.flatten(1)
    return products.sum(1)


def uniform_like(like: Tensor, generator: torch.Generator) -> Tensor:
    """U[0, 1) numbers of the shape and device of ``like``, in float32 at least, drawn on the generator's device."""
    numbers = torch.rand(
        like.shape, generator=generator, device=generator.device, dtype=wide(like.dtype)
    )
    return numbers.to(like.device)


def normal_like(like: Tensor, generator: torch.Generator) -> Tensor:
    """N(0, 1) numbers of the shape and device of ``like``, in float32 at least, drawn on the generator's device."""
    numbers = torch.randn(
        like.shape, generator=generator, device=generator.device, dtype=wide(like.dtype)
    )
    return numbers.to(like.device)


def wide(dtype: torch.dtype) -> torch.dtype:
    """The type in which to compute: float32 for half precision, otherwise the type itself."""
    return torch.promote_types(dtype, torch.float32)


def exact(tensor: Tensor) -> Tensor:
    """The tensor in float64, in which membership is decided; in float32 on devices without float64."""
    if tensor.device.type == "mps":
        return tensor.to(torch.float32)
    return tensor.to(torch.float64)


def round_toward_zero(exact: Tensor, dtype: torch.dtype) -> Tensor:
    """``exact`` converted to a narrower type, each coordinate rounded toward 0: a member of a ball stays a member."""
    if exact.dtype == dtype:
        return exact
    rounded = exact.to(dtype)
    smaller = torch.nextafter(rounded, torch.zeros_like(rounded))
    grown = rounded.to(exact.dtype).abs() > exact.abs()
    return torch.where(grown, smaller, rounded)
