"""Kind of result `evaluation`: clean and robust accuracy of a net on one split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import attrs

from robustfw.results._evaluation_fields import EvaluationFields, strongest
from robustfw.results._evaluation_figures import class_figure, net_figures
from robustfw.results._kind import ConsoleOutput, Drawing, ResultKind
from robustfw.results._table import Table
from robustfw.results._words import (
    INTERVALS,
    abbreviate,
    abbreviate_attacks,
    commands,
    fact,
    format_bytes,
    number,
    share,
)

if TYPE_CHECKING:
    from robustfw.results._material import Material, ReportedRun


@final
@attrs.frozen
class EvaluationKind(ResultKind):
    """Clean and robust accuracy on one split; robustfw evaluate keeps it."""

    fields = EvaluationFields
    place = 10

    def example(self) -> Mapping[str, Any]:
        return {
            "uncertainty": "linf:radius=0.1",
            "attacks": ["pgd:steps=40"],
            "split": "test",
            "weights": "best",
            "n": 4,
            "correct": 3,
            "robust": 2,
            "clean_accuracy": 0.75,
            "robust_accuracy": 0.5,
            "clean_interval": [0.3, 0.95],
            "interval": [0.15, 0.85],
            "per_class": [[2, 2, 1], [2, 1, 1]],
            "command": "robustfw evaluate runs/a",
        }

    def lines(
        self, result: EvaluationFields, labels: Sequence[str] | None = None
    ) -> Iterator[ConsoleOutput]:
        noun = "" if result.right else " accuracy"
        yield share(
            f"clean{noun}",
            count=result.correct,
            n=result.n,
            interval=result.clean_interval,
            what=result.right,
        )
        yield share(
            f"robust{noun}",
            count=result.robust,
            n=result.n,
            interval=result.interval,
            what=result.right,
        )
        for name, values in result.metrics.items():
            numbers = [f"{when} {number(value)}" for when, value in values.items()]
            yield fact(name, ", ".join(numbers))
        if result.right:
            yield fact("task", result.task)
        yield fact("uncertainty", result.uncertainty)
        yield fact("attack", ", ".join(abbreviate(attack) for attack in result.attacks))
        for trigger in result.escalation:
            yield fact("escalation", f"{trigger['evidence']}: {trigger['answer']}")
        if result.known.get("tried"):
            words = f"{result.known['tried']} tried first, {result.known['fooled']} fool the net again"
            yield fact("known cases", words)
        yield from _cost(result)

    def tables(self, material: Material) -> list[Table]:
        """A table of the accuracies, and one of further metrics, where there are some."""
        return [*_accuracy_table(material.runs), *_metrics_table(material.runs)]

    def figures(self, material: Material) -> list[Drawing]:
        """The share of each class: a figure for every run on its own, one for all nets of a mode."""
        drawings = []
        for run in material.runs:
            evaluation = strongest(run)
            if not run.net and evaluation and evaluation.per_class:
                drawings.append(class_figure(run, evaluation))
        for mode, runs in material.group_by_mode().items():
            drawings += net_figures(mode, [run for run in runs if run.net])
        return drawings


def _cost(result: EvaluationFields) -> Iterator[str]:
    if result.forward_passes is None or result.backward_passes is None:
        return
    if result.seconds is None:
        return
    n = max(result.n, 1)
    forward = result.forward_passes / n
    backward = result.backward_passes / n
    passes = f"{forward:.1f} forward and {backward:.1f} backward passes"
    memory = f", {format_bytes(result.memory)} of memory" if result.memory else ""
    yield fact("cost", f"{passes} per example, {result.seconds:.1f} s{memory}")


def _time_and_memory(evaluation: EvaluationFields) -> str:
    """How long an evaluation took, and the most memory of its process, as far as both are known."""
    parts = []
    if evaluation.seconds is not None:
        parts.append(f"{evaluation.seconds:.1f} s")
    if evaluation.memory:
        parts.append(format_bytes(evaluation.memory))
    return ", ".join(parts) or "–"


def _accuracy_table(runs: Sequence[ReportedRun]) -> list[Table]:
    """Every evaluation of every run; no table where it would repeat the table of runs."""
    if all(run.evaluations() in ([], [run.at_the_end]) for run in runs):
        return []
    rows = []
    for run in runs:
        for evaluation in run.evaluations():
            if evaluation.zero_gradients:
                blind = f"{evaluation.zero_gradients} of {evaluation.correct}"
            else:
                blind = "0"
            rows.append(
                (
                    run.name,
                    evaluation.uncertainty,
                    abbreviate_attacks(evaluation.attacks),
                    evaluation.clean_share(),
                    evaluation.robust_share(),
                    f"{evaluation.split}, {evaluation.weights}",
                    blind,
                    _time_and_memory(evaluation),
                )
            )
    columns = (
        "run",
        "set",
        "attacks",
        "clean accuracy",
        "robust accuracy",
        "split, weights",
        "without gradient",
        "time, memory",
    )
    note = (
        f"{INTERVALS} Robust: each example's worst case over all the attacks. An attack finds a lower bound of the "
        "worst case, so that robust accuracy is an upper bound. Without gradient: correct examples at which a gradient "
        "attack is blind. Memory: the most that the process had, or that was allocated on a CUDA device."
    )
    again = commands(
        evaluation.command for run in runs for evaluation in run.evaluations()
    )
    return [
        Table(
            title="Evaluations", columns=columns, rows=rows, note=note, commands=again
        )
    ]


def _metrics_table(runs: Sequence[ReportedRun]) -> list[Table]:
    """The numbers that a task has beside the share of examples that are right; no table where there are none."""
    evaluations = []
    moments: dict[str, None] = {}
    for run in runs:
        for evaluation in run.evaluations():
            if evaluation.metrics:
                evaluations.append((run, evaluation))
            for values in evaluation.metrics.values():
                moments |= dict.fromkeys(values)
    rows = []
    for run, evaluation in evaluations:
        attacks = abbreviate_attacks(evaluation.attacks)
        for name, values in evaluation.metrics.items():
            numbers = [number(values.get(when)) for when in moments]
            head = (run.name, evaluation.task, evaluation.uncertainty, attacks, name)
            rows.append((*head, *numbers, str(evaluation.n)))
    columns = ("run", "task", "set", "attacks", "metric", *moments, "n")
    note = "Clean: on the examples as they are. Robust: at the worst cases that the attacks found."
    again = commands(evaluation.command for _, evaluation in evaluations)
    if rows:
        return [
            Table(
                title="Metrics of the task",
                columns=columns,
                rows=rows,
                note=note,
                commands=again,
            )
        ]
    return []
