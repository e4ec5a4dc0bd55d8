"""Targets from elsewhere, in whatever form: the task that they are for, their classes, and one form for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import attrs
import numpy as np
import torch
from torch import Tensor

from robustfw.data.values import as_tensor, check_finite
from robustfw.errors import DataError
from robustfw.task import (
    Binary,
    Classification,
    Multilabel,
    Regression,
    Segmentation,
    Task,
)

MOST_PER_CLASS = 100
"""Whole numbers whose largest is more than so many times their count of different values are no class labels."""


@final
@attrs.frozen(eq=False)
class Targets:
    """The targets of all examples, and what they are for."""

    y: Tensor
    """int64 labels (n,) or (n, height, width), or floating-point targets (n, d)."""
    task: Task
    classes: int
    """Number of classes or labels, or of targets of a regression."""
    labels: tuple[str, ...] | None
    """Names of the classes; None: they have none."""


def read_targets(
    values: Any,
    task: Task | None = None,
    *,
    classes: int | None = None,
    labels: Sequence[str] | None = None,
) -> Targets:
    """Targets in one form, from labels as whole numbers of any type, as words, or in one-hot rows, and from numbers.

    Args:
        values: a tensor, an array, a column of a table, or a list, with a row for each example.
        task: what they are for; None: whole numbers (n,) are classes, words and one-hot rows, too; several columns of 0
            and 1 are labels that may be present together; whole numbers (n, height, width) are classes of pixels.
        classes: how many classes, labels or targets there are; None: as many as the values show.
        labels: names of the classes.

    Raises:
        DataError: nothing tells what the values are for, or they do not fit the task or the number of classes.
    """
    words = _read_words(values)
    if words is not None:
        numbers, names = _number_words(words, labels)
        labels = names
        y = numbers
    else:
        y = as_tensor(values, "y")
    check_finite(y, "y")
    if y.dtype == torch.bool:
        y = y.long()
    known_task = task or _guess_task(y)
    y = _in_form_of(known_task, y)
    targets = known_task.targets(y)
    count = classes
    if count is None:
        count = max(_count_classes(known_task, targets, y), len(labels or ()))
    _check_labels(targets, count, explicit=classes is not None)
    known_task.check(targets, count)
    if labels is not None and len(labels) != count:
        raise DataError(
            f"there are {len(labels)} names for {count} classes: give a name for each"
        )
    return Targets(
        targets, known_task, count, None if labels is None else tuple(labels)
    )


def _read_words(values: Any) -> list[str] | None:
    """The values as words, where they are words and no numbers; None for numbers."""
    if isinstance(values, Tensor):
        return None
    array = np.asarray(values)
    if array.dtype.kind not in "OUST" or array.ndim != 1:
        return None
    parts = array.tolist()
    if all(isinstance(part, bool | int | float) for part in parts):
        return None
    if not all(isinstance(part, str | bool | int) for part in parts):
        raise DataError(
            "some targets are missing, or are words beside numbers: give each example a label of one kind"
        )
    return [str(part) for part in parts]


def _number_words(
    words: list[str], labels: Sequence[str] | None
) -> tuple[Tensor, tuple[str, ...]]:
    """The number of each word among the names of the classes, which by default are all words in their order."""
    names = tuple(labels) if labels is not None else tuple(sorted(set(words)))
    number_of = {name: number for number, name in enumerate(names)}
    unknown = sorted(set(words) - set(names))
    if unknown:
        raise DataError(f"{unknown[0]!r} is none of the classes {', '.join(names)}")
    return torch.tensor([number_of[word] for word in words]), names


def _guess_task(y: Tensor) -> Task:
    """The task that targets look like.

    Raises:
        DataError: they look like none, or like a regression, whose tolerance nobody can guess.
    """
    if y.dim() == 2 and y.shape[1] > 1 and bool(((y == 0) | (y == 1)).all()):
        one_hot = bool((y.sum(1) == 1).all())
        return Classification() if one_hot else Multilabel()
    is_column = y.dim() == 1 or (y.dim() == 2 and y.shape[1] == 1)
    if is_column and (not y.is_floating_point() or _are_all_classes(y)):
        return Classification()
    if not y.is_floating_point() and (
        y.dim() == 3 or (y.dim() == 4 and y.shape[1] == 1)
    ):
        return Segmentation()
    if y.is_floating_point() and y.dim() <= 2:
        raise DataError(
            "targets are numbers, as of a regression: say which error counts as right, task=(regression:tolerance=…)"
        )
    raise DataError(
        f"targets have shape {tuple(y.shape)}, of which no task is known: name it by task=…"
    )


def _are_all_classes(y: Tensor) -> bool:
    """Whether floating-point numbers are whole, from 0 on, and each up to the largest occurs: labels, most likely."""
    values = y.unique()
    return bool((values == torch.arange(len(values)).to(values)).all())


def _in_form_of(task: Task, y: Tensor) -> Tensor:
    """Targets with the type that a task takes, where the change loses nothing."""
    if isinstance(task, Regression):
        return y.float()
    is_whole = y.is_floating_point() and bool((y == y.round()).all())
    if isinstance(task, Classification | Binary | Segmentation) and is_whole:
        return y.long()
    return y


def _count_classes(task: Task, targets: Tensor, y: Tensor) -> int:
    """How many classes, labels or targets there are, by the targets alone."""
    if isinstance(task, Binary):
        return 2
    if isinstance(task, Classification) and y.dim() == 2 and y.shape[1] > 1:
        return y.shape[1]
    if targets.is_floating_point():
        return targets.shape[1]
    if not targets.numel():
        return 2
    return max(2, int(targets.max()) + 1)


def _check_labels(targets: Tensor, classes: int, *, explicit: bool) -> None:
    """Raise a `DataError` where whole numbers look like no labels from 0 on.

    Args:
        targets: in the form of the task.
        classes: how many classes there are.
        explicit: whether this number was given.
    """
    if targets.is_floating_point() or not targets.numel():
        return
    values = targets.unique().tolist()
    if values == [-1, 1]:
        raise DataError("labels are −1 and 1, and −1 stands for no label: give 0 and 1")
    if explicit:
        return
    if len(values) > 1 and values == list(range(1, len(values) + 1)):
        raise DataError(
            f"labels run from 1 to {values[-1]}, and none is 0: subtract 1, or give classes={values[-1] + 1} if "
            "class 0 has no example"
        )
    if targets.dim() == 3 and values[-1] == 255 and classes > len(values) + 1:
        raise DataError(
            "255 stands for pixels without a class, it seems: give −1 for them, or classes=256"
        )
    if classes > MOST_PER_CLASS * len(values):
        raise DataError(
            f"whole numbers up to {values[-1]}, {len(values)} of them different, are no class labels, it seems: number "
            "classes from 0, give classes=…, or task=(regression:tolerance=…)"
        )
