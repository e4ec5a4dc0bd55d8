"""Figures of evaluations: the share of each class that withstands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from robustfw.results._evaluation_fields import EvaluationFields, strongest
from robustfw.results._kind import Drawing
from robustfw.results._words import (
    abbreviate_attacks,
    join_words,
    percent,
)

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from robustfw.results._material import ReportedRun


MOST_CLASSES = 20
"""Classes in a figure, at most."""


def class_figure(run: ReportedRun, evaluation: EvaluationFields) -> Drawing:
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


def net_figures(mode: str, runs: Sequence[ReportedRun]) -> list[Drawing]:
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
