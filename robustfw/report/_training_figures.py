"""Training curves: loss and validation accuracies against the epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from robustfw.report._schema import EpochRecord
from robustfw.results._kind import Drawing
from robustfw.results._material import Material, ReportedRun
from robustfw.results._style import WIDTH, draw_legend, line_style, show_percent
from robustfw.results._words import count_of, join_words, number, percent, truncate


def training_figures(material: Material) -> list[Drawing]:
    """Loss and validation accuracies by epoch: one figure for all nets of a mode, or one for each run."""
    drawings = []
    for mode, runs in material.group_by_mode().items():
        trained = [run for run in runs if run.epochs]
        net_runs = [run for run in trained if run.net]
        if net_runs:
            drawings.append(_net_figure(mode, net_runs))
        drawings += [_run_figure(run) for run in trained if not run.net]
    return drawings


def _run_figure(run: ReportedRun) -> Drawing:
    """The curves of one run."""
    first = run.epochs[0]
    last = run.epochs[-1]
    best = max(run.epochs, key=_robust_accuracy)
    epochs = count_of(len(run.epochs), "epoch")
    clean = percent(last.clean_accuracy)
    robust = percent(last.robust_accuracy)
    highest = percent(best.robust_accuracy)
    alt = (
        f"Training of {run.name}, {epochs}: loss from {number(first.loss)} to {number(last.loss)}; on validation "
        f"examples clean accuracy ends at {clean}, robust accuracy at {robust}, and was highest after epoch "
        f"{best.epoch}, at {highest}."
    )
    caption = (
        "Mean training loss, and accuracies on the validation split, after each epoch."
    )
    return Drawing(
        kind="training",
        title=f"Training of {run.name}",
        draw=partial(_draw_run, run),
        caption=caption,
        alt=alt,
    )


def _robust_accuracy(epoch: EpochRecord) -> float:
    """The robust validation accuracy after an epoch; −1 where it was not measured."""
    if epoch.robust_accuracy is None:
        return -1.0
    return epoch.robust_accuracy


def _draw_run(run: ReportedRun) -> Figure:
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 3))
    above.plot(*_curve(run, "loss"), **line_style(0))
    above.set_ylabel("training loss")
    below.plot(*_curve(run, "clean_accuracy"), label="clean", **line_style(1))
    below.plot(*_curve(run, "robust_accuracy"), label="robust", **line_style(2))
    _label_axes(below, "validation accuracy")
    draw_legend(below, 2)
    return figure


def _net_figure(mode: str, runs: Sequence[ReportedRun]) -> Drawing:
    """The curves of all nets of a mode."""
    nets = list(dict.fromkeys(run.line for run in runs))
    title = f"Training, {mode}" if mode else "Training"
    ends = []
    for net in nets:
        last = []
        for run in runs:
            if run.line == net:
                last.append(run.epochs[-1].robust_accuracy)
        ends.append(f"{net} at {percent(_mean(last))}")
    number_of_nets = count_of(len(nets), "net")
    alt = f"{title} of {number_of_nets}: robust validation accuracy ends, on average, for {join_words(ends)}."
    caption = (
        "Mean training loss, and clean and robust accuracy on the validation split, after each epoch; "
        f"a line for each of {count_of(len(runs), 'run')}, a colour for each net."
    )
    return Drawing(
        kind="training",
        title=title,
        draw=partial(_draw_nets, runs, nets),
        caption=caption,
        alt=alt,
    )


def _draw_nets(runs: Sequence[ReportedRun], nets: Sequence[str]) -> Figure:
    height = 6.6 + 0.2 * len(nets)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True)
    fields = ("loss", "clean_accuracy", "robust_accuracy")
    for axes, field in zip(panels, fields, strict=True):
        in_legend: set[str] = set()
        for run in runs:
            style = line_style(nets.index(run.line))
            if len(run.epochs) > 1:
                style["marker"] = ""
            label = None
            if run.line not in in_legend:
                label = truncate(run.line, 44)
                in_legend.add(run.line)
            epochs, values = _curve(run, field)
            axes.plot(epochs, values, label=label, **style, linewidth=1.4)
    panels[0].set_ylabel("training loss")
    draw_legend(panels[0], 3)
    _label_axes(panels[1], "clean, validation")
    _label_axes(panels[2], "robust, validation")
    panels[1].set_xlabel("")
    return figure


def _label_axes(axes: Axes, label: str) -> None:
    show_percent(axes, label)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _curve(run: ReportedRun, field: str) -> tuple[list[int], list[float]]:
    """Epochs, and the values of a field after each; not a number where there is none."""
    epochs = []
    values = []
    for epoch in run.epochs:
        value = getattr(epoch, field)
        epochs.append(epoch.epoch)
        values.append(math.nan if value is None else value)
    return epochs, values


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean of the values that are there; None where none is."""
    numbers = [value for value in values if value is not None]
    if numbers:
        return sum(numbers) / len(numbers)
    return None
