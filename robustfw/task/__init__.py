"""Tasks: the form of targets and outputs, when an output is wrong, the default loss, and further measures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robustfw.hookspecs import hookimpl
from robustfw.task._graded import Multilabel, Regression, Segmentation
from robustfw.task._interface import Task
from robustfw.task._labelled import Binary, Classification, Labelled

if TYPE_CHECKING:
    from robustfw.hookspecs import Add

__all__ = [
    "Binary",
    "Classification",
    "Labelled",
    "Multilabel",
    "Regression",
    "Segmentation",
    "Task",
]


@hookimpl
def robustfw_register(add: Add) -> None:
    """Register the tasks by name."""
    add("classification", Classification)
    add("binary", Binary)
    add("multilabel", Multilabel)
    add("regression", Regression)
    add("segmentation", Segmentation)
