"""Checks of outputs and targets that several tasks share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robustfw.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor


def dtype_name(y: Tensor) -> str:
    """The type of a tensor as in "float32"."""
    return str(y.dtype).removeprefix("torch.")


def read_logits(outputs: object, n: int) -> Tensor:
    """The logits among what a net gives for n examples (`robustfw.interop.pick_output`), a row for each.

    Raises:
        DataError: the net gives no such tensor.
    """
    from robustfw.interop import pick_output

    logits = pick_output(outputs, "auto")
    if not logits.is_floating_point():
        raise DataError(
            f"the net's outputs are {dtype_name(logits)}: give the logits, not the predicted classes"
        )
    if not logits.dim() or len(logits) != n:
        raise DataError(
            f"the net's outputs have shape {tuple(logits.shape)} for {n} examples: give a row for each"
        )
    return logits


def labels(y: Tensor) -> Tensor:
    """Class labels (n,), int64, from whole numbers (n,) or (n, 1), or from one-hot rows (n, K).

    Raises:
        DataError: y has none of these forms.
    """
    if y.dim() == 2 and y.shape[1] == 1 and not y.is_floating_point():
        y = y[:, 0]
    if y.dim() == 2 and y.shape[1] > 1:
        binary = bool(((y == 0) | (y == 1)).all())
        if binary and bool((y.sum(1) == 1).all()):
            return y.float().argmax(1)
        raise DataError(
            "targets are several numbers per example: classification takes one label each (y.argmax(1))"
        )
    if y.dim() != 1:
        raise DataError(
            f"labels have shape {tuple(y.shape)}, and should have one number per example"
        )
    if y.is_floating_point() or y.is_complex():
        raise DataError(f"labels are {dtype_name(y)}: give int64 (y.long())")
    return y.long()


def check_labels(y: Tensor, classes: int) -> None:
    """Raise a `DataError` unless labels are from −1, which stands for no label, to classes − 1."""
    if not y.numel():
        return
    lowest = int(y.min())
    highest = int(y.max())
    if lowest < -1 or highest >= classes:
        raise DataError(
            f"labels run from {lowest} to {highest}, outside 0 … {classes - 1}"
        )
