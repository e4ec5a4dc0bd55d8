"""How far apart classes are: a table of the extremes, and a matrix of all pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from matplotlib.figure import Figure

from robustfw.report.analyses import ClassPair, Distinguishability, Space
from robustfw.report.drawing import WIDTH, Drawing
from robustfw.report.gather import Material, Run
from robustfw.report.shares import cell
from robustfw.report.table import Table
from robustfw.report.words import cut, number, times

MOST = 10
"""Classes in a matrix, whose numbers can still be read on a phone."""
KINDS = {"linear": "linear, bound", "quadratic": "quadratic, bound / √κ", "measured": "the net's own, measured"}
MEANING = (
    "The mean ℓ2 distance of examples to the boundary of a classifier of two classes that makes no mistake on them "
    "is at most the linear bound if it is linear, and at most √κ times the quadratic one if it is quadratic, κ being "
    "the ratio of its extreme eigenvalues (Fawzi et al. 2015)."
)


def tables(runs: Sequence[Run]) -> list[Table]:
    """One of all runs: the closest pair of each space, the median, the pair farthest apart."""
    found = [(run, result) for run in runs for result in run.of(Distinguishability)]
    columns = "run", "points", "classifier", "least", "median", "most", "examples"
    rows = [row for run, result in found for row in _rows(run, result)]
    own = " Measured: between the logits of the net's last layer, on what that layer is given; wrong examples included."
    commands = list(dict.fromkeys(result.command for _, result in found if result.command))
    return [Table("Distinguishability", columns, rows, MEANING + own, commands)] if rows else []


def _rows(run: Run, result: Distinguishability) -> Iterator[tuple[str, ...]]:
    for space in result.spaces:
        for kind, title in KINDS.items():
            pairs = sorted((p for p in space.pairs if getattr(p, kind) is not None), key=lambda p: getattr(p, kind))
            if pairs:
                least, median, most = (pairs[i] for i in (0, len(pairs) // 2, -1))
                ends = [f"{number(getattr(p, kind))} ({_named(run, p)})" for p in (least, most)]
                points = f"{space.name}, {times(space.dimension, 'dimension')}"
                counted = f"{result.examples} {result.split}"
                yield run.name, points, title, ends[0], number(getattr(median, kind)), ends[1], counted


def _named(run: Run, pair: ClassPair) -> str:
    return f"{_name(run, pair.first)}, {_name(run, pair.second)}"


def _name(run: Run, label: int) -> str:
    return run.labels[label] if run.labels and label < len(run.labels) else str(label)


def figures(material: Material) -> list[Drawing]:
    """A matrix of pairs for each run and space."""
    found = [(run, result) for run in material.runs for result in run.of(Distinguishability)]
    return [_figure(run, result, space) for run, result in found for space in result.spaces if space.pairs]


def _figure(run: Run, result: Distinguishability, space: Space) -> Drawing:
    ordered = sorted(space.pairs, key=lambda pair: pair.linear)
    chosen = sorted(list(dict.fromkeys(label for pair in ordered for label in (pair.first, pair.second)))[:MOST])
    classes = {label for pair in ordered for label in (pair.first, pair.second)}
    title = f"Distances of classes: {space.name} of {run.name}"
    low, high = ordered[0], ordered[-1]
    alt = (
        f"{title}: no linear classifier without mistakes has a mean distance to its boundary above "
        f"{number(low.linear)} between {_named(run, low)}, the closest of {times(len(ordered), 'pair')}, and above "
        f"{number(high.linear)} between {_named(run, high)}, those farthest apart."
    )
    part = (
        "" if len(chosen) == len(classes) else f" The {len(chosen)} of {len(classes)} classes with the closest pairs."
    )
    caption = (
        "Below the diagonal: the linear bound, ½‖m₁ − m₂‖₂ from the classes' means. Above: the quadratic one, √(½‖C₁ "
        f"− C₂‖_*) from their second moments. The farther, the lighter, on each side. {result.examples} "
        f"{result.split} examples.{part}"
    )
    names = {label: _name(run, label) for label in chosen}
    return Drawing("distinguishability", title, partial(_draw, names, space.pairs), caption, alt, result.command)


def _shades(values: Sequence[float]) -> list[float]:
    """From 0.05 for the least to 0.95 for the greatest."""
    low, high = min(values), max(values)
    return [0.5 if high == low else 0.05 + 0.9 * (value - low) / (high - low) for value in values]


def _three(value: float) -> str:
    """Three digits, or as many as there are before the point."""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def _draw(names: dict[int, str], pairs: Sequence[ClassPair]) -> Figure:
    place = {label: i for i, label in enumerate(names)}
    size = min(0.7, (WIDTH - 0.9) / len(place))
    figure = Figure(figsize=(WIDTH, 0.8 + size * len(place)), layout="constrained")
    axes = figure.subplots()
    shown = [pair for pair in pairs if pair.first in place and pair.second in place]
    shades = _shades([pair.linear for pair in shown]), _shades([pair.quadratic for pair in shown])
    for pair, below, above in zip(shown, *shades, strict=True):
        first, second = sorted((place[pair.first], place[pair.second]))
        cell(axes, first, second, below, _three(pair.linear), 9.5)
        cell(axes, second, first, above, _three(pair.quadratic), 9.5)
    axes.set_xlim(-0.5, len(place) - 0.5)
    axes.set_ylim(len(place) - 0.5, -0.5)
    longest = max(map(len, names.values()))
    axes.set_xticks(range(len(place)), [cut(name, 11) for name in names.values()], rotation=35 if longest > 3 else 0)
    axes.set_yticks(range(len(place)), [cut(name, 11) for name in names.values()])
    axes.set_aspect("equal", anchor="W")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure
