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
CLASSES_NAMED = ("", "classification", "binary")
"""Tasks in which a right answer is a class, so that the share of them is called accuracy without more words."""
RIGHT = {"regression": "within tolerance", "multilabel": "all labels right", "segmentation": "right"}


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
    """Examples, correct, robust of each class; empty where a target is no class."""
    zero_gradients: int = 0
    not_numbers: int = 0
    """Examples at which an output is not finite."""
    forward_passes: int | None = None
    backward_passes: int | None = None
    seconds: float | None = None
    seed: int | None = None
    task: str = ""
    """The spec of the task; empty for classification in results of before there were others."""
    metrics: dict[str, dict[str, float | None]] = attrs.field(factory=dict)
    """Further numbers of the task, on clean examples and at the worst cases: {"mean error": {"clean": …, …}}."""
    command: str = ""

    @property
    def right(self) -> str:
        """What holds for examples that count as correct, where that is not that they are classified correctly."""
        name = self.task.partition(":")[0]
        return "" if name in CLASSES_NAMED else RIGHT.get(name, "right")

    def clean_share(self) -> str:
        """The clean accuracy with interval and denominator, for a table."""
        shown = format_share(self.clean_accuracy, self.clean_interval, self.correct, self.n)
        return " ".join(word for word in (shown, self.right) if word)

    def robust_share(self) -> str:
        """The robust accuracy with interval and denominator, for a table."""
        shown = format_share(self.robust_accuracy, self.interval, self.robust, self.n)
        return " ".join(word for word in (shown, self.right) if word)


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

    def lines(self, result: EvaluationFields, labels: Sequence[str] | None = None) -> Iterator[ConsoleOutput]:
        clean, robust = ("clean", "robust") if result.right else ("clean accuracy", "robust accuracy")
        yield share(clean, result.correct, result.n, result.clean_interval, result.right)
        yield share(robust, result.robust, result.n, result.interval, result.right)
        for name, values in result.metrics.items():
            yield fact(name, ", ".join(f"{when} {number(value)}" for when, value in values.items()))
        if result.right:
            yield fact("task", result.task)
        yield fact("uncertainty", result.uncertainty)
        yield fact("attack", ", ".join(abbreviate(attack) for attack in result.attacks))
        yield from _cost(result)

    def tables(self, material: Material) -> list[Table]:
        return [table for table in (_evaluations(material.runs), _metrics(material.runs)) if table]

    def figures(self, material: Material) -> list[Drawing]:
        """The share of each class: a figure for every run on its own, one for all nets of a mode."""
        drawings = [
            _classes_of_one(run, evaluation)
            for run in material.runs
            if not run.net and (evaluation := strongest(run)) and evaluation.per_class
        ]
        for mode, runs in material.group_by_mode().items():
            drawings += _classes_of_nets(mode, [run for run in runs if run.net])
        return drawings


def strongest(run: ReportedRun) -> EvaluationFields | None:
    """The evaluation in the set of the training that leaves least; of those in other sets if there is none."""
    evaluations = run.evaluations()
    trained_in = run.at_the_end.uncertainty if run.at_the_end else None
    in_that_set = [each for each in evaluations if each.uncertainty == trained_in]
    return min(in_that_set or evaluations, key=lambda each: each.robust_accuracy, default=None)


def _cost(result: EvaluationFields) -> Iterator[str]:
    if result.forward_passes is None or result.backward_passes is None or result.seconds is None:
        return
    n = max(result.n, 1)
    passes = f"{result.forward_passes / n:.1f} forward and {result.backward_passes / n:.1f} backward passes"
    yield fact("cost", f"{passes} per example, {result.seconds:.1f} s")


def _evaluations(runs: Sequence[ReportedRun]) -> Table | None:
    """None where there is nothing that the table of runs does not show."""
    if all(run.evaluations() in ([], [run.at_the_end]) for run in runs):
        return None
    evaluations = [(run, each) for run in runs for each in run.evaluations()]
    rows = [
        (
            run.name,
            each.uncertainty,
            join_words([abbreviate(attack) for attack in each.attacks]),
            each.clean_share(),
            each.robust_share(),
            f"{each.split}, {each.weights}",
            f"{each.zero_gradients} of {each.correct}" if each.zero_gradients else "0",
        )
        for run, each in evaluations
    ]
    columns = ("run", "set", "attacks", "clean accuracy", "robust accuracy", "split, weights", "without gradient")
    note = (
        f"{INTERVALS} Robust: each example's worst case over all the attacks. An attack finds a lower bound of the "
        "worst case, so that robust accuracy is an upper bound. Without gradient: correct examples at which a gradient "
        "attack is blind."
    )
    return Table("Evaluations", columns, rows, note, commands(each.command for _, each in evaluations))


def _metrics(runs: Sequence[ReportedRun]) -> Table | None:
    """The numbers that a task has beside the share of examples that are right."""
    evaluations = [(run, each) for run in runs for each in run.evaluations() if each.metrics]
    moments = list(dict.fromkeys(when for _, e in evaluations for values in e.metrics.values() for when in values))
    rows = []
    for run, each in evaluations:
        attacks = join_words([abbreviate(attack) for attack in each.attacks])
        for name, values in each.metrics.items():
            figures = [number(values.get(when)) for when in moments]
            rows.append((run.name, each.task, each.uncertainty, attacks, name, *figures, str(each.n)))
    columns = ("run", "task", "set", "attacks", "metric", *moments, "n")
    note = "Clean: on the examples as they are. Robust: at the worst cases that the attacks found."
    again = commands(each.command for _, each in evaluations)
    return Table("Metrics of the task", columns, rows, note, again) if rows else None


def _classes_of_one(run: ReportedRun, evaluation: EvaluationFields) -> Drawing:
    """Clean and robust share of each class of one run."""
    counts = evaluation.per_class
    there = [i for i, (n, _, _) in enumerate(counts) if n]
    named = run.labels is not None and len(run.labels) == len(counts)
    label = {i: run.label(i) if named else str(i) for i in there}
    robust = {i: counts[i][2] / counts[i][0] for i in there}
    shown = sorted(sorted(there, key=lambda i: robust[i])[:MOST_CLASSES])
    extremes = ""
    if there:
        worst = min(there, key=lambda i: robust[i])
        best = max(there, key=lambda i: robust[i])
        extremes = (
            f" robust accuracy is lowest for {label[worst]}, {percent(robust[worst])}, and highest "
            f"for {label[best]}, {percent(robust[best])}."
        )
    part = "" if len(shown) == len(there) else f" The {len(shown)} of {len(there)} classes with the lowest are shown."
    caption = (
        f"Share of each class that {run.name} classifies correctly, and that withstands {evaluation.uncertainty} under "
        f"{join_words([abbreviate(attack) for attack in evaluation.attacks])}; {evaluation.n} {evaluation.split} examples.{part}"
    )
    rows = [(label[i], counts[i]) for i in shown]
    title = f"Classes: {run.name}"
    alt = f"Classes of {run.name}:{extremes or ' none of them has an example, 0 of 0.'}"
    return Drawing("classes", title, partial(_draw_classes, rows), caption, alt, evaluation.command)


def _classes_of_nets(mode: str, runs: Sequence[ReportedRun]) -> list[Drawing]:
    """Robust share of each class: examples of all seeds together, each net under what fools it most."""
    import numpy as np

    nets: dict[str, list[NDArray[np.int64]]] = {}
    for run in runs:
        evaluation = strongest(run)
        if evaluation and evaluation.per_class:
            nets.setdefault(run.line, []).append(np.array(evaluation.per_class, dtype=np.int64))
    if not nets:
        return []
    count = min(len(counts) for of_seeds in nets.values() for counts in of_seeds)
    summed = {net: np.sum([counts[:count] for counts in of_seeds], axis=0) for net, of_seeds in nets.items()}
    robust = {net: counts[:, 2] / np.maximum(counts[:, 0], 1) for net, counts in summed.items()}
    shown = sorted(np.argsort(np.min(list(robust.values()), axis=0), kind="stable")[:MOST_CLASSES].tolist())
    named = next((run for run in runs if run.labels), runs[0])
    worst = [
        f"{net} at {percent(float(share.min()))} of class {named.label(int(share.argmin()))}"
        for net, share in robust.items()
    ]
    title = f"Classes, {mode}" if mode else "Classes"
    part = "" if len(shown) == count else f" The {len(shown)} of {count} classes with the lowest are shown."
    counted = join_words([f"{int(counts[:, 0].sum())} of {net}" for net, counts in summed.items()])
    caption = (
        "Share of each class that withstands, for each net under the evaluation that leaves least of it; the examples "
        f"of all seeds together, {counted}.{part}"
    )
    alt = f"{title}: robust accuracy is lowest for {join_words(worst)}."
    names = [named.label(i) for i in shown]
    rows = {net: share[shown] for net, share in robust.items()}
    return [Drawing("classes", title, partial(_draw_nets, names, rows), caption, alt)]


def _draw_classes(rows: Sequence[tuple[str, tuple[int, int, int]]]) -> Figure:
    from robustfw.results._class_bars import draw_classes

    return draw_classes(rows)


def _draw_nets(names: Sequence[str], nets: Mapping[str, NDArray[np.float64]]) -> Figure:
    from robustfw.results._class_bars import draw_nets

    return draw_nets(names, nets)
