"""Checks of outputs and targets that several tasks share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from robustfw.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor


def dtype_name(y: Tensor) -> str:
    """The type of a tensor as in "float32"."""
    return str(y.dtype).removeprefix("torch.")


def find_logits(outputs: Any) -> Any:
    """The logits among what a net gives: a tensor itself, ``.logits``, a mapping's ``logits``, or a tuple's first.

    Raises:
        DataError: what the net gives has none of these; the message says what it has.
    """
    import torch

    if isinstance(outputs, torch.Tensor):
        return outputs
    advice = "take its logits alone, as robustfw.adapt(net, output=…) does"
    if isinstance(outputs, Mapping):
        if "logits" in outputs:
            return outputs["logits"]
        raise DataError(
            f"the net gives a mapping with {', '.join(map(str, outputs))}, and no logits: {advice}"
        )
    if hasattr(outputs, "logits"):
        return outputs.logits
    if isinstance(outputs, tuple | list):
        if outputs and isinstance(outputs[0], torch.Tensor):
            return outputs[0]
        parts = ", ".join(type(part).__name__ for part in outputs)
        raise DataError(
            f"the net gives a {type(outputs).__name__} of {parts or 'nothing'}, and no tensor first: {advice}"
        )
    raise DataError(f"the net gives a {type(outputs).__name__}, not a tensor: {advice}")


def read_logits(outputs: object, n: int) -> Tensor:
    """The logits among what a net gives for n examples (`find_logits`), as floating point with a row for each.

    Raises:
        DataError: the net gives no such tensor.
    """
    import torch

    logits = find_logits(outputs)
    if not isinstance(logits, torch.Tensor):
        raise DataError(
            f"the net gives a {type(logits).__name__}, not a tensor, as its logits: take another of its outputs, as "
            "robustfw.adapt(net, output=…) does"
        )
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
