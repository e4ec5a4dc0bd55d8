"""Checks of targets and outputs against the task, before anything is measured by them."""

from __future__ import annotations

from torch import Tensor

from robustfw import losses
from robustfw.errors import DataError
from robustfw.task import Task


def read_targets(task: Task, x: Tensor, y: Tensor, classes: int | None) -> Tensor:
    """Targets of a batch in the form of the task.

    Args:
        task: what the targets are for.
        x: the examples, (batch, *shape).
        y: the targets as the data set has them.
        classes: how many classes, labels or targets there are; None: not known, and not checked.

    Raises:
        DataError: they are not as many as the examples, do not fit the task, or an example has no label.
    """
    if len(y) != len(x):
        raise DataError(f"there are {len(x)} examples and {len(y)} targets")
    targets = task.targets(y)
    if task.labelled and bool((targets == losses.UNLABELLED).any()):
        raise DataError(
            "examples without a label (−1) cannot be evaluated: leave them out"
        )
    if classes is not None:
        task.check(targets, classes)
    return targets


def check_outputs(
    task: Task, outputs: Tensor, targets: Tensor, classes: int | None
) -> None:
    """Refuse outputs that are not for so many classes, labels or targets.

    Args:
        task: what the outputs are for.
        outputs: of the net, in the form of the task, (batch, outputs, …).
        targets: in the form of the task.
        classes: how many there are; None: as many as labels need.

    Raises:
        DataError: there are more or fewer outputs.
    """
    if classes is not None:
        check_width(outputs, classes)
    elif not targets.is_floating_point():
        task.check(targets, outputs.shape[1])


def check_width(outputs: Tensor, classes: int) -> None:
    """Raise a `DataError` unless outputs, in the form of their task, are for so many classes, labels or targets."""
    if outputs.shape[1] != classes:
        raise DataError(
            f"the net has {outputs.shape[1]} outputs for {classes} classes: give classes={outputs.shape[1]}, or the "
            "net of this data"
        )


def find_constant(x: Tensor, outputs: Tensor) -> Tensor | None:
    """The output that all examples of a batch have, though they differ; None where it varies, or is not a number.

    Args:
        x: the examples, (batch, *shape).
        outputs: of the net, (batch, …).
    """
    if bool((outputs != outputs[:1]).any()):
        return None
    if len(x) > 1 and not bool((x != x[:1]).any()):
        return None
    return outputs[0].detach().cpu()
