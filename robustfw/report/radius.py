"""Accuracy against the radius of an uncertainty set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TypeAlias

import attrs
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from robustfw.report.drawing import WIDTH, Drawing, legend, look, shares
from robustfw.report.gather import Material, Run
from robustfw.report.schema import Sweep
from robustfw.report.words import bare, cut, listed, number, percent, short
from robustfw.seeds import student

Numbers: TypeAlias = NDArray[np.float64]


@attrs.frozen(eq=False)
class Line:
    """One line of a panel: the sweeps of a net's seeds, or of one run."""

    name: str
    sweeps: tuple[Sweep, ...]

    def mean(self) -> Numbers:
        """Mean accuracy at each radius."""
        return np.mean([sweep.accuracy for sweep in self.sweeps], axis=0)

    def band(self) -> tuple[Numbers, Numbers]:
        """95 % t-interval of the mean from three seeds on, their range for two, Wilson's interval for one."""
        values = np.array([sweep.accuracy for sweep in self.sweeps])
        if len(values) == 1:
            return np.array([i[0] for i in self.sweeps[0].intervals]), np.array(
                [i[1] for i in self.sweeps[0].intervals]
            )
        if len(values) == 2:
            return values.min(axis=0), values.max(axis=0)
        half = student(len(values) - 1) * values.std(axis=0, ddof=1) / math.sqrt(len(values))
        return np.clip(self.mean() - half, 0, 1), np.clip(self.mean() + half, 0, 1)


def sweeps(material: Material) -> list[Drawing]:
    """Accuracy against radius, a figure for each mode, set and attack."""
    return [drawing for mode, runs in material.by_mode().items() for drawing in _sweeps(mode, runs)]


def _sweeps(mode: str, runs: Sequence[Run]) -> list[Drawing]:
    panels: dict[tuple[str, str], dict[tuple[str, tuple[float, ...]], list[Sweep]]] = {}
    for run in runs:
        for sweep in run.of(Sweep):
            lines = panels.setdefault((bare(sweep.uncertainty), sweep.attack), {})
            lines.setdefault((run.line, sweep.radii), []).append(sweep)
    return [
        _sweep(mode, key, [Line(name, tuple(found)) for (name, _), found in lines.items()])
        for key, lines in sorted(panels.items(), key=lambda panel: _rank(*panel))
    ]


def _rank(
    key: tuple[str, str], lines: Mapping[tuple[str, tuple[float, ...]], list[Sweep]]
) -> tuple[bool, tuple[str, str]]:
    """Curves of the plain kind first, as in the paper's Figure 3."""
    return not any(sweep.independent for found in lines.values() for sweep in found), key


def _sweep(mode: str, key: tuple[str, str], lines: list[Line]) -> Drawing:
    uncertainty, attack = key
    within = f", {mode}" if mode else ""
    falls = [
        f"{line.name} falls from {percent(line.mean()[0])} at {number(line.sweeps[0].radii[0])} to "
        f"{percent(line.mean()[-1])} at {number(line.sweeps[0].radii[-1])}"
        for line in lines
    ]
    alt = f"Accuracy against the radius of {uncertainty} under {short(attack)}{within}: {listed(falls)}."
    caption = f"Accuracy against the radius of {uncertainty}, under {short(attack)}{within}. {_band_words(lines)}"
    caption += (
        " Each radius is attacked on its own, so that a curve may rise."
        if lines[0].sweeps[0].independent
        else " What fools a net within a small set counts within larger ones, so that no curve rises."
    )
    commands = {sweep.command for line in lines for sweep in line.sweeps}
    command = commands.pop() if len(commands) == 1 else ""
    title = f"Accuracy against radius: {uncertainty}, {short(attack)}{within}"
    return Drawing("radius", title, partial(_draw_sweep, lines), caption, alt, command)


def _band_words(lines: list[Line]) -> str:
    meaning = {
        1: "Wilson's 95 % interval over examples, for a single run",
        2: "the range of two seeds around their mean",
        3: "the 95 % t-interval of the mean over three or more seeds",
    }
    kinds = sorted({min(len(line.sweeps), 3) for line in lines})
    return f"Shaded: {'; '.join(meaning[kind] for kind in kinds)}."


def _draw_sweep(lines: list[Line]) -> Figure:
    figure = Figure(figsize=(WIDTH, 3.2 + 0.18 * len(lines)), layout="constrained")
    axes = figure.subplots()
    for i, line in enumerate(lines):
        radii, drawn = line.sweeps[0].radii, look(i)
        axes.fill_between(radii, *line.band(), color=drawn["color"], alpha=0.2, linewidth=0)
        axes.plot(radii, line.mean(), label=cut(line.name, 44), **drawn)
    shares(axes, "accuracy")
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("radius, in units of the data")
    axes.xaxis.set_major_locator(MaxNLocator(5))  # labels of five digits leave no room for more
    legend(axes, 3)
    return figure
