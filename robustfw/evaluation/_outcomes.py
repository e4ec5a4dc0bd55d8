"""What became of each example of an evaluation, one by one, with its worst case where that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

from robustfw.errors import UsageError
from robustfw.inner.adversary import Attempt

FEW = 8
"""Numbers of one target that a row of a table has room for."""


@attrs.frozen(eq=False)
class KeptExamples:
    """Examples and their worst cases with the net's outputs at both, in the memory of the CPU."""

    x: Tensor
    """The examples, (n, *shape)."""
    adversarial: Tensor
    """x̃, (n, *shape); x itself where the output was wrong to begin with and nothing was attacked."""
    outputs: Tensor
    """The outputs at x, in the form of the task, (n, …)."""
    adversarial_outputs: Tensor
    """The outputs at x̃, in the form of the task, (n, …)."""

    @classmethod
    def concatenate(cls, parts: Sequence[KeptExamples]) -> KeptExamples:
        """Those of several batches as one, in their order."""
        tensors = {}
        for field in attrs.fields(cls):
            tensors[field.name] = torch.cat(
                [getattr(part, field.name) for part in parts]
            )
        return cls(**tensors)


@attrs.frozen(eq=False)
class WorstPoints:
    """The worst case of each example of a batch so far; rows are changed in place."""

    perturbed: Tensor
    """x̃, (batch, *shape); x itself where nothing was attacked."""
    outputs: Tensor
    """The net's outputs at x̃, in the form of the task."""

    def put(self, rows: Tensor, attempt: Attempt) -> None:
        """Take the rows of an attempt as the worst cases of these rows of the batch."""
        self.perturbed[rows] = attempt.perturbed.to(self.perturbed.dtype)
        self.outputs[rows] = attempt.outputs.detach().to(self.outputs.dtype)


@attrs.frozen(eq=False)
class ExampleOutcomes:
    """What became of each of n examples, in the order of the split; ``len`` is n.

    x, x̃ and outputs are there where `robustfw.evaluate` was told ``keep_examples=True``.
    """

    y: Tensor
    """Targets in the form of the task, (n, …)."""
    correct: Tensor
    """Whether the output at the example itself is right, (n,)."""
    robust: Tensor
    """Whether it stays right at the worst case that the attacks found, (n,)."""
    kept: KeptExamples | None = attrs.field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.y)

    @property
    def fooled(self) -> Tensor:
        """Whether an attack has made a right output wrong, (n,)."""
        return self.correct & ~self.robust

    @property
    def x(self) -> Tensor:
        """The examples, (n, *shape)."""
        return self._kept().x

    @property
    def adversarial(self) -> Tensor:
        """The worst case x̃ of each example, (n, *shape); x itself where the output was wrong to begin with."""
        return self._kept().adversarial

    @property
    def outputs(self) -> Tensor:
        """The net's outputs at x, (n, …)."""
        return self._kept().outputs

    @property
    def adversarial_outputs(self) -> Tensor:
        """The net's outputs at x̃, (n, …)."""
        return self._kept().adversarial_outputs

    def _kept(self) -> KeptExamples:
        if self.kept is None:
            raise UsageError(
                "the examples were not kept: evaluate with keep_examples=True"
            )
        return self.kept

    def to_rows(self) -> list[dict[str, Any]]:
        """A flat dict for each example, for ``pandas.DataFrame(result.examples.to_rows())``.

        The target is among it where it is a few numbers. Where examples are kept and outputs are one number for each
        class, so are the class that the net says before and after the attack, and the size of the change.
        """
        columns: dict[str, list[Any]] = {"index": list(range(len(self)))}
        targets = self.y.flatten(1) if self.y.dim() > 1 else self.y[:, None]
        if targets.shape[1] == 1:
            columns["y"] = targets[:, 0].tolist()
        elif targets.shape[1] <= FEW:
            for number in range(targets.shape[1]):
                columns[f"y{number}"] = targets[:, number].tolist()
        columns["correct"] = self.correct.tolist()
        columns["robust"] = self.robust.tolist()
        columns["fooled"] = self.fooled.tolist()
        if self.kept is not None:
            if self.y.dim() == 1 and not self.y.is_floating_point():
                columns["before"] = self.outputs.argmax(1).tolist()
                columns["after"] = self.adversarial_outputs.argmax(1).tolist()
            change = (self.adversarial - self.x).flatten(1).abs()
            columns["largest_change"] = change.amax(1).tolist()
        rows = []
        for values in zip(*columns.values(), strict=True):
            rows.append(dict(zip(columns, values, strict=True)))
        return rows
