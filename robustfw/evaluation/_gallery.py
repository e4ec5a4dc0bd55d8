"""A few examples that an attack has fooled a net with, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import attrs
import torch
from torch import Tensor

from robustfw.evaluation._accuracy import Shown
from robustfw.task import Regression, Task

MOST = 10
"""Examples that are gathered."""
FEW = 3
"""Numbers that can be said in a word."""


@final
@attrs.define(eq=False)
class Gallery:
    """The first fooled examples that `robustfw.evaluation.verdicts` shows, with a word about each."""

    task: Task
    labels: Sequence[str] | None = None
    """Names of the classes."""
    originals: list[Tensor] = attrs.field(factory=list)
    adversarials: list[Tensor] = attrs.field(factory=list)
    before: list[str] = attrs.field(factory=list)
    """What each is: its label or its number."""
    after: list[str] = attrs.field(factory=list)
    """What the net says of the adversarial."""

    def __call__(self, shown: Shown) -> None:
        """Take in what is wrong, as long as there is room."""
        for row in shown.wrong.nonzero()[: MOST - len(self.before), 0].tolist():
            self.originals.append(shown.x[row].cpu())
            self.adversarials.append(shown.moved[row].cpu())
            self.before.append(self._target(shown.y[row]))
            self.after.append(self._said(shown.outputs[row], shown.y[row]))

    def _target(self, y: Tensor) -> str:
        """The label or the numbers; nothing where there are too many to say in a word."""
        if self.task.labelled:
            return self._named(int(y))
        return _numbers(y) if y.numel() <= FEW else ""

    def _said(self, outputs: Tensor, y: Tensor) -> str:
        if self.task.labelled:
            own = int(y)
            others = outputs.clone()
            others[own] = -torch.inf  # at a tie it is the other class that counts
            label = int(others.argmax())
            return f"{self._named(label)}, {100 * float(outputs.double().softmax(0)[label]):.0f} %"
        regression = isinstance(self.task, Regression)
        if regression and y.numel() <= FEW:
            return _numbers(outputs)
        measured = self.task.measure(outputs[None], y[None])
        error = 0.0 if measured is None else float(measured[0, 0])
        return f"off by {error:.3g}" if regression else f"{100 * error:.0f} % wrong"

    def _named(self, label: int) -> str:
        return self.labels[label] if self.labels and label < len(self.labels) else str(label)

    @property
    def pictures(self) -> tuple[Tensor, Tensor] | None:
        """Originals and adversarials, (n, *shape) each; None where nothing was fooled."""
        if not self.originals:
            return None
        return torch.stack(self.originals), torch.stack(self.adversarials)


def _numbers(values: Tensor) -> str:
    """A few numbers in a word."""
    return ", ".join(f"{value:.3g}" for value in values.flatten().tolist())
