"""Kind of result `comparison`: two nets on the same examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import attrs

from robustfw.results._kind import ConsoleOutput, ResultKind
from robustfw.results._table import Table
from robustfw.results._words import (
    Interval,
    abbreviate_attacks,
    chance,
    commands,
    points,
)

if TYPE_CHECKING:
    from robustfw.results._material import Material


@attrs.frozen
class Pairs:
    """Two runs on the same examples: how many both classify correctly, only one of them, or neither."""

    both: int
    only_first: int
    only_second: int
    neither: int
    difference: float
    interval: Interval
    p: float | None

    @property
    def accuracies(self) -> tuple[float, float]:
        """The accuracy of the first run, and that of the second."""
        n = max(self.both + self.only_first + self.only_second + self.neither, 1)
        return (self.both + self.only_first) / n, (self.both + self.only_second) / n


@attrs.frozen
class ComparisonFields:
    """Two runs, example by example."""

    runs: tuple[str, str]
    uncertainty: str
    attacks: tuple[str, ...]
    n: int
    clean: Pairs
    robust: Pairs
    command: str = ""


@final
@attrs.frozen
class ComparisonKind(ResultKind):
    """Two nets on the same examples; robustfw compare keeps it."""

    fields = ComparisonFields
    place = 40

    def example(self) -> Mapping[str, Any]:
        counts = {"both": 2, "only_first": 0, "only_second": 1, "neither": 1}
        pairs = counts | {"difference": 0.25, "interval": [-0.2, 0.6], "p": 1.0}
        return {
            "runs": ["runs/a", "runs/b"],
            "uncertainty": "linf:radius=0.1",
            "attacks": ["pgd"],
            "n": 4,
            "clean": pairs,
            "robust": pairs,
        }

    def lines(
        self, result: ComparisonFields, labels: Sequence[str] | None = None
    ) -> Iterator[ConsoleOutput]:
        heads = (
            "",
            "first",
            "second",
            "only first",
            "only second",
            "difference",
            "95 % interval",
            "p (McNemar)",
        )
        rows = [
            _console_row("clean", result.clean),
            _console_row("robust", result.robust),
        ]
        yield Table("accuracy", heads, rows)
        yield f"first: {result.runs[0]}, second: {result.runs[1]}; {result.n} examples; differences in points"

    def tables(self, material: Material) -> list[Table]:
        # both runs of a comparison may hold it
        results = list(
            dict.fromkeys(result for _, result in material.pairs(ComparisonFields))
        )
        rows = []
        for result in results:
            runs = [material.name_of(path) for path in result.runs]
            under_attack = (
                f"robust, {result.uncertainty}, {abbreviate_attacks(result.attacks)}"
            )
            rows.append((*runs, "clean", *_page_cells(result.clean), str(result.n)))
            rows.append(
                (*runs, under_attack, *_page_cells(result.robust), str(result.n))
            )
        counts = ("both", "only first", "only second", "neither")
        head = ("first", "second", "accuracy", "of first", "of second")
        columns = (*head, "second − first", "p", *counts, "n")
        note = "The same examples for both. p: of a difference as great or greater, if the two were equally good."
        again = commands(result.command for result in results)
        if rows:
            return [
                Table(
                    title="Comparisons",
                    columns=columns,
                    rows=rows,
                    note=note,
                    commands=again,
                )
            ]
        return []


def _console_row(name: str, pairs: Pairs) -> tuple[str, ...]:
    first, second = pairs.accuracies
    low, high = pairs.interval
    return (
        name,
        f"{first:.2%}",
        f"{second:.2%}",
        f"{pairs.only_first}",
        f"{pairs.only_second}",
        f"{100 * pairs.difference:+.2f}",
        f"{100 * low:+.2f} to {100 * high:+.2f}",
        "–" if pairs.p is None else f"{pairs.p:.2g}",
    )


def _page_cells(pairs: Pairs) -> tuple[str, ...]:
    first, second = pairs.accuracies
    return (
        f"{100 * first:.2f} %",
        f"{100 * second:.2f} %",
        points(pairs.difference, pairs.interval),
        chance(pairs.p),
        str(pairs.both),
        str(pairs.only_first),
        str(pairs.only_second),
        str(pairs.neither),
    )
