"""Kind of result `sweep`: robust accuracy against the radius of the uncertainty set."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, final

import attrs

from robustfw.results import _words as words
from robustfw.results._kind import ConsoleOutput, Drawing, ResultKind
from robustfw.results._seed_means import student_quantile
from robustfw.results._table import Table
from robustfw.results._words import (
    Interval,
    abbreviate,
    commands,
    drop_radius,
    fact,
    join_words,
    number,
    percent,
    truncate,
)

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from robustfw.results._material import Material, ReportedRun

    Numbers: TypeAlias = NDArray[np.float64]


@attrs.frozen
class MinimalRadius:
    """The radius at which examples fall, over all examples; null where that is beyond the largest radius tried."""

    median: float | None
    """The median over examples."""
    quartiles: tuple[float | None, float | None]
    """The first and the third quartile over examples."""
    beyond: int
    """Examples that withstand the largest radius."""


@attrs.frozen
class SweepFields:
    """Robust accuracy of a run at several radii."""

    uncertainty: str
    attack: str
    n: int
    radii: tuple[float, ...]
    """Radii of the set, growing."""
    correct: tuple[int, ...]
    """Examples that are right under attack, at each radius."""
    accuracy: tuple[float, ...]
    """correct / n at each radius."""
    intervals: tuple[Interval, ...]
    """95 % interval of the accuracy, at each radius."""
    minimal_radius: MinimalRadius | None = None
    independent: bool = False
    """Whether each radius was attacked on its own."""
    command: str = ""

    def __attrs_post_init__(self) -> None:
        lengths = {
            len(self.radii),
            len(self.correct),
            len(self.accuracy),
            len(self.intervals),
        }
        if len(lengths) != 1:
            raise ValueError(
                "radii, correct, accuracy and intervals are not of one length"
            )
        if not self.radii:
            raise ValueError("there is no radius")


@final
@attrs.frozen
class SweepKind(ResultKind):
    """Accuracy at growing radii; robustfw sweep keeps it."""

    fields = SweepFields
    place = 30

    def example(self) -> Mapping[str, Any]:
        return {
            "uncertainty": "linf:radius=0.1",
            "attack": "pgd:steps=20",
            "n": 4,
            "radii": [0.0, 0.1],
            "correct": [3, 1],
            "accuracy": [0.75, 0.25],
            "intervals": [[0.3, 0.95], [0.05, 0.7]],
            "minimal_radius": {"median": 0.06, "quartiles": [0.03, None], "beyond": 1},
        }

    def lines(
        self, result: SweepFields, labels: Sequence[str] | None = None
    ) -> Iterator[ConsoleOutput]:
        rows = []
        for i, radius in enumerate(result.radii):
            low, high = result.intervals[i]
            accuracy = f"{result.accuracy[i]:.2%}"
            count = f"{result.correct[i]} of {result.n}"
            rows.append(
                (words.radius(radius), accuracy, count, f"{low:.2%} to {high:.2%}")
            )
        yield Table("radius", ("", "accuracy", "", "95 % interval"), rows)
        minimal = result.minimal_radius
        if minimal is not None:
            first, third = (
                number(quartile, "beyond") for quartile in minimal.quartiles
            )
            quartiles = f"median {number(minimal.median, 'beyond')}, quartiles {first} and {third}"
            yield fact(
                "smallest radius", f"{quartiles}; {minimal.beyond} of {result.n} beyond"
            )
        yield fact("uncertainty", result.uncertainty)
        yield fact("attack", result.attack)

    def tables(self, material: Material) -> list[Table]:
        """A table for each set, attack and list of radii."""
        groups: dict[
            tuple[str, str, tuple[float, ...]], list[tuple[ReportedRun, SweepFields]]
        ] = {}
        for run, sweep in material.pairs(SweepFields):
            key = (drop_radius(sweep.uncertainty), sweep.attack, sweep.radii)
            groups.setdefault(key, []).append((run, sweep))
        return [_table(groups[key]) for key in sorted(groups)]

    def figures(self, material: Material) -> list[Drawing]:
        """Accuracy against radius, a figure for each mode, set and attack."""
        drawings = []
        for mode, runs in material.group_by_mode().items():
            drawings += _figures(mode, runs)
        return drawings


def _table(group: Sequence[tuple[ReportedRun, SweepFields]]) -> Table:
    """Radii from top to bottom and a column for each run; the other way round where there are more runs than radii."""
    first = group[0][1]
    uncertainty = drop_radius(first.uncertainty)
    attack = abbreviate(first.attack)
    names = [
        *map(words.radius, first.radii),
        "median minimal radius",
        "quartiles",
        "beyond",
        "n",
    ]
    runs = [run.name for run, _ in group]
    # beside others there is no room for intervals, which the figure shows
    with_intervals = len(group) == 1
    numbers = []
    for _, sweep in group:
        numbers.append(
            [*_accuracies(sweep, with_intervals), *_minimal_radius(sweep), str(sweep.n)]
        )
    folded: bool | None
    if len(runs) <= len(names):
        heads = ["radius", *runs]
        rows = []
        for name, *values in zip(names, *numbers, strict=True):
            rows.append([name, *values])
        folded = False
    else:
        heads = ["run", *names]
        rows = [[run, *column] for run, column in zip(runs, numbers, strict=True)]
        folded = None
    note = (
        f"Accuracy at each radius of {uncertainty}, under {attack}. Minimal radius: the least at which an "
        "example falls, over all n; beyond: examples that withstand the largest radius."
    )
    title = f"Accuracy against radius: {uncertainty}, {attack}"
    return Table(
        title=title,
        columns=heads,
        rows=rows,
        note=note,
        commands=commands(sweep.command for _, sweep in group),
        folded=folded,
    )


def _accuracies(sweep: SweepFields, with_intervals: bool) -> list[str]:
    shares = [percent(share) for share in sweep.accuracy]
    if not with_intervals:
        return shares
    ranges = []
    for low, high in sweep.intervals:
        ranges.append(f" ({100 * low:.1f} to {100 * high:.1f})")
    return [share + interval for share, interval in zip(shares, ranges, strict=True)]


def _minimal_radius(sweep: SweepFields) -> tuple[str, str, str]:
    minimal = sweep.minimal_radius
    if minimal is None:
        return "–", "–", "–"
    beyond = f"> {number(max(sweep.radii))}"
    low, high = minimal.quartiles
    quartiles = f"{number(low, beyond)} to {number(high, beyond)}"
    return number(minimal.median, beyond), quartiles, f"{minimal.beyond} of {sweep.n}"


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


def _figures(mode: str, runs: Sequence[ReportedRun]) -> list[Drawing]:
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
