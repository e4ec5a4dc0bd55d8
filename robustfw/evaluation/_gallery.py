"""A few examples that an attack has fooled a net with, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import attrs
import torch
from torch import Tensor

from robustfw.evaluation._measurement import AttackedBatch
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
    """x of each example, (*shape)."""
    adversarials: list[Tensor] = attrs.field(factory=list)
    """x̃ of each example, (*shape)."""
    before: list[str] = attrs.field(factory=list)
    """What each example is: its label or its number."""
    after: list[str] = attrs.field(factory=list)
    """What the net says of each adversarial example."""

    def __call__(self, batch: AttackedBatch) -> None:
        """Take in what is wrong, as long as there is room."""
        room = MOST - len(self.before)
        for row in batch.wrong.nonzero()[:room, 0].tolist():
            y = batch.y[row]
            outputs = batch.outputs[row]
            self.originals.append(batch.x[row].cpu())
            self.adversarials.append(batch.perturbed[row].cpu())
            self.before.append(self._describe_target(y))
            self.after.append(self._describe_outputs(outputs, y))

    def _describe_target(self, y: Tensor) -> str:
        """The label or the numbers; nothing where there are too many to say in a word."""
        if self.task.labelled:
            return self._class_name(int(y))
        if y.numel() <= FEW:
            return _numbers(y)
        return ""

    def _describe_outputs(self, outputs: Tensor, y: Tensor) -> str:
        """The class with its probability, the numbers, or how far off they are."""
        if self.task.labelled:
            others = outputs.clone()
            # at a tie it is the other class that counts
            others[int(y)] = -torch.inf
            label = int(others.argmax())
            probabilities = outputs.double().softmax(0)
            per_cent = 100 * float(probabilities[label])
            return f"{self._class_name(label)}, {per_cent:.0f} %"
        regression = isinstance(self.task, Regression)
        if regression and y.numel() <= FEW:
            return _numbers(outputs)
        measure = self.task.measure(outputs[None], y[None])
        error = 0.0 if measure is None else float(measure[0, 0])
        if regression:
            return f"off by {error:.3g}"
        return f"{100 * error:.0f} % wrong"

    def _class_name(self, label: int) -> str:
        if self.labels and label < len(self.labels):
            return self.labels[label]
        return str(label)

    @property
    def pictures(self) -> tuple[Tensor, Tensor] | None:
        """Originals and adversarials, (n, *shape) each; None where nothing was fooled."""
        if not self.originals:
            return None
        return torch.stack(self.originals), torch.stack(self.adversarials)


def _numbers(values: Tensor) -> str:
    """A few numbers in a word."""
    return ", ".join(f"{value:.3g}" for value in values.flatten().tolist())
