"""Checks of a split in memory against the declared shape, task and range of its data set."""

from __future__ import annotations

import torch
from torch import Tensor

from robustfw.data._split import TensorSplit
from robustfw.data.bounds import check_range
from robustfw.data.spec import DataSpec
from robustfw.errors import DataError
from robustfw.losses import UNLABELLED


def check_tensors(name: str, split: TensorSplit, spec: DataSpec) -> None:
    """Raise a `DataError` where a split does not fit the spec in shape, targets or range of values.

    Args:
        name: "train", "validation" or "test", for the message; only training examples may lack a label.
        split: the examples.
        spec: the declared shape, classes, range and task.
    """
    shape = tuple(split.x.shape[1:])
    if shape != spec.shape:
        raise DataError(
            f"{name} examples have shape {shape}; the data set declares {spec.shape}"
        )
    try:
        targets = spec.task.targets(split.y)
        spec.task.check(targets, spec.classes)
        if (
            spec.task.labelled
            and name != "train"
            and bool((targets == UNLABELLED).any())
        ):
            raise DataError(
                "some examples have no label (−1), which only training examples may lack"
            )
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    if split.x.dtype == torch.uint8:
        _check_bytes(name, split.x, spec)
    elif spec.bounds is not None or split.x.is_floating_point():
        try:
            check_range(split.x, spec.bounds)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error


def _check_bytes(name: str, x: Tensor, spec: DataSpec) -> None:
    """Raise a `DataError` where the values x/255 of uint8 examples are outside of the declared range."""
    if spec.bounds is None:
        return
    smallest, largest = x.aminmax()
    low = float(smallest) / 255
    high = float(largest) / 255
    lower, upper = spec.bounds
    lowest = min(lower) if isinstance(lower, tuple) else lower
    highest = max(upper) if isinstance(upper, tuple) else upper
    if not (lowest <= low and high <= highest):
        raise DataError(
            f"{name} values range over [{low:.4g}, {high:.4g}], outside the declared bounds "
            f"[{lowest:g}, {highest:g}]: radii would be in the wrong unit"
        )
