"""Shares that are compared side by side: classes, and who fools whom."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from robustfw.report.drawing import COLOURS, FAINT, INK, WIDTH, Drawing, legend
from robustfw.report.gather import Material, Run
from robustfw.report.schema import Evaluation, Transfer
from robustfw.report.words import cut, listed, percent, short

MOST_CLASSES = 20


def classes(material: Material) -> list[Drawing]:
    """Clean and robust share of each class: of every run on its own, of the first of each net."""
    first = {run.group: run for run in reversed(material.runs)}
    return [
        _classes(run, evaluation)
        for run in material.runs
        if first[run.group] is run and (evaluation := strongest(run)) and evaluation.per_class
    ]


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


def _draw_classes(rows: Sequence[tuple[str, tuple[int, int, int]]]) -> Figure:
    figure = Figure(figsize=(WIDTH, 1.1 + 0.36 * len(rows)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(rows))
    clean, robust = ([counts[i] / counts[0] for _, counts in rows] for i in (1, 2))
    axes.barh(places - 0.2, clean, 0.36, color=COLOURS[0], alpha=0.45, label="clean")
    axes.barh(places + 0.2, robust, 0.36, color=COLOURS[0], label="robust")
    for place, share in zip(places, robust, strict=True):
        axes.text(share + 0.01, place + 0.2, f"{100 * share:.0f} %", va="center", fontsize=9.5, color=INK)
    axes.set_yticks(places, [cut(name, 16) for name, _ in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.14)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.set_xlabel("share of the class's examples")
    axes.grid(axis="x")
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    legend(axes, 2)
    return figure


def transfer(material: Material) -> list[Drawing]:
    """Who fools whom: accuracy of each net on examples crafted against each."""
    matrices = {mode: crossed(material, runs) for mode, runs in material.by_mode().items()}
    return [_transfer(mode, found) for mode, found in matrices.items() if found]


def crossed(material: Material, runs: Sequence[Run]) -> dict[tuple[str, str], list[float]]:
    """Accuracies by source and net; a net of the source's kind, but of another seed, is a net of its own."""
    named = {run.name: run for run in material.runs}
    found: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        for result in run.of(Transfer):
            name = material.named(result.source)
            source = named.get(name)
            twin = source is not None and source is not run and source.group == run.group
            column = f"{run.line}, another seed" if twin else run.line
            found.setdefault((source.line if source else name, column), []).append(result.accuracy)
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
        _cell(axes, columns.index(column), rows.index(row), value)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xticks(
        range(len(columns)), [cut(name, 26) for name in columns], rotation=tilt, ha="right" if tilt else "center"
    )
    axes.set_yticks(range(len(rows)), [cut(name, 26) for name in rows])
    axes.set_aspect("equal", anchor="W")
    axes.set_xlabel("evaluated on")
    axes.set_ylabel("crafted against")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _cell(axes: Axes, column: int, row: int, value: float) -> None:
    """A square of cividis, which reads the same for all kinds of colour vision, with its number."""
    red, green, blue, _ = colormaps["cividis"](value)
    dark = 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.45
    square = Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, facecolor=(red, green, blue), edgecolor=FAINT)
    axes.add_patch(square)
    ink = "#fefefe" if dark else "#010101"
    axes.text(column, row, f"{100 * value:.1f}", ha="center", va="center", fontsize=10, color=ink)
