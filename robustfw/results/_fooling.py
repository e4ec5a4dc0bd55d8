"""Kind of result `fooling`: images that began as noise and that a net takes for something."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any, final

import attrs

from robustfw.results._kind import ConsoleOutput, Drawing, ResultKind
from robustfw.results._table import Table
from robustfw.results._words import (
    commands,
    count_of,
    fact,
    join_words,
    percent,
    truncate,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from robustfw.results._material import Material, ReportedRun
    from robustfw.results._picture_grid import Floats, Row

MOST = 15
"""Classes whose images are shown, at most."""


@attrs.frozen
class Search:
    """A way in which images were searched for, one for each class, and how far it came."""

    name: str
    """What it is called: gradient, evolution."""
    budget: int
    """Rounds, at most."""
    reached: int
    """Classes whose image has the target confidence."""
    confidence: tuple[float, ...]
    """The net's probability of each class at its image."""
    rounds: tuple[int, ...]
    """Rounds that each class took."""


@attrs.frozen
class FoolingFields:
    """Images that began as noise."""

    target: float
    """The confidence at which the search for a class ends."""
    range: tuple[float, float]
    """The values of black and white."""
    shape: tuple[int, ...]
    """(channels, height, width), or the shape of examples that are no images."""
    images: str
    """The name of the file of the images, which lies beside the result."""
    searches: tuple[Search, ...]
    run: str = ""
    command: str = ""

    def __attrs_post_init__(self) -> None:
        lengths = {len(search.confidence) for search in self.searches}
        lengths |= {len(search.rounds) for search in self.searches}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError("the searches are not of the same classes")


@final
@attrs.frozen
class FoolingKind(ResultKind):
    """Noise that a net takes for each class; robustfw analyze keeps it."""

    fields = FoolingFields
    place = 70

    def example(self) -> Mapping[str, Any]:
        search = {
            "name": "gradient",
            "budget": 200,
            "reached": 2,
            "confidence": [0.99, 0.99],
            "rounds": [17, 20],
        }
        facts = {
            "target": 0.99,
            "range": [0.0, 1.0],
            "shape": [1, 8, 8],
            "images": "fooling.safetensors",
        }
        return facts | {"searches": [search], "run": "runs/a"}

    def lines(
        self, result: FoolingFields, labels: Sequence[str] | None = None
    ) -> Iterator[ConsoleOutput]:
        rows = []
        for label in range(len(result.searches[0].confidence)):
            name = str(label)
            if labels and label < len(labels):
                name = labels[label]
            cells = []
            for search in result.searches:
                confidence = search.confidence[label]
                cells.append(f"{confidence:.2%} after {search.rounds[label]}")
            rows.append((name, *cells))
        yield Table(
            title="fooling images",
            columns=("", *(search.name for search in result.searches)),
            rows=rows,
        )
        for search in result.searches:
            reached = f"{search.reached} of {len(search.confidence)} classes at {result.target:.0%} confidence"
            yield fact(search.name, f"{reached} within {search.budget} rounds")
        yield fact(
            "images",
            f"{result.run}/results/{result.images}" if result.run else result.images,
        )

    def tables(self, material: Material) -> list[Table]:
        """A table of all runs: how many classes each search reached, and the least sure of its images."""
        results = material.pairs(FoolingFields)
        columns = (
            "run",
            "search",
            "classes that reached the target",
            "least confidence",
            "median rounds",
            "budget",
        )
        rows = [
            _row(run, search) for run, result in results for search in result.searches
        ]
        targets = sorted({percent(result.target, 0) for _, result in results})
        note = (
            "Images that begin as uniform noise, one for each class, changed until the net is "
            f"{join_words(targets)} sure of it (Nguyen et al. 2015): by "
            "steps of gradient ascent, and by generations of evolution, which only asks for outputs. A class that was "
            "not reached within the budget may be within another."
        )
        again = commands(result.command for _, result in results)
        if rows:
            return [
                Table(
                    title="Fooling images",
                    columns=columns,
                    rows=rows,
                    note=note,
                    commands=again,
                )
            ]
        return []

    def figures(self, material: Material) -> list[Drawing]:
        """The images of each run; examples that are no images have the table alone."""
        return [
            _figure(run, result)
            for run, result in material.pairs(FoolingFields)
            if len(result.shape) == 3
        ]


def _row(run: ReportedRun, search: Search) -> tuple[str, ...]:
    least = min(search.confidence)
    return (
        run.name,
        search.name,
        f"{search.reached} of {len(search.confidence)}",
        f"{percent(least, 2)} ({run.label(search.confidence.index(least))})",
        f"{median(search.rounds):g}",
        str(search.budget),
    )


def _figure(run: ReportedRun, result: FoolingFields) -> Drawing:
    classes = len(result.searches[0].confidence)
    pictured = min(classes, MOST)
    successes = []
    ways = []
    for search in result.searches:
        successes.append(
            f"{search.reached} of {classes} classes by {search.name} within {search.budget} rounds"
        )
        ways.append(f"{search.name} (at most {count_of(search.budget, 'round')})")
    title = f"Fooling images of {run.name}"
    alt = f"{title}: {percent(result.target, 0)} confidence is reached for {join_words(successes)}."
    if pictured < classes:
        selection = f" The first {pictured} classes are shown."
    else:
        selection = ""
    caption = (
        f"Noise, changed until {run.name} is {percent(result.target, 0)} sure of a class, by {join_words(ways)}. "
        f"Below each picture: the class, and the net's confidence.{selection}"
    )
    return Drawing(
        kind="fooling",
        title=title,
        draw=partial(_draw, run, result, pictured),
        caption=caption,
        alt=alt,
        command=result.command,
    )


def _draw(run: ReportedRun, result: FoolingFields, classes: int) -> Figure:
    from robustfw.results._picture_grid import draw_grid

    pictures = _read_pictures(run, result)
    rows = []
    for search in result.searches:
        rows += _picture_rows(run, search, pictures[search.name][:classes])
    return draw_grid(rows)


def _read_pictures(run: ReportedRun, result: FoolingFields) -> dict[str, Floats]:
    """The pictures of each search, in [0, 1], (classes, channels, height, width)."""
    import numpy as np

    from robustfw.results._reading import read_tensors

    shape = (len(result.searches[0].confidence), *result.shape)
    tensors = read_tensors(
        run.path,
        name=result.images,
        shapes={search.name: shape for search in result.searches},
    )
    low, high = result.range
    width = (high - low) or 1.0
    return {
        name: ((tensor - low) / width).astype(np.float32)
        for name, tensor in tensors.items()
    }


def _picture_rows(run: ReportedRun, search: Search, pictures: Floats) -> list[Row]:
    from robustfw.results._picture_grid import COLUMNS, Row

    names = [truncate(run.label(label), 11) for label in range(len(pictures))]
    longest = max(len(name) for name in names)
    separator = ", " if longest <= 3 else "\n"
    words = []
    for i, name in enumerate(names):
        words.append(f"{name}{separator}{percent(search.confidence[i], 0)}")
    rows = []
    for start in range(0, len(pictures), COLUMNS):
        block = slice(start, start + COLUMNS)
        rows.append(Row(search.name, list(pictures[block]), words[block]))
    return rows
