"""Kind of result `fooling`: images that began as noise and that a net takes for something."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any, final

import attrs

from robustfw.results._kind import ConsoleOutput, Drawing, ResultKind
from robustfw.results._table import Table
from robustfw.results._words import commands, count_of, fact, join_words, percent, truncate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from robustfw.results._material import Material, ReportedRun
    from robustfw.results._picture_grid import Floats, Row

MOST = 15
"""Classes whose images are shown."""


@attrs.frozen
class Search:
    """A way in which images were searched for, one for each class, and how far it came."""

    name: str
    budget: int
    reached: int
    confidence: tuple[float, ...]
    rounds: tuple[int, ...]


@attrs.frozen
class FoolingFields:
    """Images that began as noise."""

    target: float
    range: tuple[float, float]
    shape: tuple[int, ...]
    images: str
    """The name of the file of the images, which lies beside the result."""
    searches: tuple[Search, ...]
    run: str = ""
    command: str = ""

    def __attrs_post_init__(self) -> None:
        lengths = {len(part) for search in self.searches for part in (search.confidence, search.rounds)}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError("the searches are not of the same classes")


@final
@attrs.frozen
class FoolingKind(ResultKind):
    """Noise that a net takes for each class; robustfw analyze keeps it."""

    fields = FoolingFields
    place = 70

    def example(self) -> Mapping[str, Any]:
        search = {"name": "gradient", "budget": 200, "reached": 2, "confidence": [0.99, 0.99], "rounds": [17, 20]}
        facts = {"target": 0.99, "range": [0.0, 1.0], "shape": [1, 8, 8], "images": "fooling.safetensors"}
        return facts | {"searches": [search], "run": "runs/a"}

    def lines(self, result: FoolingFields, labels: Sequence[str] | None = None) -> Iterator[ConsoleOutput]:
        rows = []
        for label in range(len(result.searches[0].confidence)):
            name = labels[label] if labels and label < len(labels) else str(label)
            each = [f"{search.confidence[label]:.2%} after {search.rounds[label]}" for search in result.searches]
            rows.append((name, *each))
        yield Table("fooling images", ("", *(search.name for search in result.searches)), rows)
        for search in result.searches:
            reached = f"{search.reached} of {len(search.confidence)} classes at {result.target:.0%} confidence"
            yield fact(search.name, f"{reached} within {search.budget} rounds")
        yield fact("images", f"{result.run}/results/{result.images}" if result.run else result.images)

    def tables(self, material: Material) -> list[Table]:
        """One of all runs: how many classes each search reached, and the least sure of its images."""
        results = material.pairs(FoolingFields)
        columns = "run", "search", "classes that reached the target", "least confidence", "median rounds", "budget"
        rows = [_row(run, search) for run, result in results for search in result.searches]
        targets = sorted({percent(result.target, 0) for _, result in results})
        note = (
            "Images that begin as uniform noise, one for each class, changed until the net is "
            f"{join_words(targets)} sure of it (Nguyen et al. 2015): by "
            "steps of gradient ascent, and by generations of evolution, which only asks for outputs. A class that was "
            "not reached within the budget may be within another."
        )
        again = commands(result.command for _, result in results)
        return [Table("Fooling images", columns, rows, note, again)] if rows else []

    def figures(self, material: Material) -> list[Drawing]:
        """The images of each run; examples that are no images have the table alone."""
        return [_figure(run, result) for run, result in material.pairs(FoolingFields) if len(result.shape) == 3]


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
    classes = min(len(result.searches[0].confidence), MOST)
    reached = [
        f"{s.reached} of {len(s.confidence)} classes by {s.name} within {s.budget} rounds" for s in result.searches
    ]
    title = f"Fooling images of {run.name}"
    alt = f"{title}: {percent(result.target, 0)} confidence is reached for {join_words(reached)}."
    part = f" The first {classes} classes are shown." if classes < len(result.searches[0].confidence) else ""
    caption = (
        f"Noise, changed until {run.name} is {percent(result.target, 0)} sure of a class, by {_both(result.searches)}. "
        f"Below each picture: the class, and the net's confidence.{part}"
    )
    return Drawing("fooling", title, partial(_draw, run, result, classes), caption, alt, result.command)


def _draw(run: ReportedRun, result: FoolingFields, classes: int) -> Figure:
    from robustfw.results._picture_grid import draw_grid

    pictures = _read(run, result)
    return draw_grid([row for search in result.searches for row in _rows(run, search, pictures[search.name][:classes])])


def _both(searches: Sequence[Search]) -> str:
    return join_words([f"{search.name} (at most {count_of(search.budget, 'round')})" for search in searches])


def _read(run: ReportedRun, result: FoolingFields) -> dict[str, Floats]:
    """The pictures of each search, in [0, 1], (classes, channels, height, width)."""
    import numpy as np

    from robustfw.results._reading import read_tensors

    low, high = result.range
    form = (len(result.searches[0].confidence), *result.shape)
    pictures = read_tensors(run.path, result.images, {search.name: form for search in result.searches})
    width = (high - low) or 1.0
    return {name: ((picture - low) / width).astype(np.float32) for name, picture in pictures.items()}


def _rows(run: ReportedRun, search: Search, pictures: Floats) -> list[Row]:
    from robustfw.results._picture_grid import COLUMNS, Row

    names = [truncate(run.label(label), 11) for label in range(len(pictures))]
    between = ", " if max(map(len, names)) <= 3 else "\n"
    words = [f"{name}{between}{percent(search.confidence[i], 0)}" for i, name in enumerate(names)]
    return [
        Row(search.name, list(pictures[start : start + COLUMNS]), words[start : start + COLUMNS])
        for start in range(0, len(pictures), COLUMNS)
    ]
