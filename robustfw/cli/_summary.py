"""Verdicts as an evaluation, with progress while they come and a warning where the number is doubtful."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robustfw.data.spec import DataSpec
    from robustfw.data.splits import Split
    from robustfw.evaluation import Evaluation, Verdicts
    from robustfw.storage._partial import Partial


def summarize_verdicts(
    batches: Iterable[Verdicts], split: Split, name: str, spec: DataSpec, *, quiet: bool
) -> Evaluation:
    """The evaluation of a split, with a bar while it goes on, and a warning where its numbers are doubtful.

    Args:
        batches: the verdicts, batch by batch.
        split: the examples.
        name: of the split, on the bar.
        spec: classes and task of the data.
        quiet: whether there is no bar.
    """
    from robustfw import console

    shown = console.batches(batches, len(split), name, quiet=quiet)
    return summarize(shown, spec)


def summarize(batches: Iterable[Verdicts], spec: DataSpec) -> Evaluation:
    """The evaluation of all batches, with a warning where its numbers are doubtful."""
    from robustfw import console
    from robustfw.evaluation import Evaluation, Verdicts

    verdicts = Verdicts.concatenate(batches)
    evaluation = Evaluation.from_verdicts(verdicts, spec.classes, spec.task)
    for doubt in evaluation.doubts:
        console.problem(doubt)
    return evaluation


def interruption_message(partial: Partial, n: int) -> str:
    """What is known so far, with its denominator, and how to go on."""
    if partial.verdicts is None:
        return "stopped before the first batch was measured"
    measured = len(partial.verdicts)
    robust = int(partial.verdicts.robust.sum())
    return (
        f"stopped after {measured} of {n} examples, of which {robust} are robust so far ({robust / measured:.1%}); the "
        "same command goes on"
    )
