"""The summary of an evaluation: counts, shares, intervals, and reasons to doubt them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from robustfw.errors import DataError
from robustfw.evaluation._intervals import wilson
from robustfw.evaluation._outcomes import ExampleOutcomes
from robustfw.evaluation._verdicts import Verdicts
from robustfw.evaluation._views import (
    SHARE_HEADS,
    flat_row,
    html_table,
    share_cells,
)
from robustfw.inner.escalation import Trigger
from robustfw.task import Classification, Task


@attrs.frozen
class Evaluation:
    """The summary of verdicts. Accuracies are shares of all n examples; intervals are Wilson's, 95 %."""

    n: int
    """Examples."""
    correct: int
    """Examples that are right without any perturbation."""
    robust: int
    """Correct examples that the attacks could not change."""
    clean_accuracy: float
    """correct / n."""
    robust_accuracy: float
    """robust / n."""
    clean_interval: tuple[float, float]
    """95 % interval of the clean accuracy."""
    interval: tuple[float, float]
    """95 % interval of the robust accuracy."""
    per_class: tuple[tuple[int, int, int], ...]
    """For each class: examples, correct, robust; empty where an example has no class."""
    zero_gradients: int
    """Attacked examples at which the loss has no gradient."""
    forward_passes: int
    """Forward passes of the attacks, summed over examples."""
    backward_passes: int
    """Backward passes of the attacks, summed over examples."""
    seconds: float
    """Wall time of the measurement."""
    ties: int = 0
    """Examples at which the largest output is shared by several classes."""
    not_numbers: int = 0
    """Examples at which an output is not a number."""
    constant: bool = False
    """Whether the net's outputs are the same for all examples, though these differ."""
    random: bool = False
    """Whether two forward passes over the same examples, in evaluation mode, gave different outputs."""
    batch_size: int = 0
    """Examples that were attacked together; the smallest number where memory made it halve them."""
    memory: int = 0
    """The most memory that the process has had by the end, in bytes: on a CUDA device what torch allocated there,
    elsewhere the resident memory; 0 where it is not known."""
    metrics: Mapping[str, Mapping[str, float]] = attrs.field(factory=dict)
    """Further figures of the task by name, each ``clean`` and ``robust``: at the examples and at their worst cases."""
    escalation: tuple[Trigger, ...] = ()
    """Evidence that gradient attacks were blind to the net, and what they did about it."""
    verdicts: Verdicts | None = attrs.field(default=None, eq=False, repr=False)
    """What became of each example, in the order of the split."""

    @classmethod
    def from_verdicts(
        cls, verdicts: Verdicts, classes: int | None = None, task: Task | None = None
    ) -> Evaluation:
        """Counts, shares and intervals.

        Args:
            verdicts: of all examples.
            classes: how many classes there are, for ``per_class``; None: as many as labels say.
            task: what the outputs are for; classification by default.
        """
        task = task or Classification()
        n = len(verdicts.y)
        correct = int(verdicts.clean.sum())
        robust = int(verdicts.robust.sum())
        return cls(
            n=n,
            correct=correct,
            robust=robust,
            clean_accuracy=correct / n,
            robust_accuracy=robust / n,
            clean_interval=wilson(correct, n),
            interval=wilson(robust, n),
            per_class=_count_per_class(verdicts, classes) if task.labelled else (),
            zero_gradients=verdicts.zero_gradients,
            forward_passes=verdicts.passes.forward,
            backward_passes=verdicts.passes.backward,
            seconds=verdicts.seconds,
            ties=verdicts.ties,
            not_numbers=verdicts.not_numbers,
            constant=n > 1 and verdicts.constant is not None,
            random=verdicts.random,
            batch_size=verdicts.batch_size,
            memory=verdicts.memory,
            metrics=_metrics(verdicts, task),
            verdicts=verdicts,
        )

    @property
    def examples(self) -> ExampleOutcomes:
        """What became of each example, in the order of the split, with x̃ where examples were kept.

        Raises:
            DataError: this is the summary alone, as it is read from a file for instance.
        """
        if self.verdicts is None:
            raise DataError("this evaluation is a summary, and knows no single example")
        return ExampleOutcomes(
            y=self.verdicts.y,
            correct=self.verdicts.clean,
            robust=self.verdicts.robust,
            kept=self.verdicts.examples,
        )

    def to_row(self) -> dict[str, Any]:
        """A flat dict, for ``pandas.DataFrame([result.to_row(), …])``; without classes and single examples."""
        facts = describe(self)
        del facts["per_class"]
        return flat_row(facts) | {"doubts": "; ".join(self.doubts)}

    def _repr_html_(self) -> str:
        """A table for notebooks, with what makes the numbers doubtful."""
        rows = [
            share_cells("clean", self.correct, self.n, self.clean_interval),
            share_cells("robust", self.robust, self.n, self.interval),
        ]
        for name, values in self.metrics.items():
            for when, number in values.items():
                rows.append([f"{name}, {when}", f"{number:.4g}", "", ""])
        return html_table(SHARE_HEADS, rows, self.doubts)

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why the numbers may mean less than they say, a sentence each."""
        sentences = []
        if self.zero_gradients:
            sentences.append(
                f"at {self.zero_gradients} of {self.n} examples the loss has no gradient: a gradient attack is blind "
                "there, so robust accuracy may be overstated; try --escalate"
            )
        if self.ties:
            sentences.append(
                f"at {self.ties} of {self.n} examples the largest output is shared by several classes, which is no "
                "decision: they count as wrong; a net that gives the same for every x is broken"
            )
        if self.not_numbers:
            sentences.append(
                f"at {self.not_numbers} of {self.n} examples the net's outputs are not numbers: its weights are "
                "broken, or something in it overflows"
            )
        if self.constant:
            sentences.append(
                f"the net gives the same outputs for all {self.n} examples: it ignores its input, or its first layers "
                "are dead; look at its weights and at how x is normalised"
            )
        if self.random:
            sentences.append(
                "two forward passes over the same examples, in evaluation mode, gave different outputs: the net is "
                "random, and robust accuracy by one pass a lottery; switch its randomness off, or measure a module "
                "that gives the mean of its outputs over many passes (no attack here averages over them by itself)"
            )
        return tuple(sentences)


def _count_per_class(
    verdicts: Verdicts, classes: int | None
) -> tuple[tuple[int, int, int], ...]:
    """Examples, correct and robust ones of each class."""
    if classes is None:
        classes = int(verdicts.y.max()) + 1
    counts = []
    for label in range(classes):
        members = verdicts.y == label
        correct = int(verdicts.clean[members].sum())
        robust = int(verdicts.robust[members].sum())
        counts.append((int(members.sum()), correct, robust))
    return tuple(counts)


def _metrics(verdicts: Verdicts, task: Task) -> dict[str, dict[str, float]]:
    if verdicts.clean_measure is None or verdicts.robust_measure is None:
        return {}
    clean = task.metrics(verdicts.clean_measure)
    robust = task.metrics(verdicts.robust_measure)
    return {name: {"clean": clean[name], "robust": robust[name]} for name in clean}


def describe(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation as JSON; without single examples, and without metrics and escalation where there are none."""
    facts = attrs.asdict(evaluation, filter=attrs.filters.exclude("verdicts"))
    if not facts["escalation"]:
        del facts["escalation"]
    if not facts["metrics"]:
        del facts["metrics"]
    return facts
