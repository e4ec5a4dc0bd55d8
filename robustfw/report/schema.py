"""The JSON files that a report is made of, as attrs classes."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from robustfw.report.analyses import Distinguishability, Fooling, Lipschitz

Interval: TypeAlias = tuple[float, float]


@attrs.frozen
class Evaluation:
    """Clean and robust accuracy of a run on one split."""

    uncertainty: str
    attacks: tuple[str, ...]
    split: str
    weights: str
    n: int
    correct: int
    robust: int
    clean_accuracy: float
    robust_accuracy: float
    clean_interval: Interval
    interval: Interval
    per_class: tuple[tuple[int, int, int], ...] = ()
    zero_gradients: int = 0
    seconds: float | None = None
    seed: int | None = None
    command: str = ""


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
class Transfer:
    """Accuracy of a run on examples that were crafted against another."""

    collection: str
    source: str
    n: int
    correct: int
    accuracy: float
    interval: Interval
    accuracy_8bit: float | None = None
    sets: tuple[SetAccuracy, ...] = ()
    command: str = ""


@attrs.frozen
class MinimalRadius:
    """The radius at which examples fall, over all examples; null where that is beyond the largest radius tried."""

    median: float | None
    quartiles: tuple[float | None, float | None]
    beyond: int


@attrs.frozen
class Sweep:
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


@attrs.frozen
class Comparison:
    """Two runs, example by example."""

    runs: tuple[str, str]
    uncertainty: str
    attacks: tuple[str, ...]
    n: int
    clean: Pairs
    robust: Pairs
    command: str = ""


@attrs.frozen
class AuditLine:
    """One question to a robust accuracy, and what came of it."""

    name: str
    verdict: str
    found: str = ""
    advice: str = ""


@attrs.frozen
class Audit:
    """Whether a robust accuracy can be believed."""

    uncertainty: str
    verdict: str
    lines: tuple[AuditLine, ...]
    command: str = ""


@attrs.frozen
class PictureRow:
    """One picture in each column, with words below it."""

    name: str
    words: tuple[str, ...]
    diverging: bool = False
    """Whether they show changes: blue below 0, white at 0, red above."""


@attrs.frozen
class Pictures:
    """Rows of pictures, which a command left for a figure of its own."""

    title: str
    caption: str
    alt: str
    shape: tuple[int, int, int]
    images: str
    rows: tuple[PictureRow, ...]
    command: str = ""


Result: TypeAlias = (
    Evaluation | Transfer | Sweep | Comparison | Audit | Distinguishability | Fooling | Lipschitz | Pictures
)
KINDS: dict[str, type[Result]] = {
    "evaluation": Evaluation,
    "transfer": Transfer,
    "sweep": Sweep,
    "comparison": Comparison,
    "audit": Audit,
    "distinguishability": Distinguishability,
    "fooling": Fooling,
    "lipschitz": Lipschitz,
    "pictures": Pictures,
}


@attrs.frozen
class Epoch:
    """A line of ``metrics.jsonl``; numbers that were not finite are null there."""

    epoch: int
    loss: float | None
    clean_accuracy: float | None
    robust_accuracy: float | None
    attacked: int = 0
    warnings: tuple[str, ...] = ()


@attrs.frozen
class CollectionSet:
    """One of the uncertainty sets that a collection has examples of."""

    uncertainty: str
    attack: str = ""
    n: int = 0


@attrs.frozen
class CollectionSource:
    """The run that a collection was crafted against."""

    run: str


@attrs.frozen
class CollectionManifest:
    """``manifest.json`` of a transfer collection."""

    source: CollectionSource
    sets: tuple[CollectionSet, ...]
    n: int = 0
    labels: tuple[str, ...] | None = None
    command: str = ""


@attrs.frozen
class Net:
    """A net that a reproduction trains, several times."""

    name: str
    label: str


@attrs.frozen
class Member:
    """A run of a reproduction."""

    path: str
    net: str
    seed: int | None = None
    mode: str | None = None


@attrs.frozen
class GivenTable:
    """A table that whoever made the reproduction wrote."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    command: str = ""

    def __attrs_post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError("a row of the table has not as many cells as there are columns")


@attrs.frozen
class Claim:
    """What a paper says, what came out here, and whether that is the same."""

    claim: str
    paper: str
    ours: str
    verdict: str
    net: str = ""
    """Of which part of the claim; none for the claim as a whole."""
    mode: str = ""


@attrs.frozen
class Reproduction:
    """``reproduction.json``."""

    title: str
    summary: tuple[str, ...] = ()
    mode: str | None = None
    budget: str | None = None
    seeds: int | None = None
    nets: tuple[Net, ...] = ()
    runs: tuple[Member, ...] = ()
    collections: tuple[str, ...] = ()
    tables: tuple[GivenTable, ...] = ()
    claims: tuple[Claim, ...] = ()
    command: str = ""
