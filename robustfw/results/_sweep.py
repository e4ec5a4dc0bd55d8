"""Kind of result `sweep`: robust accuracy against the radius of the uncertainty set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, final

import attrs

from robustfw.results import _words as words
from robustfw.results._kind import ConsoleOutput, Drawing, ResultKind
from robustfw.results._sweep_fields import SweepFields
from robustfw.results._sweep_figures import mode_figures
from robustfw.results._table import Table
from robustfw.results._words import (
    abbreviate,
    commands,
    drop_radius,
    fact,
    number,
    percent,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from robustfw.results._material import Material, ReportedRun

    Numbers: TypeAlias = NDArray[np.float64]


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
            drawings += mode_figures(mode, runs)
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
