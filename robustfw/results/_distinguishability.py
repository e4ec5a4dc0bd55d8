"""Kind of result `distinguishability`: how far apart classes are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, final

import attrs

from robustfw.results._kind import ConsoleOutput, Drawing, ResultKind
from robustfw.results._pair_matrix import draw_pairs
from robustfw.results._table import Table
from robustfw.results._words import commands, count_of, fact, number

if TYPE_CHECKING:
    from robustfw.results._material import Material, ReportedRun

MOST = 10
"""Classes in a matrix, at most: its numbers can still be read on a phone."""
MEANINGS = {
    "linear": "linear, bound",
    "quadratic": "quadratic, bound / √κ",
    "measured": "the net's own, measured",
}
"""The numbers of a pair, and what they are called in a table."""
MEANING = (
    "The mean ℓ2 distance of examples to the boundary of a classifier of two classes that makes no mistake on them "
    "is at most the linear bound if it is linear, and at most √κ times the quadratic one if it is quadratic, κ being "
    "the ratio of its extreme eigenvalues (Fawzi et al. 2015)."
)


@attrs.frozen
class ClassPair:
    """Two classes, and the most that the mean distance to a boundary between them can be."""

    first: int
    """Label of the first class."""
    second: int
    """Label of the second class."""
    linear: float
    """The bound for linear classifiers without mistakes."""
    quadratic: float
    """The bound for quadratic classifiers without mistakes, divided by √κ."""
    measured: float | None = None
    """The mean distance to the net's own boundary, where it is linear in the points."""
    risk: float | None = None
    """The share of examples that the net's own boundary has wrong."""
    bound: float | None = None
    """The bound on ``measured``, mistakes included."""


@attrs.frozen
class SpacePairs:
    """Pairs of classes of examples, or of features of them."""

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
        return {
            "examples": 4,
            "split": "test",
            "spaces": [{"name": "data", "dimension": 64, "pairs": [pair]}],
        }

    def lines(
        self, result: DistinguishabilityFields, labels: Sequence[str] | None = None
    ) -> Iterator[ConsoleOutput]:
        rows = []
        for space in result.spaces:
            for classifier in MEANINGS:
                pairs = _sort_pairs(space, classifier)
                if not pairs:
                    continue
                least = _console_cell(pairs[0], classifier, labels)
                median = f"{getattr(pairs[len(pairs) // 2], classifier):.4g}"
                most = _console_cell(pairs[-1], classifier, labels)
                rows.append((space.name, classifier, least, median, most))
        yield Table(
            title="robustness of pairs",
            columns=("", "classifier", "least, classes", "median", "most, classes"),
            rows=rows,
        )
        yield fact(
            "examples", f"{result.examples}; mean distances to a boundary, in ℓ2"
        )
        yield fact(
            "linear",
            "no linear classifier without mistakes has more, on these examples",
        )
        yield fact(
            "quadratic",
            "no quadratic one, times √κ; κ is the ratio of its extreme eigenvalues",
        )

    def tables(self, material: Material) -> list[Table]:
        """A table of all runs: the closest pair of each space, the median, the pair farthest apart."""
        results = material.pairs(DistinguishabilityFields)
        columns = "run", "points", "classifier", "least", "median", "most", "examples"
        rows = [row for run, result in results for row in _rows(run, result)]
        measured = (
            " Measured: between the logits of the net's last layer, on what that layer is given; wrong examples "
            "included."
        )
        again = commands(result.command for _, result in results)
        if rows:
            return [
                Table(
                    title="Distinguishability",
                    columns=columns,
                    rows=rows,
                    note=MEANING + measured,
                    commands=again,
                )
            ]
        return []

    def figures(self, material: Material) -> list[Drawing]:
        """A matrix of pairs for each run and space."""
        results = material.pairs(DistinguishabilityFields)
        return [
            _figure(run, result, space)
            for run, result in results
            for space in result.spaces
            if space.pairs
        ]


def _console_cell(
    pair: ClassPair, classifier: str, labels: Sequence[str] | None
) -> str:
    """The number of a pair and the names of its classes."""
    names = []
    for label in (pair.first, pair.second):
        has_name = labels and 0 <= label < len(labels)
        names.append(labels[label] if labels and has_name else str(label))
    value = getattr(pair, classifier)
    return f"{value:.4g}  {', '.join(names)}"


def _sort_pairs(space: SpacePairs, classifier: str) -> list[ClassPair]:
    """The pairs whose number for a classifier is known, the closest first."""
    pairs = [pair for pair in space.pairs if getattr(pair, classifier) is not None]
    return sorted(pairs, key=lambda pair: getattr(pair, classifier))


def _rows(
    run: ReportedRun, result: DistinguishabilityFields
) -> Iterator[tuple[str, ...]]:
    for space in result.spaces:
        for classifier, title in MEANINGS.items():
            pairs = _sort_pairs(space, classifier)
            if not pairs:
                continue
            values = [number(getattr(pair, classifier)) for pair in pairs]
            least = f"{values[0]} ({_class_names(run, pairs[0])})"
            median = values[len(values) // 2]
            most = f"{values[-1]} ({_class_names(run, pairs[-1])})"
            points = f"{space.name}, {count_of(space.dimension, 'dimension')}"
            yield (
                run.name,
                points,
                title,
                least,
                median,
                most,
                f"{result.examples} {result.split}",
            )


def _class_names(run: ReportedRun, pair: ClassPair) -> str:
    return f"{run.label(pair.first)}, {run.label(pair.second)}"


def _figure(
    run: ReportedRun, result: DistinguishabilityFields, space: SpacePairs
) -> Drawing:
    ordered = sorted(space.pairs, key=lambda pair: pair.linear)
    # the classes that are closest to another one, where not all fit
    classes = list(
        dict.fromkeys(label for pair in ordered for label in (pair.first, pair.second))
    )
    chosen = sorted(classes[:MOST])
    title = f"Distances of classes: {space.name} of {run.name}"
    low = ordered[0]
    high = ordered[-1]
    pairs = count_of(len(ordered), "pair")
    alt = (
        f"{title}: no linear classifier without mistakes has a mean distance to its boundary above "
        f"{number(low.linear)} between {_class_names(run, low)}, the closest of {pairs}, and above "
        f"{number(high.linear)} between {_class_names(run, high)}, those farthest apart."
    )
    part = ""
    if len(chosen) < len(classes):
        part = f" The {len(chosen)} of {len(classes)} classes with the closest pairs."
    caption = (
        "Below the diagonal: the linear bound, ½‖m₁ − m₂‖₂ from the classes' means. Above: the quadratic one, √(½‖C₁ "
        f"− C₂‖_*) from their second moments. The farther, the lighter, on each side. {result.examples} "
        f"{result.split} examples.{part}"
    )
    names = {label: run.label(label) for label in chosen}
    return Drawing(
        kind="distinguishability",
        title=title,
        draw=partial(draw_pairs, names, space.pairs),
        caption=caption,
        alt=alt,
        command=result.command,
    )
