"""Kind of result `transfer`: accuracy of a net on adversarial examples that were crafted against another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, final

import attrs

from robustfw.results._kind import ConsoleOutput, Drawing, ResultKind
from robustfw.results._table import Table
from robustfw.results._words import (
    INTERVALS,
    Interval,
    commands,
    fact,
    format_share,
    percent,
    share,
    wrap_text,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from robustfw.results._material import Material, ReportedRun


@attrs.frozen
class SetAccuracy:
    """Accuracy on the examples of one uncertainty set of a collection."""

    uncertainty: str
    n: int
    correct: int
    accuracy: float | None
    """Null where the collection has no example of the set."""
    interval: Interval


@attrs.frozen
class TransferFields:
    """Accuracy of a run on examples that were crafted against another."""

    collection: str
    """The path of the collection."""
    source: str
    """The path of the run that it was crafted against."""
    n: int
    correct: int
    accuracy: float
    interval: Interval
    accuracy_8bit: float | None = None
    """The accuracy after rounding to the 256 values that an image file keeps."""
    sets: tuple[SetAccuracy, ...] = ()
    command: str = ""


@final
@attrs.frozen
class TransferKind(ResultKind):
    """Accuracy on another net's examples; robustfw evaluate --on keeps it."""

    fields = TransferFields
    place = 20

    def example(self) -> Mapping[str, Any]:
        numbers = {"n": 4, "correct": 3, "accuracy": 0.75, "interval": [0.3, 0.95]}
        sets = [numbers | {"uncertainty": "linf:radius=0.1"}]
        return numbers | {
            "accuracy_8bit": 0.75,
            "collection": "transfer/a",
            "source": "runs/a",
            "sets": sets,
        }

    def lines(
        self, result: TransferFields, labels: Sequence[str] | None = None
    ) -> Iterator[ConsoleOutput]:
        yield share(
            "accuracy", count=result.correct, n=result.n, interval=result.interval
        )
        for of_set in result.sets:
            yield share(
                f"  {of_set.uncertainty}",
                count=of_set.correct,
                n=of_set.n,
                interval=of_set.interval,
            )
        if result.accuracy_8bit is not None:
            yield fact(
                "8 bits",
                f"{result.accuracy_8bit:7.2%}   the same examples, rounded as image files are",
            )
        yield fact(
            "collection", f"{result.collection}, crafted against {result.source}"
        )

    def tables(self, material: Material) -> list[Table]:
        """A table of all runs, with a row for each set where a collection has several."""
        rows = []
        for run, result in material.pairs(TransferFields):
            head = (
                run.name,
                material.name_of(result.source),
                material.name_of(result.collection),
            )
            accuracy = format_share(
                result.accuracy,
                interval=result.interval,
                count=result.correct,
                n=result.n,
            )
            rows.append((*head, "all", accuracy, percent(result.accuracy_8bit, 2)))
            if len(result.sets) == 1:
                continue
            for of_set in result.sets:
                accuracy = format_share(
                    of_set.accuracy,
                    interval=of_set.interval,
                    count=of_set.correct,
                    n=of_set.n,
                )
                rows.append((*head, of_set.uncertainty, accuracy, "–"))
        columns = (
            "run",
            "crafted against",
            "collection",
            "set",
            "accuracy",
            "rounded to 8 bits",
        )
        again = commands(result.command for _, result in material.pairs(TransferFields))
        if rows:
            return [
                Table(
                    title="Transfer",
                    columns=columns,
                    rows=rows,
                    note=INTERVALS,
                    commands=again,
                )
            ]
        return []

    def figures(self, material: Material) -> list[Drawing]:
        """Who fools whom: accuracy of each net on examples crafted against each."""
        drawings = []
        for mode, runs in material.group_by_mode().items():
            accuracies = accuracy_matrix(material, runs)
            if accuracies:
                drawings.append(_figure(mode, accuracies))
        return drawings


def accuracy_matrix(
    material: Material, runs: Sequence[ReportedRun]
) -> dict[tuple[str, str], list[float]]:
    """Accuracies by source and net: the row and the column of a matrix, with the accuracies of all seeds.

    A source of another seed than the net stands in a row of its own.

    Args:
        material: All runs, among which sources are looked for.
        runs: The nets of the columns.
    """
    run_named = {run.name: run for run in material.runs}
    accuracies: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        for result in run.results_of(TransferFields):
            name = material.name_of(result.source)
            source = run_named.get(name)
            row = source.line if source else name
            if source and source.seed != run.seed:
                row += ", another seed"
            accuracies.setdefault((row, run.line), []).append(result.accuracy)
    return accuracies


def _figure(mode: str, accuracies: dict[tuple[str, str], list[float]]) -> Drawing:
    title = f"Transfer, {mode}" if mode else "Transfer"
    means = {key: sum(values) / len(values) for key, values in accuracies.items()}
    lowest = min(means, key=lambda key: means[key])
    highest = max(means, key=lambda key: means[key])
    weak_row, weak_column = lowest
    strong_row, strong_column = highest
    low = percent(means[lowest])
    high = percent(means[highest])
    alt = (
        f"{title}: accuracy is lowest, {low}, for {weak_column} on examples crafted against "
        f"{weak_row}, and highest, {high}, for {strong_column} on those against {strong_row}."
    )
    most = max(len(values) for values in accuracies.values())
    caption = "Accuracy, in per cent, of the net of each column on examples crafted against the net of each row."
    if most > 1:
        caption += f" Each cell is the mean of up to {most} results."
    return Drawing(
        kind="transfer",
        title=title,
        draw=partial(_draw, means),
        caption=caption,
        alt=alt,
    )


def _draw(means: dict[tuple[str, str], float]) -> Figure:
    from matplotlib.figure import Figure

    from robustfw.results._style import WIDTH, clear_frame, draw_cell

    # a net stands in the same place among rows and columns; sources that are no columns follow
    columns = list(dict.fromkeys(column for _, column in means))
    sources = list(dict.fromkeys(row for row, _ in means))
    rows = [name for name in columns if name in sources]
    rows += [name for name in sources if name not in columns]
    tilted = max(map(len, columns)) > 3
    cell_size = max(0.34, min(0.7, (WIDTH - 1.5) / len(columns)))
    space_for_names = 1.4 if tilted else 0.7
    height = space_for_names + cell_size * len(rows)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    for (row, column), value in means.items():
        draw_cell(
            axes,
            column=columns.index(column),
            row=rows.index(row),
            shade=value,
            text=f"{100 * value:.1f}",
        )
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    column_names = [wrap_text(name, 18, 3) for name in columns]
    axes.set_xticks(
        range(len(columns)),
        column_names,
        rotation=35 if tilted else 0,
        ha="right" if tilted else "center",
    )
    row_names = [wrap_text(name, 18, 3) for name in rows]
    axes.set_yticks(range(len(rows)), row_names)
    axes.set_aspect("equal", anchor="W")
    axes.set_xlabel("evaluated on")
    axes.set_ylabel("crafted against")
    clear_frame(axes)
    return figure
