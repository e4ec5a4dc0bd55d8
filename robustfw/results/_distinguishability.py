"""Kind of result `distinguishability`: how far apart classes are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, final

import attrs

from robustfw.results._kind import ConsoleOutput, Drawing, ResultKind
from robustfw.results._table import Table
from robustfw.results._words import commands, count_of, fact, number, truncate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from robustfw.results._material import Material, ReportedRun

MOST = 10
"""Classes in a matrix, whose numbers can still be read on a phone."""
MEANINGS = {"linear": "linear, bound", "quadratic": "quadratic, bound / √κ", "measured": "the net's own, measured"}
MEANING = (
    "The mean ℓ2 distance of examples to the boundary of a classifier of two classes that makes no mistake on them "
    "is at most the linear bound if it is linear, and at most √κ times the quadratic one if it is quadratic, κ being "
    "the ratio of its extreme eigenvalues (Fawzi et al. 2015)."
)


@attrs.frozen
class ClassPair:
    """Two classes, and the most that the mean distance to a boundary between them can be."""

    first: int
    second: int
    linear: float
    quadratic: float
    measured: float | None = None
    risk: float | None = None
    bound: float | None = None


@attrs.frozen
class SpacePairs:
    """Examples, or features of them."""

    name: str
    dimension: int
    pairs: tuple[ClassPair, ...]


@attrs.frozen
class DistinguishabilityFields:
    """How robust linear and quadratic classifiers of each pair of classes can be."""

    examples: int
    split: str
    spaces: tuple[SpacePairs, ...]
    command: str = ""


@final
@attrs.frozen
class DistinguishabilityKind(ResultKind):
    """How far apart classes are; robustfw analyze keeps it."""

    fields = DistinguishabilityFields
    place = 60

    def example(self) -> Mapping[str, Any]:
        pair = {"first": 0, "second": 1, "linear": 0.5, "quadratic": 0.7}
        return {"examples": 4, "split": "test", "spaces": [{"name": "data", "dimension": 64, "pairs": [pair]}]}

    def lines(self, result: DistinguishabilityFields, labels: Sequence[str] | None = None) -> Iterator[ConsoleOutput]:
        rows = []
        for space in result.spaces:
            for classifier in MEANINGS:
                pairs = _ascending(space, classifier)
                if pairs:
                    ends = [
                        f"{getattr(pair, classifier):.4g}  {_class(pair.first, labels)}, {_class(pair.second, labels)}"
                        for pair in (pairs[0], pairs[-1])
                    ]
                    median = f"{getattr(pairs[len(pairs) // 2], classifier):.4g}"
                    rows.append((space.name, classifier, ends[0], median, ends[1]))
        yield Table("robustness of pairs", ("", "classifier", "least, classes", "median", "most, classes"), rows)
        yield fact("examples", f"{result.examples}; mean distances to a boundary, in ℓ2")
        yield fact("linear", "no linear classifier without mistakes has more, on these examples")
        yield fact("quadratic", "no quadratic one, times √κ; κ is the ratio of its extreme eigenvalues")

    def tables(self, material: Material) -> list[Table]:
        """One of all runs: the closest pair of each space, the median, the pair farthest apart."""
        results = material.pairs(DistinguishabilityFields)
        columns = "run", "points", "classifier", "least", "median", "most", "examples"
        rows = [row for run, result in results for row in _rows(run, result)]
        measured = (
            " Measured: between the logits of the net's last layer, on what that layer is given; wrong examples "
            "included."
        )
        again = commands(result.command for _, result in results)
        return [Table("Distinguishability", columns, rows, MEANING + measured, again)] if rows else []

    def figures(self, material: Material) -> list[Drawing]:
        """A matrix of pairs for each run and space."""
        results = material.pairs(DistinguishabilityFields)
        return [_figure(run, result, space) for run, result in results for space in result.spaces if space.pairs]


def _class(label: int, labels: Sequence[str] | None) -> str:
    return labels[label] if labels and 0 <= label < len(labels) else str(label)


def _ascending(space: SpacePairs, classifier: str) -> list[ClassPair]:
    """The pairs of which the number is known, by it."""
    pairs = [pair for pair in space.pairs if getattr(pair, classifier) is not None]
    return sorted(pairs, key=lambda pair: getattr(pair, classifier))


def _rows(run: ReportedRun, result: DistinguishabilityFields) -> Iterator[tuple[str, ...]]:
    for space in result.spaces:
        for kind, title in MEANINGS.items():
            pairs = _ascending(space, kind)
            if pairs:
                least, median, most = (pairs[i] for i in (0, len(pairs) // 2, -1))
                ends = [f"{number(getattr(p, kind))} ({_named(run, p)})" for p in (least, most)]
                points = f"{space.name}, {count_of(space.dimension, 'dimension')}"
                counted = f"{result.examples} {result.split}"
                yield run.name, points, title, ends[0], number(getattr(median, kind)), ends[1], counted


def _named(run: ReportedRun, pair: ClassPair) -> str:
    return f"{run.label(pair.first)}, {run.label(pair.second)}"


def _figure(run: ReportedRun, result: DistinguishabilityFields, space: SpacePairs) -> Drawing:
    ordered = sorted(space.pairs, key=lambda pair: pair.linear)
    chosen = sorted(list(dict.fromkeys(label for pair in ordered for label in (pair.first, pair.second)))[:MOST])
    classes = {label for pair in ordered for label in (pair.first, pair.second)}
    title = f"Distances of classes: {space.name} of {run.name}"
    low, high = ordered[0], ordered[-1]
    alt = (
        f"{title}: no linear classifier without mistakes has a mean distance to its boundary above "
        f"{number(low.linear)} between {_named(run, low)}, the closest of {count_of(len(ordered), 'pair')}, and above "
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
    names = {label: run.label(label) for label in chosen}
    return Drawing("distinguishability", title, partial(_draw, names, space.pairs), caption, alt, result.command)


def _shades(values: Sequence[float]) -> list[float]:
    """From 0.05 for the least to 0.95 for the greatest."""
    low, high = min(values), max(values)
    return [0.5 if high == low else 0.05 + 0.9 * (value - low) / (high - low) for value in values]


def _three(value: float) -> str:
    """Three digits, or as many as there are before the point."""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def _draw(names: dict[int, str], pairs: Sequence[ClassPair]) -> Figure:
    from matplotlib.figure import Figure

    from robustfw.results._style import WIDTH, draw_cell

    place = {label: i for i, label in enumerate(names)}
    size = min(0.7, (WIDTH - 0.9) / len(place))
    figure = Figure(figsize=(WIDTH, 0.8 + size * len(place)), layout="constrained")
    axes = figure.subplots()
    shown = [pair for pair in pairs if pair.first in place and pair.second in place]
    shades = _shades([pair.linear for pair in shown]), _shades([pair.quadratic for pair in shown])
    for pair, below, above in zip(shown, *shades, strict=True):
        first, second = sorted((place[pair.first], place[pair.second]))
        draw_cell(axes, first, second, below, _three(pair.linear), 9.5)
        draw_cell(axes, second, first, above, _three(pair.quadratic), 9.5)
    axes.set_xlim(-0.5, len(place) - 0.5)
    axes.set_ylim(len(place) - 0.5, -0.5)
    longest = max(map(len, names.values()))
    axes.set_xticks(
        range(len(place)), [truncate(name, 11) for name in names.values()], rotation=35 if longest > 3 else 0
    )
    axes.set_yticks(range(len(place)), [truncate(name, 11) for name in names.values()])
    axes.set_aspect("equal", anchor="W")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure
