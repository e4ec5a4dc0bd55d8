"""Shares that are compared side by side: classes, and who fools whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from robustfw.report.drawing import COLOURS, FAINT, INK, WIDTH, Drawing, legend, look
from robustfw.report.gather import Material, Run
from robustfw.report.schema import Evaluation, Transfer
from robustfw.report.words import cut, folded, listed, percent, short

MOST_CLASSES = 20
Counts: TypeAlias = NDArray[np.int64]
"""(classes, 3): examples, correct, robust."""


def classes(material: Material) -> list[Drawing]:
    """Clean and robust share of each class: a figure for every run on its own, one for all nets of a mode."""
    drawings = [
        _classes(run, evaluation)
        for run in material.runs
        if not run.net and (evaluation := strongest(run)) and evaluation.per_class
    ]
    for mode, runs in material.by_mode().items():
        nets: dict[str, Counts] = {}
        for run in runs:
            evaluation = strongest(run)
            if run.net and evaluation and evaluation.per_class:
                counts = np.array(evaluation.per_class)
                nets[run.net] = nets.get(run.net, 0) + counts
        labels = next((run.labels for run in runs if run.labels), None)
        drawings += [_classes_of_nets(mode, nets, labels)] if nets else []
    return drawings


def strongest(run: Run) -> Evaluation | None:
    """The evaluation in the set of the training that leaves least; of others if there is none."""
    own = run.at_the_end.uncertainty if run.at_the_end else None
    found = run.evaluations()
    return min([e for e in found if e.uncertainty == own] or found, key=lambda e: e.robust_accuracy, default=None)


def _classes(run: Run, evaluation: Evaluation) -> Drawing:
    there = [i for i, (n, _, _) in enumerate(evaluation.per_class) if n]
    names = run.labels if run.labels and len(run.labels) == len(evaluation.per_class) else None
    label = {i: names[i] if names else str(i) for i in there}
    robust = {i: evaluation.per_class[i][2] / evaluation.per_class[i][0] for i in there}
    shown = sorted(sorted(there, key=lambda i: robust[i])[:MOST_CLASSES])
    worst, best = min(there, key=lambda i: robust[i]), max(there, key=lambda i: robust[i])
    alt = (
        f"Classes of {run.name}: robust accuracy is lowest for {label[worst]}, {percent(robust[worst])}, and highest "
        f"for {label[best]}, {percent(robust[best])}."
    )
    part = "" if len(shown) == len(there) else f" The {len(shown)} of {len(there)} classes with the lowest are shown."
    caption = (
        f"Share of each class that {run.name} classifies correctly, and that withstands {evaluation.uncertainty} under "
        f"{listed([short(attack) for attack in evaluation.attacks])}; {evaluation.n} {evaluation.split} examples.{part}"
    )
    rows = [(label[i], evaluation.per_class[i]) for i in shown]
    return Drawing("classes", f"Classes: {run.name}", partial(_draw_classes, rows), caption, alt, evaluation.command)


def _classes_of_nets(mode: str, nets: Mapping[str, Counts], labels: Sequence[str] | None) -> Drawing:
    """Robust share of each class: examples of all seeds together, each net under what fools it most."""
    title = f"Classes, {mode}" if mode else "Classes"
    count = min(len(counts) for counts in nets.values())
    names = [labels[i] if labels and len(labels) > i else str(i) for i in range(count)]
    robust = {net: counts[:count, 2] / np.maximum(counts[:count, 0], 1) for net, counts in nets.items()}
    shown = sorted(np.argsort(np.min(list(robust.values()), axis=0), kind="stable")[:MOST_CLASSES].tolist())
    worst = [
        f"{net} at {percent(float(share.min()))} of class {names[int(share.argmin())]}" for net, share in robust.items()
    ]
    alt = f"{title}: robust accuracy is lowest for {listed(worst)}."
    part = "" if len(shown) == count else f" The {len(shown)} of {count} classes with the lowest are shown."
    counted = listed([f"{int(counts[:, 0].sum())} of {net}" for net, counts in nets.items()])
    caption = (
        "Share of each class that withstands, for each net under the evaluation that leaves least of it; the examples "
        f"of all seeds together, {counted}.{part}"
    )
    rows = {net: share[shown] for net, share in robust.items()}
    return Drawing("classes", title, partial(_draw_nets, [names[i] for i in shown], rows), caption, alt)


def _draw_nets(names: Sequence[str], nets: Mapping[str, NDArray[np.float64]]) -> Figure:
    figure = Figure(figsize=(WIDTH, 1.1 + len(names) * (0.14 + 0.13 * len(nets))), layout="constrained")
    axes = figure.subplots()
    places, bar = np.arange(len(names)), 0.8 / len(nets)
    for i, (net, share) in enumerate(nets.items()):
        axes.barh(
            places + (i - (len(nets) - 1) / 2) * bar, share, 0.9 * bar, label=cut(net, 44), color=look(i)["color"]
        )
    _name_classes(axes, places, names)
    axes.set_xlim(0, 1)
    legend(axes, 3)
    return figure


def _name_classes(axes: Axes, places: NDArray[np.int64], names: Sequence[str]) -> None:
    axes.set_yticks(places, [cut(name, 16) for name in names])
    axes.invert_yaxis()
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.set_xlabel("share of the class's examples")
    axes.grid(axis="x")
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def _draw_classes(rows: Sequence[tuple[str, tuple[int, int, int]]]) -> Figure:
    figure = Figure(figsize=(WIDTH, 1.1 + 0.36 * len(rows)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(rows))
    clean, robust = ([counts[i] / counts[0] for _, counts in rows] for i in (1, 2))
    axes.barh(places - 0.2, clean, 0.36, color=COLOURS[0], alpha=0.45, label="clean")
    axes.barh(places + 0.2, robust, 0.36, color=COLOURS[0], label="robust")
    for place, share in zip(places, robust, strict=True):
        axes.text(share + 0.01, place + 0.2, f"{100 * share:.0f} %", va="center", fontsize=9.5, color=INK)
    _name_classes(axes, places, [name for name, _ in rows])
    axes.set_xlim(0, 1.14)
    legend(axes, 2)
    return figure


def transfer(material: Material) -> list[Drawing]:
    """Who fools whom: accuracy of each net on examples crafted against each."""
    matrices = {mode: crossed(material, runs) for mode, runs in material.by_mode().items()}
    return [_transfer(mode, found) for mode, found in matrices.items() if found]


def crossed(material: Material, runs: Sequence[Run]) -> dict[tuple[str, str], list[float]]:
    """Accuracies by source and net; a source of another seed than the net is one of its own."""
    named = {run.name: run for run in material.runs}
    found: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        for result in run.of(Transfer):
            name = material.named(result.source)
            source = named.get(name)
            row = source.line if source else name
            row += ", another seed" if source and source.seed != run.seed else ""
            found.setdefault((row, run.line), []).append(result.accuracy)
    return found


def _transfer(mode: str, found: dict[tuple[str, str], list[float]]) -> Drawing:
    title = f"Transfer, {mode}" if mode else "Transfer"
    cells = {key: sum(values) / len(values) for key, values in found.items()}
    (weak_row, weak_column), low = min(cells.items(), key=lambda item: item[1])
    (strong_row, strong_column), high = max(cells.items(), key=lambda item: item[1])
    alt = (
        f"{title}: accuracy is lowest, {percent(low)}, for {weak_column} on examples crafted against "
        f"{weak_row}, and highest, {percent(high)}, for {strong_column} on those against {strong_row}."
    )
    means = max(len(values) for values in found.values())
    caption = "Accuracy, in per cent, of the net of each column on examples crafted against the net of each row."
    caption += f" Each cell is the mean of up to {means} results." if means > 1 else ""
    return Drawing("transfer", title, partial(_draw_transfer, cells), caption, alt)


def _draw_transfer(cells: dict[tuple[str, str], float]) -> Figure:
    columns = list(dict.fromkeys(column for _, column in cells))
    sources = list(dict.fromkeys(row for row, _ in cells))
    rows = [name for name in columns if name in sources] + [name for name in sources if name not in columns]
    tilt = 35 if max(map(len, columns)) > 3 else 0
    size = max(0.34, min(0.7, (WIDTH - 1.5) / len(columns)))
    figure = Figure(figsize=(WIDTH, (1.4 if tilt else 0.7) + size * len(rows)), layout="constrained")
    axes = figure.subplots()
    for (row, column), value in cells.items():
        cell(axes, columns.index(column), rows.index(row), value, f"{100 * value:.1f}")
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xticks(
        range(len(columns)), [folded(name, 18, 3) for name in columns], rotation=tilt, ha="right" if tilt else "center"
    )
    axes.set_yticks(range(len(rows)), [folded(name, 18, 3) for name in rows])
    axes.set_aspect("equal", anchor="W")
    axes.set_xlabel("evaluated on")
    axes.set_ylabel("crafted against")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def cell(axes: Axes, column: int, row: int, shade: float, text: str, size: float = 10) -> None:
    """A square of cividis, which reads the same for all kinds of colour vision, with its number; shade from 0 to 1."""
    red, green, blue, _ = colormaps["cividis"](shade)
    dark = 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.45
    square = Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, facecolor=(red, green, blue), edgecolor=FAINT)
    axes.add_patch(square)
    ink = "#fefefe" if dark else "#010101"
    axes.text(column, row, text, ha="center", va="center", fontsize=size, color=ink)
