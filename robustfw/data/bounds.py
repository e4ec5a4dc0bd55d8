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
    low = _broadcastable(lower, like)
    high = _broadcastable(upper, like)
    return low, high


def _broadcastable(end: Any, like: Tensor) -> Tensor | float:
    """One end of a range as a number or as a tensor that broadcasts to a batch ``like``, in float32 at least."""
    if isinstance(end, int | float):
        return float(end)
    shape = tuple(like.shape[1:])
    if isinstance(end, Sequence):
        numbers = [float(number) for number in end]
        values = torch.tensor(numbers, dtype=torch.float64)
        if like.dim() < 2 or len(values) != like.shape[1]:
            raise UsageError(
                f"there are {len(values)} bounds, and examples of shape {shape}: give one number, or "
                "one for each feature or channel"
            )
        trailing = [1] * (like.dim() - 2)
        end = values.reshape(-1, *trailing)
    tensor = torch.as_tensor(end)
    dtype = torch.promote_types(like.dtype, torch.float32)
    try:
        torch.broadcast_shapes(tensor.shape, shape)
    except RuntimeError as error:
        raise UsageError(
            f"bounds of shape {tuple(tensor.shape)} do not fit examples of shape {shape}"
        ) from error
    return tensor.to(device=like.device, dtype=dtype)


def check_range(x: Tensor, bounds: Bounds) -> bool:
    """Raise a `DataError` unless x is a batch of finite floating-point numbers within its bounds.

    Returns:
        Whether some of x lies outside, by no more than rounding.
    """
    if not x.is_floating_point():
        dtype = str(x.dtype).removeprefix("torch.")
        raise DataError(
            f"x is {dtype}: give floats in the data's range (x.float() / 255)"
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
    if not bool(total.isfinite()):
        broken = (~x.isfinite()).flatten(1).any(1)
        if bool(broken.any()):
            raise DataError(
                f"x has values that are not finite numbers, in {int(broken.sum())} of {len(x)} examples"
            )
    if bounds is None:
        return False
    lower, upper = ends(bounds, x)
    if isinstance(lower, float) and isinstance(upper, float):
        smallest, largest = x.aminmax()
        is_within = lower <= float(smallest) and float(largest) <= upper
    else:
        is_within = bool(((x >= lower) & (x <= upper)).all())
    if is_within:
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
    below = exact < low - slack
    above = exact > high + slack
    if bool((below | above).any()):
        least = float(x.min())
        most = float(x.max())
        raise DataError(
            f"x ranges over [{least:.4g}, {most:.4g}], outside its bounds {spell_bounds(lower, upper)}: "
            f"{_advise(least, most)}"
        )


def _advise(least: float, most: float) -> str:
    """What mends values of another range than was told.

    Args:
        least: the smallest value of x.
        most: the largest one.
    """
    if least >= 0 and 1 < most <= 255:
        return "pixels from 0 to 255 are given as x / 255 (range=[0,255] in the spec of a data set)"
    if -1 <= least < 0 and most <= 1:
        return (
            "pixels from −1 to 1 are given as (x + 1) / 2 (range=[-1,1] in the spec of a data set) and the net then "
            "takes normalize=0.5/0.5, or their bounds are (-1, 1)"
        )
    return "standardisation belongs into the model; rescale x or give other bounds"


def spell_bounds(lower: Any, upper: Any) -> str:
    """A range in words, for messages: [0, 1], or its extremes over the features."""
    low = torch.as_tensor(lower, dtype=torch.float64)
    high = torch.as_tensor(upper, dtype=torch.float64)
    lowest = float(low.min())
    highest = float(high.max())
    if low.numel() == high.numel() == 1:
        return f"[{lowest:g}, {highest:g}]"
    return f"of each feature (from {lowest:g} to {highest:g} in all)"
