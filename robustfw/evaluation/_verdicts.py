"""What became of each example under attack, and the counts, shares and intervals of all of them."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import torch
from torch import Tensor

from robustfw.errors import DataError
from robustfw.evaluation._outcomes import KeptExamples
from robustfw.inner.problem import Passes


@attrs.frozen(eq=False)
class Verdicts:
    """What became of each example of a batch, or of several put together."""

    y: Tensor
    """Targets in the form of the task."""
    clean: Tensor
    """Whether the output at the example itself is right, (n,)."""
    robust: Tensor
    """Whether the output stays right at the worst case that the attacks found, (n,); never where ``clean`` is not."""
    zero_gradients: int
    """Attacked examples at which the loss has no gradient: the attack had nothing to go by."""
    ties: int
    """Examples at which the label's logit is the largest, and another one is as large: they count as wrong."""
    not_numbers: int
    """Examples at which an output is not a number."""
    passes: Passes
    """Forward and backward passes that the attacks took."""
    seconds: float
    """Wall time of the measurement."""
    clean_measure: Tensor | None = None
    """What the task measures at the examples, (n, m), where right or wrong is not all (`Task.measure`)."""
    robust_measure: Tensor | None = None
    """What the task measures at the worst cases, (n, m), where right or wrong is not all (`Task.measure`)."""
    constant: Tensor | None = None
    """The output at all examples, where it is one and the same though the examples differ; None where it varies."""
    random: bool = False
    """Whether a second forward pass over the first batch gave other outputs."""
    batch_size: int = 0
    """Examples of a full batch, the smallest one where batches were halved; 0 where it is not known."""
    memory: int = 0
    """The most memory that the process has had by the end, in bytes; 0 where it is not known."""
    examples: KeptExamples | None = None
    """The examples and their worst cases, where they were to be kept."""

    def __len__(self) -> int:
        return len(self.y)

    @classmethod
    def concatenate(cls, parts: Iterable[Verdicts]) -> Verdicts:
        """The verdicts of several batches as one, in their order.

        Raises:
            DataError: they are of different tasks.
        """
        batches = list(parts)
        forward = sum(batch.passes.forward for batch in batches)
        backward = sum(batch.passes.backward for batch in batches)
        clean_measure = None
        robust_measure = None
        if batches and batches[0].clean_measure is not None:
            clean_measure = _concatenate_measures(
                [batch.clean_measure for batch in batches]
            )
            robust_measure = _concatenate_measures(
                [batch.robust_measure for batch in batches]
            )
        return cls(
            y=torch.cat([batch.y for batch in batches]),
            clean=torch.cat([batch.clean for batch in batches]),
            robust=torch.cat([batch.robust for batch in batches]),
            zero_gradients=sum(batch.zero_gradients for batch in batches),
            ties=sum(batch.ties for batch in batches),
            not_numbers=sum(batch.not_numbers for batch in batches),
            passes=Passes(forward, backward),
            seconds=sum(batch.seconds for batch in batches),
            clean_measure=clean_measure,
            robust_measure=robust_measure,
            constant=_common_constant(batches),
            random=any(batch.random for batch in batches),
            batch_size=min(batch.batch_size for batch in batches),
            memory=max(batch.memory for batch in batches),
            examples=_concatenate_examples(batches),
        )


def _common_constant(batches: list[Verdicts]) -> Tensor | None:
    """The output that all batches have in common; None where one of them has another."""
    first = batches[0].constant
    for batch in batches:
        constant = batch.constant
        if first is None or constant is None or not torch.equal(first, constant):
            return None
    return first


def _concatenate_examples(batches: list[Verdicts]) -> KeptExamples | None:
    """The kept examples of all batches; None where some were not kept."""
    kept = [batch.examples for batch in batches if batch.examples is not None]
    if len(kept) < len(batches):
        return None
    return KeptExamples.concatenate(kept)


def _concatenate_measures(measures: list[Tensor | None]) -> Tensor:
    tensors = [measure for measure in measures if measure is not None]
    if len(tensors) < len(measures):
        raise DataError("verdicts of different tasks cannot be put together")
    return torch.cat(tensors)
