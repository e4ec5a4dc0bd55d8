"""The laws of a loss, on outputs and targets of every form that a task may have."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from robustfw.errors import DataError
from robustfw.loss import Loss
from robustfw.losses import UNLABELLED
from robustfw.testing.laws import Law, LawBroken, require

ROWS = 8
"""Rows of outputs and targets."""


def _forms(seed: int) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, outputs and targets of each form."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(ROWS, *shape, generator=generator)

    labels = torch.arange(ROWS)
    yield "four classes", normal(4), labels % 4
    yield "two classes", normal(2), labels % 2
    yield "numbers", normal(3), normal(3)
    yield "several labels", normal(3), (normal(3) > 0).float()
    yield "probabilities", normal(3), normal(3).softmax(1)
    yield (
        "a class for each pixel",
        normal(3, 2, 2),
        torch.arange(4 * ROWS).reshape(ROWS, 2, 2) % 3,
    )


def _find_forms(loss: Loss, seed: int) -> list[tuple[str, Tensor, Tensor]]:
    """The forms that the loss does not refuse."""
    forms = []
    for name, outputs, y in _forms(seed):
        try:
            loss(outputs.clone(), y.clone())
        except DataError:
            continue
        forms.append((name, outputs, y))
    if not forms:
        raise LawBroken(
            "it refuses outputs and targets of every form that the kit tries"
        )
    return forms


def check_form(loss: Loss, seed: int) -> None:
    """Values have shape (batch,) and are finite, of any number of rows; what the loss refuses is a `DataError`."""
    for name, outputs, y in _find_forms(loss, seed):
        for rows in (ROWS, 1, 0):
            values = loss(outputs[:rows], y[:rows])
            require(
                values.shape == (rows,),
                f"{name}: values have shape {tuple(values.shape)} for {rows} rows",
            )
            require(
                bool(values.isfinite().all()),
                f"{name}: values are not finite: {values.tolist()}",
            )


def check_rows(loss: Loss, seed: int) -> None:
    """Value i depends on row i alone."""
    for name, outputs, y in _find_forms(loss, seed):
        values = loss(outputs, y)
        values_alone = []
        for i in range(ROWS):
            row = slice(i, i + 1)
            values_alone.append(loss(outputs[row], y[row]))
        difference = (torch.cat(values_alone) - values).abs()
        close = difference <= 1e-5 * (1 + values.abs())
        require(close, f"{name}: the value of a row depends on other rows", was=values)


def check_gradient(loss: Loss, seed: int) -> None:
    """The gradient in the outputs is finite, also where these are very large, and not zero everywhere."""
    for name, outputs, y in _find_forms(loss, seed):
        for scale in (1.0, 1e4):
            scaled = (scale * outputs).requires_grad_()
            (gradient,) = torch.autograd.grad(loss(scaled, y).sum(), scaled)
            require(
                bool(gradient.isfinite().all()),
                f"{name}: the gradient is not finite at outputs of size {scale:g}",
            )
            require(
                scale > 1 or bool((gradient != 0).any()),
                f"{name}: the gradient is zero",
            )


def check_unlabelled(loss: Loss, seed: int) -> None:
    """An example without a label, −1, has the value 0, and changes nothing for the others."""
    for name, outputs, y in _find_forms(loss, seed):
        if y.is_floating_point():
            continue
        before = loss(outputs, y)
        unlabelled = torch.arange(ROWS) % 2 == 0
        some_labels = y.clone()
        some_labels[unlabelled] = UNLABELLED
        values = loss(outputs, some_labels)
        require(
            (values == 0) | ~unlabelled,
            text=f"{name}: the value without a label is {{}}, not 0",
            value=values,
        )
        same = (values == before) | unlabelled
        require(
            same,
            f"{name}: a label that another row lacks changes the value",
            was=before,
        )


def check_manners(loss: Loss, seed: int) -> None:
    """Outputs and targets are as before, and nothing is drawn: asked twice, it gives the same values."""
    for name, outputs, y in _find_forms(loss, seed):
        outputs_before = outputs.clone()
        y_before = y.clone()
        first = loss(outputs, y)
        second = loss(outputs, y)
        same = torch.equal(outputs, outputs_before) and torch.equal(y, y_before)
        require(same, f"{name}: it changed its arguments")
        require(
            bool(torch.equal(first, second)),
            f"{name}: asked twice, it gives other values",
        )


LAWS = (
    Law("form", check_form),
    Law("rows are independent", check_rows),
    Law("gradient", check_gradient),
    Law("unlabelled", check_unlabelled),
    Law("manners", check_manners),
)
