"""Figures of sweeps: accuracy against the radius."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import attrs

from robustfw.results._kind import Drawing
from robustfw.results._seed_means import student_quantile
from robustfw.results._sweep_fields import SweepFields
from robustfw.results._words import (
    abbreviate,
    drop_radius,
    join_words,
    number,
    percent,
    truncate,
)

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from robustfw.results._material import ReportedRun

    Numbers: TypeAlias = NDArray[np.float64]


@attrs.frozen(eq=False)
class SweepLine:
    """One line of a figure: the sweeps of a net's seeds, or of one run."""

    name: str
    sweeps: tuple[SweepFields, ...]

    def mean(self) -> Numbers:
        """Mean accuracy at each radius."""
        import numpy as np

        return np.mean([sweep.accuracy for sweep in self.sweeps], axis=0)

    def band(self) -> tuple[Numbers, Numbers]:
        """95 % t-interval of the mean from three seeds on, their range for two, Wilson's interval for one."""
        import numpy as np

        values = np.array([sweep.accuracy for sweep in self.sweeps])
        if len(values) == 1:
            low, high = np.array(self.sweeps[0].intervals).T
            return low, high
        if len(values) == 2:
            return values.min(axis=0), values.max(axis=0)
        quantile = student_quantile(len(values) - 1)
        half = quantile * values.std(axis=0, ddof=1) / math.sqrt(len(values))
        mean = self.mean()
        low = np.clip(mean - half, 0, 1)
        high = np.clip(mean + half, 0, 1)
        return low, high


def mode_figures(mode: str, runs: Sequence[ReportedRun]) -> list[Drawing]:
    """A figure for each set and attack of the sweeps of a mode, with a line for each net and list of radii."""
    # 1. the sweeps of each figure, and of each of its lines
    panels: dict[tuple[str, str], SweepsOfLines] = {}
    for run in runs:
        for sweep in run.results_of(SweepFields):
            set_and_attack = (drop_radius(sweep.uncertainty), sweep.attack)
            sweeps_of_lines = panels.setdefault(set_and_attack, {})
            sweeps_of_lines.setdefault((run.line, sweep.radii), []).append(sweep)
    # 2. the lines of each figure
    figures = []
    for key, sweeps_of_lines in panels.items():
        lines = []
        for (name, _), sweeps in sweeps_of_lines.items():
            lines.append(SweepLine(name, tuple(sweeps)))
        figures.append((key, lines))
    # curves whose radii were attacked independently first, as in the paper's Figure 3
    figures.sort(key=lambda figure: (not _has_independent(figure[1]), figure[0]))
    return [_figure(mode, key, lines) for key, lines in figures]


SweepsOfLines: TypeAlias = dict[tuple[str, tuple[float, ...]], list[SweepFields]]
"""The sweeps of a figure's lines, by the net's name and the radii."""


def _has_independent(lines: list[SweepLine]) -> bool:
    return any(sweep.independent for line in lines for sweep in line.sweeps)


def _figure(mode: str, key: tuple[str, str], lines: list[SweepLine]) -> Drawing:
    uncertainty, attack_spec = key
    attack = abbreviate(attack_spec)
    of_mode = f", {mode}" if mode else ""
    ends = []
    for line in lines:
        radii = line.sweeps[0].radii
        mean = line.mean()
        first = f"{percent(mean[0])} at {number(radii[0])}"
        last = f"{percent(mean[-1])} at {number(radii[-1])}"
        ends.append(f"{line.name} falls from {first} to {last}")
    shape = " What fools a net within a small set counts within larger ones, so that no curve rises."
    if lines[0].sweeps[0].independent:
        shape = " Each radius is attacked on its own, so that a curve may rise."
    what = f"{uncertainty} under {attack}{of_mode}"
    alt = f"Accuracy against the radius of {what}: {join_words(ends)}."
    caption = f"Accuracy against the radius of {uncertainty}, under {attack}{of_mode}. {_band_words(lines)}"
    again = set()
    for line in lines:
        for sweep in line.sweeps:
            again.add(sweep.command)
    command = again.pop() if len(again) == 1 else ""
    return Drawing(
        kind="radius",
        title=f"Accuracy against radius: {uncertainty}, {attack}{of_mode}",
        draw=partial(_draw, lines),
        caption=caption + shape,
        alt=alt,
        command=command,
    )


def _band_words(lines: list[SweepLine]) -> str:
    meaning = {
        1: "Wilson's 95 % interval over examples, for a single run",
        2: "the range of two seeds around their mean",
        3: "the 95 % t-interval of the mean over three or more seeds",
    }
    seeds = sorted({min(len(line.sweeps), 3) for line in lines})
    return f"Shaded: {'; '.join(meaning[count] for count in seeds)}."


def _draw(lines: list[SweepLine]) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    from robustfw.results._style import WIDTH, draw_legend, line_style, show_percent

    height = 3.2 + 0.18 * len(lines)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    for i, line in enumerate(lines):
        radii = line.sweeps[0].radii
        style = line_style(i)
        axes.fill_between(
            radii, *line.band(), color=style["color"], alpha=0.2, linewidth=0
        )
        axes.plot(radii, line.mean(), label=truncate(line.name, 44), **style)
    show_percent(axes, "accuracy")
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("radius, in units of the data")
    # labels of five digits leave no room for more
    axes.xaxis.set_major_locator(MaxNLocator(5))
    draw_legend(axes, 3)
    return figure
