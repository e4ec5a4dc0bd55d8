"""Tables of .csv and .parquet files, with their options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, final

import attrs
from attrs.validators import in_

from robustfw import Dataset, Task
from robustfw_data.fields import (
    CLASSES,
    SEED,
    TASK,
    TEST,
    VALIDATION,
    absolute,
    check_share,
    find,
)

if TYPE_CHECKING:
    from pathlib import Path

    from robustfw.data.splits import Splits

Scale: TypeAlias = Literal["unit", "std", "raw"]
"""How numbers are scaled."""
SCALE = (
    "unit: each number from 0 to 1 over its range in training, so that a radius is a share of it; std: mean 0 and "
    "standard deviation 1; raw: its own unit"
)
"""Help of the option ``scale``."""
TARGET = "column of the targets, or a list of them; none: the last one"
"""Help of the option ``target``."""
COLUMNS = "columns that become features; none: all but the targets"
"""Help of the option ``columns``."""
CATEGORICAL = (
    "columns of numbers that are categories; columns of words are by themselves"
)
"""Help of the option ``categorical``."""
IMMUTABLE = "columns that no perturbation changes, in any set"
"""Help of the option ``immutable``."""

Targets: TypeAlias = str | tuple[str, ...] | None
"""The names of the columns of targets."""


@final
@attrs.frozen
class Csv(Dataset):
    """The table of a .csv file: a row for each example, a column for each feature, and the targets.

    Columns of words become one-hot groups, which the set ``tabular`` changes as a whole; its options take columns by
    name. Numbers keep the range that they have in the whole table, each column its own. Rows with empty fields are
    counted and refused. A .csv.gz file does as well.
    """

    path: Annotated[str, "the file; relative to here or to the data folder"] = (
        attrs.field(
            default="examples.csv", converter=absolute, metadata={"positional": True}
        )
    )
    target: Annotated[Targets, TARGET] = None
    columns: Annotated[tuple[str, ...], COLUMNS] = ()
    drop: Annotated[tuple[str, ...], "columns that are left out"] = ()
    categorical: Annotated[tuple[str, ...], CATEGORICAL] = ()
    immutable: Annotated[tuple[str, ...], IMMUTABLE] = ()
    scale: Annotated[Scale, SCALE] = attrs.field(
        default="unit", validator=in_(("unit", "std", "raw"))
    )
    task: Annotated[Literal["auto"] | Task, TASK] = "auto"
    classes: Annotated[int | None, CLASSES] = None
    test: Annotated[float, TEST] = attrs.field(default=0.2, validator=check_share)
    validation: Annotated[float, VALIDATION] = attrs.field(
        default=0.1, validator=check_share
    )
    seed: Annotated[int, SEED] = 0

    def load(self, root: Path) -> Splits:
        """The rows of the table, in a random order that is always the same."""
        from robustfw_data import columns

        return columns.load_table(self, find(self.path, root), "csv")


@final
@attrs.frozen
class Parquet(Dataset):
    """The table of a .parquet file; options and columns are those of ``csv``."""

    path: Annotated[str, "the file; relative to here or to the data folder"] = (
        attrs.field(
            default="examples.parquet",
            converter=absolute,
            metadata={"positional": True},
        )
    )
    target: Annotated[Targets, TARGET] = None
    columns: Annotated[tuple[str, ...], COLUMNS] = ()
    drop: Annotated[tuple[str, ...], "columns that are left out"] = ()
    categorical: Annotated[tuple[str, ...], CATEGORICAL] = ()
    immutable: Annotated[tuple[str, ...], IMMUTABLE] = ()
    scale: Annotated[Scale, SCALE] = attrs.field(
        default="unit", validator=in_(("unit", "std", "raw"))
    )
    task: Annotated[Literal["auto"] | Task, TASK] = "auto"
    classes: Annotated[int | None, CLASSES] = None
    test: Annotated[float, TEST] = attrs.field(default=0.2, validator=check_share)
    validation: Annotated[float, VALIDATION] = attrs.field(
        default=0.1, validator=check_share
    )
    seed: Annotated[int, SEED] = 0

    def load(self, root: Path) -> Splits:
        """The rows of the table, in a random order that is always the same."""
        from robustfw_data import columns

        return columns.load_table(self, find(self.path, root), "parquet")
