"""From the columns of a table to features: numbers on a scale, categories in one-hot groups, and what is immutable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs
import numpy as np
import torch
from torch import Tensor

from robustfw import DataError, DataSpec, UsageError
from robustfw.data.cutting import cut_splits
from robustfw.data.splits import Splits, TensorSplit
from robustfw.data.targets import Targets, read_targets
from robustfw.plugin.options import suggest
from robustfw_data.arrays import with_statistics

if TYPE_CHECKING:
    from robustfw_data.tables import Csv, Parquet

MOST_CATEGORIES = 100
"""Categories of a column from which on it is a text, an id or a date rather than a category."""


@attrs.define
class Features:
    """The features of a table, as they are collected column by column."""

    names: list[str] = attrs.field(factory=list)
    values: list[Tensor] = attrs.field(factory=list)
    """One tensor (n,), float64, for each feature."""
    numbers: list[int] = attrs.field(factory=list)
    """The features that are numbers, and no categories."""
    groups: list[tuple[int, ...]] = attrs.field(factory=list)
    immutable: list[int] = attrs.field(factory=list)


def load_table(
    options: Csv | Parquet, path: Path, kind: Literal["csv", "parquet"]
) -> Splits:
    """The splits of a table.

    Args:
        options: which columns are what.
        path: the file.
        kind: its format.

    Raises:
        DataError: the file cannot be read, or a column is missing or has empty fields.
        UsageError: an option names a column that the table has not.
    """
    table = read_table(path, kind)
    # 1. which columns are what
    names = [str(name) for name in table.columns]
    table.columns = names
    targets = _target_names(options.target, names)
    chosen = list(options.columns) or [name for name in names if name not in targets]
    chosen = [name for name in chosen if name not in options.drop]
    for name in (
        *targets,
        *chosen,
        *options.drop,
        *options.categorical,
        *options.immutable,
    ):
        if name not in names:
            raise UsageError(
                f"{path.name} has no column {name!r}; {suggest(name, names)}"
            )
    if not chosen:
        raise UsageError(
            f"{path.name} has no column left for features: its columns are {', '.join(names)}"
        )
    _check_filled(table, [*targets, *chosen], path)

    # 2. features and targets
    features = Features()
    for name in chosen:
        _add_column(features, table[name], name, options)
    values = torch.stack(features.values, 1)
    read = _read_table_targets(table, targets, options)

    # 3. the cut, by which the scale is that of the training examples
    rows = TensorSplit(torch.arange(len(table))[:, None], read.y)
    cut = cut_splits(
        rows,
        DataSpec((1,), read.classes, bounds=None),
        validation=options.validation,
        test=options.test,
        seed=options.seed,
    )
    # where every example is for tests, the scale is that of all
    training_rows = torch.arange(len(table))
    if isinstance(cut.train, TensorSplit) and len(cut.train):
        training_rows = cut.train.x[:, 0]
    scaled, bounds = scale_columns(
        values, training_rows, features.numbers, options.scale
    )
    spec = DataSpec(
        (scaled.shape[1],),
        read.classes,
        bounds=bounds,
        labels=read.labels,
        task=read.task,
        features=tuple(features.names),
        groups=tuple(features.groups),
        immutable=tuple(features.immutable),
    )
    parts = {}
    for split in ("train", "validation", "test"):
        part = getattr(cut, split)
        parts[split] = TensorSplit(scaled[part.x[:, 0]], part.y)
    splits = Splits(
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        spec=with_statistics(spec, parts["train"]),
    )
    splits.check()
    return splits


def read_table(path: Path, kind: Literal["csv", "parquet"]) -> Any:
    """The table of a file, as a data frame.

    Raises:
        UsageError: pandas or pyarrow is not installed.
        DataError: the file cannot be read.
    """
    try:
        import pandas as pd

        if kind == "parquet":
            import pyarrow  # noqa: F401  # pandas reads by it
    except ImportError as error:
        raise UsageError(
            f"{kind} files need {error.name}: pip install 'robustfw[interop]'"
        ) from error
    try:
        table = pd.read_csv(path) if kind == "csv" else pd.read_parquet(path)
    # a broken file may make a parser raise anything
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise DataError(
            f"{path} cannot be read as {kind} ({reason}): mend it"
        ) from error
    if not len(table):
        raise DataError(f"{path} has no rows")
    return table


def _target_names(
    target: str | tuple[str, ...] | None, names: Sequence[str]
) -> list[str]:
    """The columns of the targets; the last one of the table where none is named."""
    if target is None:
        return [names[-1]]
    return [target] if isinstance(target, str) else list(target)


def _check_filled(table: Any, names: list[str], path: Path) -> None:
    """Raise a `DataError` that counts the rows with empty fields, and names the columns."""
    empty = table[names].isna()
    if bool(empty.to_numpy().any()):
        columns = [name for name in names if bool(empty[name].any())]
        raise DataError(
            f"{path.name} has empty fields in {int(empty.any(axis=1).sum())} of {len(table)} rows, in the columns "
            f"{', '.join(columns)}: fill them, drop=[…] the columns, or leave the rows out"
        )


def _add_column(
    features: Features, column: Any, name: str, options: Csv | Parquet
) -> None:
    """Add a column: a feature of numbers, or a one-hot group of a feature for each category, in their order."""
    is_number = column.dtype.kind in "biuf"
    first = len(features.names)
    if is_number and name not in options.categorical:
        features.numbers.append(first)
        features.names.append(name)
        features.values.append(torch.from_numpy(column.to_numpy().astype(np.float64)))
    else:
        words = column.to_numpy()
        words = words if is_number else words.astype(str)
        categories = sorted(set(words.tolist()))
        if len(categories) > MOST_CATEGORIES:
            raise DataError(
                f"the column {name} has {len(categories)} words, as texts, ids and dates have: drop=[{name}], "
                "or make numbers of it"
            )
        for category in categories:
            features.names.append(f"{name}={category}")
            features.values.append(
                torch.from_numpy((words == category).astype(np.float64))
            )
        features.groups.append(tuple(range(first, len(features.names))))
    if name in options.immutable:
        features.immutable += range(first, len(features.names))


def _read_table_targets(
    table: Any, names: list[str], options: Csv | Parquet
) -> Targets:
    """The targets of a table."""
    task = None if isinstance(options.task, str) else options.task
    if len(names) == 1:
        return read_targets(table[names[0]].to_numpy(), task, classes=options.classes)
    values = table[names].to_numpy()
    if values.dtype.kind not in "biuf":
        raise DataError(
            f"the columns {', '.join(names)} are targets of words: name one column"
        )
    return read_targets(values, task, classes=options.classes, labels=names)


def scale_columns(
    values: Tensor,
    training_rows: Tensor,
    numbers: list[int],
    scale: Literal["unit", "std", "raw"],
) -> tuple[Tensor, Any]:
    """Features on their scale, float32, and the range that they keep.

    Args:
        values: (n, d), float64.
        training_rows: the rows whose range, or mean and standard deviation, make the scale.
        numbers: the features that are scaled; the others are 0 or 1.
        scale: "unit", "std" or "raw".

    Returns:
        The features, and (lower, upper), each one number for each feature: the range over all rows.
    """
    train = values[training_rows]
    shift = torch.zeros(values.shape[1], dtype=torch.float64)
    factor = torch.ones_like(shift)
    if scale == "unit":
        shift[numbers] = train.amin(0)[numbers]
        factor[numbers] = (train.amax(0) - train.amin(0))[numbers]
    if scale == "std":
        shift[numbers] = train.mean(0)[numbers]
        factor[numbers] = train.std(0, correction=0)[numbers]
    # a feature that never changes stays at 0
    factor = torch.where(factor > 0, factor, 1)
    scaled = ((values - shift) / factor).float()
    lower = scaled.amin(0)
    upper = scaled.amax(0)
    return scaled, (tuple(lower.tolist()), tuple(upper.tolist()))
