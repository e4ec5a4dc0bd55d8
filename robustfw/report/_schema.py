"""The JSON files of a report that are no results: epochs, collections, a reproduction."""

from __future__ import annotations

import attrs


@attrs.frozen
class EpochRecord:
    """A line of ``metrics.jsonl``; numbers that were not finite are null there."""

    epoch: int
    """Counts from 1."""
    loss: float | None
    """Mean training loss."""
    clean_accuracy: float | None
    """Clean accuracy on validation examples."""
    robust_accuracy: float | None
    """Robust accuracy on validation examples."""
    attacked: int = 0
    """Validation examples that were attacked."""
    warnings: tuple[str, ...] = ()
    """What the training warned of in this epoch."""


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
    """What `Member.net` calls it."""
    label: str
    """What people call it."""


@attrs.frozen
class Member:
    """A run of a reproduction."""

    path: str
    """The run directory, relative to the reproduction's."""
    net: str
    """The name of its net."""
    seed: int | None = None
    mode: str | None = None


@attrs.frozen
class GivenTable:
    """A table that the makers of the reproduction wrote."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    command: str = ""

    def __attrs_post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(
                "a row of the table has not as many cells as there are columns"
            )


@attrs.frozen
class ClaimRow:
    """What a paper says, what came out here, and whether that is the same."""

    claim: str
    """A sentence."""
    paper: str
    """The paper's numbers."""
    ours: str
    """The numbers here."""
    verdict: str
    """confirmed, not confirmed or undecided."""
    net: str = ""
    """The part of the claim that the row is of; empty for the claim as a whole."""
    mode: str = ""
    """The mode of the reproduction."""


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
    claims: tuple[ClaimRow, ...] = ()
    command: str = ""
