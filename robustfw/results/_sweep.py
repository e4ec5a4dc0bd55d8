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
    quartiles: tuple[float | None, float | None]
    beyond: int


@attrs.frozen
class SweepFields:
    """Robust accuracy of a run at several radii."""

    uncertainty: str
    attack: str
    n: int
    radii: tuple[float, ...]
    correct: tuple[int, ...]
    accuracy: tuple[float, ...]
    intervals: tuple[Interval, ...]
    minimal_radius: MinimalRadius | None = None
    independent: bool = False
    """Whether each radius was attacked on its own."""
    command: str = ""

    def __attrs_post_init__(self) -> None:
        if len({len(self.radii), len(self.correct), len(self.accuracy), len(self.intervals)}) != 1:
            raise ValueError("radii, correct, accuracy and intervals are not of one length")
        if not self.radii:
            raise ValueError("there is no radius")


@final
@attrs.frozen
class SweepKind(ResultKind):
    """Accuracy at growing radii; robustfw sweep keeps it."""

    fields = SweepFields
    place = 30

    def example(self) -> Mapping[str, Any]:
        measured = {"correct": [3, 1], "accuracy": [0.75, 0.25], "intervals": [[0.3, 0.95], [0.05, 0.7]]}
        minimal = {"median": 0.06, "quartiles": [0.03, None], "beyond": 1}
        circumstances = {"uncertainty": "linf:radius=0.1", "attack": "pgd:steps=20", "n": 4, "radii": [0.0, 0.1]}
        return circumstances | measured | {"minimal_radius": minimal}

    def lines(self, result: SweepFields, labels: Sequence[str] | None = None) -> Iterator[ConsoleOutput]:
        rows = []
        for i, radius in enumerate(result.radii):
            low, high = result.intervals[i]
            counted = f"{result.correct[i]} of {result.n}"
            rows.append((words.radius(radius), f"{result.accuracy[i]:.2%}", counted, f"{low:.2%} to {high:.2%}"))
        yield Table("radius", ("", "accuracy", "", "95 % interval"), rows)
        minimal = result.minimal_radius
        if minimal is not None:
            first, third = (number(quartile, "beyond") for quartile in minimal.quartiles)
            quartiles = f"median {number(minimal.median, 'beyond')}, quartiles {first} and {third}"
            yield fact("smallest radius", f"{quartiles}; {minimal.beyond} of {result.n} beyond")
        yield fact("uncertainty", result.uncertainty)
        yield fact("attack", result.attack)

    def tables(self, material: Material) -> list[Table]:
        """A table for each set, attack and list of radii."""
        groups: dict[tuple[str, str, tuple[float, ...]], list[tuple[ReportedRun, SweepFields]]] = {}
        for run, sweep in material.pairs(SweepFields):
            groups.setdefault((drop_radius(sweep.uncertainty), sweep.attack, sweep.radii), []).append((run, sweep))
        return [_table(group) for _, group in sorted(groups.items(), key=lambda item: item[0])]

    def figures(self, material: Material) -> list[Drawing]:
        """Accuracy against radius, a figure for each mode, set and attack."""
        return [drawing for mode, runs in material.group_by_mode().items() for drawing in _figures(mode, runs)]


def _table(group: Sequence[tuple[ReportedRun, SweepFields]]) -> Table:
    """Radii from top to bottom and a column for each run; the other way round where there are more runs than radii."""
    first = group[0][1]
    uncertainty, attack = drop_radius(first.uncertainty), abbreviate(first.attack)
    names = [*map(words.radius, first.radii), "median minimal radius", "quartiles", "beyond", "n"]
    alone = len(group) == 1  # beside others there is no room for intervals, which the figure shows
    columns = [[*_accuracies(sweep, alone), *_minimal(sweep), str(sweep.n)] for _, sweep in group]
    runs = [run.name for run, _ in group]
    if len(runs) <= len(names):
        heads: list[str] = ["radius", *runs]
        rows = [[name, *values] for name, values in zip(names, zip(*columns, strict=True), strict=True)]
    else:
        heads = ["run", *names]
        rows = [[run, *values] for run, values in zip(runs, columns, strict=True)]
    note = (
        f"Accuracy at each radius of {uncertainty}, under {attack}. Minimal radius: the least at which an "
        "example falls, over all n; beyond: examples that withstand the largest radius."
    )
    title = f"Accuracy against radius: {uncertainty}, {attack}"
    folded = False if len(runs) <= len(names) else None
    return Table(title, heads, rows, note, commands(sweep.command for _, sweep in group), folded=folded)


def _accuracies(sweep: SweepFields, with_intervals: bool) -> list[str]:
    shares = [percent(share) for share in sweep.accuracy]
    if not with_intervals:
        return shares
    ranges = [f" ({100 * low:.1f} to {100 * high:.1f})" for low, high in sweep.intervals]
    return [share + interval for share, interval in zip(shares, ranges, strict=True)]


def _minimal(sweep: SweepFields) -> tuple[str, str, str]:
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
        half = student_quantile(len(values) - 1) * values.std(axis=0, ddof=1) / math.sqrt(len(values))
        return np.clip(self.mean() - half, 0, 1), np.clip(self.mean() + half, 0, 1)


def _figures(mode: str, runs: Sequence[ReportedRun]) -> list[Drawing]:
    panels: dict[tuple[str, str], dict[tuple[str, tuple[float, ...]], list[SweepFields]]] = {}
    for run in runs:
        for sweep in run.results_of(SweepFields):
            lines = panels.setdefault((drop_radius(sweep.uncertainty), sweep.attack), {})
            lines.setdefault((run.line, sweep.radii), []).append(sweep)
    drawn = [
        (key, [SweepLine(name, tuple(sweeps)) for (name, _), sweeps in lines.items()]) for key, lines in panels.items()
    ]
    # curves whose radii were attacked independently first, as in the paper's Figure 3
    drawn.sort(key=lambda panel: (not any(s.independent for line in panel[1] for s in line.sweeps), panel[0]))
    return [_figure(mode, key, lines) for key, lines in drawn]


def _figure(mode: str, key: tuple[str, str], lines: list[SweepLine]) -> Drawing:
    uncertainty, attack = key
    within = f", {mode}" if mode else ""
    falls = []
    for line in lines:
        radii, mean = line.sweeps[0].radii, line.mean()
        ends = f"{percent(mean[0])} at {number(radii[0])} to {percent(mean[-1])} at {number(radii[-1])}"
        falls.append(f"{line.name} falls from {ends}")
    alt = f"Accuracy against the radius of {uncertainty} under {abbreviate(attack)}{within}: {join_words(falls)}."
    caption = f"Accuracy against the radius of {uncertainty}, under {abbreviate(attack)}{within}. {_band_words(lines)}"
    caption += (
        " Each radius is attacked on its own, so that a curve may rise."
        if lines[0].sweeps[0].independent
        else " What fools a net within a small set counts within larger ones, so that no curve rises."
    )
    again = {sweep.command for line in lines for sweep in line.sweeps}
    command = again.pop() if len(again) == 1 else ""
    title = f"Accuracy against radius: {uncertainty}, {abbreviate(attack)}{within}"
    return Drawing("radius", title, partial(_draw, lines), caption, alt, command)


def _band_words(lines: list[SweepLine]) -> str:
    meaning = {
        1: "Wilson's 95 % interval over examples, for a single run",
        2: "the range of two seeds around their mean",
        3: "the 95 % t-interval of the mean over three or more seeds",
    }
    kinds = sorted({min(len(line.sweeps), 3) for line in lines})
    return f"Shaded: {'; '.join(meaning[kind] for kind in kinds)}."


def _draw(lines: list[SweepLine]) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    from robustfw.results._style import WIDTH, draw_legend, line_style, show_percent

    figure = Figure(figsize=(WIDTH, 3.2 + 0.18 * len(lines)), layout="constrained")
    axes = figure.subplots()
    for i, line in enumerate(lines):
        radii, drawn = line.sweeps[0].radii, line_style(i)
        axes.fill_between(radii, *line.band(), color=drawn["color"], alpha=0.2, linewidth=0)
        axes.plot(radii, line.mean(), label=truncate(line.name, 44), **drawn)
    show_percent(axes, "accuracy")
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("radius, in units of the data")
    axes.xaxis.set_major_locator(MaxNLocator(5))  # labels of five digits leave no room for more
    draw_legend(axes, 3)
    return figure
