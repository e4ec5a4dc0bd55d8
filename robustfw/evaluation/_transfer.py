"""How a net does on adversarial examples that were crafted against another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from robustfw.data.bounds import Bounds, ends
from robustfw.data.splits import Split
from robustfw.errors import DataError
from robustfw.evaluation._accuracy import device_of
from robustfw.evaluation._checks import check_outputs
from robustfw.evaluation._crafting import Examples
from robustfw.evaluation._intervals import wilson
from robustfw.evaluation._views import SHARE_HEADS, flat_row, html_table, share_cells
from robustfw.inner.adversary import TOLERANCE
from robustfw.inner.freezing import freeze
from robustfw.inner.threat import Threat
from robustfw.regions import norms
from robustfw.task import Classification, Task


@attrs.frozen
class Share:
    """How many examples that were crafted within one set a net has right."""

    uncertainty: str
    """The spec of the set."""
    n: int
    """Examples within the set."""
    correct: int
    """Examples that the net has right."""
    accuracy: float | None
    """correct / n; None where there is no example."""
    interval: tuple[float, float]
    """95 % interval of the accuracy."""

    @classmethod
    def from_mask(cls, uncertainty: str, right: Tensor) -> Share:
        """The share of a mask over the examples of a set, (n,)."""
        n = len(right)
        correct = int(right.sum())
        accuracy = correct / n if n else None
        return cls(
            uncertainty=uncertainty,
            n=n,
            correct=correct,
            accuracy=accuracy,
            interval=wilson(correct, n),
        )


@attrs.frozen
class Transfer:
    """How a net does on examples that were crafted against another; intervals are Wilson's, 95 %."""

    n: int
    """Examples of all sets."""
    correct: int
    """Examples that the net has right."""
    accuracy: float
    """correct / n."""
    interval: tuple[float, float]
    """95 % interval of the accuracy."""
    accuracy_8bit: float
    """The accuracy after rounding to the 256 values that an image file keeps."""
    sets: tuple[Share, ...]
    """The share of each of the sets."""

    @classmethod
    def measure(
        cls,
        model: nn.Module,
        examples: Examples,
        sets: Sequence[str],
        bounds: Bounds,
        task: Task | None = None,
    ) -> Transfer:
        """Measure; no attack is run.

        Args:
            model: outputs of x (batch, *shape).
            examples: adversarial examples that were crafted against another net.
            sets: the specs of their sets.
            bounds: the data range.
            task: what the outputs are for; classification by default.

        Raises:
            DataError: there is no example, or outputs do not fit the task.
        """
        if not len(examples):
            raise DataError(
                "the collection is empty: nothing fooled the net that it was crafted against"
            )
        right = correct(model, x=examples.adversarial, y=examples.y, task=task)
        rounded = round_to_8_bits(examples.adversarial, bounds)
        right_rounded = correct(model, x=rounded, y=examples.y, task=task)
        shares = []
        for number, spec in enumerate(sets):
            shares.append(Share.from_mask(spec, right[examples.set == number]))
        n = len(right)
        count = int(right.sum())
        return cls(
            n=n,
            correct=count,
            accuracy=count / n,
            interval=wilson(count, n),
            accuracy_8bit=float(right_rounded.double().mean()),
            sets=tuple(shares),
        )

    def to_row(self) -> dict[str, Any]:
        """A flat dict, for ``pandas.DataFrame([result.to_row(), …])``."""
        facts = attrs.asdict(self, filter=attrs.filters.exclude("sets"))
        return flat_row(facts | {part.uncertainty: part.accuracy for part in self.sets})

    def _repr_html_(self) -> str:
        """A table for notebooks: all examples, and those of each set."""
        rows = [share_cells("all sets", self.correct, self.n, self.interval)]
        for part in self.sets:
            if part.n:
                rows.append(
                    share_cells(part.uncertainty, part.correct, part.n, part.interval)
                )
        return html_table(SHARE_HEADS, rows)


def correct(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    task: Task | None = None,
    batch_size: int = 500,
) -> Tensor:
    """Which examples a net has right, (n,).

    Args:
        model: outputs of x (batch, *shape).
        x: examples (n, *shape).
        y: targets in the form of the task.
        task: what the outputs are for; classification by default.
        batch_size: examples in a forward pass.

    Raises:
        DataError: outputs do not fit the task.
    """
    task = task or Classification()
    device = device_of(model)
    right = [torch.zeros(0, dtype=torch.bool)]
    with freeze(model), torch.no_grad():
        for batch, targets in zip(
            x.split(batch_size), y.split(batch_size), strict=True
        ):
            if len(batch):
                outputs = task.read(model(batch.to(device).clone()), len(batch))
                check_outputs(task, outputs=outputs, targets=targets, classes=None)
                right.append(~task.wrong(outputs, targets.to(device)).cpu())
    return torch.cat(right)


def round_to_8_bits(x: Tensor, bounds: Bounds) -> Tensor:
    """x as an image file of 8 bits keeps it: the nearest of 256 values of the range (of [0, 1] where there is none)."""
    lower, upper = ends(bounds or (0.0, 1.0), x)
    low = torch.as_tensor(lower).to(x)
    high = torch.as_tensor(upper).to(x)
    width = high - low
    width = width.where(high > low, torch.ones_like(width))
    shares = (x - low) / width
    levels = (shares * 255).round().clamp(0, 255)
    return levels / 255 * width + low


def verify(
    examples: Examples,
    split: Split,
    threats: Sequence[Threat],
    task: Task | None = None,
) -> None:
    """Refuse a collection that was altered or belongs to other data; an empty one passes.

    Args:
        examples: adversarial examples of one or more sets.
        split: the examples that they were made from.
        threats: the sets in the data range, in the order of ``examples.set``.
        task: what the targets are for; classification by default.

    Raises:
        DataError: an x̃ is not made from its example of the split, or lies outside its set or the data range.
    """
    if not len(examples):
        return
    if int(examples.index.max()) >= len(split):
        raise DataError(
            f"the collection has examples beyond the {len(split)} of the split: it belongs to other data"
        )
    batches = list(split.subset(examples.index).iterate(500))
    x = torch.cat([x for x, _ in batches])
    y = torch.cat([y for _, y in batches])
    targets = (task or Classification()).targets(y)
    if not (torch.equal(x, examples.original) and torch.equal(targets, examples.y)):
        raise DataError(
            "originals of the collection are not the examples of this data: it belongs to other data"
        )
    for number, threat in enumerate(threats):
        _verify_set(examples[(examples.set == number).nonzero()[:, 0]], threat)


def _verify_set(examples: Examples, threat: Threat) -> None:
    if not len(examples):
        return
    region = threat.region(examples.original)
    outside = region.violation(examples.delta) > TOLERANCE * (
        1 + norms(examples.delta.double())
    )
    perturbed = threat.apply(region, examples.original, examples.delta)
    altered = (perturbed != examples.adversarial).flatten(1).any(1)
    if bool(outside.any() or altered.any()):
        raise DataError(
            f"{int((outside | altered).sum())} of {len(examples)} adversarial examples are not in their set within the "
            "data range: the collection was altered, or made by something else; craft it again"
        )
