"""Values of examples from elsewhere: their type, their range, and the order of their axes."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from robustfw.errors import DataError

Range: TypeAlias = Literal["auto"] | tuple[float, float] | None
"""The range of values as they are stored: (lowest, highest), "auto" to tell it from them, or None for no range."""
Axes: TypeAlias = Literal["auto", "first", "last", "add"]
"""Where the channels of images are: the first axis of an example, the last, or nowhere, so that an axis is added."""

CHANNELS = (1, 3, 4)
"""Numbers of channels that images have."""
ROUNDING = 1e-6
"""Share of a range by which values may leave it."""


def as_tensor(values: Any, name: str) -> Tensor:
    """A tensor from a tensor, an array, a table of pandas or a list.

    Args:
        values: what is given.
        name: what it is, for the message.

    Raises:
        DataError: the values are no numbers, or rows differ in length.
    """
    if isinstance(values, Tensor):
        return values.detach()
    if hasattr(values, "to_numpy"):
        values = values.to_numpy()
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError(
            f"{name} has rows of different lengths: pad or cut them to one"
        ) from error
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"{name} is of type {array.dtype}: give numbers (of words, their numbers from 0)"
        )
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        # torch has few operations for unsigned integers beyond one byte
        array = array.astype(np.int64)
    native = array.dtype.newbyteorder("=")
    # torch takes neither another machine's byte order nor a negative stride
    return torch.from_numpy(np.array(array, dtype=native, order="C"))


def place_channels(x: Tensor, axes: Axes = "auto") -> Tensor:
    """Examples with their channels first, as nets take them.

    Args:
        x: examples (n, *shape).
        axes: where the channels are; "auto" takes x as it is, and refuses what looks like images of another order.

    Raises:
        DataError: the shape does not fit, or looks like channels that are last, or missing.
    """
    shape = tuple(x.shape)
    if axes == "add":
        return x.unsqueeze(1)
    if axes == "last":
        if x.dim() < 3:
            raise DataError(
                f"examples have shape {shape[1:]}: there is no axis of channels to move"
            )
        return x.movedim(-1, 1)
    if axes == "first":
        return x
    if _looks_channels_last(shape):
        raise DataError(
            f"x has shape {shape}, which looks like (n, height, width, channels): give channels first, by "
            "channels=last in a spec or x.transpose(0, 3, 1, 2) of an array"
        )
    if x.dim() == 3 and x.dtype == torch.uint8:
        raise DataError(
            f"x has shape {shape} and bytes as values, which looks like (n, height, width): give an axis of one "
            "channel, by channels=add in a spec or x[:, None] of an array (channels=first takes the shape as it is)"
        )
    return x


def _looks_channels_last(shape: tuple[int, ...]) -> bool:
    """Whether a batch of such a shape looks like (n, height, width, channels)."""
    if len(shape) != 4 or shape[3] not in CHANNELS:
        return False
    is_square = shape[1] == shape[2] != shape[3]
    return is_square or shape[1] not in CHANNELS


def scale_values(
    x: Tensor, stored: Range = "auto"
) -> tuple[Tensor, tuple[float, float] | None]:
    """Examples as float32 (or bytes, which are read as x/255), and the range that their values have then.

    Values within a range become 0 to 1, so that radii are shares of the range. With "auto", bytes are x/255, numbers
    from 0 to 1 stay, and other features have no range; images whose values leave [0, 1] are refused, since nobody but
    their owner knows the range.

    Args:
        x: examples (n, *shape).
        stored: the range in which values are stored.

    Returns:
        The examples, and (0, 1), or None for no range.

    Raises:
        DataError: values are not finite, leave the range, or are of images in a range that is not told.
    """
    if x.is_complex():
        raise DataError("x has complex numbers: give real ones")
    if x.dim() < 2:
        raise DataError(
            f"x has shape {tuple(x.shape)}: give a batch of examples, such as (n, features)"
        )
    if x.dtype == torch.uint8 and (stored == "auto" or stored == (0, 255)):
        return x, (0.0, 1.0)
    if x.dtype == torch.bool:
        return x.float(), (0.0, 1.0)
    values = x if x.dtype == torch.float64 else x.float()
    check_finite(values, "x")
    if stored is None or not values.numel():
        return values.float(), None if stored is None else (0.0, 1.0)
    lowest, highest = (float(end) for end in values.aminmax())
    if stored == "auto":
        if lowest >= 0 and highest <= 1:
            return values.float(), (0.0, 1.0)
        if values.dim() == 4:
            raise DataError(
                f"images have values from {lowest:.4g} to {highest:.4g}, and no range is told: "
                f"{advise(lowest, highest)}"
            )
        return values.float(), None
    low, high = stored
    slack = ROUNDING * (high - low)
    if lowest < low - slack or highest > high + slack:
        raise DataError(
            f"values run from {lowest:.4g} to {highest:.4g}, outside the range [{low:g}, {high:g}] that is told: "
            f"{advise(lowest, highest)}"
        )
    scaled = (values.double() - low) / (high - low)
    return scaled.clamp(0, 1).float(), (0.0, 1.0)


def advise(lowest: float, highest: float) -> str:
    """The option that mends values of a range that was not told.

    Args:
        lowest: the smallest value that was seen.
        highest: the largest one.
    """
    if lowest >= 0 and 1 < highest <= 255:
        return "pixels from 0 to 255 take range=[0,255]"
    if -1 <= lowest < 0 and highest <= 1:
        return "pixels from −1 to 1 take range=[-1,1], and a net made for them normalize=0.5/0.5"
    return (
        "standardisation belongs into the net; give values as they were before it, with their range, as in "
        "range=[0,255], or range=none for features without a range"
    )


def check_finite(values: Tensor, name: str) -> None:
    """Raise a `DataError` that counts the examples with values that are not finite numbers.

    Args:
        values: examples (n, *shape) or targets (n,).
        name: what they are, for the message.
    """
    if not values.is_floating_point() or bool(values.isfinite().all()):
        return
    broken = ~values.isfinite()
    if values.dim() > 1:
        broken = broken.flatten(1).any(1)
    raise DataError(
        f"{name} has values that are not finite numbers, in {int(broken.sum())} of {len(values)} examples: mend them, "
        "or leave these examples out"
    )
