"""Images that began as noise and that a net takes for something: how sure it is, and the images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from robustfw.report.analyses import Fooling, Search
from robustfw.report.drawing import Drawing
from robustfw.report.examples import Floats
from robustfw.report.gather import Material, Run
from robustfw.report.images import COLUMNS, Row, grid
from robustfw.report.pictures import read
from robustfw.report.table import Table
from robustfw.report.words import cut, listed, percent, times

MOST = 15
"""Classes whose images are shown."""


def tables(runs: Sequence[Run]) -> list[Table]:
    """One of all runs: how many classes each search reached, and the least sure of its images."""
    columns = "run", "search", "classes that reached the target", "least confidence", "median rounds", "budget"
    found = [(run, result) for run in runs for result in run.of(Fooling)]
    rows = [
        (
            run.name,
            search.name,
            f"{search.reached} of {len(search.confidence)}",
            f"{percent(min(search.confidence), 2)} ({_name(run, int(np.argmin(search.confidence)))})",
            f"{np.median(search.rounds):g}",
            str(search.budget),
        )
        for run, result in found
        for search in result.searches
    ]
    note = (
        "Images that begin as uniform noise, one for each class, changed until the net is "
        f"{listed(sorted({percent(result.target, 0) for _, result in found}))} sure of it (Nguyen et al. 2015): by "
        "steps of gradient ascent, and by generations of evolution, which only asks for outputs. A class that was not "
        "reached within the budget may be within another."
    )
    commands = list(dict.fromkeys(result.command for _, result in found if result.command))
    return [Table("Fooling images", columns, rows, note, commands)] if rows else []


def _name(run: Run, label: int) -> str:
    return run.labels[label] if run.labels and label < len(run.labels) else str(label)


def figures(material: Material) -> list[Drawing]:
    """The images of each run; of examples that are no images there is the table."""
    found = [(run, result) for run in material.runs for result in run.of(Fooling)]
    return [_figure(run, result) for run, result in found if len(result.shape) == 3]


def _figure(run: Run, result: Fooling) -> Drawing:
    classes = min(len(result.searches[0].confidence), MOST)
    reached = [
        f"{s.reached} of {len(s.confidence)} classes by {s.name} within {s.budget} rounds" for s in result.searches
    ]
    title = f"Fooling images of {run.name}"
    alt = f"{title}: {percent(result.target, 0)} confidence is reached for {listed(reached)}."
    part = f" The first {classes} classes are shown." if classes < len(result.searches[0].confidence) else ""
    caption = (
        f"Noise, changed until {run.name} is {percent(result.target, 0)} sure of a class, by {_both(result.searches)}. "
        f"Below each picture: the class, and the net's confidence.{part}"
    )
    pictures = _read(run, result)
    rows = [row for search in result.searches for row in _rows(run, search, pictures[search.name][:classes])]
    return Drawing("fooling", title, partial(grid, rows), caption, alt, result.command)


def _both(searches: Sequence[Search]) -> str:
    return listed([f"{search.name} (at most {times(search.budget, 'round')})" for search in searches])


def _read(run: Run, result: Fooling) -> dict[str, Floats]:
    """The pictures of each search, in [0, 1], (classes, channels, height, width)."""
    low, high = result.range
    form = (len(result.searches[0].confidence), *result.shape)
    pictures = read(run.path / "results" / result.images, {search.name: form for search in result.searches})
    width = (high - low) or 1.0
    return {name: ((picture - low) / width).astype(np.float32) for name, picture in pictures.items()}


def _rows(run: Run, search: Search, pictures: Floats) -> list[Row]:
    names = [cut(_name(run, label), 11) for label in range(len(pictures))]
    between = ", " if max(map(len, names)) <= 3 else "\n"
    words = [f"{name}{between}{percent(search.confidence[i], 0)}" for i, name in enumerate(names)]
    return [
        Row(search.name, list(pictures[start : start + COLUMNS]), words[start : start + COLUMNS])
        for start in range(0, len(pictures), COLUMNS)
    ]
