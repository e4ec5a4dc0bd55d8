"""The examples that a measuring command takes from the data of a net."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from robustfw.errors import DataError, UsageError

if TYPE_CHECKING:
    from robustfw.data.splits import Split, Splits, StreamedSplit


def check_data(splits: Splits, data_hash: str, path: Path) -> None:
    """Raise a `DataError` unless the data is what a run was trained on."""
    splits.check()
    if splits.fingerprint() != data_hash:
        raise DataError(
            f"the data is not what {path} was trained on (another hash), so that test examples may be training "
            "examples: give the folder of its own data by --data-dir"
        )


def first_examples(splits: Splits, name: str, examples: int | None) -> Split:
    """The first examples of a split; all of them if none are asked for."""
    from robustfw.data.splits import StreamedSplit

    split: Split | StreamedSplit = getattr(splits, name)
    if isinstance(split, StreamedSplit):
        raise UsageError(
            f"the {name} examples come as a stream, and what is measured must be there: choose --split test"
        )
    if not len(split):
        raise DataError(f"there are no {name} examples: choose another --split")
    if examples is not None and examples > len(split):
        raise UsageError(
            f"there are {len(split)} {name} examples: leave out --examples {examples} to take them all"
        )
    return split.first(examples)
