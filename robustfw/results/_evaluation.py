"""Kind of result `evaluation`: clean and robust accuracy of a net on one split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, final

import attrs

from robustfw.results._kind import ConsoleOutput, Drawing, ResultKind
from robustfw.results._table import Table
from robustfw.results._words import (
    INTERVALS,
    Interval,
    abbreviate,
    abbreviate_attacks,
    commands,
    fact,
    format_share,
    join_words,
    number,
    percent,
    share,
)

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from robustfw.results._material import Material, ReportedRun

MOST_CLASSES = 20
"""Classes in a figure, at most."""
CLASSES_NAMED = ("", "classification", "binary")
"""Tasks in which a right answer is a class, so that the share of them is called accuracy without more words."""
RIGHT = {
    "regression": "within tolerance",
    "multilabel": "all labels right",
    "segmentation": "right",
}


@attrs.frozen
class EvaluationFields:
    """Clean and robust accuracy of a run on one split."""

    uncertainty: str
    attacks: tuple[str, ...]
    split: str
    weights: str
    n: int
    correct: int
    robust: int
    clean_accuracy: float
    robust_accuracy: float
    clean_interval: Interval
    interval: Interval
    per_class: tuple[tuple[int, int, int], ...] = ()
    """Examples, correct and robust ones of each class; empty where a target is no class."""
    zero_gradients: int = 0
    not_numbers: int = 0
    """Examples at which an output is not finite."""
    forward_passes: int | None = None
    backward_passes: int | None = None
    seconds: float | None = None
    seed: int | None = None
    task: str = ""
    """The spec of the task; empty for classification."""
    metrics: dict[str, dict[str, float | None]] = attrs.field(factory=dict)
    """Further numbers of the task, on clean examples and at the worst cases: {"mean error": {"clean": …, …}}."""
    command: str = ""

    @property
    def right(self) -> str:
        """What holds for examples that count as correct, where that is not that they are classified correctly."""
        name = self.task.partition(":")[0]
        if name in CLASSES_NAMED:
            return ""
        return RIGHT.get(name, "right")

    def clean_share(self) -> str:
        """The clean accuracy with interval and denominator, for a table."""
        share = format_share(
            self.clean_accuracy,
            interval=self.clean_interval,
            count=self.correct,
            n=self.n,
        )
        return f"{share} {self.right}".rstrip()

    def robust_share(self) -> str:
        """The robust accuracy with interval and denominator, for a table."""
        share = format_share(
            self.robust_accuracy, interval=self.interval, count=self.robust, n=self.n
        )
        return f"{share} {self.right}".rstrip()


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
                drawings.append(_class_figure(run, evaluation))
        for mode, runs in material.group_by_mode().items():
            drawings += _net_figure(mode, [run for run in runs if run.net])
        return drawings


def strongest(run: ReportedRun) -> EvaluationFields | None:
    """The evaluation with the least robust accuracy in the set of the training, or in any set if there is none."""
    evaluations = run.evaluations()
    training_set = None
    if run.at_the_end:
        training_set = run.at_the_end.uncertainty
    in_training_set = [
        evaluation
        for evaluation in evaluations
        if evaluation.uncertainty == training_set
    ]
    candidates = in_training_set or evaluations
    return min(
        candidates, key=lambda evaluation: evaluation.robust_accuracy, default=None
    )


def _cost(result: EvaluationFields) -> Iterator[str]:
    if result.forward_passes is None or result.backward_passes is None:
        return
    if result.seconds is None:
        return
    n = max(result.n, 1)
    forward = result.forward_passes / n
    backward = result.backward_passes / n
    passes = f"{forward:.1f} forward and {backward:.1f} backward passes"
    yield fact("cost", f"{passes} per example, {result.seconds:.1f} s")


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
    )
    note = (
        f"{INTERVALS} Robust: each example's worst case over all the attacks. An attack finds a lower bound of the "
        "worst case, so that robust accuracy is an upper bound. Without gradient: correct examples at which a gradient "
        "attack is blind."
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


def _class_figure(run: ReportedRun, evaluation: EvaluationFields) -> Drawing:
    """Clean and robust share of each class of one run."""
    # 1. names and robust shares of the classes that have examples
    counts = evaluation.per_class
    has_names = run.labels is not None and len(run.labels) == len(counts)
    names = {}
    robust = {}
    for label, (n, _, withstood) in enumerate(counts):
        if n:
            names[label] = run.label(label) if has_names else str(label)
            robust[label] = withstood / n
    classes = list(names)
    # 2. the classes that withstand least, in words and bars
    lowest = sorted(classes, key=lambda label: robust[label])[:MOST_CLASSES]
    extremes = " none of them has an example, 0 of 0."
    if classes:
        worst = min(classes, key=lambda label: robust[label])
        best = max(classes, key=lambda label: robust[label])
        extremes = (
            f" robust accuracy is lowest for {names[worst]}, {percent(robust[worst])}, and highest "
            f"for {names[best]}, {percent(robust[best])}."
        )
    caption = (
        f"Share of each class that {run.name} classifies correctly, and that withstands {evaluation.uncertainty} under "
        f"{abbreviate_attacks(evaluation.attacks)}; {evaluation.n} {evaluation.split} examples."
        f"{_selection(len(lowest), len(classes))}"
    )
    rows = [(names[label], counts[label]) for label in sorted(lowest)]
    title = f"Classes: {run.name}"
    alt = f"Classes of {run.name}:{extremes}"
    return Drawing(
        kind="classes",
        title=title,
        draw=partial(_draw_classes, rows),
        caption=caption,
        alt=alt,
        command=evaluation.command,
    )


def _net_figure(mode: str, runs: Sequence[ReportedRun]) -> list[Drawing]:
    """Robust share of each class: examples of all seeds together, each net under what fools it most."""
    import numpy as np

    # 1. counts of each seed, by net
    counts_of_seeds: dict[str, list[NDArray[np.int64]]] = {}
    for run in runs:
        evaluation = strongest(run)
        if evaluation and evaluation.per_class:
            counts = np.array(evaluation.per_class, dtype=np.int64)
            counts_of_seeds.setdefault(run.line, []).append(counts)
    if not counts_of_seeds:
        return []

    # 2. counts of all seeds together, for the classes that all have
    classes = min(len(counts) for seeds in counts_of_seeds.values() for counts in seeds)
    totals = {}
    robust = {}
    for net, seeds in counts_of_seeds.items():
        common = [counts[:classes] for counts in seeds]
        total = np.sum(common, axis=0)
        totals[net] = total
        robust[net] = total[:, 2] / np.maximum(total[:, 0], 1)

    # 3. the classes that withstand least, in words and bars
    least = np.min(list(robust.values()), axis=0)
    lowest = sorted(np.argsort(least, kind="stable")[:MOST_CLASSES].tolist())
    run_with_names = next((run for run in runs if run.labels), runs[0])
    worst = []
    for net, shares in robust.items():
        share = percent(float(shares.min()))
        name = run_with_names.label(int(shares.argmin()))
        worst.append(f"{net} at {share} of class {name}")
    counts_in_words = []
    for net, total in totals.items():
        examples = int(total[:, 0].sum())
        counts_in_words.append(f"{examples} of {net}")
    title = f"Classes, {mode}" if mode else "Classes"
    caption = (
        "Share of each class that withstands, for each net under the evaluation that leaves least of it; the examples "
        f"of all seeds together, {join_words(counts_in_words)}.{_selection(len(lowest), classes)}"
    )
    alt = f"{title}: robust accuracy is lowest for {join_words(worst)}."
    names = [run_with_names.label(label) for label in lowest]
    bars = {net: shares[lowest] for net, shares in robust.items()}
    return [
        Drawing(
            kind="classes",
            title=title,
            draw=partial(_draw_nets, names, bars),
            caption=caption,
            alt=alt,
        )
    ]


def _selection(chosen: int, classes: int) -> str:
    """A sentence that says that not all classes are shown; nothing where they are."""
    if chosen == classes:
        return ""
    return f" The {chosen} of {classes} classes with the lowest are shown."


def _draw_classes(rows: Sequence[tuple[str, tuple[int, int, int]]]) -> Figure:
    from robustfw.results._class_bars import draw_classes

    return draw_classes(rows)


def _draw_nets(names: Sequence[str], nets: Mapping[str, NDArray[np.float64]]) -> Figure:
    from robustfw.results._class_bars import draw_nets

    return draw_nets(names, nets)
