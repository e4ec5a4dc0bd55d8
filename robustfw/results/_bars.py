"""Bars of the classes of an evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from robustfw.results import _plots as plots
from robustfw.results._words import cut


def draw_nets(names: Sequence[str], nets: Mapping[str, NDArray[np.float64]]) -> Figure:
    """Bars of the robust share of each class, a colour for each net."""
    height = 1.1 + len(names) * (0.14 + 0.13 * len(nets))
    figure = Figure(figsize=(plots.WIDTH, height), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(names))
    bar = 0.8 / len(nets)
    for i, (net, shares) in enumerate(nets.items()):
        shifted = places + (i - (len(nets) - 1) / 2) * bar
        axes.barh(shifted, shares, 0.9 * bar, label=cut(net, 44), color=plots.look(i)["color"])
    _name_classes(axes, names)
    axes.set_xlim(0, 1)
    plots.legend(axes, 3)
    return figure


def draw_classes(rows: Sequence[tuple[str, tuple[int, int, int]]]) -> Figure:
    """Bars of the clean and robust share of each class: its name, and how many are there, correct and robust."""
    figure = Figure(figsize=(plots.WIDTH, 1.1 + 0.36 * len(rows)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(rows))
    clean, robust = ([counts[i] / counts[0] for _, counts in rows] for i in (1, 2))
    axes.barh(places - 0.2, clean, 0.36, color=plots.COLOURS[0], alpha=0.45, label="clean")
    axes.barh(places + 0.2, robust, 0.36, color=plots.COLOURS[0], label="robust")
    for place, value in zip(places, robust, strict=True):
        axes.text(value + 0.01, place + 0.2, f"{100 * value:.0f} %", va="center", fontsize=9.5, color=plots.INK)
    _name_classes(axes, [name for name, _ in rows])
    axes.set_xlim(0, 1.14)
    plots.legend(axes, 2)
    return figure


def _name_classes(axes: Axes, names: Iterable[str]) -> None:
    shown = [cut(name, 16) for name in names]
    axes.set_yticks(range(len(shown)), shown)
    axes.invert_yaxis()
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.set_xlabel("share of the class's examples")
    axes.grid(axis="x")
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
