"""Training curves: loss and validation accuracies against the epoch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from robustfw.report._schema import EpochRecord
from robustfw.results._kind import Drawing
from robustfw.results._material import Material, ReportedRun
from robustfw.results._style import WIDTH, draw_legend, line_style, show_percent
from robustfw.results._words import count_of, join_words, number, percent, truncate


def training(material: Material) -> list[Drawing]:
    """Loss and validation accuracies by epoch: one figure for all nets of a mode, or one for each run."""
    drawings = []
    for mode, runs in material.group_by_mode().items():
        nets = [run for run in runs if run.net and run.epochs]
        drawings += [_training_of_nets(mode, nets)] if nets else []
        drawings += [_training_of_one(run) for run in runs if not run.net and run.epochs]
    return drawings


def _training_of_one(run: ReportedRun) -> Drawing:
    first, last = run.epochs[0], run.epochs[-1]
    best = max((e for e in run.epochs), key=lambda e: _or_nan(e.robust_accuracy, -1.0))
    alt = (
        f"Training of {run.name}, {count_of(len(run.epochs), 'epoch')}: loss from {number(first.loss)} to "
        f"{number(last.loss)}; on validation examples clean accuracy ends at {percent(last.clean_accuracy)}, robust "
        f"accuracy at {percent(last.robust_accuracy)}, and was highest after epoch {best.epoch}, at "
        f"{percent(best.robust_accuracy)}."
    )
    caption = "Mean training loss, and accuracies on the validation split, after each epoch."
    return Drawing("training", f"Training of {run.name}", partial(_draw_one, run), caption, alt)


def _draw_one(run: ReportedRun) -> Figure:
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 3))
    above.plot(*_curve(run, "loss"), **line_style(0))
    above.set_ylabel("training loss")
    for i, (field, label) in enumerate((("clean_accuracy", "clean"), ("robust_accuracy", "robust"))):
        below.plot(*_curve(run, field), label=label, **line_style(i + 1))
    _epochs(below, "validation accuracy")
    draw_legend(below, 2)
    return figure


def _training_of_nets(mode: str, runs: list[ReportedRun]) -> Drawing:
    groups = list(dict.fromkeys(run.line for run in runs))
    title = f"Training, {mode}" if mode else "Training"
    ends = [
        f"{group} at {percent(_mean(_last(run).robust_accuracy for run in runs if run.line == group))}"
        for group in groups
    ]
    alt = f"{title} of {count_of(len(groups), 'net')}: robust validation accuracy ends, on average, for {join_words(ends)}."
    caption = (
        "Mean training loss, and clean and robust accuracy on the validation split, after each epoch; "
        f"a line for each of {count_of(len(runs), 'run')}, a colour for each net."
    )
    return Drawing("training", title, partial(_draw_nets, runs, groups), caption, alt)


def _draw_nets(runs: list[ReportedRun], groups: list[str]) -> Figure:
    figure = Figure(figsize=(WIDTH, 6.6 + 0.2 * len(groups)), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True)
    fields = ("loss", "clean_accuracy", "robust_accuracy")
    for axes, field in zip(panels, fields, strict=True):
        for run in runs:
            i = groups.index(run.line)
            first = run is next(each for each in runs if each.line == run.line)
            drawn = line_style(i) | ({} if len(run.epochs) == 1 else {"marker": ""})
            axes.plot(*_curve(run, field), label=truncate(run.line, 44) if first else None, **drawn, linewidth=1.4)
    panels[0].set_ylabel("training loss")
    draw_legend(panels[0], 3)
    _epochs(panels[1], "clean, validation")
    _epochs(panels[2], "robust, validation")
    panels[1].set_xlabel("")
    return figure


def _epochs(axes: Axes, label: str) -> None:
    show_percent(axes, label)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _curve(run: ReportedRun, field: str) -> tuple[list[int], list[float]]:
    return [e.epoch for e in run.epochs], [_or_nan(getattr(e, field)) for e in run.epochs]


def _or_nan(value: float | None, instead: float = math.nan) -> float:
    return instead if value is None else value


def _last(run: ReportedRun) -> EpochRecord:
    return run.epochs[-1]


def _mean(values: Iterable[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None
