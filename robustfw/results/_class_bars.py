"""Bars of the share of each class: clean and robust ones of one net, or robust ones of several nets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from robustfw.results._style import (
    COLOURS,
    INK,
    WIDTH,
    draw_legend,
    line_style,
    mark_bars,
)
from robustfw.results._words import truncate


def draw_nets(
    classes: Sequence[str], nets: Mapping[str, NDArray[np.float64]]
) -> Figure:
    """Bars of the robust share of each class, a colour for each net.

    Args:
        classes: names, from top to bottom.
        nets: for each net by its name, the share of each of the classes.
    """
    height = 1.1 + len(classes) * (0.14 + 0.13 * len(nets))
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(classes))
    thickness = 0.8 / len(nets)
    for i, (net, shares) in enumerate(nets.items()):
        offset = (i - (len(nets) - 1) / 2) * thickness
        axes.barh(
            places + offset,
            shares,
            0.9 * thickness,
            label=truncate(net, 44),
            color=line_style(i)["color"],
        )
    _name_classes(axes, classes)
    axes.set_xlim(0, 1)
    draw_legend(axes, 3)
    return figure


def draw_classes(rows: Sequence[tuple[str, tuple[int, int, int]]]) -> Figure:
    """Bars of the clean and robust share of each class: its name, and how many are there, correct and robust."""
    figure = Figure(figsize=(WIDTH, 1.1 + 0.36 * len(rows)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(rows))
    clean = []
    robust = []
    for _, (n, correct, withstood) in rows:
        clean.append(correct / n)
        robust.append(withstood / n)
    axes.barh(places - 0.2, clean, 0.36, color=COLOURS[0], alpha=0.45, label="clean")
    axes.barh(places + 0.2, robust, 0.36, color=COLOURS[0], label="robust")
    for place, share in zip(places, robust, strict=True):
        axes.text(
            share + 0.01,
            place + 0.2,
            f"{100 * share:.0f} %",
            va="center",
            fontsize=9.5,
            color=INK,
        )
    _name_classes(axes, [name for name, _ in rows])
    axes.set_xlim(0, 1.14)
    draw_legend(axes, 2)
    return figure


def _name_classes(axes: Axes, classes: Iterable[str]) -> None:
    names = [truncate(name, 16) for name in classes]
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.set_xlabel("share of the class's examples")
    mark_bars(axes)
