"""The laws of a task, on outputs and targets of the form that it takes."""

from __future__ import annotations

import math
from collections.abc import Iterator

import attrs
import torch
from torch import Tensor

from robustfw.errors import DataError
from robustfw.task import Task
from robustfw.testing.laws import Law, LawBroken, require

ROWS = 8
"""Rows of outputs and targets."""
UPDATES = 600
"""Steps of gradient descent on outputs."""


@attrs.frozen(eq=False)
class _Case:
    """Outputs and targets for a task."""

    classes: int
    outputs: Tensor
    """In the form that nets give them."""
    y: Tensor
    """In the form that data has them."""


def _candidates(task: Task, seed: int) -> Iterator[_Case]:
    """Outputs and targets of all forms that the kit tries."""
    generator = torch.Generator().manual_seed(seed)
    for classes in (3, 2, 1):
        try:
            width = task.outputs(classes)
        except DataError:
            continue
        outputs = torch.randn(ROWS, width, generator=generator)
        pixels = torch.randn(ROWS, width, 4, 4, generator=generator)
        yield _Case(classes, outputs, torch.arange(ROWS) % classes)
        yield _Case(
            classes=classes,
            outputs=outputs,
            y=(torch.rand(ROWS, width, generator=generator) > 0.5).float(),
        )
        yield _Case(classes, outputs, torch.randn(ROWS, width, generator=generator))
        yield _Case(
            classes=classes,
            outputs=pixels,
            y=torch.randint(classes, (ROWS, 4, 4), generator=generator),
        )


def _case(task: Task, seed: int) -> _Case:
    """The first outputs and targets that the task takes."""
    for case in _candidates(task, seed):
        try:
            targets = task.targets(case.y)
            task.check(targets, case.classes)
            task.wrong(task.read(case.outputs, ROWS), targets)
        except DataError:
            continue
        return case
    raise LawBroken("it takes no outputs and targets that the kit tries")


def check_targets(task: Task, seed: int) -> None:
    """Targets in their form stay as they are when they are read once more, and rows of them are rows of y."""
    case = _case(task, seed)
    targets = task.targets(case.y)
    require(len(targets) == ROWS, f"{len(targets)} targets for {ROWS} examples")
    require(
        bool(torch.equal(task.targets(targets), targets)),
        "targets that are read twice are others",
    )
    for i in range(ROWS):
        alone = task.targets(case.y[i : i + 1])
        require(
            bool(torch.equal(alone, targets[i : i + 1])),
            f"the target of row {i} depends on other rows",
        )


def check_wrong(task: Task, seed: int) -> None:
    """Right or wrong is a bool (batch,) of each row by itself, for any number of rows; what is no number is wrong."""
    case = _case(task, seed)
    targets = task.targets(case.y)
    wrong = task.wrong(task.read(case.outputs, ROWS), targets)
    require(
        wrong.dtype == torch.bool and wrong.shape == (ROWS,),
        f"wrong is {wrong.dtype} {tuple(wrong.shape)}",
    )
    single_rows = [slice(i, i + 1) for i in range(ROWS)]
    no_rows = slice(0, 0)
    for rows in [*single_rows, no_rows]:
        outputs = task.read(case.outputs[rows], len(targets[rows]))
        wrong_alone = task.wrong(outputs, targets[rows])
        same = bool(torch.equal(wrong_alone, wrong[rows]))
        require(same, "whether a row is wrong depends on other rows")
    nan_outputs = torch.full_like(case.outputs, torch.nan)
    not_numbers = task.read(nan_outputs, ROWS)
    require(
        bool(task.wrong(not_numbers, targets).all()),
        "outputs that are not numbers count as right",
    )


def check_loss(task: Task, seed: int) -> None:
    """Outputs that lower the task's loss become right: gradient descent on them ends with none wrong."""
    case = _case(task, seed)
    targets = task.targets(case.y)
    outputs = case.outputs.clone().requires_grad_()
    optimizer = torch.optim.Adam([outputs], 0.1)
    for _ in range(UPDATES):
        values = task.loss(task.read(outputs, ROWS), targets)
        require(
            values.shape == (ROWS,),
            f"the loss has values of shape {tuple(values.shape)} for {ROWS} examples",
        )
        optimizer.zero_grad()
        values.sum().backward()
        optimizer.step()
    wrong = task.wrong(task.read(outputs.detach(), ROWS), targets)
    require(
        not bool(wrong.any()),
        f"where its loss is lowest, {int(wrong.sum())} of {ROWS} outputs are wrong",
    )


def check_measure(task: Task, seed: int) -> None:
    """A graded task measures each row, (batch, m), finite, and has figures; any other measures nothing."""
    case = _case(task, seed)
    measures = task.measure(task.read(case.outputs, ROWS), task.targets(case.y))
    require(
        task.graded == (measures is not None),
        f"graded is {task.graded}, and measure gives {type(measures)}",
    )
    if measures is None:
        return
    require(
        measures.dim() == 2 and len(measures) == ROWS,
        f"what is measured has shape {tuple(measures.shape)}",
    )
    require(bool(measures.isfinite().all()), "what is measured is not finite")
    figures = task.metrics(measures)
    require(bool(figures), "there is no figure, although the task is graded")
    require(
        all(math.isfinite(figure) for figure in figures.values()),
        f"figures are not finite: {figures}",
    )


def check_refusals(task: Task, seed: int) -> None:
    """Targets that do not fit are a `DataError`: another number of classes, labels beyond them, no numbers."""
    case = _case(task, seed)
    targets = task.targets(case.y)
    if targets.is_floating_point():
        not_numbers = torch.full_like(targets, torch.nan)
        misfits = [(not_numbers, case.classes), (targets, case.classes + 1)]
    else:
        beyond = torch.full_like(targets, case.classes)
        negative = torch.full_like(targets, -2)
        misfits = [(beyond, case.classes), (negative, case.classes)]
    for misfit, classes in misfits:
        try:
            task.check(misfit, classes)
        except DataError:
            continue
        low = float(misfit.min())
        high = float(misfit.max())
        raise LawBroken(
            f"it takes targets from {low:g} to {high:g} for {classes} classes"
        )


LAWS = (
    Law("targets", check_targets),
    Law("wrong", check_wrong),
    Law("loss", check_loss),
    Law("measure", check_measure),
    Law("refusals", check_refusals),
)
