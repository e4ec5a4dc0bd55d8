"""The range of the data: one for all values or one for each feature or channel, and the check that x is within."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from robustfw.errors import DataError, UsageError

Bounds: TypeAlias = tuple[Any, Any] | None
"""The range of the data, (lower, upper): each a number, one for each feature or channel (the first axis of an example),
or a tensor that broadcasts to an example; None where there is no range."""

ROUNDING = 4
"""Units in the last place by which x may leave its range; (1 − mean)/std, computed twice, differs by about one."""


def ends(bounds: Bounds, like: Tensor) -> tuple[Tensor | float, Tensor | float]:
    """Both ends of a range, as numbers or as tensors that broadcast to a batch ``like``."""
    if bounds is None:
        return -torch.inf, torch.inf
    lower, upper = bounds
    return _broadcastable(lower, like), _broadcastable(upper, like)


def _broadcastable(end: Any, like: Tensor) -> Tensor | float:
    """One end of a range as a number or as a tensor that broadcasts to a batch ``like``, in float32 at least."""
    if isinstance(end, int | float):
        return float(end)
    if isinstance(end, Sequence):
        values = torch.tensor([float(number) for number in end], dtype=torch.float64)
        if like.dim() < 2 or len(values) != like.shape[1]:
            raise UsageError(
                f"there are {len(values)} bounds, and examples of shape {tuple(like.shape[1:])}: give one number, or "
                "one for each feature or channel"
            )
        end = values.reshape(-1, *[1] * (like.dim() - 2))
    tensor = torch.as_tensor(end)
    dtype = torch.promote_types(like.dtype, torch.float32)
    try:
        torch.broadcast_shapes(tensor.shape, like.shape[1:])
    except RuntimeError as error:
        raise UsageError(
            f"bounds of shape {tuple(tensor.shape)} do not fit examples of shape {tuple(like.shape[1:])}"
        ) from error
    return tensor.to(device=like.device, dtype=dtype)


def check_range(x: Tensor, bounds: Bounds) -> bool:
    """Raise a `DataError` unless x is a batch of finite floating-point numbers within its bounds.

    Returns:
        Whether some of x lies outside, by no more than rounding.
    """
    if not x.is_floating_point():
        raise DataError(
            f"x is {str(x.dtype).removeprefix('torch.')}: give floats in the data's range (x.float() / 255)"
        )
    if x.dim() < 2:
        raise DataError(
            f"x has shape {tuple(x.shape)}: give a batch of examples, such as (batch, features); x[:, None] makes one "
            "feature of each number"
        )
    if not x.numel():
        return False
    # the sum is cheaper than a test of each number, and not finite where one of them is not
    total = x.sum(dtype=torch.promote_types(x.dtype, torch.float32))
    if not bool(total.isfinite()) and not bool(x.isfinite().all()):
        broken = int((~x.isfinite()).flatten(1).any(1).sum())
        raise DataError(
            f"x has values that are not finite numbers, in {broken} of {len(x)} examples"
        )
    if bounds is None:
        return False
    lower, upper = ends(bounds, x)
    if isinstance(lower, float) and isinstance(upper, float):
        low, high = (float(extreme) for extreme in x.aminmax())
        if lower <= low and high <= upper:
            return False
    elif bool(((x >= lower) & (x <= upper)).all()):
        return False
    _check_rounding(x, lower, upper)
    return True


def _check_rounding(x: Tensor, lower: Tensor | float, upper: Tensor | float) -> None:
    """Raise a `DataError` unless x leaves its range by rounding alone."""
    exact = x.double()
    low = torch.as_tensor(lower, dtype=torch.float64, device=x.device)
    high = torch.as_tensor(upper, dtype=torch.float64, device=x.device)
    largest_end = torch.maximum(low.abs(), high.abs())
    scale = torch.maximum(torch.ones_like(low), largest_end)
    slack = ROUNDING * torch.finfo(x.dtype).eps * scale
    outside = (exact < low - slack) | (exact > high + slack)
    if bool(outside.any()):
        least, most = (float(extreme) for extreme in x.aminmax())
        raise DataError(
            f"x ranges over [{least:.4g}, {most:.4g}], outside its bounds {spell_bounds(lower, upper)}: "
            "standardisation belongs into the model; rescale x or give other bounds"
        )


def spell_bounds(lower: Any, upper: Any) -> str:
    """A range in words, for messages: [0, 1], or its extremes over the features."""
    low = torch.as_tensor(lower, dtype=torch.float64)
    high = torch.as_tensor(upper, dtype=torch.float64)
    if low.numel() == high.numel() == 1:
        return f"[{float(low):g}, {float(high):g}]"
    return (
        f"of each feature (from {float(low.min()):g} to {float(high.max()):g} in all)"
    )
